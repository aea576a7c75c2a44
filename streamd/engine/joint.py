"""How far a vector of the channels lies from where it usually does, jointly: Hotelling's T² with a running covariance.

For several vectors at once, such as levels and forecast errors, each with a mean and covariance of its own. What is far
off teaches next to nothing, so a fault that lasts does not become normal while it does. Knows vectors, not where they
come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.records import F64, I64, Bool

MEMORY_FRAMES: Final = 30_000.0  # weight of a frame falls to 1/e over so many later ones
FIRST_FRAMES: Final = 100  # before, a covariance says nothing
SHRINK: Final = 0.1  # of the variances, added to them: near-duplicate channels must not make every error a wonder
FINEST: Final = 1e-6  # of the level: no deviation is expected to be smaller
LARGE: Final = 4.0  # of a size: beyond it, it grows as its logarithm
_MOST: Final = 1e30  # of T²


@dataclass(frozen=True, slots=True)
class Joint:
    """How far each of J vectors is off."""

    size: F64  # [B, J] log(1 + T²/channels): 0.7 is usual; 0 where unknown
    blame: F64  # [B, J, C] by how much T² would be smaller without the channel: its error beside what the others say


class Whitener(Rows):
    """Mean and covariance of each vector."""

    mean: F64 = column("J", "C")
    covariance: F64 = column("J", "C", "C")
    inverse: F64 = column("J", "C", "C")  # of a few frames ago
    frames: F64 = column("J", "C")  # that each channel was learned from, as far as the memory reaches

    def measure(self, slots: I64, vectors: F64, matters: Bool | None = None) -> Joint:
        """How far vectors [B, J, C] are off; NaN where missing.

        Args:
            matters: [B, J, C] whether a channel's deviation counts; None: all do.
        """
        known = np.isfinite(vectors) & (self.frames[slots] >= FIRST_FRAMES)
        off = np.where(known, vectors - self.mean[slots], 0.0)
        inverse = self.inverse[slots]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            pull = np.einsum("bjcd,bjd->bjc", inverse, off)
            own = np.diagonal(inverse, axis1=2, axis2=3)
            blame = np.where(known & (own > 0.0), pull * pull / own, 0.0)
            square = np.einsum("bjc,bjc->bj", off, pull)
            if matters is not None:
                square = square - np.where(matters, 0.0, blame).sum(axis=2)
                blame = np.where(matters, blame, 0.0)
            size = np.log1p(np.clip(square / np.maximum(known.sum(axis=2), 1), 0.0, _MOST))
        size = np.where(size > LARGE, LARGE + np.log1p(np.maximum(size - LARGE, 0.0)), size)
        return Joint(np.where(known.any(axis=2), size, 0.0), np.minimum(blame, _MOST))

    def learn(self, slots: I64, vectors: F64, outside: Bool) -> None:
        """Take in vectors [B, J, C]; those that are outside [B, J] of what is usual only as slowly as old ones fade."""
        known = np.isfinite(vectors)
        outside = outside[:, :, None]
        frames, mean, covariance = self.frames[slots], self.mean[slots], self.covariance[slots]
        frames = np.where(known & ~outside, np.minimum(frames + 1.0, MEMORY_FRAMES), frames)
        rate = np.where(known, 1.0 / np.where(outside, MEMORY_FRAMES, np.maximum(frames, 1.0)), 0.0)
        off = np.where(known, vectors - mean, 0.0)
        # a channel that is missing keeps what is known of it, with whichever other; one that came later goes along
        # with another only as fast as that one learns: all pairs together stay a covariance
        slower = np.minimum(rate[:, :, :, None], rate[:, :, None, :])
        left = off * np.sqrt(1.0 - rate)
        moved = left[:, :, :, None] * left[:, :, None, :] - covariance
        self.frames[slots], self.mean[slots] = frames, mean + rate * off
        self.covariance[slots] = covariance + slower * moved

    def accept(self, slots: I64, vector: int, centre: F64) -> None:
        """Take a new centre [B, C] of one of the vectors as normal; NaN: it stays."""
        there = np.isfinite(centre)
        self.mean[slots, vector] = np.where(there, centre, self.mean[slots, vector])

    def solve(self, slots: I64, level: F64) -> None:
        """Bring the inverses up to date.

        Args:
            level: [S, C] what the channels' values are like, for how fine they may be expected to be.
        """
        covariance = self.covariance[slots]
        C = covariance.shape[-1]
        variance = np.diagonal(covariance, axis1=2, axis2=3)
        finest = (FINEST * np.abs(level) + 1e-12)[:, None] ** 2
        covariance[:, :, range(C), range(C)] = (1.0 + SHRINK) * variance + finest
        # channels of units that differ by 10^9 would spoil each other's digits
        scale = np.sqrt(np.diagonal(covariance, axis1=2, axis2=3))
        outer = scale[:, :, :, None] * scale[:, :, None, :]
        self.inverse[slots] = np.linalg.inv(covariance / outer) / outer


def due(n: I64, turn: I64) -> I64:
    """Which rows of a batch get their inverses anew with frames n [B]; often at first, then every 16 frames in turn."""
    early = (n < 512) & (n % 4 == 0)
    due: I64 = np.flatnonzero(early | ((n + turn) % 16 == 0))
    return due
