"""The last frames of every stream, in rings: what changes, windows and replay of a state are cut from.

Frame n of a stream lies in row n % R of its ring; R is a multiple of the stride, at which states are kept too.
"""

from __future__ import annotations

import numpy as np

from streamd.engine import horizons
from streamd.engine.features import CLOCK, LIMIT, PLANES, compose
from streamd.engine.rows import Rows, column
from streamd.kernel import recent as kernel
from streamd.records import F32, F64, I64


class Recent(Rows, loops=kernel.Recent):
    """Rings over the last R frames, and over the hidden states at each stride's start."""

    loops: kernel.Recent

    base: F64 = column("R", "C", fill=np.nan)  # the last value seen, up to and with this frame
    level: F32 = column("R", "C", dtype=np.float32)  # the network's inputs
    change: F32 = column("R", "C", dtype=np.float32)
    seen: F32 = column("R", "C", dtype=np.float32)
    error: F32 = column("R", "C", dtype=np.float32)
    ahead: F32 = column("R", "C", dtype=np.float32)
    clock: F32 = column("R", CLOCK, dtype=np.float32)
    residual: F32 = column("R", "H", "C", dtype=np.float32, fill=np.nan)  # of the mix, judged at the frame; NaN: not
    trust: F32 = column("R", dtype=np.float32)  # how far the frame may be learned from, 0..1
    start_h: F32 = column("S", "L", "K", dtype=np.float32)  # state before frame n, n % stride == 0
    start_c: F32 = column("S", "L", "K", dtype=np.float32)

    def changes(self, slots: I64, n: I64, values: F64) -> F64:
        """Values now less the last ones known h frames ago, [B, H, C] for each judged h; NaN where there were none.

        Args:
            n: [B] number of the frame that is now, not recorded yet.
        """
        changes = np.empty((len(slots), self.sizes["H"], self.sizes["C"]))
        self.loops.changes(slots, n, horizons.of(self.sizes), values, changes)
        return changes

    def record(self, slots: I64, n: I64, base: F64, inputs: F32, residual: F64, trust: F64) -> None:
        """Put frame n in its place; what it takes the place of is R frames old.

        Args:
            base: [B, C].
            inputs: [B, inputs] as composed for the network.
            residual: [B, H, C]; counts as no larger than LIMIT.
            trust: [B].
        """
        self.loops.record(slots, n, base, inputs, residual, trust, LIMIT)

    def inputs(self, slots: I64, row: I64) -> F32:
        """What the network saw at these rows, [..., inputs]."""
        return compose(*(getattr(self, name)[slots, row] for name in PLANES), self.clock[slots, row])

    def fills(self, n: I64) -> bool:
        """Whether a window is complete with one of the frames n."""
        return self.loops.fills(n, self.stride)

    def mark(self, slots: I64, n: I64, h: F32, c: F32) -> None:
        """Keep the states before frames n where a stride begins."""
        self.loops.mark(slots, n, self.stride, h, c)

    @property
    def stride(self) -> int:
        """Frames from one kept state to the next."""
        return self.sizes["R"] // self.sizes["S"]
