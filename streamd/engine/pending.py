"""Forecasts that wait for their values: the experts', their mix, the network's, and what was published.

Kept as offsets from the value that was the last one then, so that single precision does. A forecast for t + h is
judged when t + h has come; one that a gap lies in is not judged at all, since its value came at another time.
"""

from __future__ import annotations

import numpy as np

from streamd.engine import horizons
from streamd.engine.mix import EXPERTS
from streamd.engine.rows import Rows, column
from streamd.kernel import pending as kernel
from streamd.records import F32, F64, I64

GAP_STEPS = 4.0  # usual steps without a frame are a gap
MADE = (*EXPERTS[1:], "mixed", "corrected", "published")  # persistence's offset is 0


class Pending(Rows, loops=kernel.Pending):
    """The forecasts made at the last W frames, as many as the furthest lie ahead; those of frame n lie at n % W."""

    loops: kernel.Pending

    offsets: F32 = column("W", "M", "H", "C", dtype=np.float32, fill=np.nan)
    unbroken: I64 = column(dtype=np.int64)  # frames since the last gap

    def errors(self, slots: I64, n: I64, steps: F64, changes: F64) -> F64:
        """What each forecast for frames n was off, [B, 1 + M, H, C], persistence first; NaN where not judged.

        Args:
            steps: [B] usual steps since the last frame.
            changes: [B, H, C] values less the last ones h frames ago.
        """
        errors = np.empty((len(slots), 1 + self.sizes["M"], *self.offsets.shape[3:]))
        self.loops.errors(slots, n, horizons.of(self.sizes), steps, changes, GAP_STEPS, errors)
        return errors

    def due(self, slots: I64, n: I64) -> F64:
        """What was published for frames n one step before, offsets [B, C]; NaN: nothing. Call it after `errors`."""
        due = np.empty((len(slots), self.sizes["C"]))
        self.loops.due(slots, n, due)
        return due

    def remember(self, slots: I64, n: I64, experts: F64, mixed: F64, corrected: F64, published: F64) -> None:
        """Keep what was made at frames n until the values come: offsets.

        Args:
            experts: [B, E, H, C] in the order of EXPERTS.
            mixed, corrected, published: [B, H, C].
        """
        self.loops.remember(slots, n, experts, mixed, corrected, published)
