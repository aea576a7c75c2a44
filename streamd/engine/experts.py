"""The forecasters of one group side by side: what each foretells, how they are mixed, and how the network corrects it.

Persistence; the seasons on top of it; two regressions on what the seasons leave; their mix; and the network, whose
correction counts as far as it has helped. Everything is an offset from a channel's last value. Knows how a forecast
is made and judged; not the network itself, nor how wide an interval is.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from streamd.engine import horizons, regression
from streamd.engine.backlog import Backlog
from streamd.engine.ends import Ends
from streamd.engine.lags import Lags
from streamd.engine.mix import EXPERTS, Gate, Mix
from streamd.engine.pending import Pending
from streamd.engine.regression import Adaptive, Reach, Regression
from streamd.engine.rows import Rows
from streamd.engine.seasons import Seasons
from streamd.kernel import experts as kernel
from streamd.kernel import horizons as between
from streamd.records import F64, I64

SEASONAL = EXPERTS.index("seasonal")
MIXED, CORRECTED, PUBLISHED = -3, -2, -1  # of what was made, behind the experts


class Frames(msgspec.Struct, frozen=True, gc=False):
    """A batch of frames and what is known of its streams by now."""

    slots: I64  # [B]
    n: I64  # [B] number of each frame in its stream
    number: I64  # [B] of the stream
    times: F64  # [B] s since the epoch
    interval: F64  # [B] s, usual step
    steps: F64  # [B] since the last frame, in usual steps
    values: F64  # [B, C], NaN where missing
    before: F64  # [B, C] last values before these; NaN where never seen
    last: F64  # [B, C] last value, this frame's where it has one; NaN where never seen
    usual: F64  # [B, H, C] usual change over 1..H steps
    level: F64  # [B, C] where the channel usually is
    spread: F64  # [B, C] and how far from there
    lowest: F64  # [B, C] what is further off counts as there
    highest: F64  # [B, C]
    trust: F64  # [B] 0..1, how far the frame may be learned from
    haste: F64  # [B] 0..1, how much faster than usual to forget


class Foretold(msgspec.Struct, frozen=True, gc=False):
    """What the experts say of a batch, as offsets from the last values."""

    experts: F64  # [B, E, H, C]
    weights: F64  # [B, E, H, C] they add to one
    mixed: F64  # [B, H, C]
    seasonal: F64  # [B, W, C] of every step, also of those that are not judged


class Forecasts(msgspec.Struct, frozen=True, gc=False):
    """The same and what was made of it for all of EXPERTS, and for every step that is published."""

    experts: F64  # [B, 4, W, C]; NaN of one that a compact state does without
    weights: F64  # [B, 5, W, C] the experts', which add to one, and how far the network is followed
    offset: F64  # [B, W, C] the forecast


class Experts:
    """Everything that the forecast but for the network's part follows from."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.pending = Pending(sizes)
        self.seasons = Seasons(sizes)
        self.lags = Lags(sizes)
        self.backlog = Backlog(sizes)
        self.regression = Regression(sizes)
        self.adaptive = Adaptive(sizes)
        self.reach = Reach(sizes)
        self.ends = Ends(sizes)
        self.mix = Mix(sizes)
        self.gate = Gate(sizes)
        self._steps, self._horizon = horizons.of(sizes), sizes["W"]
        self._regressions = (self.regression, self.adaptive)[: sizes["E"] - 2]

    def parts(self) -> dict[str, Rows]:
        """Those with a row per slot, by name."""
        return {
            "pending": self.pending,
            "seasons": self.seasons,
            "lags": self.lags,
            "backlog": self.backlog,
            "regression": self.regression,
            "adaptive": self.adaptive,
            "reach": self.reach,
            "ends": self.ends,
            "mix": self.mix,
            "gate": self.gate,
        }

    def judge(self, slots: I64, errors: F64, usual: F64, haste: F64) -> None:
        """Let mix and gate learn from the forecasts whose values have come.

        Args:
            errors: [B, 1 + M, H, C]; NaN where not judged.
            usual: [B, H, C] usual change.
            haste: [B] 0..1.
        """
        scaled = errors / usual[:, None]
        mixed = scaled[:, MIXED]
        self.mix.learn(slots, scaled[:, :MIXED], mixed, haste)
        self.gate.learn(slots, mixed - scaled[:, CORRECTED], mixed, haste)

    def foretell(self, frames: Frames, errors: F64) -> Foretold:
        """Learn from frames, and say what comes next.

        Args:
            errors: [B, 1 + M, H, C], as for `judge`.
        """
        slots, n, trust = frames.slots, frames.n, frames.trust
        self.ends.learn(slots, frames.values, frames.before)
        tame, here = np.empty((2, *frames.values.shape))
        kernel.tame(frames.values, frames.lowest, frames.highest, tame, here)
        season = self.seasons.learn(slots, n, frames.number, frames.steps, frames.times, frames.interval, tame, trust)
        left = errors[:, SEASONAL]
        self.reach.learn(slots, left, frames.lowest, frames.highest)
        self.backlog.add(slots, n, left, self.lags.trusted(slots, n), frames.usual, frames.haste)

        rest = self.lags.filled(slots, n, tame - season)
        x = self.lags.observe(slots, n, rest, here, frames.usual[:, 0])
        due = regression.due(n, frames.number, self.backlog.sizes["U"])
        if len(due):
            those = slots[due]
            for model in self._regressions:
                model.learn(those, n[due], self.backlog, self.lags)
                model.solve(those, frames.usual[due, 0])
            self.backlog.empty(those)

        experts = np.empty((len(slots), self.mix.sizes["E"], *frames.usual.shape[1:]))
        experts[:, 0] = 0.0
        # a channel that is missing is expected where its seasons have carried it meanwhile
        seasonal = self.seasons.ahead(slots, frames.times, frames.interval, self._horizon)
        kernel.seasonal(here, season, rest, frames.last, seasonal)
        # bounded before anything is added to it: what the regressions learn is what this leaves
        self.ends.bound(slots, frames.last, seasonal[:, None])
        every, seasonal = seasonal, self._judged(seasonal)
        experts[:, 1] = seasonal
        regressions = experts[:, 2:]
        for place, model in enumerate(self._regressions):
            model.foretell(slots, x, regressions[:, place])
        self.reach.forecasts(slots, regressions, seasonal, frames.usual)
        self.ends.bound(slots, frames.last, regressions)
        weights = self.mix.weights(slots)
        mixed = np.empty(frames.usual.shape)
        kernel.mix(weights, experts, mixed)
        return Foretold(experts, weights, mixed, every)

    def tell(self, frames: Frames, foretold: Foretold, share: F64, offset: F64) -> Forecasts:
        """What is published: also of steps that are not judged, for which what the seasons leave is a straight line.

        Args:
            share: [B, H, C] how far the network is followed.
            offset: [B, H, C] the forecast.
        """
        if len(self._steps) == self._horizon and foretold.experts.shape[1] == len(EXPERTS):
            return Forecasts(foretold.experts, np.concatenate([foretold.weights, share[:, None]], axis=1), offset)
        B, _, C = offset.shape
        experts = np.full((B, len(EXPERTS), self._horizon, C), np.nan)
        weights, told = np.zeros((B, len(EXPERTS) + 1, self._horizon, C)), np.empty((B, self._horizon, C))
        made = (foretold.experts, foretold.weights, foretold.seasonal, offset)
        between.mixed(self._steps, *made, experts, weights, told)
        weights[:, -1] = horizons.between(self._steps, share)
        self.ends.bound(frames.slots, frames.last, told[:, None])
        return Forecasts(experts, weights, told)

    def _judged(self, every: F64) -> F64:
        """Of every step, [B, W, C], those that are judged."""
        return every if len(self._steps) == self._horizon else every.take(self._steps - 1, axis=1)

    def remember(self, slots: I64, n: I64, foretold: Foretold, corrected: F64, published: F64) -> None:
        """Keep all forecasts made at frames n until their values come; offsets [B, H, C] with the network's part."""
        self.pending.remember(slots, n, foretold.experts, foretold.mixed, corrected, published)
