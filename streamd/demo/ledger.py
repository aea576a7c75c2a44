"""What was sent, what came back, and which faults were caught: the demo's book-keeping.

Knows the plant's truth and the answers' meaning; not how they travel or how they are shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec

from streamd.demo.plant import STEP_S, Fault, Sample

Number: TypeAlias = float | None  # None: not a number, as JSON has it
Verdict: TypeAlias = Literal["caught", "missed", "open"]

GRACE_S = 8 * STEP_S  # s of simulated time; an alarm so long after a fault's end is still about it
SHARE = 0.9  # of the readings sent must be answered, or the demo has failed


class Telemetry(msgspec.Struct, frozen=True):
    """A reading as it went over the broker."""

    machine: str
    epoch: float  # s
    values: dict[str, float]


class Band(msgspec.Struct, frozen=True):
    mean: list[Number]  # [H]
    lower: list[Number]
    upper: list[Number]


class Forecast(msgspec.Struct, frozen=True):
    """Of a forecast's payload, what the demo looks at."""

    stream: str
    epoch: float  # s, of the reading it was made at
    times: list[Number]  # [H] s, what it is meant for; unknown until the stream's step is known
    channels: dict[str, Band]


class Score(msgspec.Struct, frozen=True):
    """Of a score's payload, what the demo looks at."""

    stream: str
    epoch: float  # s
    score: Number
    alarm: bool
    warming: float  # 0..1
    channels: dict[str, Number]


class Incident(msgspec.Struct, frozen=True):
    """Of an incident's payload, what the demo looks at."""

    id: str
    stream: str
    state: Literal["raised", "updated", "cleared"]
    start_epoch: float  # s
    channels: dict[str, float]  # shares of the blame


class GroupIncident(msgspec.Struct, frozen=True):
    """Of the payload of an incident of many machines, what the demo looks at."""

    id: str
    state: Literal["raised", "updated", "cleared"]
    streams: list[str]


@dataclass(slots=True)
class Machine:
    """What is known of one machine."""

    sent: int = 0
    forecasts: int = 0
    scores: int = 0
    last_sent: float = 0.0  # s since the epoch
    telemetry: Telemetry | None = None
    forecast: Forecast | None = None
    score: Score | None = None
    incident: Incident | None = None  # the open one


@dataclass(slots=True)
class Trial:
    """A fault and what became of it."""

    fault: Fault
    caught: float | None = None  # s from its first faulty reading to the first alarm
    blamed: str | None = None  # the channel that weighed most in that alarm
    over: bool = False  # too late to catch it

    @property
    def verdict(self) -> Verdict:
        if self.caught is not None:
            return "caught"
        return "missed" if self.over else "open"


@dataclass(slots=True)
class Ledger:
    """All of it; fed by the plant with what it sends, and by a subscriber with what it sees on the broker."""

    machines: dict[str, Machine]
    trials: list[Trial] = field(default_factory=list)
    incidents: int = 0  # raised
    unexplained: int = 0  # incidents that no fault explains
    events: int = 0  # incidents of many machines at once, raised
    event: GroupIncident | None = None  # the open one
    unreadable: int = 0  # messages that could not be decoded
    stray: int = 0  # answers that were there already, or to nothing that was sent
    held: int = 0  # values inside the interval that was forecast one step before
    judged: int = 0  # values that had such a forecast
    _running: list[Trial] = field(default_factory=list)  # the trials that are not over

    @classmethod
    def of(cls, machines: Iterable[str]) -> Ledger:
        return cls({name: Machine() for name in machines})

    @property
    def sent(self) -> int:
        return sum(machine.sent for machine in self.machines.values())

    @property
    def forecasts(self) -> int:
        return sum(machine.forecasts for machine in self.machines.values())

    @property
    def scores(self) -> int:
        return sum(machine.scores for machine in self.machines.values())

    @property
    def behind(self) -> float:
        """How many readings the scores are behind, for the machine furthest behind; lost ones do not count."""
        return max((_behind(machine) for machine in self.machines.values()), default=0.0)

    @property
    def settled(self) -> bool:
        """Whether every reading sent has its forecast and its score."""
        return all(machine.forecasts == machine.scores == machine.sent for machine in self.machines.values())

    def on_sample(self, sample: Sample) -> None:
        """A reading is about to be handed to the broker."""
        machine = self.machines[sample.machine]
        machine.sent += 1
        machine.last_sent = sample.time
        for fault in sample.faults:
            if all(trial.fault != fault for trial in self._running):
                self.trials.append(Trial(fault))
                self._running.append(self.trials[-1])

    def on_telemetry(self, telemetry: Telemetry) -> None:
        """A reading is seen on the broker."""
        machine = self.machines[telemetry.machine]
        machine.telemetry = telemetry
        forecast = machine.forecast
        next_time = None if forecast is None else forecast.times[0]
        if forecast is None or next_time is None or abs(next_time - telemetry.epoch) > STEP_S / 2:
            return  # it is the answer to an older reading, or to this one already
        for channel, value in telemetry.values.items():
            band = forecast.channels.get(channel)
            if band is not None and (lower := band.lower[0]) is not None and (upper := band.upper[0]) is not None:
                self.judged += 1
                self.held += lower <= value <= upper

    def on_forecast(self, forecast: Forecast) -> None:
        """A forecast is seen on the broker."""
        machine = self.machines.get(forecast.stream)
        if machine is None or not _answers(machine, machine.forecast, forecast.epoch):
            self.stray += 1
            return
        machine.forecast = forecast
        machine.forecasts += 1

    def on_score(self, score: Score) -> None:
        """A score is seen on the broker."""
        machine = self.machines.get(score.stream)
        if machine is None or not _answers(machine, machine.score, score.epoch):
            self.stray += 1
            return
        machine.score = score
        machine.scores += 1
        for trial in self._running:
            fault = trial.fault
            if fault.machine != score.stream:
                continue
            trial.over = score.epoch > fault.end + GRACE_S
            if score.alarm and trial.caught is None and fault.start <= score.epoch and not trial.over:
                trial.caught = score.epoch - fault.start
                trial.blamed = max(score.channels, key=lambda channel: score.channels[channel] or 0.0, default=None)
        self._running = [trial for trial in self._running if not trial.over]

    def on_incident(self, incident: Incident) -> None:
        """An incident is seen on the broker."""
        machine = self.machines.get(incident.stream)
        if machine is None:
            self.stray += 1
            return
        machine.incident = None if incident.state == "cleared" else incident
        if incident.state == "raised":
            self.incidents += 1
            self.unexplained += not any(
                trial.fault.machine == incident.stream and trial.fault.start <= incident.start_epoch
                for trial in self._running
            )

    def on_group_incident(self, incident: GroupIncident) -> None:
        """An incident of many machines is seen on the broker."""
        self.event = None if incident.state == "cleared" else incident
        self.events += incident.state == "raised"

    def missing(self) -> list[str]:
        """What should have come back and did not, one line each; empty when all is well."""
        lines = []
        for name, machine in self.machines.items():
            if machine.sent == 0:
                lines.append(f"{name}: no reading was sent")
            for kind, count in (("forecasts", machine.forecasts), ("scores", machine.scores)):
                if count < SHARE * machine.sent:
                    lines.append(f"{name}: {count} {kind} came back for {machine.sent} readings")
        if self.unreadable:
            lines.append(f"{self.unreadable} messages could not be read")
        if self.stray:
            lines.append(f"{self.stray} answers were doubled, out of order, or to nothing that was sent")
        return lines


def _answers(machine: Machine, before: Forecast | Score | None, epoch: float) -> bool:
    """Whether an answer is to a reading that was sent and not answered yet; answers come in the readings' order."""
    return (before is None or epoch > before.epoch) and machine.sent > 0 and epoch <= machine.last_sent


def _behind(machine: Machine) -> float:
    return machine.sent if machine.score is None else (machine.last_sent - machine.score.epoch) / STEP_S
