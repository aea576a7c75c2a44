"""Sample paths: joint trajectories over horizons and channels, whose marginals are those of the intervals.

A Schaake shuffle (Clark et al. 2004, J. Hydrometeorology 5, 243-262): for each horizon and channel as many quantiles as
there are paths, put in the rank order that the errors of earlier forecasts had there. How far a path goes follows from
the intervals, what goes together from the residuals' own past. No chance in it. Knows errors, not values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from streamd.engine import horizons
from streamd.engine.rows import Rows, column
from streamd.records import F32, F64, I64, Array

KNOWN = 0.5  # share of its steps that a trajectory must have an error for to be followed
_LARGEST = 1e30  # an error counts as no larger; single precision holds it


def spacing(horizon: int) -> int:
    """Frames from one kept trajectory's start to the next: a quarter of the horizon.

    Those of neighbouring frames are nearly the same piece of the past, and as many of them as there are paths make the
    paths agree with each other too much.
    """
    return max(horizon // 4, 1)


def ring(paths: int, horizon: int) -> int:
    """Trajectories to keep, the axis T: one for each path, and those whose errors are still to come."""
    return paths + _unfinished(horizon) if paths else 0


def _unfinished(horizon: int) -> int:
    return -(-(horizon - 1) // spacing(horizon))


class Paths(Rows):
    """Error trajectories of every stream: the errors of one forecast at all its horizons.

    Only that of every `spacing`-th frame is kept; the one of frame s lies at s / spacing % T. T is that of `ring`, and
    tells how many paths P there are. Takes 4 T H C bytes per stream; nothing if P is 0.
    """

    errors: F32 = column("T", "H", "C", dtype=np.float32, fill=np.nan)

    @property
    def count(self) -> int:
        """How many paths are drawn: P."""
        return self.sizes["T"] - _unfinished(self._horizon) if self.sizes["T"] else 0

    @property
    def _horizon(self) -> int:
        return self.sizes.get("W", self.sizes["H"])

    def remember(self, slots: I64, n: I64, errors: F64) -> None:
        """Keep the errors judged at frames n: the one of h steps ahead belongs to the trajectory of frame n - h.

        Args:
            errors: [B, H, C] in usual errors, so that calm and rough times compare; NaN where none was judged.
        """
        T, apart = self.sizes["T"], spacing(self._horizon)
        if not T:
            return
        start = n[:, None] - horizons.of(self.sizes)
        frame, step = np.nonzero(start % apart == 0)
        at = slots[frame], start[frame, step] // apart % T, step
        self.errors[at] = np.minimum(np.maximum(errors[frame, step], -_LARGEST), _LARGEST)

    def draw(self, slots: I64, n: I64, mean: F64, quantile: Callable[[F64], F64]) -> F64:
        """Paths for the forecasts made at frames n, [B, P, H, C]; call it after `remember` of the same frames.

        Where fewer than P trajectories are complete, they are followed in turn; where none is, the first path is the
        lowest everywhere and the last the highest.

        Args:
            mean: [B, H, C] the forecasts.
            quantile: for probabilities [P], how far from the mean the quantiles lie, [B, P, H, C]; see `offsets`.
        """
        P = self.count
        if not P:
            return np.empty((len(slots), 0, *mean.shape[1:]))
        sorted_offsets = np.moveaxis(quantile((np.arange(P) + 0.5) / P), 1, -1)
        order = _order(np.moveaxis(self._followed(slots, n), 1, -1))
        shuffled = np.empty(sorted_offsets.shape)
        np.put_along_axis(shuffled, order, sorted_offsets, axis=-1)
        return mean[:, None] + np.moveaxis(shuffled, -1, 1)

    def _followed(self, slots: I64, n: I64) -> F32:
        """The trajectory that each path follows, [B, P, H, C]; 0 where there is no error."""
        P, T = self.count, self.sizes["T"]
        newest = (n - self._horizon) // spacing(self._horizon)  # the last one all of whose errors have come
        past: F32 = self.errors[slots[:, None], (newest[:, None] - np.arange(P)) % T]
        known = np.isfinite(past)
        usable = known.any(axis=3).mean(axis=2) >= KNOWN  # [B, P]
        past[~known] = 0.0
        count = usable.sum(axis=1)
        if (count < P).any():
            usable_first = np.argsort(~usable, axis=1, kind="stable")
            turn = np.arange(P) % np.maximum(count, 1)[:, None]
            which = np.take_along_axis(usable_first, turn, axis=1)
            past = np.take_along_axis(past, which[:, :, None, None], axis=1)
        return past


def _order(values: F32) -> I64:
    """Stable argsort along the last axis: by keys that hold the value and its place, since those are sorted faster."""
    bits = np.ascontiguousarray(values).view(np.int32).astype(np.int64)
    ascending = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)  # a float's bits are sign and magnitude
    keys: I64 = ascending << 32 | np.arange(values.shape[-1])
    keys.sort(axis=-1)
    return keys & 0xFFFFFFFF


def offsets(levels: F64, lower: F64, upper: F64, p: F64) -> F64:
    """Quantiles that agree with intervals, as offsets from the forecast, [B, P, H, C]; NaN where a bound is.

    Between the bounds, and beyond the outermost, they are linear in the normal distribution's quantiles, with 0 in the
    middle: for a single interval two halves of normal distributions.

    Args:
        levels: [Q] coverages, ascending.
        lower: [B, Q, H, C] offsets of the lower bounds, not above 0; a wider interval holds the narrower ones.
        upper: [B, Q, H, C] of the upper bounds.
        p: [P] probabilities between 0 and 1.
    """
    reach = _normal(tuple((0.5 + 0.5 * levels).tolist()))
    knots = np.concatenate([-reach[::-1], [0.0], reach])  # [2 Q + 1]
    bounds = np.concatenate([lower[:, ::-1], np.zeros_like(lower[:, :1]), upper], axis=1)
    z = _normal(tuple(p.tolist()))
    right = np.minimum(np.maximum(np.searchsorted(knots, z), 1), len(knots) - 1)
    share = (z - knots[right - 1]) / (knots[right] - knots[right - 1])
    left = bounds[:, right - 1]
    quantiles: F64 = left + share[:, None, None] * (bounds[:, right] - left)
    return quantiles


@lru_cache(maxsize=64)
def _normal(p: tuple[float, ...]) -> Array:
    """The normal distribution's quantiles."""
    quantiles = np.array([NormalDist().inv_cdf(each) for each in p])
    quantiles.setflags(write=False)
    return quantiles
