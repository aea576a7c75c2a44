"""Running location and spread per stream and channel, and the typical error of persistence per horizon.

Robust to spikes (an update moves at most a few spreads), forgetting slowly. Knows values, not forecasts.
"""

from __future__ import annotations

import msgspec
import numpy as np

from streamd.engine.rows import Rows, column
from streamd.kernel import scale as kernel
from streamd.records import F64, I64, Bool

MEMORY_FRAMES = 1000.0  # forgetting: the weight of a frame falls to 1/e over so many later ones
HASTE = 4.0  # times faster, on top, that is forgotten right after a drift
REACH = 5.0  # a value further off than so many spreads counts as being there
AFAR = 10.0  # spreads: what is further off the mean counts as there, where the experts learn
STEADY = 4.0  # usual steps: a larger change says that the values do not stand still
TOP_KEEP = 0.97  # of the largest change lately, per frame
WIDEST = 10.0  # a usual change is no more than so many of the largest change lately: a unit may have changed
TINY = 1e-12  # relative to the level: a spread below it is a constant


class Usual(msgspec.Struct, frozen=True, gc=False):
    """What is usual for the channels of a batch."""

    level: F64  # [B, C]
    spread: F64  # [B, C] see `Scale.spread`
    last: F64  # [B, C] the last value seen, NaN where there was none
    lowest: F64  # [B, C] what is further off than AFAR spreads counts as there, where the experts learn
    highest: F64  # [B, C]
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

    def enter(self, slots: I64, sent: F64, most: float) -> tuple[F64, F64]:
        """Values [B, C], NaN where those sent are no numbers or beyond `most`, and the last ones before them [B, C]."""
        values, before = np.empty((2, *sent.shape))
        self.loops.enter(slots, sent, most, values, before)
        return values, before

    def known(self, slots: I64, usual: F64, sure: float) -> F64:
        """Usual changes, [B, H, C], NaN where they come from fewer than so many."""
        known = np.empty(usual.shape)
        self.loops.known(slots, sure, usual, known)
        return known

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
        level, spread, last, lowest, highest = np.empty((5, *values.shape))
        steps = np.empty(changes.shape)
        bounds = (MEMORY_FRAMES, HASTE, REACH, TOP_KEEP, WIDEST, TINY, AFAR)
        self.loops.learn(slots, values, changes, weight, haste, *bounds, level, spread, last, lowest, highest, steps)
        return Usual(level, spread, last, lowest, highest, steps)


def steady(values: F64, before: F64, usual: F64) -> Bool:
    """Whether values [B, C] stand still beside those before [B, C], as far as they ever do, [B].

    Args:
        usual: [B, H, C] changes.
    """
    still = np.empty(len(values), np.bool_)
    kernel.steady(values, before, usual, STEADY, still)
    return still
