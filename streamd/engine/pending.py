"""Forecasts that wait for their values: the experts', their mix, the network's, and what was published.

Kept as offsets from the value that was the last one then, so that single precision does. A forecast for t + h is
judged when t + h has come; one that a gap lies in is not judged at all, since its value came at another time.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.mix import EXPERTS
from streamd.engine.rows import Rows, column, pick
from streamd.records import F32, F64, I64

GAP_STEPS = 4.0  # usual steps without a frame are a gap
MADE = (*EXPERTS[1:], "mixed", "corrected", "published")  # persistence's offset is 0
_LIMIT = float(np.finfo(np.float32).max)


class Pending(Rows):
    """The forecasts made at the last H frames; those of frame n lie at n % W, W as long as H."""

    offsets: F32 = column("W", len(MADE), "H", "C", dtype=np.float32, fill=np.nan)
    unbroken: I64 = column(dtype=np.int64)  # frames since the last gap

    def errors(self, slots: I64, n: I64, steps: F64, changes: F64) -> F64:
        """What each forecast for frames n was off, [B, 1 + MADE, H, C], persistence first; NaN where not judged.

        Args:
            steps: [B] usual steps since the last frame.
            changes: [B, H, C] values less the last ones h frames ago.
        """
        H = self.sizes["H"]
        ahead = np.arange(H)
        unbroken = np.where(steps > GAP_STEPS, 0, self.unbroken[slots] + 1)
        self.unbroken[slots] = unbroken
        made = np.arange(len(MADE))[:, None]
        offsets = pick(self.offsets, slots[:, None, None], ((n[:, None] - 1 - ahead) % H)[:, None], made, ahead)
        errors = np.empty((len(slots), 1 + len(MADE), H, self.sizes["C"]))
        changes = np.where((ahead < unbroken[:, None])[:, :, None], changes, np.nan)
        np.subtract(changes[:, None], offsets, out=errors[:, 1:])
        errors[:, 0] = np.where(np.isnan(offsets[:, 0]), np.nan, changes)
        return errors

    def due(self, slots: I64, n: I64) -> F64:
        """What was published for frames n one step before, offsets [B, C]; NaN: nothing. Call it after `errors`."""
        published = self.offsets[slots, (n - 1) % self.sizes["H"], MADE.index("published"), 0]
        return np.where(self.unbroken[slots, None] > 0, published.astype(np.float64), np.nan)

    def remember(self, slots: I64, n: I64, offsets: F64) -> None:
        """Keep what was made at frames n, offsets [B, MADE, H, C] in the order of MADE, until the values come."""
        self.offsets[slots, n % self.sizes["H"]] = np.minimum(np.maximum(offsets, -_LIMIT), _LIMIT)
