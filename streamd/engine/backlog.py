"""What the last frames have taught, until it goes into a regression's sums: many at once cost little more than one.

A frame teaches what the forecasts that were made for it ought to have been. Knows targets and weights; neither what is
regressed on nor what is made of the sums.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.lags import LARGE
from streamd.engine.rows import Rows, column
from streamd.kernel import backlog as kernel
from streamd.records import F32, F64, I64

KEPT = 24  # frames that a full state keeps: the most that may come between two times that they are taken


class Backlog(Rows, loops=kernel.Backlog):
    """Rings over the last frames; frame n lies at n % U."""

    loops: kernel.Backlog

    targets: F32 = column(
        "U", "H", "C", dtype=np.float32
    )  # what the forecasts made h frames before ought to have been, times their weights
    weights: F32 = column("U", "H", "C", dtype=np.float32)
    haste: F32 = column("U", dtype=np.float32)
    count: I64 = column(dtype=np.int64)  # frames that were not taken yet

    def add(self, slots: I64, n: I64, errors: F64, trusted: F64, usual: F64, haste: F64) -> None:
        """Keep what frames n teach.

        Args:
            errors: [B, H, C] values less what the seasons foretold; NaN where not known, which teaches nothing.
            trusted: [B, H, C] how far the frames that foretold may be learned from.
            usual: [B, H, C] usual change: an error of many of them is more likely a fault than something to learn.
            haste: [B] 0..1, how much faster than usual to forget what was before.
        """
        self.loops.add(slots, n, errors, trusted, usual, haste, LARGE)

    def empty(self, slots: I64) -> None:
        """What these streams were taught has been taken."""
        self.count[slots] = 0
