"""Which streams have not been heard of for too long, by a clock of ours.

How long is too long the engine says, from the times in the readings; a sensor that sends its readings by the dozen is
waited for as its messages usually come. Pure: the time is an argument. Knows names, not readings; it lasts no longer
than the process, so after a start every stream is waited for anew.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

FEW = 5  # messages, before which it is not known how a stream's come
YOUNG_S = 600.0  # is waited at least for one of which it is not known
ARRIVALS = 3.0  # longest times between two messages that are waited at least
FADE = 0.97  # of the longest, per message
ROOM = 64  # turns that are kept, although they are passed over


@dataclass(slots=True)
class _Stream:
    heard: float  # s, by the watch's clock
    patience: float = math.inf  # s; inf: the engine has not said
    longest: float = 0.0  # s between two messages, slowly forgotten
    messages: int = 0
    turn: float = math.inf  # when it is looked at next; inf: not at all


class Watch:
    """Of one group's streams.

    Args:
        now: s, by the clock that all times are of.
    """

    def __init__(self, now: float) -> None:
        self.silent: set[str] = set()  # known to be, and not heard since
        self._streams: dict[str, _Stream] = {}
        self._since = now
        self._turns: list[tuple[float, str]] = []  # a heap; what is not the stream's `turn` any more is passed over

    def begin(self, streams: Iterable[str], patiences: Iterable[float]) -> None:
        """Watch for streams that were heard in a former life."""
        for stream, patience in zip(streams, patiences, strict=True):
            one = self._streams[stream] = _Stream(self._since, patience)
            self._expect(stream, one)

    def hear(self, stream: str, now: float) -> None:
        """A message of the stream came."""
        one = self._streams.get(stream)
        if one is None:
            one = self._streams[stream] = _Stream(now)
        one.longest = max(FADE * one.longest, now - max(one.heard, self._since))
        one.heard = now
        one.messages += 1
        self.silent.discard(stream)
        self._expect(stream, one)

    def wait_for(self, streams: Iterable[str], patiences: Iterable[float]) -> None:
        """The engine says after how many seconds each of the streams, which were heard, is silent."""
        for stream, patience in zip(streams, patiences, strict=True):
            one = self._streams[stream]
            sooner = patience < one.patience
            one.patience = patience
            if sooner:  # else its turn comes too early at most, and is given anew then
                self._expect(stream, one)

    def restart(self, now: float) -> None:
        """Nobody could be heard until now."""
        self._since = now

    def overdue(self, now: float) -> list[str]:
        """Streams that are silent and not known to be; the same again until they are told or heard."""
        found = []
        while self._turns and self._turns[0][0] <= now:
            at, stream = heapq.heappop(self._turns)
            one = self._streams[stream]
            if at != one.turn:
                continue
            one.turn = math.inf
            if self._due(one) <= now:
                found.append(stream)
            else:
                self._expect(stream, one)
        for stream in found:
            self._put(stream, self._streams[stream], now)
        return found

    def tell(self, streams: Iterable[str]) -> None:
        """These are known to be silent: they are waited for again when they were heard."""
        for stream in streams:
            self.silent.add(stream)
            self._streams.setdefault(stream, _Stream(self._since)).turn = math.inf

    def _expect(self, stream: str, one: _Stream) -> None:
        """Have a stream looked at when it is due, unless it is before that."""
        due = self._due(one)
        if due < one.turn and stream not in self.silent:
            self._put(stream, one, due)

    def _put(self, stream: str, one: _Stream, turn: float) -> None:
        one.turn = turn
        heapq.heappush(self._turns, (turn, stream))
        if len(self._turns) > 2 * len(self._streams) + ROOM:
            self._turns = [(one.turn, name) for name, one in self._streams.items() if one.turn < math.inf]
            heapq.heapify(self._turns)

    def _due(self, one: _Stream) -> float:
        patience = max(one.patience, ARRIVALS * one.longest, YOUNG_S if one.messages < FEW else 0.0)
        return max(one.heard, self._since) + patience
