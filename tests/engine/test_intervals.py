"""Intervals: the promised share of values lies inside, on either side, and no forecast is judged before its time."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.intervals import MEMORY_FRAMES, Intervals, Pool

ONE = np.array([0])
TRUST = np.ones(1)
LEARNED = ("judged", "error_square", "multiplier")


class Run:
    """Forecasts of 0 for every horizon of one stream and channel, judged as the engine does it."""

    def __init__(self, horizon, coverages=(0.9,), start=1.0):
        self.intervals = Intervals({"C": 1, "H": horizon, "W": horizon, "Q": len(coverages)}, slots=1)
        self.intervals.multiplier[:] = start
        self.horizon, self.coverages = horizon, coverages
        self.n = 0
        self.made = []  # bounds of each frame's forecast, [Q, 2, H]
        self.beyond = []  # per frame [Q, 2, H] 1 where the value lies beyond the bound; NaN where there was none

    def bounds(self):
        return self.intervals.bounds(ONE, self.intervals.spread(ONE), self.coverages)

    def feed(self, value, trust=TRUST):
        H, n = self.horizon, np.array([self.n])
        errors = np.full((1, H, 1), value)
        errors[:, self.n :] = np.nan  # nothing was forecast before the first frame
        issued = np.full((len(self.coverages), 2, H), np.nan)
        for h in range(min(self.n, H)):
            issued[:, :, h] = self.made[-1 - h][:, :, h]
        outside = np.stack([value < issued[:, 0], value > issued[:, 1]], axis=1)
        self.beyond.append(np.where(np.isfinite(issued + value), outside, np.nan))
        self.intervals.learn(ONE, n, errors, np.ones_like(errors), trust, self.coverages)
        bounds = self.bounds()
        self.intervals.remember(ONE, n, bounds)
        self.made.append(bounds[0, ..., 0])
        self.n += 1

    def outside(self, since):
        """Share of values beyond each bound, [Q, 2, H]."""
        return np.nanmean(np.array(self.beyond)[since:], axis=0)

    def coverage(self, since=200):
        """Share of values inside each interval, [Q, H]."""
        return 1.0 - self.outside(since).sum(axis=1)

    @property
    def width(self):
        return float(np.diff(self.bounds()[0, 0, :, 0, 0]).item())


def normal(generator, count):
    return generator.normal(size=count)


def heavy_tailed(generator, count):
    return generator.standard_t(3, size=count)


def of_changing_variance(generator, count):
    return generator.normal(size=count) * (1.5 + np.sin(np.arange(count) * (2 * np.pi / 700)))


def in_another_unit(generator, count):
    return 1e-9 * generator.normal(size=count)


@pytest.mark.parametrize("draw", [normal, heavy_tailed, of_changing_variance, in_another_unit])
def test_nine_of_ten_values_lie_inside_at_every_horizon(draw):
    run = Run(horizon=12)
    for value in draw(np.random.default_rng(0), 4000).tolist():
        run.feed(value)
    assert (np.abs(run.coverage() - 0.9) <= 0.02).all(), run.coverage()


@pytest.mark.parametrize("coverages", [(0.5,), (0.8,), (0.98,), (0.5, 0.9, 0.99)])
def test_the_wanted_shares_are_those_that_are_held(coverages):
    run = Run(horizon=2, coverages=coverages)
    for value in normal(np.random.default_rng(1), 4000).tolist():
        run.feed(value)
    assert np.abs(run.coverage() - np.array(coverages)[:, None]).max() <= 0.02


def test_errors_that_lean_to_one_side_have_as_many_beyond_either_bound():
    run = Run(horizon=2)
    for value in np.random.default_rng(7).exponential(size=5000).tolist():
        run.feed(value - 0.5)
    lower, upper = -run.bounds()[0, 0, 0, :, 0], run.bounds()[0, 0, 1, :, 0]
    assert (upper > 2 * lower).all()
    np.testing.assert_allclose(run.outside(1000), 0.05, atol=0.015)


def test_a_wider_interval_holds_the_narrower_ones_whatever_was_learned():
    intervals = Intervals({"C": 2, "H": 3, "W": 3, "Q": 3}, slots=5)
    intervals.multiplier[:] = np.random.default_rng(0).uniform(0.05, 50, intervals.multiplier.shape)
    bounds = intervals.bounds(np.arange(5), np.ones((5, 3, 2)), (0.5, 0.9, 0.99))
    assert bounds.shape == (5, 3, 2, 3, 2)
    assert (bounds[:, :, 0] < 0).all()
    assert (bounds[:, :, 1] > 0).all()
    assert (np.diff(np.abs(bounds), axis=1) >= 0).all()


def test_the_width_follows_the_noise():
    run = Run(horizon=1)
    for value in normal(np.random.default_rng(2), 500).tolist():
        run.feed(value)
    calm = run.width
    assert calm == pytest.approx(2 * 1.645, rel=0.3)
    for value in (10 * normal(np.random.default_rng(3), 500)).tolist():
        run.feed(value)
    assert run.width == pytest.approx(10 * calm, rel=0.5)


def test_a_forecast_is_judged_by_its_own_bounds_when_its_time_has_come_and_not_before():
    """One forecast of one step is given bounds that any value lies beyond: one multiplier moves, once, in its frame."""
    H = 4
    for made, step in ((3, 1), (3, 4), (6, 2)):
        intervals = Intervals({"C": 1, "H": H, "W": H, "Q": 1}, slots=1)
        for n in range(12):
            errors = np.zeros((1, H, 1))
            before = intervals.multiplier.copy()
            intervals.learn(ONE, np.array([n]), errors, np.ones_like(errors), TRUST, (0.9,))
            grown = np.argwhere(intervals.multiplier > before).tolist()
            assert grown == ([[0, 0, side, step - 1, 0] for side in (0, 1)] if n == made + step else [])
            bounds = np.broadcast_to(np.array([-1.0, 1.0])[:, None, None], (1, 1, 2, H, 1)).copy()
            if n == made:
                bounds[0, 0, :, step - 1, 0] = [0.5, -0.5]
            intervals.remember(ONE, np.array([n]), bounds)


def test_no_width_is_known_before_a_forecast_of_that_horizon_was_judged():
    run = Run(horizon=3)
    for n in range(5):
        assert np.isfinite(run.bounds()[0, 0]).all(axis=(0, 2)).tolist() == [n >= 1 + h for h in range(1, 4)]
        run.feed(float(n % 2))


def test_a_missing_value_judges_nothing():
    run = Run(horizon=2)
    for value in normal(np.random.default_rng(0), 50).tolist():
        run.feed(value)
    before = {name: getattr(run.intervals, name).copy() for name in LEARNED}
    run.feed(np.nan)
    for name in LEARNED:
        np.testing.assert_array_equal(getattr(run.intervals, name), before[name])


def test_a_forecast_that_had_no_bounds_moves_none_of_them():
    run = Run(horizon=2)
    run.feed(1.0)
    run.feed(5.0)  # judges the first forecast, which was made when no error was known
    assert run.intervals.judged[0, :, 0].tolist() == [1, 0]
    assert (run.intervals.multiplier == 1).all()


@pytest.mark.parametrize("spike", [1e3, 1e30, -1e100])
def test_a_spike_widens_the_interval_by_little_and_not_for_long(spike):
    run, calm = Run(horizon=1), Run(horizon=1)
    values = normal(np.random.default_rng(4), 800)
    for n, value in enumerate(values.tolist()):
        calm.feed(value)
        run.feed(spike if n == 400 else value)
        if n == 400:
            assert run.width < 3 * calm.width
    assert run.width == pytest.approx(calm.width, rel=0.05)


def test_a_frame_that_is_not_trusted_moves_the_usual_error_less():
    def spread_after(trust):
        run = Run(horizon=1)
        for value in normal(np.random.default_rng(5), 200).tolist():
            run.feed(value)
        before = run.intervals.spread(ONE).item()
        for _ in range(5):
            run.feed(6.0, trust=np.array([trust]))
        return run.intervals.spread(ONE).item() / before

    assert spread_after(0.0) == 1.0
    assert 0.0 < spread_after(0.1) - 1.0 < 0.2 * (spread_after(1.0) - 1.0)


def test_errors_that_were_nothing_give_way_to_errors_of_the_usual_size():
    run = Run(horizon=1)
    for _ in range(1000):
        run.feed(0.0)
    assert run.width == 0.0
    for value in normal(np.random.default_rng(6), 500).tolist():
        run.feed(value)
    assert run.coverage(1300).item() == pytest.approx(0.9, abs=0.05)


def test_streams_of_one_batch_do_not_touch_each_other():
    intervals = Intervals({"C": 1, "H": 2, "W": 2, "Q": 1}, slots=3)
    slots, n = np.array([2, 0]), np.array([5, 4])
    bounds = np.arange(8.0).reshape(2, 1, 2, 2, 1) * 0 + np.array([-1.0, 1.0])[:, None, None]
    intervals.remember(slots, n, bounds)
    assert np.isnan(intervals.issued[1]).all()
    errors = np.array([9.0, -9.0])[:, None, None] * np.ones((2, 2, 1))
    intervals.learn(slots, n + 1, errors, np.ones_like(errors), np.ones(2), (0.9,))
    grown = intervals.multiplier[:, 0, :, 0, 0] > 1
    assert grown.tolist() == [[True, False], [False, False], [False, True]]
    assert intervals.judged[:, 0, 0].tolist() == [1, 0, 1]


# --- what the group knows ---

SIZES = {"C": 1, "H": 2, "W": 2, "Q": 1}
SURE = 8.0


def knowing(judged, spread=0.0, multiplier=1.0):
    """One stream that has judged so many forecasts [H] (or of either horizon), and is usually so far off."""
    own = Intervals(SIZES, slots=1)
    own.judged[0, :, 0] = judged
    own.error_square[:] = spread**2
    own.multiplier[:] = multiplier
    return own


def settled(pool, spread, multiplier, times=1, judged=MEMORY_FRAMES):
    """Take in one stream that has judged so many forecasts."""
    for _ in range(times):
        pool.learn(ONE, knowing(judged, spread, multiplier))


def pooled(pool, own, usual=0.0, steps=0.0):
    """Usual errors [H], with what persistence is usually off, and how many frames that is known from."""
    usual, steps = (np.broadcast_to(np.reshape(each, (1, -1, 1)), (1, 2, 1)).copy() for each in (usual, steps))
    return pool.spread(ONE, own, usual, steps, SURE)[0, :, 0]


def test_an_empty_pool_adds_nothing():
    pool = Pool(SIZES, slots=1)
    assert (pool.begin() == 1.0).all()
    np.testing.assert_array_equal(pooled(pool, knowing([0.0, 5.0], 3.0)), [np.nan, 3.0])


def test_a_new_stream_begins_with_what_the_group_has_learned():
    pool = Pool(SIZES, slots=1)
    settled(pool, 4.0, 1.5, times=50)
    np.testing.assert_allclose(pool.begin(), 1.5)
    np.testing.assert_allclose(pooled(pool, knowing(0.0)), 4.0)


def test_a_stream_that_knows_itself_owes_the_group_nothing_and_one_in_between_something():
    pool = Pool(SIZES, slots=1)
    settled(pool, 4.0, 1.5, times=50)
    spreads = [pooled(pool, knowing(judged, 1.0))[0] for judged in (1.0, 5.0, 15.0, MEMORY_FRAMES)]
    assert spreads[-1] == 1.0
    assert 4.0 > spreads[0] > spreads[1] > spreads[2] > 1.0


def test_a_stream_that_does_not_know_itself_yet_teaches_the_group_nothing():
    pool = Pool(SIZES, slots=1)
    settled(pool, 4.0, 1.5, judged=MEMORY_FRAMES - 1)
    settled(pool, 0.0, 1.5)  # a constant has no usual error that anyone else could begin with
    assert not pool.weight.any()


def test_the_group_follows_when_its_streams_change_and_large_units_do_not_rule_small_ones():
    pool = Pool(SIZES, slots=1)
    settled(pool, 1.0, 1.0, times=100)
    settled(pool, 100.0, 1.0, times=100)
    assert np.exp(pool.log_spread)[0, 0, 0] == pytest.approx(10.0)


def test_no_new_stream_begins_with_multipliers_that_it_would_take_thousands_of_frames_to_undo():
    for multiplier, begins in ((40.0, 3.0), (1.5, 1.5), (0.06, 1.0 / 3.0)):
        pool = Pool(SIZES, slots=1)
        settled(pool, 4.0, multiplier, times=50)
        np.testing.assert_allclose(pool.begin(), begins)


def test_what_the_group_knows_counts_as_no_more_than_ten_times_what_a_stream_sees_of_itself():
    pool = Pool(SIZES, slots=1)
    settled(pool, 1e90, 1.0, times=50)  # somebody who sends garbage
    spread = pooled(pool, knowing(0.0), usual=2.0, steps=[SURE, SURE - 1.0])
    np.testing.assert_allclose(spread, [20.0, 1e90])


def test_where_neither_stream_nor_group_knows_any_error_it_is_persistences_if_that_is_known():
    spread = pooled(Pool(SIZES, slots=1), knowing(0.0), usual=2.0, steps=[1.0, 0.0])
    np.testing.assert_array_equal(spread, [2.0, np.nan])


def test_the_bounds_that_are_due_are_those_of_the_frame_before():
    intervals = Intervals({"C": 2, "H": 3, "W": 3, "Q": 2}, slots=1)
    assert np.isnan(intervals.due(ONE, np.array([0]), 1)).all()
    for n in range(7):
        bounds = n + np.arange(24.0).reshape(1, 2, 2, 3, 2) / 32
        intervals.remember(ONE, np.array([n]), bounds)
        for coverage in (0, 1):
            np.testing.assert_array_equal(intervals.due(ONE, np.array([n + 1]), coverage), bounds[:, coverage, :, 0])
