"""The kernel of novelty does what a few lines of Python say with sets of cells, and each stream by itself."""

from __future__ import annotations

from math import ceil, exp2, floor, isfinite, isnan, log, log2, sqrt

import numpy as np
import pytest

from streamd.engine import novelty as module
from streamd.engine.novelty import CELLS, LINE, VIEWS, Novelty

SLOTS = np.array([4, 0, 2])
C = 4
PERIOD = np.array([1000.0, 3000.0, 200.0])
STEP_S = 700.0


def width_of(span, centre):
    width = exp2(ceil(log2(span))) / (CELLS // 2) if span > 0.0 else 0.0
    return max(width, exp2(ceil(log2(abs(centre) + 1e-300))) / module.FURTHEST) if width > 0.0 else 0.0


class View:
    """A grid over the range of one view of one channel."""

    def __init__(self):
        self.low = self.high = np.nan
        self.width = self.origin = 0.0
        self.recent, self.older = set(), set()

    def distance(self, value):
        if isnan(self.low):
            self.low = self.high = value
        first, half = self.low, 0.5 * module.RANGE_KEEP * (self.high - self.low)
        middle = 0.5 * (self.low + self.high)
        self.low, self.high = min(middle - half, value), max(middle + half, value)
        span, centre = self.high - self.low, 0.5 * (self.low + self.high)
        if self.width == 0.0:
            self.width = width_of(span, centre)
            if self.width == 0.0:
                return 0.0
            self.origin = floor(centre / self.width) - CELLS // 2
            self.recent.add(min(max(floor(first / self.width) - self.origin, 0), CELLS - 1))
        cell, tight = floor(value / self.width) - self.origin, span > module.FULL * CELLS * self.width
        if tight or not 0 <= cell < CELLS:
            wider = max(width_of(span, centre), 2.0 * self.width) if tight else self.width
            start = floor(centre / wider) - CELLS // 2
            self.recent, self.older = (self.moved(cells, wider, start) for cells in (self.recent, self.older))
            self.width, self.origin = wider, start
            cell = min(max(floor(value / wider) - start, 0), CELLS - 1)
        known = self.recent | self.older
        self.recent.add(cell)
        if cell in known:
            return 0.0
        return min(min((abs(cell - other) for other in known), default=CELLS) * self.width / span, 1.0)

    def moved(self, cells, wider, start):
        moved = {floor((cell + 0.5 + self.origin) * (self.width / wider) - start) for cell in cells}
        return {cell for cell in moved if 0 <= cell < CELLS}


class Plain:
    """Novelty of one stream."""

    def __init__(self):
        self.views = [[View() for _ in range(VIEWS)] for _ in range(C)]
        self.level, self.aside, self.bias = [np.nan] * C, [0.0] * C, [0.0] * C
        self.profile, self.visits = np.zeros((module.SLOTS, C)), np.zeros((module.SLOTS, C), np.float32)
        self.era = self.frames = self.hardened = self.quiet = 0.0

    def seen(self, c, value, when):
        visits, level, bias = float(self.visits[when, c]), self.level[c], self.bias[c]
        usual = self.profile[when, c] if visits > 0 else 0.0
        rest = value - usual - bias if visits > 0 else 0.0
        self.aside[c] += module.SMOOTH * (rest - self.aside[c])
        self.level[c] = value if isnan(level) else level + module.SMOOTH * (value - level)
        rate = max(module.PROFILE, 1.0 / (visits + 1.0))
        self.profile[when, c] = usual + rate * (value - bias - usual)
        if not isnan(level):
            self.bias[c] = bias + module.BIAS * (value - self.profile[when, c] - bias)
        self.visits[when, c] = min(visits + 1.0, 1.0 / module.PROFILE)
        views = value, self.aside[c], self.level[c]
        return sum(view.distance(one) for view, one in zip(self.views[c], views, strict=True))

    def observe(self, time, values, period):
        self.era += 1.0
        if self.era >= max(module.ERA_FRAMES, 4.0 * period):
            self.era = 0.0
            for view in (view for views in self.views for view in views):
                view.older, view.recent = view.recent, set()
        when = int(time % module.DAY_S / module.DAY_S * module.SLOTS)
        distance = np.array([self.seen(c, v, when) if isfinite(v) else 0.0 for c, v in enumerate(values.tolist())])
        self.frames += 1.0
        self.hardened *= exp2(-1.0 / max(period, module.CALM_FRAMES))
        young = sqrt(max(module.YOUNG * period / self.frames, 1.0))
        strength = distance * (0.0 if self.quiet > 0.0 else 1.0 / ((1.0 + self.hardened) * young))
        alarm = (strength > LINE).any()
        self.hardened += alarm
        self.quiet = module.REFRACTORY_FRAMES if alarm else max(self.quiet - 1.0, 0.0)
        return [1.0 + 0.5 * log(one / LINE) if one > LINE else one / LINE for one in strength.tolist()]


def frames(seed, count=2500):
    """Values of many kinds: noise, steps, a walk that leaves every range, next to a constant; some missing."""
    random = np.random.default_rng(seed)
    walk, step = np.zeros(len(SLOTS)), np.zeros(len(SLOTS))
    for n in range(count):
        walk += random.standard_t(1.5, size=len(SLOTS))
        step = np.where(random.random(len(SLOTS)) < 0.01, random.normal(size=len(SLOTS)).round(1) * 100.0, step)
        still = 1e6 + (random.random(len(SLOTS)) < 0.01) * 1e-3
        values = np.stack([random.normal(size=len(SLOTS)), step, walk * exp2(n / 100.0), still], axis=1)
        values[random.random(values.shape) < 0.05] = np.nan
        values[random.random(values.shape) < 0.01] = np.inf
        yield np.full(len(SLOTS), n * STEP_S - 1e6) + SLOTS, values


@pytest.mark.parametrize("seed", range(3))
def test_novelty_is_that_of_the_plain_formula(seed, monkeypatch):
    monkeypatch.setattr(module, "ERA_FRAMES", 700)  # so that cells are forgotten here too
    ours, plain = Novelty({"C": C}, slots=6), [Plain() for _ in SLOTS]
    alarms = 0
    for times, values in frames(seed):
        found = ours.observe(SLOTS, times, values, PERIOD)
        wanted = [
            one.observe(time, row, period)
            for one, time, row, period in zip(plain, times.tolist(), values, PERIOD.tolist(), strict=True)
        ]
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
        alarms += int((found > 1.0).sum())
    assert alarms > 10
    for slot, one in zip(SLOTS, plain, strict=True):
        for name in ("level", "aside", "bias", "profile", "visits", "era", "frames", "hardened", "quiet"):
            np.testing.assert_allclose(getattr(ours, name)[slot], getattr(one, name), rtol=1e-9, err_msg=name)
        for c, views in enumerate(one.views):
            for v, view in enumerate(views):
                known = [getattr(ours, name)[slot, v, c] for name in ("low", "high", "width", "origin")]
                assert known == [view.low, view.high, view.width, view.origin]
                for cells, bits in ((view.recent, ours.recent), (view.older, ours.older)):
                    assert np.flatnonzero(np.unpackbits(bits[slot, v, c])).tolist() == sorted(cells)


def test_a_stream_gets_the_same_bits_alone_and_among_others_and_touches_no_other():
    together, alone = Novelty({"C": C}, slots=6), Novelty({"C": C}, slots=6)
    for times, values in frames(9, 800):
        found = together.observe(SLOTS, times, values, PERIOD)
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            single = alone.observe(SLOTS[one], times[one], values[one], PERIOD[one])
            assert single.tobytes() == found[one].tobytes()
    fresh = Novelty({"C": C}, slots=6).state_dict()
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
        np.testing.assert_array_equal(array[[1, 3, 5]], fresh[name][[1, 3, 5]])


@pytest.mark.parametrize("time", [0.0, -1e-12, 86_400.0, -86_400.0, 1e300, np.nan])
def test_a_time_of_whatever_size_has_its_place_in_the_day(time):
    ours = Novelty({"C": 1}, slots=1)
    ours.observe(np.array([0]), np.array([time]), np.array([[1.0]]), np.array([100.0]))
    assert ours.visits.sum() == 1.0
    assert (ours.visits[0, [0, -1]].sum() == 1.0) or time == 1e300
