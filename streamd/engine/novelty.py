"""What was not seen before: how far a value, its level and its level beside the time of day lie from all known ones.

Each view of a channel keeps a grid over the range that it has been in and marks the cells that it has visited; a cell
that nobody visits any more is forgotten. Novelty is the way to the nearest visited cell, in ranges. One event, one
alarm: right after an alarm there is no other, and each makes the stream harder to impress for a while.
Knows single channels, no coupling and no forecast.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamd.engine.rows import Rows, column
from streamd.kernel import novelty as kernel
from streamd.records import F32, F64, I64

LINE: Final = 0.01  # of the range, all views together: what alone makes an event
VIEWS: Final = 3  # the value; its level beside what the time of day lets expect; its level
SMOOTH: Final = 0.1  # how far a level follows a value
SLOTS: Final = 48  # of a day
PROFILE: Final = 0.07  # how far the profile of a day follows a value
BIAS: Final = 0.001  # how far the level that goes with the profile does
RANGE_KEEP: Final = 0.9997  # of the range, per frame: what lies outside of it by then is strange again
CELLS: Final = 512
FULL: Final = 0.75  # a range of more than so many cells, as a share, gets cells twice as wide
ERA_FRAMES: Final = 8192  # a visited cell is known for one to two eras
REFRACTORY_FRAMES: Final = 25  # after an alarm
YOUNG: Final = 4.0  # periods: until so many have passed, the line lies higher
CALM_FRAMES: Final = 2000.0  # half-life of what an alarm taught
DAY_S: Final = 86_400.0
FURTHEST: Final = 2.0**50  # cells off zero: beyond it numbers have no fractions to tell cells apart

U8 = NDArray[np.uint8]


class Novelty(Rows, loops=kernel.Novelty):
    """What a stream has been like: 256 cells of 512 take 128 bytes for each view of a channel."""

    loops: kernel.Novelty

    level: F64 = column("C", fill=np.nan)
    aside: F64 = column("C")  # the same of what the time of day does not explain
    bias: F64 = column("C")
    profile: F64 = column(SLOTS, "C")
    visits: F32 = column(SLOTS, "C", dtype=np.float32)
    low: F64 = column(VIEWS, "C", fill=np.nan)
    high: F64 = column(VIEWS, "C", fill=np.nan)
    width: F64 = column(VIEWS, "C")  # of a cell, a power of two; 0: all values were equal so far
    origin: F64 = column(VIEWS, "C")  # the first cell begins at origin * width
    recent: U8 = column(VIEWS, "C", CELLS // 8, dtype=np.uint8)  # cells visited in this era, one bit each
    older: U8 = column(VIEWS, "C", CELLS // 8, dtype=np.uint8)  # and in the one before
    era: F64 = column()  # frames since it began
    frames: F64 = column()
    hardened: F64 = column()  # alarms lately
    quiet: F64 = column()  # frames until there may be another

    def observe(self, slots: I64, times: F64, values: F64, period: F64) -> F64:
        """How new a frame is, [B, C], 1.0 at the line; and remember it.

        Args:
            times: [B] s since the epoch.
            values: [B, C]; NaN where missing: not strange.
            period: [B] frames that may pass between two false alarms.
        """
        new = np.empty(values.shape)
        self.loops.observe(
            slots,
            times,
            values,
            period,
            *(LINE, SMOOTH, PROFILE, BIAS, RANGE_KEEP, FULL),
            *(ERA_FRAMES, REFRACTORY_FRAMES, YOUNG, CALM_FRAMES, DAY_S, FURTHEST),
            new,
        )
        return new
