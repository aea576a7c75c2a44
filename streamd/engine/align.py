"""Readings to frames, frames to batches: late and double readings out, parts put together, streams side by side.

Frames of different streams share a batch; several frames of one stream go into consecutive batches. What lies here
is not acknowledged yet, so it need not survive a restart. Knows times and channels, not forecasts; reads no clock:
the time of arrival comes in with each reading.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from streamd.config import Group
from streamd.records import F64, Batch, Reading, Widen

Refusal: TypeAlias = Literal["late", "double", "future", "no_known_channel", "too_many_channels", "too_many_streams"]

SAME_TIME_STEP = 1e-6  # s; readings that carry no time and arrive at once, or after the clock was set back, follow so


@dataclass(frozen=True, slots=True)
class Work:
    """What to apply next, and whose it is."""

    record: Batch | Widen
    tickets: tuple[int, ...]  # of the messages that are dealt with when it is applied, in order
    arrivals: F64  # [B] s since the epoch; empty for Widen


@dataclass(slots=True)
class _Frame:
    stream: str
    time: float
    arrival: float
    values: list[float]  # in the order of the channels when it was made; later channels are missing
    tickets: list[int]


@dataclass(slots=True)
class _Lane:
    """What is known of a stream between its readings and its frames."""

    last_time: float
    round: int = 0  # number of the batch that takes its next frame, at the earliest
    parts: _Frame | None = None  # a frame that waits for its other channels
    timed: bool = False  # whether its parts carry their own time
    heard: set[int] = field(default_factory=set)  # channels that came as parts
    settled: bool = False  # whether all that is heard should be waited for, and nothing else
    deadline: float = 0.0  # s since the epoch, by arrival


@dataclass(slots=True)
class Align:
    """Frames and batches of one group.

    Args:
        settings: of the group.
        channels: those that the engine knows at the start.
        last_time: the engine's answer to when a stream's last frame was; -inf for a stream it doesn't know.
        streams: how many streams the engine knows at the start.
    """

    settings: Group
    channels: tuple[str, ...]
    last_time: Callable[[str], float]
    streams: int
    _index: dict[str, int] = field(init=False)
    _lanes: dict[str, _Lane] = field(init=False, default_factory=dict)
    _joining: dict[str, _Lane] = field(init=False, default_factory=dict)
    _rounds: dict[int, list[_Frame]] = field(init=False, default_factory=dict)  # by number, without a gap
    _first_round: int = field(init=False, default=0)
    _first_open: int = field(init=False, default=0)  # all rounds before it are full
    _announced: int = field(init=False)  # channels that the engine knows
    waiting: int = field(init=False, default=0)  # frames not yet handed out

    def __post_init__(self) -> None:
        self._index = {name: i for i, name in enumerate(self.channels)}
        self._announced = len(self.channels)

    def push(self, reading: Reading, arrival: float, ticket: int, join_s: float | None = None) -> Refusal | None:
        """Take a reading in.

        Args:
            arrival: s since the epoch, by our clock.
            ticket: of the message that brought it; handed out again with the work that deals with it.
            join_s: put readings of the same stream and time together, waiting so long for the rest; None: don't.

        Returns:
            why the reading is dropped (its ticket does not come back then); None when it is taken.
        """
        if reading.time is not None and reading.time > arrival + self.settings.max_future_s:
            return "future"
        lane = self._lanes.get(reading.stream)
        if lane is None:
            lane = _Lane(self.last_time(reading.stream))
            if lane.last_time == -math.inf and self.streams >= self.settings.max_streams:
                return "too_many_streams"
        refusal = self._know(reading)
        if refusal is not None:
            return refusal
        if reading.stream not in self._lanes:
            self._lanes[reading.stream] = lane
            self.streams += lane.last_time == -math.inf
        if join_s is not None:  # also of a part that comes too late: the next frame waits for its channels
            lane.heard.update(self._places(reading))
        return self._place(lane, reading, arrival, ticket, join_s)

    def forget(self, stream: str) -> None:
        """The stream left memory; the engine knows its last time when it is back, unless a frame still waits."""
        lane = self._lanes.get(stream)
        if lane is not None and lane.parts is None and lane.round <= self._first_round:
            del self._lanes[stream]

    def expire(self, now: float) -> None:
        """Complete the frames whose missing parts have been waited for long enough; `now` in s since the epoch."""
        for stream, lane in list(self._joining.items()):
            # before its arrival: the clock was set back, and the deadline may be hours away
            if lane.parts is not None and (lane.deadline <= now or now < lane.parts.arrival):
                self._complete(stream, lane, lane.parts)

    def deadline(self) -> float | None:
        """When `expire` has something to do, s since the epoch; None: nothing waits."""
        return min((lane.deadline for lane in self._joining.values()), default=None)

    def next(self) -> Work | None:
        """The next record for the engine; None when no frame waits."""
        if not self._rounds:
            return None
        if len(self.channels) > self._announced:
            names = self.channels[self._announced :]
            self._announced = len(self.channels)
            return Work(Widen(names), (), np.empty(0))
        frames = self._rounds.pop(self._first_round)
        self._first_round += 1
        self.waiting -= len(frames)
        width = len(self.channels)
        values = np.array([f.values + [math.nan] * (width - len(f.values)) for f in frames])
        batch = Batch(tuple(f.stream for f in frames), np.array([f.time for f in frames]), values)
        tickets = tuple(ticket for f in frames for ticket in f.tickets)
        return Work(batch, tickets, np.array([f.arrival for f in frames]))

    def outdated(self, streams: Iterable[str]) -> set[str]:
        """Those of the streams of which a newer frame waits than the one handed out last."""
        lanes, first = self._lanes, self._first_round
        return {stream for stream in streams if (lane := lanes.get(stream)) is not None and lane.round > first}

    def _know(self, reading: Reading) -> Refusal | None:
        """Make sure that the reading's channels are known, as far as they may be."""
        if reading.values.keys() <= self._index.keys():
            return None
        unknown = [name for name in reading.values if name not in self._index]
        if self.settings.channels != "auto":
            return "no_known_channel" if len(unknown) == len(reading.values) else None
        if len(self.channels) + len(unknown) > self.settings.max_channels:
            return "too_many_channels"
        for name in unknown:
            self._index[name] = len(self._index)
        self.channels += tuple(unknown)
        return None

    def _places(self, reading: Reading) -> list[int]:
        return [at for name in reading.values if (at := self._index.get(name)) is not None]

    def _place(
        self, lane: _Lane, reading: Reading, arrival: float, ticket: int, join_s: float | None
    ) -> Refusal | None:
        """Put a reading into the frame that waits for it, or into a new one."""
        parts = lane.parts
        newest = lane.last_time if parts is None else parts.time
        if parts is not None and join_s is not None and self._belongs(lane, parts, reading):
            if reading.time is not None and all(self._has(parts, at) for at in self._places(reading)):
                return "double"
            self._fill(parts, reading, ticket)
            self._complete_if_full(reading.stream, lane, parts)
            return None
        if reading.time is not None and reading.time <= newest:
            return "double" if reading.time == newest else "late"
        if parts is not None:  # nothing that is older than this one is taken any more
            self._complete(reading.stream, lane, parts)
        time = max(arrival, newest + SAME_TIME_STEP) if reading.time is None else reading.time
        values = reading.values
        frame = _Frame(reading.stream, time, arrival, [values.get(name, math.nan) for name in self.channels], [ticket])
        if join_s is None:
            self._enqueue(lane, frame)
            return None
        lane.parts, lane.timed, lane.deadline = frame, reading.time is not None, arrival + join_s
        self._joining[reading.stream] = lane
        self._complete_if_full(reading.stream, lane, frame)
        return None

    def _belongs(self, lane: _Lane, parts: _Frame, reading: Reading) -> bool:
        """Whether a reading is a part of the frame that waits: of its time or, where there is none, all new to it."""
        if lane.timed:
            return reading.time == parts.time
        return reading.time is None and not any(self._has(parts, at) for at in self._places(reading))

    def _has(self, frame: _Frame, at: int) -> bool:
        return at < len(frame.values) and not math.isnan(frame.values[at])

    def _fill(self, frame: _Frame, reading: Reading, ticket: int) -> None:
        """What the frame has already it keeps: the first value of a time counts."""
        frame.values += [math.nan] * (len(self.channels) - len(frame.values))
        for name, value in reading.values.items():
            at = self._index.get(name)
            if at is not None and math.isnan(frame.values[at]):
                frame.values[at] = value
        frame.tickets.append(ticket)

    def _complete_if_full(self, stream: str, lane: _Lane, parts: _Frame) -> None:
        # before the first frame is complete nobody knows which channels the stream has
        if lane.settled and all(self._has(parts, at) for at in lane.heard):
            self._complete(stream, lane, parts)

    def _complete(self, stream: str, lane: _Lane, parts: _Frame) -> None:
        del self._joining[stream]
        lane.parts, lane.settled = None, True
        self._enqueue(lane, parts)

    def _enqueue(self, lane: _Lane, frame: _Frame) -> None:
        lane.last_time = frame.time
        rounds, limit = self._rounds, self.settings.max_batch
        self._first_open = max(self._first_open, self._first_round)
        while len(rounds.get(self._first_open, ())) >= limit:  # found once, not once for each frame
            self._first_open += 1
        at = max(lane.round, self._first_open)
        while len(rounds.get(at, ())) >= limit:
            at += 1
        rounds.setdefault(at, []).append(frame)
        lane.round = at + 1
        self.waiting += 1
