"""How far a vector of the channels lies from where it usually does, jointly: Hotelling's T² with a running covariance.

For several vectors at once, such as levels and forecast errors, each with a mean and covariance of its own. What is far
off teaches next to nothing, so a fault that lasts does not become normal while it does. Knows vectors, not where they
come from.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from streamd.engine.rows import Rows, column
from streamd.kernel import joint as kernel
from streamd.records import F64, I64, Bool

MEMORY_FRAMES: Final = 30_000.0  # weight of a frame falls to 1/e over so many later ones
FIRST_FRAMES: Final = 100  # before, a covariance says nothing
SHRINK: Final = 0.1  # of the variances, added to them: near-duplicate channels must not make every error a wonder
FINEST: Final = 1e-6  # of the level: no deviation is expected to be smaller ...
LEAST: Final = 1e-12  # ... nor than this
LARGE: Final = 4.0  # of a size: beyond it, it grows as its logarithm
YOUNG_FRAMES, YOUNG_EVERY, EVERY = 512, 4, 16  # frames: until when an inverse is due how often, and later
_MOST: Final = 1e30  # of T²


class Joint(msgspec.Struct, frozen=True, gc=False):
    """How far each of J vectors is off."""

    size: F64  # [B, J] log(1 + T²/channels): 0.7 is usual; 0 where unknown
    blame: F64  # [B, J, C] by how much T² would be smaller without the channel: its error beside what the others say


class Whitener(Rows, loops=kernel.Whitener):
    """Mean and covariance of each vector."""

    loops: kernel.Whitener

    mean: F64 = column("J", "C")
    covariance: F64 = column("J", "C", "C")
    inverse: F64 = column("J", "C", "C")  # of a few frames ago
    frames: F64 = column("J", "C")  # that each channel was learned from, as far as the memory reaches

    def measure(self, slots: I64, vectors: F64, matters: Bool | None = None) -> Joint:
        """How far vectors [B, J, C] are off; NaN where missing.

        Args:
            matters: [B, J, C] whether a channel's deviation counts; None: all do.
        """
        size, blame = np.empty(vectors.shape[:2]), np.empty(vectors.shape)
        self.loops.measure(slots, vectors, matters, FIRST_FRAMES, LARGE, _MOST, size, blame)
        return Joint(size, blame)

    def learn(self, slots: I64, vectors: F64, outside: Bool) -> None:
        """Take in vectors [B, J, C]; those that are outside [B, J] of what is usual only as slowly as old ones fade.

        A channel that is missing keeps what is known of it, with whichever other; one that came later goes along with
        another only as fast as that one learns: all pairs together stay a covariance.
        """
        self.loops.learn(slots, vectors, outside, MEMORY_FRAMES)

    def accept(self, slots: I64, centre: F64, variance: F64) -> None:
        """Take new centres [S, J, C] as normal, and variances [S, J, C] where they are larger than what was known."""
        covariance, C = self.covariance[slots], centre.shape[2]
        own = np.diagonal(covariance, axis1=2, axis2=3)
        covariance[:, :, range(C), range(C)] = np.maximum(own, variance)
        self.mean[slots], self.covariance[slots] = centre, covariance

    def solve(self, slots: I64, level: F64) -> None:
        """Bring the inverses up to date.

        Args:
            level: [S, C] what the channels' values are like, for how fine they may be expected to be; NaN: not known.
        """
        self.loops.solve(slots, level, SHRINK, FINEST, LEAST)


def due(n: I64, turn: I64) -> I64:
    """Which rows of a batch get their inverses anew with frames n [B]; often at first, then every 16 frames in turn."""
    rows = np.empty(len(n), np.int64)
    return rows[: kernel.due(n, turn, YOUNG_FRAMES, YOUNG_EVERY, EVERY, rows)]
