"""Measures of alarms against labels, and the trivial lines that any detector has to be above.

Knows rows, labels and scores; not where they come from. Nothing is adjusted to points, windows or segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamd.records import F64, Bool

OUTSIDE = 0.05  # of the range so far, by which NAB's trivial rule has to be surprised
EVERY = 600  # rows from one alarm to the next that looks at nothing
LEAST_DEVIATION = 1e-3  # of a channel that never moves in the training rows: its z-score is to be finite


@dataclass(frozen=True, slots=True)
class Rates:
    """Of all rows together."""

    f1: float
    far: float  # share of the normal rows that alarmed
    mar: float  # share of the anomalous rows that did not


def rates(alarm: Bool, label: Bool) -> Rates:
    """
    >>> rates(np.array([True, True, False, False]), np.array([True, False, True, False]))
    Rates(f1=0.5, far=0.5, mar=0.5)
    """
    hit, false = int((alarm & label).sum()), int((alarm & ~label).sum())
    missed, quiet = int((~alarm & label).sum()), int((~alarm & ~label).sum())
    return Rates(
        f1=2 * hit / max(2 * hit + false + missed, 1),
        far=false / max(false + quiet, 1),
        mar=missed / max(missed + hit, 1),
    )


def best_rates(score: F64, label: Bool) -> tuple[Rates, float]:
    """At the line that gives the best F1 in hindsight, and that line."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(label[order])
    f1 = 2 * hits / (np.arange(1, len(score) + 1) + label.sum())
    f1[:-1][np.diff(score[order]) == 0] = 0.0
    line = float(score[order][int(np.argmax(f1))])
    return rates(score >= line, label), line


def best_position(label: Sequence[Bool], first: int) -> tuple[Rates, tuple[int, int]]:
    """An alarm in all files from one row to another and never else, the two chosen in hindsight.

    Args:
        label: [N] of each file.
        first: row from which on a file counts.
    """
    longest = max(map(len, label))
    ones, rows = np.zeros(longest), np.zeros(longest)
    for each in label:
        ones[first : len(each)] += each[first:]
        rows[first : len(each)] += 1
    hits, taken = np.append(0, np.cumsum(ones)), np.append(0, np.cumsum(rows))
    begin, end = np.meshgrid(np.arange(first, longest), np.arange(first + 1, longest + 1), indexing="ij")
    f1 = 2 * (hits[end] - hits[begin]) / np.maximum(taken[end] - taken[begin] + hits[-1], 1) * (end > begin)
    a, b = np.unravel_index(int(np.argmax(f1)), f1.shape)
    edges = int(begin[a, b]), int(end[a, b])
    at = np.concatenate([np.arange(first, len(each)) for each in label])
    alarm = (at >= edges[0]) & (at < edges[1])
    return rates(alarm, np.concatenate([each[first:] for each in label])), edges


def average_precision(score: F64, label: Bool) -> float:
    """Mean over the anomalous rows of the precision at the line on which each is found; equals are found together.

    >>> average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True])).__round__(4)
    0.8333
    """
    order = np.argsort(-score, kind="stable")
    last_of_equals = np.append(np.diff(score[order]) != 0, True)
    hits = np.cumsum(label[order])[last_of_equals]
    precision = hits / (np.flatnonzero(last_of_equals) + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / max(int(label.sum()), 1))


def outside_the_range(values: F64) -> F64:
    """1 where a value [N] lies further outside the range so far than OUTSIDE of it, else 0."""
    high = np.maximum.accumulate(np.append(values[0], values[:-1]))
    low = np.minimum.accumulate(np.append(values[0], values[:-1]))
    width = np.maximum(high - low, 1e-12)
    return np.asarray((values > high + OUTSIDE * width) | (values < low - OUTSIDE * width), np.float64)


def now_and_then(rows: int) -> F64:
    """1 at every so many rows, whatever they hold, else 0."""
    return np.asarray(np.arange(rows) % EVERY == EVERY - 1, np.float64)


def distances(train: F64, values: F64) -> F64:
    """|z| [N, C] of values by mean and deviation of the training rows."""
    deviation = np.maximum(train.std(axis=0), LEAST_DEVIATION)
    found: F64 = np.abs(values - train.mean(axis=0)) / deviation
    return found
