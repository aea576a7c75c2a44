"""Whether a stream's errors have changed for good: one adaptive window per stream, ADWIN, for all streams at once.

A window is an exponential histogram (Bifet & Gavaldà 2007, "Learning from time-changing data with adaptive windowing"):
buckets of 1, 2, 4… errors, few of each size. It has drifted when some cut in time leaves two parts whose means differ
by more than chance allows; then it begins anew, as `river.drift.ADWIN` does, whose settings these are. Knows one number
per frame, not what it measures.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.records import F32, F64, I64, Array, Bool

DELTA = 0.002  # how often chance may pass for a drift, at each look
CLOCK = 32  # frames from one look to the next
SHORTEST = 5  # frames in either part of a cut
BUCKETS = 5  # of each size; one more, and the two oldest become one of the next size
LEVELS = 11  # sizes: a window holds the last 8188 errors at least, and what is older drops out
HASTE_FRAMES = 300  # that a drift makes forgetting faster for
_LARGEST = 1e15  # an error counts as no larger: its square, and sums of it, are numbers in single precision

_SIZES = np.exp2(np.arange(LEVELS))


class Drift(Rows):
    """The windows: 456 bytes per stream, however long it lives.

    How many buckets there are of each size follows from the length of the window alone, and so does where they lie:
    the i-th bucket that a level ever got is at i % BUCKETS.
    """

    length: I64 = column(dtype=np.int64)  # errors since the window began
    since: I64 = column(dtype=np.int64, fill=HASTE_FRAMES)  # frames since the last drift; a fresh stream is past haste
    means: F32 = column(LEVELS, BUCKETS, dtype=np.float32)
    squares: F32 = column(LEVELS, BUCKETS, dtype=np.float32)  # mean squared distance from the bucket's mean

    def haste(self, slots: I64) -> F64:
        """How much faster to forget, [B]: 1 with the frame of a drift, less by and by, 0 after HASTE_FRAMES of them."""
        return np.maximum(1.0 - self.since[slots] / HASTE_FRAMES, 0.0)

    def update(self, slots: I64, errors: F64) -> Bool:
        """Take in a frame, and every CLOCK frames of a stream look whether it has drifted.

        Args:
            errors: [B] one number per frame of the order of 1, NaN where nothing is known, which changes nothing. Best
                the size of the one-step error in slowly learnt usual ones, min(|error|, 3): it tells a shift and
                a change of spread alike, while heavy tails and errors that follow each other raise few false alarms.

        Returns:
            [B] a drift was found with this frame; the stream's window is empty then.
        """
        self.since[slots] += 1
        known = np.flatnonzero(~np.isnan(errors))
        here = slots[known]
        number = self.length[here]
        self._insert(here, number, errors[known])
        self.length[here] = number + 1
        drifted = np.zeros(len(slots), np.bool_)
        due = known[(number + 1) % CLOCK == 0]
        if len(due):
            drifted[due] = self._parts_differ(slots[due])
            gone = slots[drifted]
            self.length[gone] = 0
            self.since[gone] = 0
        return drifted

    def _insert(self, slots: I64, number: I64, errors: F64) -> None:
        """Put in the buckets of one error each, which are the number-th, from 0, of their streams' windows."""
        mean = np.minimum(np.maximum(errors, -_LARGEST), _LARGEST).astype(np.float32)
        square = np.zeros_like(mean)
        for level in range(LEVELS):
            if not len(slots):
                return
            place = number % BUCKETS
            full = (number >= BUCKETS) & ((number - BUCKETS) % 2 == 0)
            grown, oldest = slots[full], place[full]
            second = (oldest + 1) % BUCKETS
            one, other = self.means[grown, level, oldest], self.means[grown, level, second]
            half = 0.5 * (one - other)
            merged = 0.5 * (self.squares[grown, level, oldest] + self.squares[grown, level, second]) + half * half
            self.means[slots, level, place] = mean
            self.squares[slots, level, place] = square
            slots, number = grown, (number[full] - BUCKETS) // 2
            mean, square = one - half, merged

    def _parts_differ(self, slots: I64) -> Bool:
        """Whether a cut leaves two parts that differ by more than chance allows, [K]."""
        order, size = _oldest_first(self.length[slots])
        mean = np.take_along_axis(self.means[slots].reshape(len(slots), -1), order, axis=1).astype(np.float64)
        square = np.take_along_axis(self.squares[slots].reshape(len(slots), -1), order, axis=1)
        # cumulative sums in double precision: those of a constant are exact, so that it never seems to drift
        older = np.cumsum(size, axis=1)
        older_sum = np.cumsum(size * mean, axis=1)
        whole, whole_sum = older[:, -1:], older_sum[:, -1:]
        apart = mean - whole_sum / whole
        variance = np.cumsum(size * (square + apart * apart), axis=1)[:, -1:] / whole
        younger, younger_sum = whole - older, whole_sum - older_sum
        long_enough = (older >= SHORTEST) & (younger >= SHORTEST)
        older, younger = np.maximum(older, SHORTEST), np.maximum(younger, SHORTEST)
        scarcity = 1.0 / (older - SHORTEST + 1.0) + 1.0 / (younger - SHORTEST + 1.0)
        doubt = np.log(2.0 * np.log(whole) / DELTA)
        chance = np.sqrt(2.0 * scarcity * variance * doubt) + 2.0 / 3.0 * doubt * scarcity
        differ = np.abs(older_sum / older - younger_sum / younger) > chance
        drifted: Bool = np.any(differ & long_enough, axis=1)
        return drifted


def _oldest_first(length: I64) -> tuple[I64, F64]:
    """Where the buckets of windows lie, oldest first, and how many errors each holds, 0 where there is none.

    Args:
        length: [K] of the windows, errors since they began.

    Returns:
        index into the levels and their places as one axis, and sizes; [K, LEVELS * BUCKETS] both.
    """
    got = np.empty((len(length), LEVELS), np.int64)  # buckets that each level ever got
    passed = np.empty_like(got)  # and passed on to the next, two as one
    arrived = length
    for level in range(LEVELS):
        got[:, level] = arrived
        arrived = np.maximum(arrived - BUCKETS + 1, 0) // 2
        passed[:, level] = arrived
    number = (2 * passed)[:, ::-1, None] + np.arange(BUCKETS)  # the largest, which are the oldest, first
    there = number < got[:, ::-1, None]
    order: Array = np.arange(LEVELS)[::-1, None] * BUCKETS + number % BUCKETS
    size = np.where(there, _SIZES[::-1, None], 0.0)
    return order.reshape(len(length), -1), size.reshape(len(length), -1)
