"""State of the network, one per stream, and what keeps it within bounds.

Knows numbers that may have gone bad, not the weights that made them.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.records import F32, I64

CELL_LIMIT = 100.0  # tanh is flat long before; a cell beyond it would only take long to come back


class Hidden(Rows):
    """Hidden state and cell of each layer, by stream."""

    h: F32 = column("L", "K", dtype=np.float32)
    c: F32 = column("L", "K", dtype=np.float32)
    generation: I64 = column(dtype=np.int64)  # of the weights that made it


def repair(h: F32, c: F32) -> int:
    """Set what is not finite to 0 and bound the cells, in place; gives the number of streams that needed it.

    Args:
        h, c: [B, L, K] as the network gave them.

    >>> h, c = np.zeros((2, 1, 2), np.float32), np.array([[[np.nan, 1]], [[1, 2]]], np.float32)
    >>> repair(h, c), c[0].tolist()
    (1, [[0.0, 1.0]])
    """
    # a maximum is NaN if anything is, and a comparison with NaN is false
    if np.abs(c).max(initial=0.0) <= CELL_LIMIT and np.abs(h).max(initial=0.0) <= 1.0:
        return 0
    bad = ~((np.abs(c) <= CELL_LIMIT) & (np.abs(h) <= 1.0)).all(axis=(1, 2))
    c[bad] = np.clip(np.where(np.isfinite(c[bad]), c[bad], 0.0), -CELL_LIMIT, CELL_LIMIT)
    h[bad] = np.where(np.isfinite(h[bad]), h[bad], 0.0)
    return int(bad.sum())
