"""The ends of a channel's scale, found in its values: a lowest or highest that it has come back to again and again.

Rain, wind speed and counts stop at nought, a valve at 0 and 100, a display at its last digit: no value lies beyond, and
no forecast should. A noisy channel meets its lowest value once or twice; only one that stops there returns.
Knows values; not what anyone declared of them, which is `ranges`.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.kernel import ends as kernel
from streamd.records import F64, I64

VISITS = 30.0  # that make an end of an extreme; a value that stays there is one visit


class Ends(Rows, loops=kernel.Ends):
    """The extremes so far, and how often a channel has come to them from elsewhere."""

    loops: kernel.Ends

    lowest: F64 = column("C", fill=np.inf)
    highest: F64 = column("C", fill=-np.inf)
    low_visits: F64 = column("C")
    high_visits: F64 = column("C")

    def learn(self, slots: I64, values: F64, before: F64) -> None:
        """Take in a frame; one value beyond an end, and it was none.

        Args:
            values: [B, C], NaN where missing.
            before: [B, C] last values before these, NaN where there were none.
        """
        self.loops.learn(slots, values, before)

    def bound(self, slots: I64, last: F64, offsets: F64) -> None:
        """Let forecasts [B, K, H, C], offsets from the last values [B, C], reach beyond no end; in place."""
        self.loops.bound(slots, last, VISITS, offsets)
