"""How strange a frame is: 1.0 is the alarm line of every stream, whatever its budget.

One term so far, `surprise`: the error of the one-step forecast against its usual size, the worst channel of the
frame. The line is set where the stream's own past says that the budget's share of frames lies above; that is far
beyond what was seen, so the tail is continued as an exponential. Knows errors, not values.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.records import F64, I64

TERMS = ("surprise",)

WEEK_S = 604_800.0
WARM_FRAMES = 300  # before that the tail is a guess, so a score stays below the line
COMMON, RARE = 0.1, 0.01  # shares of frames above the two quantiles that the tail is drawn through
LOWEST_LINE = 2.0  # four usual errors: quiet data must not make a line of nothing
MOST_SPREADS = 1e6  # an error of more usual errors is as strange as one of so many


class Score(Rows):
    """The tail of a stream's surprise: what its line follows from."""

    judged: F64 = column()  # frames that had a surprise
    common: F64 = column(fill=1.0)  # exceeded by the share COMMON of the frames
    rare: F64 = column(fill=1.5)  # exceeded by the share RARE

    def surprise(self, errors: F64, spread: F64) -> F64:
        """Strangeness of each channel, [B, C]: the root of the error in usual errors, so that the tail is light.

        Args:
            errors: [B, C] of the one-step forecasts, NaN where there was none: not strange.
            spread: [B, C] usual size of these errors.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = np.where(errors == 0, 0.0, np.abs(errors) / spread)
        bounded: F64 = np.minimum(np.nan_to_num(ratio, nan=0.0, posinf=MOST_SPREADS), MOST_SPREADS)
        return np.sqrt(bounded)

    def line(self, slots: I64, interval: F64, per_week: float) -> F64:
        """The surprise at the alarm line, [B], for a budget of alarms a week and frames `interval` seconds apart."""
        seconds = np.where(np.isfinite(interval), interval, 1.0)
        share = np.clip(per_week * seconds / WEEK_S, 1e-12, RARE)
        decades = np.log10(RARE / share)
        common, rare = self.common[slots], self.rare[slots]
        line: F64 = rare + decades * (rare - common) / np.log10(COMMON / RARE)
        return np.maximum(line, LOWEST_LINE)

    def warming(self, slots: I64) -> F64:
        """Progress of the warm-up, [B]; 1.0 when the line may be trusted."""
        return np.minimum(self.judged[slots] / WARM_FRAMES, 1.0)

    def learn(self, slots: I64, surprise: F64, known: F64, trust: F64) -> None:
        """Move both quantiles by the pinball loss's gradient.

        Args:
            surprise: [B] of the worst channel.
            known: [B] 1 where the frame had a surprise, else 0.
            trust: [B] 0..1, how far the frame is trusted.
        """
        judged, common, rare = self.judged[slots], self.common[slots], self.rare[slots]
        step = known * trust * np.maximum(1.0 / (1.0 + judged / 10.0), 0.02)
        common = common + step * ((surprise > common) - COMMON)
        rare = rare + step * ((surprise > rare) - RARE)
        self.common[slots] = common
        self.rare[slots] = np.maximum(rare, common)
        self.judged[slots] = judged + known
