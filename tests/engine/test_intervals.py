"""Intervals: nine of ten values lie inside, and no forecast is judged before its time has come."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.intervals import Intervals

ONE = np.array([0])
TRUST = np.ones(1)


class Run:
    """Forecasts of 0 for every horizon of one stream and channel, judged as the engine does it."""

    def __init__(self, horizon, coverage=0.9):
        self.intervals = Intervals({"C": 1, "H": horizon}, slots=1)
        self.coverage = coverage
        self.n = 0
        self.inside = []  # per frame [H], NaN where nothing was judged

    def feed(self, value, mean=0.0, trust=TRUST):
        n = np.array([self.n])
        errors = self.intervals.errors(ONE, n, np.array([[value]]))
        half = self.intervals.pending_half[0, self.n % errors.shape[1]]
        self.inside.append(np.where(np.isfinite(half + errors[0]), np.abs(errors[0]) <= half, np.nan)[:, 0])
        self.intervals.learn(ONE, n, errors, np.ones_like(errors), trust, self.coverage)
        half = self.intervals.half_width(ONE, self.coverage)
        self.intervals.remember(ONE, n, np.full(half.shape, mean), half)
        self.n += 1
        return errors[0, :, 0]


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
    coverage = np.nanmean(np.array(run.inside)[200:], axis=0)
    assert (np.abs(coverage - 0.9) <= 0.02).all(), coverage


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.98])
def test_the_wanted_share_is_the_one_that_is_held(coverage):
    run = Run(horizon=2, coverage=coverage)
    for value in normal(np.random.default_rng(1), 4000).tolist():
        run.feed(value)
    assert np.abs(np.nanmean(np.array(run.inside)[200:], axis=0) - coverage).max() <= 0.02


def test_the_width_follows_the_noise():
    run = Run(horizon=1)
    for value in normal(np.random.default_rng(2), 500).tolist():
        run.feed(value)
    calm = run.intervals.half_width(ONE, 0.9).item()
    assert calm == pytest.approx(1.645, rel=0.3)
    for value in (10 * normal(np.random.default_rng(3), 500)).tolist():
        run.feed(value)
    assert run.intervals.half_width(ONE, 0.9).item() == pytest.approx(10 * calm, rel=0.5)


def test_a_forecast_is_judged_when_its_time_has_come_and_not_before():
    """Forecast n for n + h says 100 n + h, so each error tells which forecast was judged."""
    H = 4
    intervals = Intervals({"C": 1, "H": H}, slots=1)
    for n in range(12):
        at = np.array([n])
        errors = intervals.errors(ONE, at, np.zeros((1, 1)))
        for h in range(1, H + 1):
            expected = -(100.0 * (n - h) + h) if n - h >= 0 else np.nan
            np.testing.assert_equal(errors[0, h - 1, 0], expected)
        mean = (100.0 * n + np.arange(1, H + 1))[None, :, None]
        intervals.remember(ONE, at, mean, np.ones_like(mean))


def test_no_width_is_known_before_a_forecast_of_that_horizon_was_judged():
    run = Run(horizon=3)
    for n in range(5):
        half = run.intervals.half_width(ONE, 0.9)[0, :, 0]
        assert np.isfinite(half).tolist() == [n >= 1 + h for h in range(1, 4)]
        run.feed(float(n % 2))


def test_a_missing_value_judges_nothing():
    run = Run(horizon=2)
    for value in normal(np.random.default_rng(0), 50).tolist():
        run.feed(value)
    learned = ("judged", "error_square", "multiplier")
    before = {name: getattr(run.intervals, name).copy() for name in learned}
    assert np.isnan(run.feed(np.nan)).all()
    for name in learned:
        np.testing.assert_array_equal(getattr(run.intervals, name), before[name])


def test_a_gap_of_missing_values_judges_none_of_the_forecasts_made_for_it_later():
    run = Run(horizon=2)
    for value in (1.0, 1.0, np.nan, np.nan, np.nan):
        run.feed(value, mean=np.nan if np.isnan(value) else 0.0)
    assert np.isnan(run.feed(1.0)).all()


@pytest.mark.parametrize("spike", [1e3, 1e30, -1e100])
def test_a_spike_widens_the_interval_by_little_and_not_for_long(spike):
    run, calm = Run(horizon=1), Run(horizon=1)
    values = normal(np.random.default_rng(4), 800)
    for n, value in enumerate(values.tolist()):
        calm.feed(value)
        run.feed(spike if n == 400 else value)
        if n == 400:
            assert run.intervals.half_width(ONE, 0.9).item() < 3 * calm.intervals.half_width(ONE, 0.9).item()
    widths = [each.intervals.half_width(ONE, 0.9).item() for each in (run, calm)]
    assert widths[0] == pytest.approx(widths[1], rel=0.05)


def test_a_frame_that_is_not_trusted_moves_the_width_less():
    def width_after(trust):
        run = Run(horizon=1)
        for value in normal(np.random.default_rng(5), 200).tolist():
            run.feed(value)
        before = run.intervals.half_width(ONE, 0.9).item()
        for _ in range(5):
            run.feed(6.0, trust=np.array([trust]))
        return run.intervals.half_width(ONE, 0.9).item() / before

    assert width_after(0.0) == 1.0
    assert 0.0 < width_after(0.1) - 1.0 < 0.2 * (width_after(1.0) - 1.0)


def test_errors_that_were_nothing_give_way_to_errors_of_the_usual_size():
    run = Run(horizon=1)
    for _ in range(1000):
        run.feed(0.0)
    assert run.intervals.half_width(ONE, 0.9).item() == 0.0
    for value in normal(np.random.default_rng(6), 500).tolist():
        run.feed(value)
    assert np.mean(run.inside[-200:]) == pytest.approx(0.9, abs=0.05)


def test_streams_of_one_batch_do_not_touch_each_other():
    intervals = Intervals({"C": 1, "H": 2}, slots=3)
    slots, n = np.array([2, 0]), np.array([5, 4])
    mean = np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    intervals.remember(slots, n, mean, mean)
    assert np.isnan(intervals.pending_mean[1]).all()
    errors = intervals.errors(slots, n + 1, np.zeros((2, 1)))
    np.testing.assert_array_equal(errors[:, 0, 0], [-1.0, -3.0])
    assert intervals.multiplier.shape == (3, 2, 1)
