"""What is drawn, read off a console that is a string."""

from __future__ import annotations

from io import StringIO

from rich.console import Console, RenderableType

from streamd.demo.board import LATEST, Board
from streamd.demo.ledger import GRACE_S, Band, Forecast, GroupIncident, Incident, Ledger, Score, Telemetry
from streamd.demo.plant import CHANNELS, MACHINES, START, STEP_S, Fault, Sample

ADDRESS = "http://127.0.0.1:9108"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def shown(drawing: RenderableType, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(drawing)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def answer(ledger: Ledger, machine: str, step: int, score: float | None = 0.3, warming: float = 1.0) -> None:
    """A reading of a machine with all that follows from it."""
    time = START + step * STEP_S
    ledger.on_sample(Sample(machine, time, dict.fromkeys(CHANNELS, 51.5), ()))
    ledger.on_telemetry(Telemetry(machine, time, dict.fromkeys(CHANNELS, 51.5)))
    bands = dict.fromkeys(CHANNELS, Band([52.25], [50.0], [54.0]))
    ledger.on_forecast(Forecast(machine, time, [time + STEP_S], bands))
    alarm = score is not None and score >= 1
    ledger.on_score(Score(machine, time, score, alarm, warming, {"load": 0.1, "flow": score}))


def fault(ledger: Ledger, machine: str, step: int, channel: str = "flow") -> None:
    time = START + step * STEP_S
    ledger.on_sample(Sample(machine, time, {}, (Fault("spike", machine, channel, time, time),)))


def test_a_board_without_any_news_shows_all_machines_and_where_the_daemon_is() -> None:
    text = shown(Board(Ledger.of(MACHINES), ADDRESS, Clock()).screen())
    assert all(name in text for name in MACHINES)
    assert text.count("no score yet") == len(MACHINES)
    assert f"the page: {ADDRESS}" in text


def test_the_screen_shows_values_forecasts_and_the_score() -> None:
    ledger = Ledger.of(MACHINES)
    answer(ledger, "pump-1", 0, score=0.82)
    text = shown(Board(ledger, ADDRESS, Clock()).screen())
    assert text.count("51.5") == len(CHANNELS)
    assert text.count("→52.2") == len(CHANNELS)
    assert "0.82 ████" in text
    assert "calm" in text


def test_the_bar_reaches_the_middle_at_the_alarm_line_and_never_leaves_its_place() -> None:
    ledger = Ledger.of(["at the line", "far over it", "at rest"])
    answer(ledger, "at the line", 0, score=1.0)
    answer(ledger, "far over it", 0, score=500.0)
    answer(ledger, "at rest", 0, score=0.0)
    lines = {line[:11].strip(): line for line in shown(Board(ledger, ADDRESS, Clock()).screen(), 90).splitlines()}
    assert lines["at the line"].count("█") == lines["at the line"].count("·") == 5
    assert (lines["far over it"].count("█"), lines["at rest"].count("█")) == (10, 0)


def test_warming_alarm_and_open_incidents_are_told() -> None:
    ledger = Ledger.of(["warm", "loud", "sick", "mute"])
    answer(ledger, "warm", 0, warming=0.45)
    answer(ledger, "loud", 0, score=1.3)
    answer(ledger, "sick", 0, score=2.0)
    answer(ledger, "mute", 0, score=None)
    ledger.on_incident(Incident("sick-0", "sick", "raised", START, {"load": 0.2, "temperature": 0.8}))
    text = shown(Board(ledger, ADDRESS, Clock()).screen())
    assert "warming 45%" in text
    assert "alarm" in text
    assert "incident: temp" in text
    assert "no score yet" in text


def test_a_channel_that_dropped_out_is_shown_as_missing() -> None:
    ledger = Ledger.of(["a"])
    ledger.on_telemetry(Telemetry("a", START, {channel: 7.0 for channel in CHANNELS if channel != "flow"}))
    text = shown(Board(ledger, ADDRESS, Clock()).screen())
    assert text.count("7.00") == len(CHANNELS) - 1


def test_no_machine_or_number_is_cut_off_at_80_columns() -> None:
    ledger = Ledger.of(MACHINES)
    for name in MACHINES:
        answer(ledger, name, 0)
        fault(ledger, name, 1)
        answer(ledger, name, 2, score=1.5)
    text = shown(Board(ledger, ADDRESS, Clock()).screen())
    assert "…" not in text
    assert "caught after 1 reading, blames flow" in text


def test_faults_are_listed_with_verdict_and_delay_the_newest_first() -> None:
    ledger = Ledger.of(["caught", "missed", "open"])
    fault(ledger, "caught", 0, "load")
    answer(ledger, "caught", 3, score=1.5)
    fault(ledger, "missed", 4, "flow")
    answer(ledger, "missed", 5 + int(GRACE_S / STEP_S), score=0.1)
    fault(ledger, "open", 20, "current")
    text = shown(Board(ledger, ADDRESS, Clock()).screen(), 120)
    rows = [line.split(maxsplit=3) for line in text.splitlines() if line.startswith("spike")]
    assert [row[1] for row in rows] == ["open", "missed", "caught"]
    assert [row[3].strip() for row in rows] == ["open", "missed", "caught after 3 readings, blames flow"]
    assert "faults 3 (1 caught, 1 missed, 1 open)" in text


def test_the_live_board_keeps_to_the_latest_faults_and_the_summary_has_them_all() -> None:
    ledger = Ledger.of(["a"])
    for step in range(LATEST + 5):
        fault(ledger, "a", step)
    board = Board(ledger, ADDRESS, Clock())
    assert shown(board.screen()).count("spike") == LATEST
    assert shown(board.summary([])).count("spike") == LATEST + 5


def test_the_line_has_counts_rate_coverage_and_incidents() -> None:
    ledger, clock = Ledger.of(["a"]), Clock()
    board = Board(ledger, ADDRESS, clock)
    for step in range(20):
        answer(ledger, "a", step)
    ledger.on_incident(Incident("a-1", "a", "raised", START, {"flow": 1.0}))
    clock.now += 64.0
    line = board.line()
    assert line.startswith("1:04  20 readings (0/s), 20 forecasts, 20 scores, 100% of values in interval")
    assert line.endswith("incidents 1, 1 of them without a fault")
    ledger.on_group_incident(GroupIncident("group#5", "raised", ["a", "b", "c"]))
    assert board.line().endswith("; now 3 machines at once")
    ledger.on_group_incident(GroupIncident("group#5", "cleared", ["a", "b", "c"]))
    assert board.line().endswith("; 1 times many machines at once")


def test_the_rate_is_that_of_the_last_seconds() -> None:
    ledger, clock = Ledger.of(["a"]), Clock()
    board = Board(ledger, ADDRESS, clock)
    step = 0
    for per_second in [50] * 20 + [10] * 20:
        for _ in range(per_second):
            answer(ledger, "a", step)
            step += 1
        clock.now += 1.0
        line = board.line()
    assert "(10/s)" in line


def test_the_summary_counts_per_machine_and_says_ok() -> None:
    ledger = Ledger.of(["a", "b"])
    for step in range(12):
        answer(ledger, "a", step)
    text = shown(Board(ledger, ADDRESS, Clock()).summary([]))
    assert ["a", "12", "12", "12"] in [line.split() for line in text.splitlines()]
    assert ["b", "0", "0", "0"] in [line.split() for line in text.splitlines()]
    assert "ok: " in text
    assert "failed" not in text


def test_the_summary_names_every_problem_and_is_not_ok() -> None:
    text = shown(Board(Ledger.of(["a"]), ADDRESS, Clock()).summary(["a: no reading was sent", "b: [red] is no colour"]))
    assert "failed: a: no reading was sent" in text
    assert "failed: b: [red] is no colour" in text
    assert "ok: " not in text
