"""Running location and spread per stream and channel, and the typical error of persistence per horizon.

Robust to spikes (an update moves at most a few spreads), forgetting slowly. Knows values, not forecasts.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.records import F64, I64

MEMORY_FRAMES = 1000.0  # forgetting: the weight of a frame falls to 1/e over so many later ones
HASTE = 4.0  # times faster, on top, that is forgotten right after a drift
REACH = 5.0  # a value further off than so many spreads counts as being there
TOP_KEEP = 0.97  # of the largest change lately, per frame
WIDEST = 10.0  # a usual change is no more than so many of the largest change lately: a unit may have changed
TINY = 1e-12  # relative to the level: a spread below it is a constant


class Scale(Rows):
    """What is usual for a channel of a stream, in its own unit."""

    seen: F64 = column("C")  # frames that had the channel, as far as the memory reaches
    mean: F64 = column("C")
    square: F64 = column("C")  # running mean of (value - mean)^2
    last: F64 = column("C", fill=np.nan)  # the last value seen
    steps: F64 = column("H", "C")  # judged persistence forecasts, as far as the memory reaches
    step_square: F64 = column("H", "C")  # running mean square of value(t + h) - value(t)
    top: F64 = column("H", "C")  # the largest change lately; where a channel stands still, no time passes for it

    def spread(self, slots: I64) -> F64:
        """Standard deviation, [B, C]; never 0, so that it can divide."""
        return np.sqrt(self.square[slots]) + TINY * (1.0 + np.abs(self.mean[slots]))

    def step_spread(self, slots: I64) -> F64:
        """Root mean square of the change over 1..H steps, [B, H, C]; never 0; the spread until one is known."""
        known, least = self.steps[slots] > 0, TINY * (1.0 + np.abs(self.mean[slots]))
        spread = np.sqrt(self.square[slots]) + least
        return np.where(known, np.sqrt(self.step_square[slots]), spread[:, None]) + least[:, None]

    def learn(self, slots: I64, values: F64, changes: F64, weight: F64, haste: F64) -> None:
        """Take in a frame.

        Args:
            values: [B, C], NaN where missing.
            changes: [B, H, C] value now less value h steps ago, NaN where unknown.
            weight: [B] 0..1, how far the frame is trusted; a fresh channel learns in full.
            haste: [B] 0..1, right after a drift 1.
        """
        memory = (MEMORY_FRAMES / (1.0 + HASTE * haste))[:, None]
        seen, mean, square = self.seen[slots], self.mean[slots], self.square[slots]
        here = np.isfinite(values)
        trust = np.where(seen < 30, 1.0, weight[:, None])
        rate = trust / np.minimum(seen + 1.0, memory)
        reach = np.where(seen < 3, np.inf, REACH * (np.sqrt(square) + TINY * (1.0 + np.abs(mean))))
        # a constant that begins to move has no spread to bound it by: let the first change in
        reach = np.where(square > 0, reach, np.inf)
        off = np.minimum(np.maximum(np.where(here, values, mean) - mean, -reach), reach)
        self.mean[slots] = np.where(here, mean + rate * off, mean)
        self.square[slots] = np.where(here, (1.0 - rate) * (square + rate * off * off), square)
        self.seen[slots] = np.where(here, np.minimum(seen + trust, MEMORY_FRAMES), seen)
        self.last[slots] = np.where(here, values, self.last[slots])

        steps, step_square = self.steps[slots], self.step_square[slots]
        judged = np.isfinite(changes)
        trust = np.where(steps < 30, 1.0, weight[:, None, None])
        rate = trust / np.minimum(steps + 1.0, memory[:, None])
        bound = np.where((steps < 3) | (step_square == 0), np.inf, REACH * REACH * step_square)
        change = np.minimum(np.where(judged, changes, 0.0) ** 2, bound)
        moved = judged & (changes != 0.0)
        top = np.where(moved, np.maximum(TOP_KEEP * self.top[slots], np.sqrt(change)), self.top[slots])
        most = np.where(moved, WIDEST * WIDEST * top * top, np.inf)
        self.step_square[slots] = np.where(
            judged, np.minimum(step_square + rate * (change - step_square), most), step_square
        )
        self.top[slots] = top
        self.steps[slots] = np.where(judged, np.minimum(steps + trust, MEMORY_FRAMES), steps)
