"""What the demo shows: a live board on a terminal, a line now and then elsewhere, and a summary at the end.

Draws what stands in the ledger; knows nothing of the broker, the daemon or the plant behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streamd.demo.ledger import SHARE, Ledger, Machine, Trial, Verdict
from streamd.demo.plant import CHANNELS, STEP_S

BAR = 10  # characters; the alarm line is in the middle
LATEST = 8  # faults that the live board has room for
RATE_S = 5.0  # span that the rate is taken over
_HEADS = {"temperature": "temp", "vibration": "vibr", "pressure": "press"}
_COLOURS: dict[Verdict, str] = {"caught": "green", "missed": "red", "open": "yellow"}


class Board:
    """Draws a ledger.

    Args:
        ledger: what to draw; read anew each time.
        address: of the daemon's page, such as http://127.0.0.1:9108.
        clock: seconds, from anywhere on.
    """

    def __init__(self, ledger: Ledger, address: str, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._address = address
        self._clock = clock
        self._start = clock()
        self._lately: deque[tuple[float, int]] = deque([(self._start, ledger.scores)])  # time, scores so far

    def screen(self) -> RenderableType:
        """The whole board as it stands now, to fit 80 columns; what matters least comes last, where a screen is low."""
        head = Text(f"streamd demo · {self._elapsed()} · the page: {self._address}", style="bold", no_wrap=True)
        machines = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
        machines.add_column("machine", no_wrap=True)
        for channel in CHANNELS:
            machines.add_column(_HEADS.get(channel, channel), justify="right", min_width=7, no_wrap=True)
        machines.add_column("score", min_width=BAR + 5, no_wrap=True)
        for name, machine in self._ledger.machines.items():
            machines.add_row(name, *(_course(machine, channel) for channel in CHANNELS), _state(machine))
        legend = Text("last values; → forecast of the next; a score of 1.0 is the alarm line", style="dim")
        faults = _faults(self._ledger.trials[: -LATEST - 1 : -1])
        return Group(head, Text(f"{self._counts()}\n{self._found()}"), machines, legend, faults)

    def line(self) -> str:
        """The state in one line, for a log."""
        return f"{self._elapsed()}  {self._counts()}; {self._found()}"

    def summary(self, problems: Sequence[str]) -> RenderableType:
        """The outcome of the whole run, and what is wrong with it."""
        answers = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
        answers.add_column("machine", no_wrap=True)
        for column in ("readings", "forecasts back", "scores back"):
            answers.add_column(column, justify="right")
        for name, machine in self._ledger.machines.items():
            answers.add_row(name, *(str(n) for n in (machine.sent, machine.forecasts, machine.scores)))
        parts: list[RenderableType] = [answers, Text()]
        if self._ledger.trials:
            parts += [_faults(self._ledger.trials), Text()]
        parts.append(Text(f"{self._elapsed()}  {self._counts()}\n{self._found()}"))
        parts += [Text(f"failed: {problem}", style="red") for problem in problems]
        if not problems:
            parts.append(Text(f"ok: at least {SHARE:.0%} of every machine's readings were answered", style="green"))
        return Group(*parts)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(self._clock() - self._start), 60)
        return f"{minutes}:{seconds:02d}"

    def _counts(self) -> str:
        book = self._ledger
        held = f", {book.held / book.judged:.0%} of values in interval" if book.judged else ""
        return f"{book.sent} readings ({self._rate():.0f}/s), {book.forecasts} forecasts, {book.scores} scores{held}"

    def _found(self) -> str:
        book = self._ledger
        verdicts = [trial.verdict for trial in book.trials]
        told = ", ".join(f"{verdicts.count(word)} {word}" for word in _COLOURS)
        found = (
            f"faults {len(verdicts)} ({told}); incidents {book.incidents}, {book.unexplained} of them without a fault"
        )
        if book.event is not None:
            found += f"; now {len(book.event.streams)} machines at once"
        elif book.events:
            found += f"; {book.events} times many machines at once"
        return found

    def _rate(self) -> float:
        """Readings answered per second over the last RATE_S."""
        now, scores = self._clock(), self._ledger.scores
        self._lately.append((now, scores))
        while now - self._lately[0][0] > RATE_S and len(self._lately) > 2:
            self._lately.popleft()
        then, before = self._lately[0]
        return (scores - before) / (now - then) if now > then else 0.0


def _course(machine: Machine, channel: str) -> Text:
    """A channel's last value, and below it what is forecast for the next reading."""
    value = None if machine.telemetry is None else machine.telemetry.values.get(channel)
    band = None if machine.forecast is None else machine.forecast.channels.get(channel)
    mean = None if band is None else band.mean[0]
    return Text(f"{_short(value)}\n") + Text(f"→{_short(mean)}", style="dim")


def _short(value: float | None) -> str:
    """A number in at most five characters where it can be."""
    return "–" if value is None else f"{value:.{2 if abs(value) < 10 else 1 if abs(value) < 1000 else 0}f}"


def _state(machine: Machine) -> Text:
    """The score as a bar, and below it what to make of it."""
    score = machine.score
    if score is None or score.score is None:
        return Text("no score yet", style="dim")
    filled = min(max(round(score.score * BAR / 2), 0), BAR)
    colour = "red" if score.score >= 1.0 else "yellow" if score.score >= 0.7 else "green"
    bar = (
        Text(f"{score.score:.2f} ") + Text("█" * filled, style=colour) + Text("·" * (BAR - filled) + "\n", style="dim")
    )
    if machine.incident is not None:
        shares = machine.incident.channels
        blamed = max(shares, key=lambda channel: shares[channel], default="unknown")
        return bar + Text(f"incident: {_HEADS.get(blamed, blamed)}", style="red")
    if score.warming < 1.0:
        return bar + Text(f"warming {score.warming:.0%}", style="dim")
    return bar + Text("calm" if not score.alarm else "alarm", style="dim")


def _faults(trials: Sequence[Trial]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("fault injected", "machine", "channel", "verdict"):
        table.add_column(column, no_wrap=True)
    for trial in trials:
        fault = trial.fault
        table.add_row(fault.kind, fault.machine, fault.channel, Text(_told(trial), style=_COLOURS[trial.verdict]))
    return table


def _told(trial: Trial) -> str:
    if trial.caught is None:
        return trial.verdict
    readings = round(trial.caught / STEP_S)
    delay = "at once" if readings == 0 else f"after {readings} reading{'s' if readings > 1 else ''}"
    return f"caught {delay}, blames {trial.blamed or 'nothing'}"
