"""Whether a stream's errors have changed for good: one adaptive window per stream, ADWIN, for all streams at once.

A window is an exponential histogram (Bifet & Gavaldà 2007, "Learning from time-changing data with adaptive windowing"):
buckets of 1, 2, 4… errors, few of each size. It has drifted when some cut in time leaves two parts whose means differ
by more than chance allows; then it begins anew, as `river.drift.ADWIN` does, whose settings these are. Knows one number
per frame, not what it measures.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.kernel import drift as kernel
from streamd.records import F32, F64, I64, Bool

DELTA = 0.002  # how often chance may pass for a drift, at each look
CLOCK = 32  # frames from one look to the next
SHORTEST = 5  # frames in either part of a cut
BUCKETS = 5  # of each size; one more, and the two oldest become one of the next size
LEVELS = 11  # sizes: a window holds the last 8188 errors at least, and what is older drops out
HASTE_FRAMES = 300  # that a drift makes forgetting faster for
LARGEST = 1e15  # an error counts as no larger: its square, and sums of it, are numbers in single precision


class Drift(Rows, loops=kernel.Drift):
    """The windows: 456 bytes per stream, however long it lives.

    How many buckets there are of each size follows from the length of the window alone, and so does where they lie:
    the i-th bucket that a level ever got is at i % BUCKETS.
    """

    loops: kernel.Drift

    length: I64 = column(dtype=np.int64)  # errors since the window began
    since: I64 = column(dtype=np.int64, fill=HASTE_FRAMES)  # frames since the last drift; a fresh stream is past haste
    means: F32 = column(LEVELS, BUCKETS, dtype=np.float32)
    squares: F32 = column(LEVELS, BUCKETS, dtype=np.float32)  # mean squared distance from the bucket's mean

    def haste(self, slots: I64) -> F64:
        """How much faster to forget, [B]: 1 with the frame of a drift, less by and by, 0 after HASTE_FRAMES of them."""
        haste = np.empty(len(slots))
        self.loops.haste(slots, HASTE_FRAMES, haste)
        return haste

    def update(self, slots: I64, errors: F64) -> Bool:
        """Take in a frame, and every CLOCK frames of a stream look whether it has drifted.

        Args:
            errors: [B] one number per frame of the order of 1, NaN where nothing is known, which changes nothing. Best
                the size of the one-step error in slowly learnt usual ones, min(|error|, 3): it tells a shift and
                a change of spread alike, while heavy tails and errors that follow each other raise few false alarms.

        Returns:
            [B] a drift was found with this frame; the stream's window is empty then.
        """
        drifted = np.empty(len(slots), np.bool_)
        self.loops.update(slots, errors, DELTA, CLOCK, SHORTEST, LARGEST, drifted)
        return drifted
