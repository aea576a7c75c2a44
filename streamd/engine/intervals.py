"""Forecasts that wait for their values, and the intervals that follow from how wrong the earlier ones were.

Half width = running root mean square of the error x a multiplier that is moved online until the wanted share of
values lies inside: quantile tracking (Angelopoulos et al. 2023, arXiv 2307.16895) on scaled errors. A forecast for
t + h is judged when t + h has come, and not before. Knows errors, not how forecasts are made.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.records import F64, I64

MEMORY_FRAMES = 50.0  # of the running error
STEP = 0.02  # how far one miss moves the multiplier, relative
BOUNDS = (0.1, 30.0)  # of the multiplier


class Intervals(Rows):
    """Pending forecasts and the width that was learnt. Row n % H of the pending ones is judged by frame n."""

    pending_mean: F64 = column("H", "H", "C", fill=np.nan)  # [., target, steps ahead, channel]
    pending_half: F64 = column("H", "H", "C", fill=np.nan)
    judged: F64 = column("H", "C")  # forecasts judged, as far as the memory reaches
    error_square: F64 = column("H", "C")  # running mean square of the error
    multiplier: F64 = column("H", "C", fill=1)  # relative to the normal distribution's

    def errors(self, slots: I64, n: I64, values: F64) -> F64:
        """Values of frames n less what was forecast for them 1..H frames ago, [B, H, C]; NaN where there was none."""
        return values[:, None, :] - self.pending_mean[slots, n % self.sizes["H"]]

    def spread(self, slots: I64) -> F64:
        """Root mean square error of forecasts 1..H steps ahead, [B, H, C]; NaN where none was judged yet."""
        known = self.judged[slots] > 0
        return np.where(known, np.sqrt(self.error_square[slots]), np.nan)

    def half_width(self, slots: I64, coverage: float) -> F64:
        """Half the width of the interval, [B, H, C]; NaN where no forecast was judged yet."""
        return self.spread(slots) * (NormalDist().inv_cdf(0.5 + coverage / 2) * self.multiplier[slots])

    def remember(self, slots: I64, n: I64, mean: F64, half: F64) -> None:
        """Keep the forecasts made at frames n until their values come."""
        H = self.sizes["H"]
        ahead = np.arange(H)
        at = slots[:, None], (n[:, None] + 1 + ahead) % H, ahead
        self.pending_mean[at] = mean
        self.pending_half[at] = half

    def learn(self, slots: I64, n: I64, errors: F64, usual: F64, trust: F64, coverage: float) -> None:
        """Judge the forecasts for frames n; call it before `remember` of the same frames.

        Args:
            errors: [B, H, C] of `errors`.
            usual: [B, H, C] persistence's usual error: how an error may count although there were none that large.
            trust: [B] 0..1, how far the frame is trusted.
        """
        half = self.pending_half[slots, n % self.sizes["H"]]
        known = np.isfinite(errors)
        weight = np.broadcast_to(trust[:, None, None], errors.shape)
        judged, square = self.judged[slots], self.error_square[slots]
        rate = np.where(judged < 10, 1.0, weight) / np.minimum(judged + 1.0, MEMORY_FRAMES)
        # an error beyond ten usual ones says nothing of what is usual: it counts as ten
        bound = np.where(judged < 10, np.inf, 100.0 * np.maximum(square, usual * usual))
        size = np.minimum(np.where(known, errors, 0.0) ** 2, bound)
        self.error_square[slots] = np.where(known, square + rate * (size - square), square)
        self.judged[slots] = np.where(known, np.minimum(judged + 1.0, MEMORY_FRAMES), judged)
        missed = (np.abs(errors) > half) - (1.0 - coverage)
        moved = self.multiplier[slots] * np.exp(np.where(known & np.isfinite(half), STEP * missed * weight, 0.0))
        self.multiplier[slots] = np.clip(moved, *BOUNDS)
