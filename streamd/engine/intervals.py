"""Intervals that hold what they promise, whatever the errors look like: online conformal prediction.

Each bound is the running root mean square error x a multiplier of its own, moved online until the promised share of
values lies beyond it: quantile tracking (Angelopoulos et al. 2023, arXiv 2307.16895) on scaled errors, for each side,
coverage, horizon and channel. An error counts when the value has come. Knows errors, not how forecasts are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from streamd.engine import horizons
from streamd.engine.rows import Rows, column
from streamd.kernel import intervals as kernel
from streamd.records import F32, F64, I64

MEMORY_FRAMES = 30.0  # of the running error
YOUNG_FRAMES = 10.0  # judged, before which every error counts in full
FAR = 10.0  # an error beyond so many usual ones says nothing of what is usual: it counts as so many
STEP = 0.02  # how far one miss moves a multiplier, relative
BOUNDS = (0.05, 50.0)  # of a multiplier
PRIOR_FRAMES = 10.0  # what the group knows counts like so many frames, until a stream's own memory is full
POOL_FRAMES = 5000.0  # memory of the group
BEGINNINGS = (
    1.0 / 3.0,
    3.0,
)  # of a multiplier that the group hands down: a stream takes a thousand frames to narrow it
POOL_REACH = 10.0  # of what persistence is usually off with a stream: what the group knows counts as no larger for it


class Intervals(Rows, loops=kernel.Intervals):
    """The widths that were learnt, and the bounds of the forecasts that wait for their values."""

    loops: kernel.Intervals

    issued: F32 = column(
        "W", "Q", 2, "H", "C", dtype=np.float32, fill=np.nan
    )  # bounds, as offsets; of frame n at n % W
    judged: F64 = column("H", "C")  # forecasts judged, as far as the memory reaches
    error_square: F64 = column("H", "C")  # running mean square of the error
    multiplier: F64 = column("Q", 2, "H", "C", fill=1)  # relative to the normal distribution's; below, above

    def spread(self, slots: I64) -> F64:
        """Root mean square error of forecasts 1..H steps ahead, [B, H, C]; NaN where none was judged yet."""
        known = self.judged[slots] > 0
        return np.where(known, np.sqrt(self.error_square[slots]), np.nan)

    def bounds(self, slots: I64, spread: F64, coverages: Sequence[float]) -> F64:
        """How far below and above the forecast each interval reaches, [B, Q, 2, H, C]; the wider hold the narrower.

        Args:
            spread: [B, H, C] usual error; NaN where there is none yet, and so is the offset.
            coverages: [Q], ascending.
        """
        bounds = np.empty((len(slots), *self.multiplier.shape[1:]))
        self.loops.bounds(slots, _normal(tuple(coverages)), spread, bounds)
        return bounds

    def remember(self, slots: I64, n: I64, bounds: F64) -> None:
        """Keep the bounds of the forecasts made at frames n, [B, Q, 2, H, C]."""
        self.loops.remember(slots, n, bounds)

    def due(self, slots: I64, n: I64, coverage: int) -> F64:
        """Bounds that were published for frames n one step before, offsets from the forecast [B, 2, C]; NaN: none.

        Args:
            coverage: place of the one that is asked for.
        """
        due = np.empty((len(slots), 2, self.sizes["C"]))
        self.loops.due(slots, n, coverage, due)
        return due

    def learn(self, slots: I64, n: I64, errors: F64, usual: F64, trust: F64, coverages: Sequence[float]) -> None:
        """Judge the forecasts for frames n; call it before `remember` of the same frames.

        Args:
            errors: [B, H, C] values less forecasts; NaN where none is judged.
            usual: [B, H, C] persistence's usual error: how an error may count although there were none that large.
            trust: [B] 0..1, how far the frame is trusted.
        """
        # judged by the bounds as they were: with those of now, a delay of h steps would go unpunished
        bounds = (MEMORY_FRAMES, YOUNG_FRAMES, FAR * FAR, *BOUNDS)
        steps, factors = horizons.of(self.sizes), _factors(tuple(coverages))
        self.loops.learn(slots, n, steps, errors, usual, trust, factors, *bounds)


@lru_cache(maxsize=16)
def _normal(coverages: tuple[float, ...]) -> F64:
    """How far the normal distribution's intervals reach, [Q]."""
    return np.array([NormalDist().inv_cdf(0.5 + coverage / 2) for coverage in coverages])


@lru_cache(maxsize=16)
def _factors(coverages: tuple[float, ...]) -> F64:
    """By what a multiplier grows when its bound was not missed, and when it was, [2, Q]."""
    tails = 0.5 * (1.0 - np.array(coverages))
    # a bound that is missed seldom has to move as fast, so a miss of it counts more
    step = STEP * np.sqrt(0.05 / tails)
    return np.exp(np.stack([-step * tails, step * (1.0 - tails)]))


class Pool(Rows, loops=kernel.Pool):
    """What the intervals of a group's streams have in common: where a new stream begins. One row."""

    loops: kernel.Pool

    weight: F64 = column("H", "C")  # streams' frames that went in, as far as the memory reaches
    log_spread: F64 = column("H", "C")  # running mean of the log of the usual error
    log_multiplier: F64 = column("Q", 2, "H", "C")

    def begin(self) -> F64:
        """The multipliers of a stream that is new, [Q, 2, H, C]."""
        multipliers: F64 = np.clip(np.exp(self.log_multiplier[0]), *BEGINNINGS)
        return multipliers

    def spread(self, slots: I64, own: Intervals, usual: F64, steps: F64, sure: float) -> F64:
        """Usual error of streams [B, H, C], from their own where they have judged enough, else from the group's too.

        Where neither knows any, since gaps come so often that no forecast that far ahead is ever judged: what
        persistence would be off; NaN where that is not known either.

        Args:
            usual: [B, H, C] what persistence is usually off with each stream.
            steps: [slots, H, C] frames that this is known from.
            sure: so many of which make it sure. One stream of wild values moves the group's mean as far as it likes,
                and must not move a calm one with it.
        """
        spread = np.empty(usual.shape)
        bounds = (PRIOR_FRAMES, MEMORY_FRAMES, POOL_REACH, sure)
        self.loops.spread(slots, *bounds, own.loops, usual, steps, spread)
        return spread

    def learn(self, slots: I64, own: Intervals) -> None:
        """Take in streams of a batch, those that know themselves."""
        self.loops.learn(slots, MEMORY_FRAMES, POOL_FRAMES, own.loops)
