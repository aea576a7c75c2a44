"""Which stream owns which row, and what is known of its time.

Knows names and times, not values.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from streamd.engine.rows import Rows, column
from streamd.kernel import slots as kernel
from streamd.records import F64, I64

# The usual step follows a quarter of the way, bounded to a doubling or halving: a gap counts little, a new rate is
# taken on within a dozen frames.
STEP_RATE = 0.25


class Came(msgspec.Struct, frozen=True, gc=False):
    """Frames in the time of their streams."""

    seq: I64  # [B] number of each frame in its stream
    age: I64  # [B] the same since that was fresh
    number: I64  # [B] of the stream
    gap: F64  # [B] s since the last frame
    steps: F64  # [B] the same in usual steps, 1 where unknown
    interval: F64  # [B] s, usual step by now
    first: bool  # whether one of them is the first since its stream was fresh


class Timing(Rows, loops=kernel.Timing):
    """When a stream spoke, and how often."""

    loops: kernel.Timing

    seq: I64 = column(dtype=np.int64)  # frames so far, so also the number of the next one
    age: I64 = column(dtype=np.int64)  # frames since the stream's state was fresh
    number: I64 = column(dtype=np.int64)  # of the stream, in the order of their first frames
    last_time: F64 = column(fill=-np.inf)  # s since the epoch
    interval: F64 = column(fill=np.nan)  # s, usual step between frames

    def advance(self, slots: I64, times: F64) -> Came:
        """Take note of frames at times, [B] s."""
        seq, age, number = np.empty((3, len(slots)), np.int64)
        gap, steps, interval = np.empty((3, len(slots)))
        first = self.loops.advance(slots, times, STEP_RATE, seq, age, number, gap, steps, interval)
        return Came(seq, age, number, gap, steps, interval, first)


class Slots:
    """The rows' owners: a stream's name against its slot. There are no gaps: the free slots come after the others."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.load(names)

    def load(self, names: Sequence[str]) -> None:
        """Let these own the first slots, and nobody else any."""
        self.names = list(names)
        self._slot = {name: slot for slot, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._slot

    def get(self, name: str) -> int | None:
        """The slot of a stream; None for one that was never seen."""
        return self._slot.get(name)

    def open(self, names: Sequence[str]) -> I64:
        """The slots of streams, [B]; a new name gets the next free one."""
        slot = self._slot
        for name in names:
            if name not in slot:
                slot[name] = len(self.names)
                self.names.append(name)
        return np.array([slot[name] for name in names], np.int64)

    def earliest(self, times: F64, count: int) -> I64:
        """The slots of the `count` streams with the smallest times [slots], in order; those of equal times by name."""
        times = times[: len(self.names)]
        latest = np.partition(times, count - 1)[count - 1]
        slots = sorted(np.flatnonzero(times <= latest).tolist(), key=lambda slot: (times[slot], self.names[slot]))
        return np.array(slots[:count], np.int64)

    def close(self, slots: I64) -> tuple[I64, I64]:
        """Let these slots go; the last streams move into the gaps.

        Returns:
            from where and to where rows have to be moved; the slots from the new length on are free then.
        """
        used = len(self.names) - len(slots)
        gone = np.zeros(len(self.names), np.bool_)
        gone[slots] = True
        for slot in slots.tolist():
            del self._slot[self.names[slot]]
        source = used + np.flatnonzero(~gone[used:])
        target = np.flatnonzero(gone[:used])
        for old, new in zip(source.tolist(), target.tolist(), strict=True):
            name = self.names[new] = self.names[old]
            self._slot[name] = new
        del self.names[used:]
        return source, target
