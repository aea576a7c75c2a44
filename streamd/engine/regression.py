"""Ridge regression of each channel's next values on its own past: one that remembers long, one that adapts fast.

Recursive least squares with its normal equations kept as discounted sums (Haykin, Adaptive Filter Theory, ch. 10) and
solved anew every few frames, when what these taught has gone in. So nothing winds up: what stops to vary leaves the
sums, and the ridge has its way. The target is the change over 1..H steps less what the seasons foretell, so that a
coefficient of zero is persistence.
Knows one channel at a time: what couples channels is the network's business.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from streamd.engine import horizons
from streamd.engine.backlog import KEPT, Backlog
from streamd.engine.lags import Lags
from streamd.engine.rows import Rows, column
from streamd.kernel import regression as kernel
from streamd.records import F32, F64, I64

RIDGE = 1.0  # in squared usual steps
FLOOR = 1e-9  # of the mean diagonal: near-duplicate features stay solvable
SOLVE_EVERY = (8, KEPT)  # frames: while a stream is young, and later
YOUNG_FRAMES = 300
KEEP_REACH = 0.999  # per frame
MOST_CHANGES = 8.0  # usual ones, that are ever foretold: what was learned of a jump is a line through one point
FEWEST = 3.0  # frames that have been learned from before anything is foretold
MOST_RATIO = 3.0  # that is made up for


class Reach(Rows, loops=kernel.Reach):
    """The largest rises and falls beyond what the seasons foretold: a regression foretells none that is larger.

    A level that has jumped up makes all features large, and a line through what was seen before bears no such
    stretching: it would foretell the way back although nothing ever went back like that. After a spike, something did.
    """

    loops: kernel.Reach

    rise: F64 = column("H", "C")  # discounted maximum
    fall: F64 = column("H", "C")

    def learn(self, slots: I64, errors: F64, lowest: F64, highest: F64) -> None:
        """Take in what came of the last H frames.

        Args:
            errors: [B, H, C] values less what the seasons foretold; NaN where not known.
            lowest, highest: [B, C] an error that is larger than from one to the other counts as one of so much.
        """
        self.loops.learn(slots, errors, lowest, highest, KEEP_REACH)

    def forecasts(self, slots: I64, changes: F64, seasonal: F64, usual: F64) -> None:
        """Make forecasts of foretold changes [B, K, H, C], in place: within reach, on top of what the seasons foretell.

        Args:
            seasonal: [B, H, C].
            usual: [B, H, C] changes, of which no forecast is more than so many.
        """
        self.loops.bound(slots, usual, MOST_CHANGES, seasonal, changes)


class _Ridge(Rows, loops=kernel.Ridge):
    """Discounted sums and the coefficients that follow from them, with the first D features as regressors."""

    loops: kernel.Ridge

    keep: ClassVar[float]  # of what was learned, per frame
    haste: ClassVar[float]  # times faster, on top, that is forgotten right after a drift

    inputs: F64  # [slots, C, D, D] sums of feature x feature
    products: F64  # [slots, H, C, D] sums of feature x target
    slopes: F32  # [slots, H, C, D] the coefficients
    input_weight: F64  # [slots, C] sums of the weights that went into the inputs
    product_weight: F64  # [slots, H, C] ... into the products

    def learn(self, slots: I64, n: I64, backlog: Backlog, lags: Lags) -> None:
        """Take in what streams were taught up to frames n, as if it had been one frame after the other.

        Args:
            backlog: what was taught and is not taken yet; it stays there.
            lags: the features of the frames before.
        """
        taught = (backlog.count, backlog.targets, backlog.weights, backlog.haste, lags.features)
        self.loops.fold(slots, n, horizons.of(self.sizes), *taught, self.keep, self.haste)

    def solve(self, slots: I64, usual: F64) -> None:
        """Make the coefficients anew from the sums.

        Args:
            usual: [B, C] usual change over one step, which sets the ridge.
        """
        self.loops.solve(slots, usual, RIDGE, FLOOR, FEWEST, MOST_RATIO)

    def foretell(self, slots: I64, features: F64, change: F64) -> None:
        """What changes over 1..H steps beyond what the seasons foretell: into change, [B, H, C].

        Args:
            features: [B, C, F].
        """
        self.loops.foretell(slots, features, change)


class Regression(_Ridge):
    """Remembers 10,000 frames and looks at all features that there are."""

    keep = 0.9999
    haste = 4.0

    inputs: F64 = column("C", "F", "F")
    products: F64 = column("H", "C", "F")
    slopes: F32 = column("H", "C", "F", dtype=np.float32)
    input_weight: F64 = column("C")
    product_weight: F64 = column("H", "C")


class Adaptive(_Ridge):
    """Remembers 500 frames, from which only a few coefficients can be known; a compact state has none."""

    keep = 0.998
    haste = 0.0  # with fewer frames still, its coefficients would be guesses

    inputs: F64 = column("C", "A", "A")
    products: F64 = column("H", "C", "A")
    slopes: F32 = column("H", "C", "A", dtype=np.float32)
    input_weight: F64 = column("C")
    product_weight: F64 = column("H", "C")


def due(n: I64, turn: I64, most: int) -> I64:
    """Which of the streams at frames n have their coefficients made anew, as places in the batch.

    Args:
        turn: [B] whatever tells streams apart, so that not all of them are due at once.
        most: frames that may come between two times.
    """
    places = np.empty(len(n), np.int64)
    young, later = SOLVE_EVERY
    return places[: kernel.due(n, turn, YOUNG_FRAMES, min(young, most), min(later, most), places)]
