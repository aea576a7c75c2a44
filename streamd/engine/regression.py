"""Ridge regression of each channel's next values on its own past: one that remembers long, one that adapts fast.

Recursive least squares with its normal equations kept as discounted sums (Haykin, Adaptive Filter Theory, ch. 10) and
solved anew every few frames. So nothing winds up: what stops to vary leaves the sums, and the ridge has its way. The
target is the change over 1..H steps less what the seasons foretell, so that a coefficient of zero is persistence.
Knows one channel at a time: what couples channels is the network's business.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from streamd.engine.lags import FEATURES, LARGE, NEAR
from streamd.engine.rows import Rows, column
from streamd.records import F64, I64

RIDGE = 1.0  # in squared usual steps
FLOOR = 1e-9  # of the mean diagonal: near-duplicate features stay solvable
SOLVE_EVERY = (8, 24)  # frames: while a stream is young, and later
YOUNG_FRAMES = 300
KEEP_REACH = 0.999  # per frame
MOST_CHANGES = 8.0  # usual ones, that are ever foretold: what was learned of a jump is a line through one point
FEWEST = 3.0  # frames that have been learned from before anything is foretold
MOST_RATIO = 3.0  # that is made up for


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
        keep = np.where(np.isfinite(errors), KEEP_REACH, 1.0)
        seen = np.clip(np.nan_to_num(errors), -limit[:, None], limit[:, None])
        self.rise[slots] = np.maximum(keep * self.rise[slots], seen)
        self.fall[slots] = np.maximum(keep * self.fall[slots], -seen)

    def bounded(self, slots: I64, change: F64, usual: F64) -> F64:
        """A foretold change [B, H, C] within them, and within so many of the usual ones [B, H, C]."""
        most = MOST_CHANGES * usual
        return np.clip(change, -np.minimum(self.fall[slots], most), np.minimum(self.rise[slots], most))


class _Ridge(Rows):
    """Discounted sums and the coefficients that follow from them, with `FEATURES[:used]` as regressors."""

    used: ClassVar[int]
    keep: ClassVar[float]  # of what was learned, per frame
    haste: ClassVar[float]  # times faster, on top, that is forgotten right after a drift

    inputs: F64  # [slots, C, D, D] sums of feature x feature
    products: F64  # [slots, H, C, D] sums of feature x target
    coefficients: F64  # [slots, H, C, D]
    input_weight: F64  # [slots, C] sums of the weights that went into the inputs
    product_weight: F64  # [slots, H, C] ... into the products

    def learn(self, slots: I64, features: F64, targets: F64, weight: F64, haste: F64) -> None:
        """Take in what came of the last H frames.

        Args:
            features: [B, H, C, FEATURES] of the frames 1..H before.
            targets: [B, H, C] what these had to foretell for now; 0 where not known.
            weight: [B, H, C]; 0 where the target is not known.
            haste: [B] 0..1, right after a drift 1.
        """
        keep = self.keep ** (1.0 + self.haste * haste)
        x = features[..., : self.used]
        first = x[:, 0]
        inputs = self.inputs[slots]
        inputs *= keep[:, None, None, None]
        inputs += (first * weight[:, 0, :, None])[..., :, None] * first[..., None, :]
        self.inputs[slots] = inputs
        products = self.products[slots]
        products *= keep[:, None, None, None]
        products += x * (targets * weight)[..., None]
        self.products[slots] = products
        self.input_weight[slots] = self.input_weight[slots] * keep[:, None] + weight[:, 0]
        self.product_weight[slots] = self.product_weight[slots] * keep[:, None, None] + weight

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
        self.coefficients[slots] = np.nan_to_num(found, posinf=0.0, neginf=0.0).transpose(0, 3, 1, 2)

    def foretell(self, slots: I64, features: F64) -> F64:
        """Change over 1..H steps beyond what the seasons foretell, [B, H, C], from features [B, C, FEATURES]."""
        x = features[:, None, :, : self.used]
        change: F64 = (self.coefficients[slots] * x).sum(axis=-1)
        return change


class Regression(_Ridge):
    """Remembers 10,000 frames and looks at all features."""

    used = FEATURES
    keep = 0.9999
    haste = 4.0

    inputs: F64 = column("C", FEATURES, FEATURES)
    products: F64 = column("H", "C", FEATURES)
    coefficients: F64 = column("H", "C", FEATURES)
    input_weight: F64 = column("C")
    product_weight: F64 = column("H", "C")


class Adaptive(_Ridge):
    """Remembers 500 frames, from which only a few coefficients can be known."""

    used = NEAR
    keep = 0.998
    haste = 0.0  # with fewer frames still, its coefficients would be guesses

    inputs: F64 = column("C", NEAR, NEAR)
    products: F64 = column("H", "C", NEAR)
    coefficients: F64 = column("H", "C", NEAR)
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
