"""What the last frames have taught, until it goes into a regression's sums: many at once cost little more than one.

A frame teaches what the forecasts of the H frames before it ought to have been. Knows targets and weights; neither what
is regressed on nor what is made of the sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamd.engine.lags import Lags
from streamd.engine.rows import Rows, column, pick
from streamd.records import F32, F64, I64

_LIMIT = float(np.finfo(np.float32).max)
KEPT = 24  # frames that are kept, and so the most that may come between two times that they are taken


@dataclass(frozen=True, slots=True)
class Block:
    """Frames of some streams, the newest first: K, as many as are new of any of them."""

    features: F64  # [S, C, K + H - 1, FEATURES] of the frames before each of the K, the newest first
    targets: F64  # [S, K, H, C] what the forecasts made 1..H frames before ought to have been, times their weights
    weights: F64  # [S, K, H, C] 0 where nothing is known
    haste: F64  # [S, K] 0..1
    new: F64  # [S, K] 1 where the frame was not taken before


class Backlog(Rows):
    """Rings over the last frames; frame n lies at n % KEPT."""

    targets: F32 = column(KEPT, "H", "C", dtype=np.float32)  # times their weights
    weights: F32 = column(KEPT, "H", "C", dtype=np.float32)
    haste: F32 = column(KEPT, dtype=np.float32)
    count: I64 = column(dtype=np.int64)  # frames that were not taken yet

    def add(self, slots: I64, n: I64, targets: F64, weights: F64, haste: F64) -> None:
        """Keep what frames n teach.

        Args:
            targets, weights: [B, H, C] of the forecasts made 1..H frames before; 0 both where nothing is known.
            haste: [B] 0..1, how much faster than usual to forget what was before.
        """
        place = n % KEPT
        self.targets[slots, place] = np.minimum(np.maximum(targets * weights, -_LIMIT), _LIMIT)
        self.weights[slots, place] = weights
        self.haste[slots, place] = haste
        self.count[slots] += 1

    def take(self, slots: I64, n: I64, lags: Lags) -> Block:
        """What streams have been taught since it was taken last; their last frames are n."""
        count = self.count[slots]
        most = int(count.max(initial=1))
        place = (n[:, None] - np.arange(most)) % KEPT
        new = np.arange(most) < count[:, None]
        self.count[slots] = 0
        rings = self.targets, self.weights, self.haste
        targets, weights, haste = (pick(ring, slots[:, None], place).astype(np.float64) for ring in rings)
        features = lags.past(slots, n, most + self.sizes["H"] - 1)
        return Block(features, targets, weights, haste, new.astype(np.float64))
