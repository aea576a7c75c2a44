"""Incidents of many streams at once: when a good part of a group goes within a short time, that is one event.

Kept by the streams' names, so that nothing depends on which of them are in memory. Knows what was told of single
streams; not how a score is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Any, Literal

import msgspec

from streamd.engine.incidents import REFRACTORY_STEPS, WORSE, Told
from streamd.kernel import together as kernel
from streamd.records import F64, Incident

LEAST = 3  # streams
SHARE = 0.3  # of those that were active lately
NEAR_STEPS = 10.0  # usual steps within which they have to go; so long after the last one, another joins
ACTIVE_STEPS = 20.0  # usual steps in which a stream has to speak to count as active
LEFT = 0.1  # of the members; when no more are open the event is over
MORE = 1.5  # times as many members as were told last are told
MEMORY_FRAMES = 1000.0  # of the usual step


@dataclass(slots=True)
class Opened:
    """An incident of one stream that is open."""

    time: float  # s since the epoch, when it was opened
    start: float
    score: float
    peak: float
    channels: dict[str, float]


@dataclass(slots=True)
class Event:
    """An incident of many streams: the one that is open, or else the last one."""

    id: str
    start: float
    peak: float
    score: float
    joined: float  # s since the epoch, when the last member's incident was opened
    members: dict[str, bool] = field(default_factory=dict)  # stream -> whether its incident is open
    blame: dict[str, float] = field(default_factory=dict)  # channel -> sum of the members' shares
    told: int = 0  # members, when it was told last
    told_score: float = 0.0
    end: float = 0.0  # s since the epoch, the latest end of a member's incident
    over: bool = False


class Together:
    """Of one group."""

    def __init__(self) -> None:
        self.clock: float | None = None  # s since the epoch, the latest time of a frame
        self.step: float | None = None  # s, usual between two frames of one stream
        self.active = 0.0  # about how many streams have spoken lately
        self.open: dict[str, Opened] = {}  # by stream
        self.event: Event | None = None

    def hear(self, times: F64, interval: F64, known: int) -> None:
        """Frames have come.

        A stream with step d gives w / d frames in a time w: each of them counts d / w, and fades over w. So it is known
        how many there are without a list of them, and a clock that is wrong by as much all the time does no harm.

        Args:
            times: [B] s since the epoch.
            interval: [B] s, their streams' usual step; NaN where not known.
            known: streams of the group, ever seen.
        """
        if not len(times):
            return
        clock, step = (nan if each is None else each for each in (self.clock, self.step))
        clock, step, self.active = kernel.hear(
            times, interval, clock, step, self.active, known, MEMORY_FRAMES, ACTIVE_STEPS
        )
        self.clock, self.step = clock, None if isnan(step) else step

    def update(self, told: Told, frames: int) -> tuple[Incident, ...]:
        """All that is to be told: what was told of single streams, with what it is part of, then of many.

        Args:
            frames: of the group so far, which name a new event.
        """
        for incident in told.incidents:
            if incident.state == "cleared":
                self._ended(incident)
            elif incident.stream in told.opened:
                self.open[incident.stream] = Opened(
                    told.opened[incident.stream], incident.start, incident.score, incident.peak, incident.channels
                )
            elif (opened := self.open.get(incident.stream)) is not None:
                opened.score, opened.peak, opened.channels = incident.score, incident.peak, incident.channels

        event = self.event
        state: Literal["raised", "updated"] | None = None
        if event is not None and not event.over:
            self._join(event, {name: self.open[name] for name in told.opened})
        else:
            state = self._begin(told.opened, frames)
        event = self.event
        if event is None or event.over:
            return told.incidents
        for incident in told.incidents:
            if incident.stream in event.members and incident.score > event.score:
                event.score, event.peak = incident.score, incident.peak
        singles = tuple(
            msgspec.structs.replace(incident, part_of=event.id) if incident.stream in event.members else incident
            for incident in told.incidents
        )
        if sum(event.members.values()) <= LEFT * len(event.members):
            event.over = True
            return (*singles, _tell(event, "cleared"))
        if state is not None or len(event.members) >= MORE * event.told or event.score >= WORSE * event.told_score:
            return (*singles, _tell(event, state or "updated"))
        return singles

    @property
    def _near(self) -> float:
        """s, within which incidents are of one event."""
        return 0.0 if self.step is None else NEAR_STEPS * self.step

    def _ended(self, incident: Incident) -> None:
        self.open.pop(incident.stream, None)
        event = self.event
        if event is not None and incident.stream in event.members and incident.end is not None:
            event.members[incident.stream] = False
            event.end = max(event.end, incident.end)

    def _begin(self, opened: Iterable[str], frames: int) -> Literal["raised", "updated"] | None:
        """Raise an event, or open the last one again, if enough streams went about when one of these did."""
        for name in opened:
            at = self.open[name].time
            those = {name: one for name, one in self.open.items() if abs(one.time - at) <= self._near}
            if len(those) < max(LEAST, SHARE * self.active):
                continue
            last = self.event
            wait = 0.0 if self.step is None else REFRACTORY_STEPS * self.step
            if last is not None and at < last.end + wait:
                last.over, last.joined = False, max(last.joined, at)
                self._join(last, those)
                return "updated"
            first = min(those.values(), key=lambda one: one.start)
            self.event = Event(f"group#{frames}", first.start, first.peak, 0.0, at)
            self._join(self.event, those)
            return "raised"
        return None

    def _join(self, event: Event, those: Mapping[str, Opened]) -> None:
        """Let those be members that went soon after the last one, or are members already."""
        for name, one in those.items():
            known = name in event.members
            if not known and one.time > event.joined + self._near:
                continue
            event.members[name] = True
            event.joined = max(event.joined, one.time)
            event.start = min(event.start, one.start)
            if one.score > event.score:
                event.score, event.peak = one.score, one.peak
            if not known:
                for channel, share in one.channels.items():
                    event.blame[channel] = event.blame.get(channel, 0.0) + share

    def state_dict(self) -> dict[str, Any]:
        """What JSON can hold; nothing of it is shared."""
        return {
            "clock": self.clock,
            "step": self.step,
            "active": self.active,
            "open": msgspec.to_builtins(self.open),
            "event": msgspec.to_builtins(self.event),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.clock, self.step, self.active = state["clock"], state["step"], state["active"]
        self.open = msgspec.convert(state["open"], dict[str, Opened])
        self.event = msgspec.convert(state["event"], Event | None)


def _tell(event: Event, state: Literal["raised", "updated", "cleared"]) -> Incident:
    event.told, event.told_score = len(event.members), event.score
    total = sum(event.blame.values()) or 1.0
    cleared = state == "cleared"
    return Incident(
        id=event.id,
        stream="",
        state=state,
        start=event.start,
        peak=event.peak,
        end=max(event.end, event.peak) if cleared else None,
        score=event.score,
        channels={channel: share / total for channel, share in event.blame.items()},
        reason="calm" if cleared else None,
        streams=tuple(event.members),
    )
