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

from streamd.engine.backlog import KEPT, Block
from streamd.engine.lags import FEATURES, LARGE, NEAR
from streamd.engine.rows import Rows, column
from streamd.records import F32, F64, I64

RIDGE = 1.0  # in squared usual steps
FLOOR = 1e-9  # of the mean diagonal: near-duplicate features stay solvable
SOLVE_EVERY = (8, KEPT)  # frames: while a stream is young, and later
YOUNG_FRAMES = 300
KEEP_REACH = 0.999  # per frame
MOST_CHANGES = 8.0  # usual ones, that are ever foretold: what was learned of a jump is a line through one point
FEWEST = 3.0  # frames that have been learned from before anything is foretold
MOST_RATIO = 3.0  # that is made up for
_LIMIT = float(np.finfo(np.float32).max)


class Reach(Rows):
    """The largest rises and falls beyond what the seasons foretold: a regression foretells none that is larger.

    A level that has jumped up makes all features large, and a line through what was seen before bears no such
    stretching: it would foretell the way back although nothing ever went back like that. After a spike, something did.
    """

    rise: F64 = column("H", "C")  # discounted maximum
    fall: F64 = column("H", "C")

    def learn(self, slots: I64, errors: F64, limit: F64) -> None:
        """Take in what came of the last H frames.

        Args:
            errors: [B, H, C] values less what the seasons foretold; NaN where not known.
            limit: [B, C] what is larger counts as so much.
        """
        known, limit = np.isfinite(errors), limit[:, None]
        keep = np.where(known, KEEP_REACH, 1.0)
        seen = np.minimum(np.maximum(np.where(known, errors, 0.0), -limit), limit)
        self.rise[slots] = np.maximum(keep * self.rise[slots], seen)
        self.fall[slots] = np.maximum(keep * self.fall[slots], -seen)

    def bounded(self, slots: I64, change: F64, usual: F64) -> F64:
        """Foretold changes [B, ..., H, C] within them, and within so many of the usual ones [B, H, C]."""
        most = MOST_CHANGES * usual
        shape = (len(slots), *(1,) * (change.ndim - 3), *usual.shape[1:])
        rise, fall = np.minimum(self.rise[slots], most), np.minimum(self.fall[slots], most)
        return np.minimum(np.maximum(change, -fall.reshape(shape)), rise.reshape(shape))


class _Ridge(Rows):
    """Discounted sums and the coefficients that follow from them, with `FEATURES[:used]` as regressors."""

    used: ClassVar[int]
    keep: ClassVar[float]  # of what was learned, per frame
    haste: ClassVar[float]  # times faster, on top, that is forgotten right after a drift

    inputs: F64  # [slots, C, D, D] sums of feature x feature
    products: F64  # [slots, H, C, D] sums of feature x target
    slopes: F32  # [slots, H, C, D] the coefficients
    input_weight: F64  # [slots, C] sums of the weights that went into the inputs
    product_weight: F64  # [slots, H, C] ... into the products

    def learn(self, slots: I64, block: Block) -> None:
        """Take in what frames of some streams [S] taught, as if it had been one after the other."""
        x = block.features[..., : self.used]
        K, H = block.targets.shape[1:3]
        passed = (1.0 + self.haste * block.haste) * block.new
        since = np.cumsum(passed, axis=1)
        keep = self.keep ** since[:, -1]
        lasting = block.new * self.keep ** (since - passed)  # [S, K]
        weights = block.weights * lasting[:, :, None, None]
        seen = x[:, :, :K]
        weighed = seen * weights[:, :, 0].transpose(0, 2, 1)[..., None]
        self.inputs[slots] = self.inputs[slots] * keep[:, None, None, None] + weighed.transpose(0, 1, 3, 2) @ seen
        # the forecast for h steps that frame k before told of was made k + h frames before
        made = np.zeros((len(slots), x.shape[1], H, K + H - 1))
        frame, ahead = np.arange(K)[:, None], np.arange(H)
        made[:, :, ahead, frame + ahead] = (block.targets * lasting[:, :, None, None]).transpose(0, 3, 1, 2)
        products = (made @ x).transpose(0, 2, 1, 3)
        self.products[slots] = self.products[slots] * keep[:, None, None, None] + products
        self.input_weight[slots] = self.input_weight[slots] * keep[:, None] + weights[:, :, 0].sum(axis=1)
        self.product_weight[slots] = self.product_weight[slots] * keep[:, None, None] + weights.sum(axis=1)

    def solve(self, slots: I64, usual: F64) -> None:
        """Make the coefficients anew from the sums.

        Args:
            usual: [B, C] usual change over one step, which sets the ridge.
        """
        matrix = self.inputs[slots]
        diagonal = np.arange(self.used)
        mean = matrix[..., diagonal, diagonal].mean(axis=-1)
        ridge = RIDGE * usual * usual + FLOOR * mean + np.finfo(np.float64).tiny
        matrix[..., diagonal, diagonal] += ridge[..., None]
        found = np.linalg.solve(matrix, self.products[slots].transpose(0, 2, 3, 1))  # [B, C, D, H]
        # the products of h steps lack the last h - 1 frames that the inputs have: make up for their weight
        have = self.product_weight[slots].transpose(0, 2, 1)[:, :, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.minimum(self.input_weight[slots][..., None, None] / have, MOST_RATIO)
        found *= np.where(have > FEWEST, ratio, 0.0)
        found = np.where(np.isfinite(found), np.minimum(np.maximum(found, -_LIMIT), _LIMIT), 0.0)
        self.slopes[slots] = found.transpose(0, 3, 1, 2)

    def foretell(self, slots: I64, features: F64) -> F64:
        """Change over 1..H steps beyond what the seasons foretell, [B, H, C], from features [B, C, FEATURES]."""
        x = features[..., : self.used].astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # what is beyond all numbers is bounded later
            change = np.einsum("bhcf,bcf->bhc", self.slopes[slots], x)
        return np.where(np.isfinite(change), change, 0.0).astype(np.float64)


class Regression(_Ridge):
    """Remembers 10,000 frames and looks at all features."""

    used = FEATURES
    keep = 0.9999
    haste = 4.0

    inputs: F64 = column("C", FEATURES, FEATURES)
    products: F64 = column("H", "C", FEATURES)
    slopes: F32 = column("H", "C", FEATURES, dtype=np.float32)
    input_weight: F64 = column("C")
    product_weight: F64 = column("H", "C")


class Adaptive(_Ridge):
    """Remembers 500 frames, from which only a few coefficients can be known."""

    used = NEAR
    keep = 0.998
    haste = 0.0  # with fewer frames still, its coefficients would be guesses

    inputs: F64 = column("C", NEAR, NEAR)
    products: F64 = column("H", "C", NEAR)
    slopes: F32 = column("H", "C", NEAR, dtype=np.float32)
    input_weight: F64 = column("C")
    product_weight: F64 = column("H", "C")


def due(n: I64, turn: I64) -> I64:
    """Which of the streams at frames n have their coefficients made anew, as places in the batch.

    Args:
        turn: [B] whatever tells streams apart, so that not all of them are due at once.
    """
    return np.flatnonzero((n + turn) % np.where(n < YOUNG_FRAMES, *SOLVE_EVERY) == 0)


def weigh(errors: F64, weight: F64, usual: F64) -> tuple[F64, F64]:
    """Targets and their weights [B, H, C] for `learn`.

    Args:
        errors: [B, H, C] values less what the seasons foretold; NaN where not known.
        weight: [B, H, C] of the frames that foretold.
        usual: [B, H, C] usual change: an error of many of them is more likely a fault than something to learn.
    """
    known = np.isfinite(errors)
    targets = np.where(known, errors, 0.0)
    far = np.maximum(np.abs(targets) / (LARGE * usual), 1.0)
    return targets, np.where(known, weight, 0.0) / far / far
