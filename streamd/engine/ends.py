"""The ends of a channel's scale, found in its values: a lowest or highest that it has come back to again and again.

Rain, wind speed and counts stop at nought, a valve at 0 and 100, a display at its last digit: no value lies beyond, and
no forecast should. A noisy channel meets its lowest value once or twice; only one that stops there returns.
Knows values; not what anyone declared of them, which is `ranges`.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.records import F64, I64, Bool

VISITS = 30.0  # that make an end of an extreme; a value that stays there is one visit


class Ends(Rows):
    """The extremes so far, and how often a channel has come to them from elsewhere."""

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
        came = np.isfinite(values) & (values != before)
        lowest, highest = self.lowest[slots], self.highest[slots]
        self.low_visits[slots] = _visits(self.low_visits[slots], values == lowest, values < lowest, came)
        self.high_visits[slots] = _visits(self.high_visits[slots], values == highest, values > highest, came)
        self.lowest[slots], self.highest[slots] = np.fmin(lowest, values), np.fmax(highest, values)

    def bounded(self, slots: I64, last: F64, offsets: F64) -> F64:
        """Forecasts [B, ..., H, C], offsets from the last values [B, C], that reach beyond no end."""
        stops_low, stops_high = self.low_visits[slots] >= VISITS, self.high_visits[slots] >= VISITS
        if not (stops_low.any() or stops_high.any()):
            return offsets
        shape = (len(slots), *(1,) * (offsets.ndim - 2), self.sizes["C"])
        low = np.where(stops_low, self.lowest[slots] - last, -np.inf).reshape(shape)
        high = np.where(stops_high, self.highest[slots] - last, np.inf).reshape(shape)
        limited: F64 = np.clip(offsets, low, high)
        return limited


def _visits(visits: F64, there: Bool, beyond: Bool, came: Bool) -> F64:
    counted: F64 = np.where(beyond, 1.0, visits + (there & came))
    return counted
