"""The exact scores of the last frames of a group, by batch: references to what outcomes hold, and nothing per frame.

Knows columns of outcomes; not what they are shown as.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from streamd.records import F64, I64, Outcome

MOST: Final = 4_000  # frames, which take 0.7 kB each where they come one by one


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one frame."""

    seq: int
    score: float
    terms: F64  # [T]
    channel_score: F64  # [C] each channel's part


class Lately:
    """The newest batches, no more than `MOST` frames of them."""

    def __init__(self) -> None:
        self._batches: deque[tuple[tuple[str, ...], I64, F64, F64, F64]] = deque()
        self._frames = 0

    def __len__(self) -> int:
        return self._frames

    def hear(self, outcome: Outcome) -> None:
        """Keep a batch; the oldest make room."""
        kept = outcome.streams, outcome.seq, outcome.score, outcome.terms, outcome.channel_score
        self._batches.append(kept)
        self._frames += len(outcome.streams)
        while self._frames > MOST and len(self._batches) > 1:
            self._frames -= len(self._batches.popleft()[0])

    def last(self, stream: str) -> Scores | None:
        """A stream's newest frame, if it is still there."""
        for streams, seq, score, terms, parts in reversed(self._batches):
            if stream in streams:
                row = streams.index(stream)
                return Scores(int(seq[row]), float(score[row]), terms[row], parts[row])
        return None
