"""Running location and spread per stream and channel, and the typical error of persistence per horizon.

Robust to spikes (an update moves at most a few spreads), forgetting slowly. Knows values, not forecasts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.kernel import scale as kernel
from streamd.records import F64, I64

MEMORY_FRAMES = 1000.0  # forgetting: the weight of a frame falls to 1/e over so many later ones
HASTE = 4.0  # times faster, on top, that is forgotten right after a drift
REACH = 5.0  # a value further off than so many spreads counts as being there
TOP_KEEP = 0.97  # of the largest change lately, per frame
WIDEST = 10.0  # a usual change is no more than so many of the largest change lately: a unit may have changed
TINY = 1e-12  # relative to the level: a spread below it is a constant


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for the channels of a batch."""

    level: F64  # [B, C]
    spread: F64  # [B, C] see `Scale.spread`
    last: F64  # [B, C] the last value seen, NaN where there was none
    steps: F64  # [B, H, C] see `Scale.step_spread`


class Scale(Rows, loops=kernel.Scale):
    """What is usual for a channel of a stream, in its own unit."""

    loops: kernel.Scale

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
        spread = np.empty((len(slots), *self.steps.shape[1:]))
        self.loops.step_spread(slots, TINY, spread)
        return spread

    def learn(self, slots: I64, values: F64, changes: F64, weight: F64, haste: F64) -> Usual:
        """Take in a frame; gives what is usual by then.

        Args:
            values: [B, C], NaN where missing.
            changes: [B, H, C] value now less value h steps ago, NaN where unknown.
            weight: [B] 0..1, how far the frame is trusted; a fresh channel learns in full.
            haste: [B] 0..1, right after a drift 1.
        """
        level, spread, last = np.empty(values.shape), np.empty(values.shape), np.empty(values.shape)
        steps = np.empty(changes.shape)
        bounds = (MEMORY_FRAMES, HASTE, REACH, TOP_KEEP, WIDEST, TINY)
        self.loops.learn(slots, values, changes, weight, haste, *bounds, level, spread, last, steps)
        return Usual(level, spread, last, steps)
