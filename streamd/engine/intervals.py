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

from streamd.engine.rows import Rows, column, pick
from streamd.records import F32, F64, I64

MEMORY_FRAMES = 30.0  # of the running error
STEP = 0.02  # how far one miss moves a multiplier, relative
BOUNDS = (0.05, 50.0)  # of a multiplier
PRIOR_FRAMES = 10.0  # what the group knows counts like so many frames, until a stream's own memory is full
POOL_FRAMES = 5000.0  # memory of the group
BEGINNINGS = (
    1.0 / 3.0,
    3.0,
)  # of a multiplier that the group hands down: a stream takes a thousand frames to narrow it
POOL_REACH = 10.0  # of what persistence is usually off with a stream: what the group knows counts as no larger for it
SIDES = np.array([-1.0, 1.0])  # below, above
_LIMIT = float(np.finfo(np.float32).max)


class Intervals(Rows):
    """The widths that were learnt, and the bounds of the forecasts that wait for their values."""

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
        nested = self.multiplier[slots] * (_normal(tuple(coverages)) * SIDES)[:, :, None, None]
        if len(coverages) > 1:
            nested = np.sign(nested) * np.maximum.accumulate(np.abs(nested), axis=1)
        bounds: F64 = nested * spread[:, None, None]
        return bounds

    def remember(self, slots: I64, n: I64, bounds: F64) -> None:
        """Keep the bounds of the forecasts made at frames n, [B, Q, 2, H, C]."""
        self.issued[slots, n % self.sizes["W"]] = np.minimum(np.maximum(bounds, -_LIMIT), _LIMIT)

    def due(self, slots: I64, n: I64, coverage: int) -> F64:
        """Bounds that were published for frames n one step before, offsets from the forecast [B, 2, C]; NaN: none.

        Args:
            coverage: place of the one that is asked for.
        """
        return self.issued[slots, (n - 1) % self.sizes["W"], coverage, :, 0].astype(np.float64)

    def learn(self, slots: I64, n: I64, errors: F64, usual: F64, trust: F64, coverages: Sequence[float]) -> None:
        """Judge the forecasts for frames n; call it before `remember` of the same frames.

        Args:
            errors: [B, H, C] values less forecasts; NaN where none is judged.
            usual: [B, H, C] persistence's usual error: how an error may count although there were none that large.
            trust: [B] 0..1, how far the frame is trusted.
        """
        known = np.isfinite(errors)
        weight = np.broadcast_to(trust[:, None, None], errors.shape)
        judged, square = self.judged[slots], self.error_square[slots]
        rate = np.where(judged < 10, 1.0, weight) / np.minimum(judged + 1.0, MEMORY_FRAMES)
        # an error beyond ten usual ones says nothing of what is usual: it counts as ten
        bound = np.where(judged < 10, np.inf, 100.0 * np.maximum(square, usual * usual))
        size = np.minimum(np.where(known, errors, 0.0) ** 2, bound)
        self.error_square[slots] = np.where(known, square + rate * (size - square), square)
        self.judged[slots] = np.where(known, np.minimum(judged + 1.0, MEMORY_FRAMES), judged)

        # judged by the bounds as they were: with those of now, a delay of h steps would go unpunished
        ahead, coverage = np.arange(self.sizes["H"]), np.arange(self.sizes["Q"])[:, None, None]
        frame = ((n[:, None] - 1 - ahead) % self.sizes["W"])[:, None, None]
        issued = pick(self.issued, slots[:, None, None, None], frame, coverage, np.arange(2)[:, None], ahead)
        beyond = np.empty(issued.shape, np.bool_)  # [B, Q, 2, H, C]
        np.less(errors[:, None], issued[:, :, 0], out=beyond[:, :, 0])
        np.greater(errors[:, None], issued[:, :, 1], out=beyond[:, :, 1])
        tails = 0.5 * (1.0 - np.array(coverages))[:, None, None, None]
        # a bound that is missed seldom has to move as fast, so a miss of it counts more
        step = STEP * np.sqrt(0.05 / tails)
        factor = np.where(beyond, np.exp(step * (1.0 - tails)), np.exp(-step * tails))
        # an interval of no width, of a channel that stands still, says nothing of how wide one has to be
        counts = known[:, None, None] & np.isfinite(issued) & (issued != 0.0)
        moved = self.multiplier[slots] * np.where(counts, factor, 1.0)
        self.multiplier[slots] = np.minimum(np.maximum(moved, BOUNDS[0]), BOUNDS[1])


@lru_cache(maxsize=16)
def _normal(coverages: tuple[float, ...]) -> F64:
    """How far the normal distribution's intervals reach, [Q, 1]."""
    return np.array([[NormalDist().inv_cdf(0.5 + coverage / 2)] for coverage in coverages])


class Pool(Rows):
    """What the intervals of a group's streams have in common: where a new stream begins. One row; never in place."""

    weight: F64 = column("H", "C")  # streams' frames that went in, as far as the memory reaches
    log_spread: F64 = column("H", "C")  # running mean of the log of the usual error
    log_multiplier: F64 = column("Q", 2, "H", "C")

    def begin(self) -> F64:
        """The multipliers of a stream that is new, [Q, 2, H, C]."""
        multipliers: F64 = np.clip(np.exp(self.log_multiplier[0]), *BEGINNINGS)
        return multipliers

    def spread(self, own: F64, judged: F64, usual: F64) -> F64:
        """Usual error of streams [B, H, C], from their own where they have judged enough, else from the group's too.

        Args:
            own: [B, H, C]; NaN where none.
            judged: [B, H, C] forecasts that it was learnt from.
            usual: [B, H, C] what persistence is usually off with each stream; NaN where that is not known for sure. One
                stream of wild values moves the group's mean as far as it likes, and must not move a calm one with it.
        """
        prior = np.where(self.weight > 0, PRIOR_FRAMES * np.maximum(1.0 - judged / MEMORY_FRAMES, 0.0), 0.0)
        pooled = np.fmin(np.exp(2.0 * self.log_spread), (POOL_REACH * usual) ** 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            square = (judged * np.where(judged > 0, own, 0.0) ** 2 + prior * pooled) / (judged + prior)
        return np.where(prior > 0, np.sqrt(square), own)

    def learn(self, spread: F64, judged: F64, multiplier: F64) -> None:
        """Take in streams of a batch, those that know themselves: [B, H, C] twice and [B, Q, 2, H, C]."""
        settled = (judged >= MEMORY_FRAMES) & (spread > 0)  # [B, H, C]
        if not settled.any():
            return
        count = settled.sum(axis=0)
        self.weight = np.minimum(self.weight + count, POOL_FRAMES)
        rate = count / np.maximum(self.weight, 1.0)  # [1, H, C]
        logs = np.log(np.where(settled, spread, 1.0)).sum(axis=0) / np.maximum(count, 1)
        self.log_spread = self.log_spread + rate * (logs - self.log_spread)
        logs = np.log(np.where(settled[:, None, None], multiplier, 1.0).astype(np.float32)).astype(np.float64)
        factors = logs.sum(axis=0) / np.maximum(count, 1)
        self.log_multiplier = self.log_multiplier + rate[:, None, None] * (factors - self.log_multiplier)
