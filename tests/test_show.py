from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from streamd import inspection, rerun, show
from streamd.differences import Difference
from streamd.records import Freeze, Stretch
from streamd.rerun import Comparison, Finding
from tests.engine.runs import Plant
from tests.state_folder import StateFolder


@pytest.fixture
def screen() -> Console:
    """A terminal that is wide enough."""
    return Console(file=io.StringIO(), width=200, highlight=False)


def said(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.fixture
def found(tmp_path: Path) -> inspection.Inspection:
    state = StateFolder(tmp_path / "state", group="pumps [old]")
    plant = Plant(seed=3)
    state.apply(plant.batches(30))
    state.checkpoint()
    state.apply([*plant.batches(4), Freeze(), Stretch(2.5)])
    state.checkpoint()
    state.close()
    return inspection.inspect(state.folder)


def test_a_sound_folder_is_drawn_with_all_that_it_holds(screen: Console, found: inspection.Inspection) -> None:
    show.inspection(found, screen)
    text = said(screen)
    assert "not in use" in text
    assert "every checksum is right" in text
    assert "bad" not in text
    assert text.count("│ good") == 2
    for word in (
        "checkpoint-00000000000000000036",
        "6 records, positions 31 to 36",
        "pumps [old]",
        "2: a, b",
        "frozen",
    ):
        assert word in text
    assert "stretched 2.5 times" in text
    assert "1970-01-01T00:" in text  # last times in ISO 8601


def test_what_is_wrong_is_drawn_in_words(screen: Console, found: inspection.Inspection) -> None:
    aside = inspection.Quarantined(found.folder / "quarantine" / "journal.sqlite", 1234, "")
    problems = ("journal.sqlite: entry 5 has a wrong checksum", "quarantine/journal.sqlite: set aside")
    show.inspection(replace(found, holder="process 7", quarantine=(aside,), problems=problems), screen)
    text = said(screen)
    assert "in use by process 7" in text
    assert "in quarantine: journal.sqlite, 1,234 bytes" in text
    assert text.count("bad: ") == 2
    assert "every checksum is right" not in text


def test_an_empty_folder_is_drawn_as_such(screen: Console, tmp_path: Path) -> None:
    show.inspection(inspection.inspect(tmp_path), screen)
    assert "no checkpoints" in said(screen)
    assert "no journal" in said(screen)


def test_an_equal_replay_is_said_in_two_lines(screen: Console) -> None:
    show.comparison(Comparison(begin=10, end=30, records=20, arrays=90, streams=1234, findings=()), screen)
    text = said(screen)
    assert "from the checkpoint at 10 to the one at 30" in text
    assert "1,234 streams" in text
    assert "equal, bit for bit" in text


def test_what_differs_is_drawn_with_its_place_and_both_values(screen: Console) -> None:
    row = Difference("scale.mean", "p[1]", (3,), "1.5", "2.5", 7)
    whole = Difference("learner.random.state.state", None, (), "1" * 100, "2", 1)
    findings = (rerun.Finding("pumps", row, (12, 29)), Finding("pumps", whole, None))
    show.comparison(Comparison(10, 30, 20, 90, 4, findings), screen)
    text = said(screen)
    for word in ("scale.mean", "p[1]", "1.5", "2.5", "12 to 29", "none", "learner.random"):
        assert word in text
    assert "equal" not in text
    assert "1" * 61 not in text  # long values are cut


def test_a_summary_has_a_line_for_each_step_that_was_judged(screen: Console) -> None:
    settled = {"mase": {"a": [0.5, None], "b": [1.5, None]}, "coverage": {"a": [0.9, None], "b": [0.8, None]}}
    measured = {
        "rows": 1000,
        "channels": ["a", "b"],
        "readings_per_s": 12345.6,
        "alarms": 2,
        "incidents": 1,
        "horizon": 2,
        "settled": settled,
    }
    show.summary(measured, screen)
    text = said(screen)
    assert "1,000 rows, 2 channels, 12,346 readings/s, 2 alarms in 1 incidents" in text
    (line,) = (line for line in text.splitlines() if "│" in line)
    for word in ("1.000", "a 0.500", "b 1.500", "0.850"):
        assert word in line


def test_the_console_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    show.console().print("here")
    assert capsys.readouterr().out == "here\n"


def measured(**against: object) -> dict[str, object]:
    settled = {"mase": {"[flow]": [0.5, None], "heat": [0.75, None]}, "coverage": {"[flow]": [0.9, None]}}
    return {
        "rows": 100, "channels": ["[flow]", "heat"], "horizon": 2, "readings_per_s": 10.0, "alarms": 1, "incidents": 1,
        "settled": settled, "against": against,
    }  # fmt: skip


def test_a_backtest_is_drawn_step_by_step_with_best_and_worst_channel(screen: Console) -> None:
    show.summary(measured(), screen)
    (row,) = [line for line in said(screen).splitlines() if line.startswith("│ 1")]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["1", "0.625", "[flow] 0.500", "heat 0.750", "0.900"]
    assert "│ 2" not in said(screen)  # nothing was judged there
    assert "beside the baselines" not in said(screen)


def test_baselines_are_drawn_beside_it_and_what_they_failed_at_is_said(screen: Console) -> None:
    settled = {"mase": {"[flow]": [0.25, None], "heat": [2e9, None]}}
    rival = {"readings_per_s": 2500.0, "not_finite": {"[flow]": 3, "heat": 4000}, "settled": settled}
    show.summary(measured(snarimax=rival, zscore={"readings_per_s": None}), screen)
    (row,) = [line for line in said(screen).splitlines() if "1e+09" in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["1", "0.625", "1e+09"]
    assert "snarimax: 2,500 readings/s; 4,003 forecasts were no finite numbers" in said(screen)
    assert "zscore: no readings/s" in said(screen)
