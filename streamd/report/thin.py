"""Makes long series short enough for a page, so that what sticks out still does.

Knows rows and values; not what they are. A series is cut into buckets of equal length, and a bucket keeps its lowest
and its highest value, each at its own row: a spike of one row survives any thinning.
"""

from __future__ import annotations

import numpy as np

from streamd.records import F64, I64


def extremes(values: F64, points: int) -> I64:
    """Rows to keep of values [N], about `points` of them, in order; all of them where there are no more.

    A bucket without any value keeps a row, so that a long gap stays one.

    >>> extremes(np.array([0.0, 0.0, 9.0, 0.0, 0.0, 0.0, -5.0, 0.0]), 4).tolist()
    [0, 2, 4, 6]
    """
    N = len(values)
    if points >= N:
        return np.arange(N)
    edges = _edges(N, max(1, points // 2))
    known = np.isfinite(values)
    lowest, highest = np.where(known, values, np.inf), np.where(known, values, -np.inf)
    rows = []
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        low, high = begin + int(lowest[begin:end].argmin()), begin + int(highest[begin:end].argmax())
        rows += sorted({low, high})
    return np.array(rows)


def envelope(lower: F64, upper: F64, points: int) -> tuple[I64, F64, F64]:
    """Rows, lower and upper of a band [N], which is nowhere narrower than it was; rows without a band are left out."""
    rows = np.flatnonzero(np.isfinite(lower) & np.isfinite(upper))
    lower, upper = lower[rows], upper[rows]
    if len(rows) <= points:
        return rows, lower, upper
    starts = _edges(len(rows), points)[:-1]
    return rows[starts], np.minimum.reduceat(lower, starts), np.maximum.reduceat(upper, starts)


def means(values: F64, points: int) -> tuple[I64, F64]:
    """Rows and means of values [N, K] over buckets of rows; NaN where a bucket knows none."""
    N = len(values)
    if points >= N:
        return np.arange(N), values
    edges = _edges(N, points)
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), edges[:-1])
    with np.errstate(invalid="ignore"):
        return edges[:-1], sums / np.add.reduceat(known, edges[:-1], dtype=np.int64)


def rolling(inside: F64, window: int) -> F64:
    """Share over the last `window` rows that say 1 or 0 in [N]; NaN (says nothing) does not count, nor make a window.

    NaN until the first window is full, and at rows that say nothing.
    """
    says = np.flatnonzero(np.isfinite(inside))
    share = np.full(len(inside), np.nan)
    if len(says) >= window:
        sums = np.concatenate([[0.0], np.cumsum(inside[says])])
        share[says[window - 1 :]] = (sums[window:] - sums[:-window]) / window
    return share


def _edges(rows: int, buckets: int) -> I64:
    return np.linspace(0, rows, buckets + 1).astype(np.int64)
