"""State of the network, one per stream, and what keeps it within bounds.

Knows when a state is older than the weights; not where the weights come from.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.recent import Recent
from streamd.engine.rows import Rows, column
from streamd.kernel import network as kernel
from streamd.model.network import Shape, Weights, step
from streamd.records import F32, I64

REPLAYED = 8  # frames, at least: as many as training lets pass before it trusts a state that other weights have made
TURNS = 16  # frames within which all streams have had theirs
CELL_LIMIT = 100.0  # tanh is flat long before; a cell beyond it would only take long to come back


class Hidden(Rows, loops=kernel.Hidden):
    """Hidden state and cell of each layer, by stream."""

    loops: kernel.Hidden

    h: F32 = column("L", "K", dtype=np.float32)
    c: F32 = column("L", "K", dtype=np.float32)
    generation: I64 = column(dtype=np.int64)  # of the weights that made it

    def take(self, slots: I64) -> tuple[F32, F32]:
        """The states of streams, h and c [B, L, K]."""
        h, c = (np.empty((len(slots), *self.h.shape[1:]), np.float32) for _ in "hc")
        self.loops.take(slots, h, c)
        return h, c

    def put(self, slots: I64, h: F32, c: F32) -> None:
        """Let these be the states of streams, [B, L, K]."""
        self.loops.put(slots, h, c)

    def refresh(
        self, slots: I64, n: I64, turn: I64, recent: Recent, weights: Weights, shape: Shape, generation: int
    ) -> int:
        """Replay the last frames of streams whose state was made by weights that are no longer in use.

        Each stream waits for its turn, or all of them would hold up the readings at once; until then the new weights
        move a state that older ones have made.

        Args:
            slots, n: [B] of the streams, and the numbers of their frames that come now.
            turn: [B] whatever tells streams apart.
            generation: of the weights.

        Returns:
            how many states had to be repaired.
        """
        due = np.empty(len(slots), np.int64)
        due = due[: self.loops.due(slots, n, turn, TURNS, generation, due)]
        if not len(due):
            return 0
        slots, n = slots[due], n[due]
        self.generation[slots] = generation
        stride, R = recent.stride, recent.sizes["R"]
        # from a kept state, as few frames as will do; from the oldest one if there are none so old
        begin = np.maximum(np.maximum((n - REPLAYED) // stride, -(-(n - R) // stride)), 0) * stride
        has_any = n > begin
        slots, n, begin = slots[has_any], n[has_any], begin[has_any]
        if not len(slots):
            return 0
        repaired = 0
        starts = slots, begin // stride % recent.sizes["S"]
        h, c = recent.start_h[starts], recent.start_c[starts]
        for back in range(int((n - begin).max()), 0, -1):
            on = np.flatnonzero(n - back >= begin)
            at = slots[on], (n[on] - back) % R
            recent.mark(slots[on], n[on] - back, h[on], c[on])
            x = recent.inputs(*at)
            _, h_on, c_on = step(weights, shape, x, h[on], c[on])
            repaired += repair(h_on, c_on)
            h[on], c[on] = h_on, c_on
        self.h[slots], self.c[slots] = h, c
        return repaired


def repair(h: F32, c: F32) -> int:
    """Set what is not finite to 0 and bound the cells, in place; gives the number of streams that needed it.

    Args:
        h, c: [B, L, K] as the network gave them.

    >>> h, c = np.zeros((2, 1, 2), np.float32), np.array([[[np.nan, 1]], [[1, 2]]], np.float32)
    >>> repair(h, c), c[0].tolist()
    (1, [[0.0, 1.0]])
    """
    if kernel.sound(h, c, CELL_LIMIT):
        return 0
    bad = ~((np.abs(c) <= CELL_LIMIT) & (np.abs(h) <= 1.0)).all(axis=(1, 2))
    c[bad] = np.clip(np.where(np.isfinite(c[bad]), c[bad], 0.0), -CELL_LIMIT, CELL_LIMIT)
    h[bad] = np.where(np.isfinite(h[bad]), h[bad], 0.0)
    return int(bad.sum())
