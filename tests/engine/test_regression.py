"""Regression: finds what a channel's past tells of its next values, and stays calm where there is nothing to find."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.backlog import KEPT, Backlog
from streamd.engine.lags import Lags
from streamd.engine.profile import FULL
from streamd.engine.regression import FEWEST, MOST_CHANGES, Adaptive, Reach, Regression, due
from streamd.engine.scale import Scale

H = 3
KINDS = [Regression, Adaptive]


class Run:
    """Streams of one channel each, regressed as the experts do it, without seasons; keeps all forecasts."""

    def __init__(self, kind, streams=1, every=1):
        self.every = every
        sizes = {**FULL, "C": 1, "H": H, "W": H, "V": H + KEPT}
        self.model, self.lags, self.scale = (each(sizes, slots=streams) for each in (kind, Lags, Scale))
        self.backlog = Backlog(sizes, slots=streams)
        self.reach = Reach(sizes, slots=streams)
        self.slots, self.n = np.arange(streams), 0
        self.forecasts = []  # [B, H] values foretold for 1..H frames ahead
        self.values = []

    def feed(self, values, trust=1.0, haste=0.0):
        values = np.broadcast_to(np.asarray(values, float), len(self.slots))
        B, n = len(self.slots), np.full(len(self.slots), self.n)
        changes = np.full((B, H, 1), np.nan)
        for h in range(1, min(H, self.n) + 1):
            changes[:, h - 1, 0] = values - self.values[-h]
        usual = self.scale.step_spread(self.slots)
        limit = 20.0 * self.scale.spread(self.slots)
        self.reach.learn(self.slots, changes, np.zeros_like(limit), limit)
        self.backlog.add(self.slots, n, changes, self.lags.trusted(self.slots, n), usual, np.full(B, haste))
        self.scale.learn(self.slots, values[:, None], changes, np.full(B, trust), np.full(B, haste))
        usual = self.scale.step_spread(self.slots)
        level = self.scale.mean[self.slots]
        tame = np.clip(values[:, None], level - limit / 2, level + limit / 2)
        x = self.lags.observe(self.slots, n, tame, np.full((B, 1), trust), usual[:, 0])
        if (self.n + 1) % self.every == 0:
            self.model.learn(self.slots, n, self.backlog, self.lags)
            self.model.solve(self.slots, usual[:, 0])
            self.backlog.empty(self.slots)
        change = np.empty((B, 1, H, 1))
        self.model.foretell(self.slots, x, change[:, 0])
        self.reach.forecasts(self.slots, change, np.broadcast_to(values[:, None, None], (B, H, 1)), usual)
        self.forecasts.append(change[:, 0, :, 0])
        self.values.append(values)
        self.n += 1

    def errors(self, h=1):
        """[N - h, B] of the forecasts h frames ahead."""
        return np.array(self.values)[h:] - np.array(self.forecasts)[:-h, :, h - 1]

    def persistence(self, h=1):
        return np.array(self.values)[h:] - np.array(self.values)[:-h]


def ar(count, coefficients=(1.5, -0.8), seed=0, level=0.0):
    """An autoregressive series with shocks of 1."""
    random, made = np.random.default_rng(seed), np.zeros(count + 2)
    for n, shock in enumerate(random.normal(size=count), start=2):
        made[n] = coefficients[0] * made[n - 1] + coefficients[1] * made[n - 2] + shock
    return level + made[2:]


def fed(kind, series, **also):
    series = np.asarray(series, float).reshape(len(series), -1)
    run = Run(kind, series.shape[1])
    for values in series:
        run.feed(values, **also)
    return run


@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_an_autoregressive_process_within_some_hundred_frames(kind):
    run = fed(kind, np.stack([ar(900, seed=seed, level=100.0) for seed in range(8)], axis=1))
    later = run.errors()[400:]
    assert np.mean(later**2) < 1.12  # of the shocks, which nobody foresees: 1
    # two steps ahead: shock + 1.5 x the one before
    assert np.mean(run.errors(2)[400:] ** 2) < 1.2 * (1 + 1.5**2)
    assert np.mean(run.persistence()[400:] ** 2) > 2.0


def test_a_trend_is_gone_along_with():
    random = np.random.default_rng(1)
    run = fed(Regression, 0.5 * np.arange(600) + 0.1 * random.normal(size=600))
    assert np.abs(run.errors(3)[400:].mean()) < 0.1 * np.abs(run.persistence(3)[400:].mean())
    assert np.mean(run.errors(3)[400:] ** 2) < 0.05 * np.mean(run.persistence(3)[400:] ** 2)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_foretold_before_something_was_learned(kind):
    run = fed(kind, ar(int(FEWEST)))
    np.testing.assert_array_equal(np.array(run.forecasts), np.array(run.values)[:, :, None].repeat(H, axis=2))


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_is_foretold_as_it_is_and_what_comes_after_sanely(kind):
    run = fed(kind, np.full(2000, 42.0))
    assert (np.array(run.forecasts) == 42.0).all()
    assert not run.model.slopes.any()
    for value in 42.0 + ar(500):
        run.feed(value)
    assert np.isfinite(run.model.slopes).all()
    assert np.mean(run.errors()[-200:] ** 2) < 0.65 * np.mean(run.persistence()[-200:] ** 2)


@pytest.mark.parametrize("kind", KINDS)
def test_rain_after_ten_thousand_dry_frames_is_foretold_sanely(kind):
    random = np.random.default_rng(2)
    shower = np.array([1.0, 4.0, 8.0, 5.0, 3.0, 1.0, 0.5])
    wet = np.concatenate([np.concatenate([shower * random.uniform(0.5, 2), np.zeros(30)]) for _ in range(4)])
    run = fed(kind, np.concatenate([wet, np.zeros(10_000)]))
    assert np.abs(run.model.slopes).max() < 10
    for value in shower:
        run.feed(value)
    first = np.array(run.forecasts)[-len(shower) :]
    assert np.abs(first).max() < 3 * shower.max()
    for _ in range(50):
        run.feed(0.0)
    assert np.abs(np.array(run.forecasts)[-1]).max() < 0.05 * shower.max()


def smooth(random, count):
    return np.sin(np.arange(count) / 300) + 1e-9 * random.normal(size=count)


def plateaus(random, count):
    return np.repeat(random.normal(size=count // 100), 100)


def twice_each(random, count):
    return np.repeat(random.normal(size=count // 2), 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [smooth, plateaus, twice_each])
def test_near_duplicate_regressors_do_not_wind_the_coefficients_up(kind, make):
    series = make(np.random.default_rng(3), 4000)
    run = fed(kind, series)
    assert np.isfinite(run.model.slopes).all()
    assert np.abs(np.array(run.forecasts)[200:]).max() < 5 * np.abs(series).max()
    assert np.mean(run.errors()[400:] ** 2) <= 1.05 * np.mean(run.persistence()[400:] ** 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spike", [1e3, -1e30])
def test_a_spike_is_forgotten(kind, spike):
    series = ar(900, seed=4)
    with_spike = series.copy()
    with_spike[500] = spike
    run, calm = fed(kind, with_spike), fed(kind, series)
    assert np.isfinite(np.array(run.forecasts)).all()
    later, usual = run.errors()[700:], calm.errors()[700:]
    assert np.mean(later**2) < 1.2 * np.mean(usual**2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", [1e9, 1e-9])
def test_another_unit_gives_the_same_forecasts_in_that_unit(kind, unit):
    series = ar(400, seed=5, level=20.0)
    run, other = fed(kind, series), fed(kind, unit * series)
    # the floor of the scale, 1e-12 of any unit, is all that differs
    np.testing.assert_allclose(np.array(other.forecasts)[50:] / unit, np.array(run.forecasts)[50:], rtol=5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_way_back_of_a_jump_is_not_foretold_where_nothing_ever_went_back_like_that(kind):
    """All features are large then: of a white noise, a line through them foretells that it all goes back."""
    random = np.random.default_rng(13)
    run = fed(kind, np.concatenate([random.normal(size=600), 1000.0 + random.normal(size=30)]))
    forecasts = np.array(run.forecasts)[600:]
    assert forecasts.min() > 1000.0 - 20.0
    assert forecasts.max() < 1000.0 + 250.0


def test_no_change_is_foretold_beyond_what_was_seen_on_that_side_nor_beyond_many_usual_ones():
    reach, slots = Reach({**FULL, "C": 1, "H": 1}, slots=1), np.array([0])
    for error in (2.0, -1.0, np.nan, 1e9):
        reach.learn(slots, np.full((1, 1, 1), error), np.full((1, 1), -20.0), np.full((1, 1), 30.0))

    def bounded(change, usual):
        changes = np.full((1, 1, 1, 1), change)
        reach.forecasts(slots, changes, np.zeros((1, 1, 1)), np.full((1, 1, 1), usual))
        return changes.item()

    assert bounded(0.5, 10.0) == 0.5
    assert -1.0 < bounded(-5.0, 10.0) < -0.99
    assert bounded(1e6, 10.0) == 50.0  # what counted of the largest
    assert bounded(1e6, 0.1) == pytest.approx(0.1 * MOST_CHANGES)
    assert bounded(-1e6, 0.01) == pytest.approx(-0.01 * MOST_CHANGES)


@pytest.mark.parametrize("kind", KINDS)
def test_the_way_back_of_a_spike_is_foretold_once_one_was_seen(kind):
    random = np.random.default_rng(14)
    series = random.normal(size=900)
    series[300::40] += 30.0
    run = fed(kind, series)
    forecasts = np.array(run.forecasts)[[700, 740, 780, 820, 860], :, 0]  # made at spikes
    assert np.abs(forecasts).max() < 15.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_equals_each_stream_alone(kind):
    series = np.stack([ar(300, seed=6), 1e6 * ar(300, seed=7), np.full(300, 3.0)], axis=1)
    together = fed(kind, series)
    for stream in range(series.shape[1]):
        alone = fed(kind, series[:, stream])
        np.testing.assert_allclose(
            np.array(together.forecasts)[:, stream], np.array(alone.forecasts)[:, 0], rtol=1e-9, atol=1e-9
        )


def test_the_one_that_adapts_follows_a_changed_process_sooner():
    changed = np.concatenate([ar(3000, (0.5, 0.4), seed=8), ar(600, (-0.5, 0.3), seed=9)])
    slow, fast = (np.mean(fed(kind, changed).errors()[3200:] ** 2) for kind in KINDS)
    assert fast < 0.97 * slow


def test_frames_without_weight_teach_nothing():
    run = fed(Regression, ar(300, seed=12))
    before = run.model.inputs.copy(), run.model.products.copy()
    nothing, one = np.zeros((1, H, 1)), np.ones((1, H, 1))
    run.backlog.add(run.slots, np.array([run.n]), one, nothing, one, np.zeros(1))
    run.model.learn(run.slots, np.array([run.n]), run.backlog, run.lags)
    np.testing.assert_allclose(run.model.inputs, Regression.keep * before[0])
    np.testing.assert_allclose(run.model.products, Regression.keep * before[1])


@pytest.mark.parametrize("kind", KINDS)
def test_many_frames_taken_in_at_once_are_the_same_as_one_by_one(kind):
    values = ar(10 * KEPT, seed=13)
    haste = np.random.default_rng(14).uniform(size=len(values))
    sums = []
    for every in (1, 8, KEPT):
        run = Run(kind, every=every)
        for n, value in enumerate(values):
            run.feed(value, trust=0.1 if n % 7 == 0 else 1.0, haste=haste[n])
        sums.append({name: getattr(run.model, name) for name in kind.columns if name != "slopes"})
    assert np.abs(sums[0]["products"]).min() > 0.0
    for others in sums[1:]:
        for name, array in others.items():
            np.testing.assert_allclose(array, sums[0][name], rtol=1e-6, atol=1e-6 * np.abs(array).max())


def test_streams_take_turns_and_each_is_due_again_and_again():
    turns = np.arange(200)
    for n in (100, 5000):
        counts = [len(due(np.full(200, n + later), turns, KEPT)) for later in range(48)]
        assert max(counts) <= 200 / 8 + 1
        times = np.zeros(200)
        for later in range(48):
            times[due(np.full(200, n + later), turns, KEPT)] += 1
        assert times.min() >= 2
