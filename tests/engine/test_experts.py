"""Experts: side by side, mixed, judged when values come; none of them thrown by a spike, a gap or a missing value."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.backlog import KEPT
from streamd.engine.experts import CORRECTED, MIXED, PUBLISHED, SEASONAL, Experts, Frames
from streamd.engine.mix import EXPERTS, E
from streamd.engine.pending import MADE
from streamd.engine.profile import FULL
from streamd.engine.scale import Scale

H = 4
HOUR = 3600.0
START = 1_700_000_000.0


class Run:
    """Streams of one channel through the experts, as the engine does it, with a correction of the test's own."""

    def __init__(self, streams=1):
        sizes = {**FULL, "C": 1, "H": H, "W": H, "V": H + KEPT}
        self.experts, self.scale = Experts(sizes), Scale(sizes, slots=streams)
        for part in self.experts.parts().values():
            part.grow(streams)
        self.slots, self.n, self.time = np.arange(streams), 0, START
        self.lasts = []  # [B] last values, of each frame
        self.foretold, self.errors = [], []

    def feed(self, values, steps=1.0, correction=0.0, share=0.5):
        B = len(self.slots)
        values = np.broadcast_to(np.asarray(values, float), B)[:, None]
        self.time += HOUR * steps
        changes = np.full((B, H, 1), np.nan)
        for h in range(1, min(H, self.n) + 1):
            changes[:, h - 1] = values - self.lasts[-h]
        n, took = np.full(B, self.n), np.full(B, steps)
        errors = self.experts.pending.errors(self.slots, n, took, changes)
        sure = self.scale.steps[self.slots] >= 8
        usual = np.where(sure, self.scale.step_spread(self.slots), np.nan)
        self.experts.judge(self.slots, errors, usual, np.zeros(B))
        before = self.scale.last[self.slots]
        self.scale.learn(self.slots, values, changes, np.ones(B), np.zeros(B))
        off, level = 10.0 * self.scale.spread(self.slots), self.scale.mean[self.slots]
        frames = Frames(
            slots=self.slots,
            n=n,
            number=np.zeros(B, np.int64),
            times=np.full(B, self.time),
            interval=np.full(B, HOUR),
            steps=took,
            values=values,
            before=before,
            last=self.scale.last[self.slots],
            usual=self.scale.step_spread(self.slots),
            level=level,
            spread=off / 10.0,
            lowest=level - off,
            highest=level + off,
            trust=np.ones(B),
            haste=np.zeros(B),
        )
        foretold = self.experts.foretell(frames, errors)
        corrected = foretold.mixed + correction
        published = foretold.mixed + share * correction
        self.experts.remember(self.slots, n, foretold, corrected, published)
        self.lasts.append(frames.last)
        self.foretold.append((foretold, published))
        self.errors.append(errors)
        self.n += 1
        return foretold

    def forecast(self, name="mixed"):
        """[N, B, H] values."""
        offsets = [
            foretold.mixed if name == "mixed" else foretold.experts[:, EXPERTS.index(name)]
            for foretold, _ in self.foretold
        ]
        return np.array(self.lasts) + np.array(offsets)[..., 0]


def fed(series, **also):
    series = np.asarray(series, float).reshape(len(series), -1)
    run = Run(series.shape[1])
    for row in series:
        run.feed(row, **also)
    return run


def sine(count, period=24.0):
    return np.sin(2 * np.pi * np.arange(count) / period)


def ar(count, seed=0):
    random, made = np.random.default_rng(seed), np.zeros(count + 2)
    for n, shock in enumerate(random.normal(size=count), start=2):
        made[n] = 1.5 * made[n - 1] - 0.8 * made[n - 2] + shock
    return made[2:]


def squares(run, series, name, since=400):
    """Mean squared error over all horizons."""
    forecast = run.forecast(name)[:, 0]
    return np.mean([np.mean((series[h + 1 :] - forecast[: -h - 1, h])[since:] ** 2) for h in range(H)])


def test_the_mix_is_the_weighted_sum_of_the_experts_and_persistence_foretells_no_change():
    run = fed(ar(100))
    for foretold, _ in run.foretold:
        assert foretold.experts.shape == foretold.weights.shape == (1, E, H, 1)
        assert not foretold.experts[:, 0].any()
        np.testing.assert_allclose(foretold.weights.sum(axis=1), 1.0)
        np.testing.assert_allclose(foretold.mixed, (foretold.weights * foretold.experts).sum(axis=1))


def test_there_is_a_forecast_from_the_first_frame_on():
    run = fed([5.0])
    assert (run.forecast() == 5.0).all()


@pytest.mark.parametrize(
    ("series", "best"),
    [
        (np.random.default_rng(1).normal(size=1000).cumsum(), "persistence"),
        (10.0 * sine(1000) + 0.5 * np.random.default_rng(2).normal(size=1000), "seasonal"),
        (ar(1000, seed=3), "regression"),
    ],
    ids=["random walk", "season", "autoregression"],
)
def test_the_mix_is_nearly_as_good_as_whoever_is_made_for_the_stream(series, best):
    run = fed(series)
    assert squares(run, series, "mixed") < 1.05 * squares(run, series, best)


def test_every_forecast_is_judged_by_what_was_said_when_its_value_has_come():
    series = ar(60, seed=4)
    run = fed(series, correction=0.3)
    for n in range(10, 60):
        for h in range(1, H + 1):
            (foretold, published), last = run.foretold[n - h], run.lasts[n - h]
            change = (series[n] - last)[0, 0]
            errors = run.errors[n][0, :, h - 1, 0]
            expected = change - foretold.experts[0, :, h - 1, 0]
            np.testing.assert_allclose(errors[:E], expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(errors[MIXED], change - foretold.mixed[0, h - 1, 0], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(errors[CORRECTED], errors[MIXED] - 0.3, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(errors[PUBLISHED], change - published[0, h - 1, 0], rtol=1e-5, atol=1e-6)
    assert run.errors[-1].shape == (1, 1 + len(MADE), H, 1)
    assert EXPERTS[SEASONAL] == "seasonal"


def test_a_gap_judges_no_forecast_that_was_made_before_it():
    run = fed(ar(100, seed=5))
    before = {name: array.copy() for name, array in run.experts.mix.state_dict().items()}
    run.feed(100.0, steps=50.0)
    assert np.isnan(run.errors[-1]).all()
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(run.experts.mix, name), array)


def test_the_gate_opens_for_a_correction_that_helps_and_stays_shut_for_one_that_does_not():
    random = np.random.default_rng(6)
    walk = random.normal(size=400).cumsum()
    good, bad = Run(), Run()
    for n in range(399):
        good.feed(walk[n], correction=walk[n + 1] - walk[n])  # knows the future, for one step
        bad.feed(walk[n], correction=random.normal())
    assert good.experts.gate.share(good.slots)[0, 0, 0] > 0.8
    assert bad.experts.gate.share(bad.slots)[0, 0, 0] < 0.2


@pytest.mark.parametrize("spike", [1e3, -1e30, 1e100])
def test_after_a_spike_forecasts_are_soon_what_they_would_have_been(spike):
    series = ar(900, seed=7)
    with_spike = series.copy()
    with_spike[500] = spike
    run, calm = fed(with_spike), fed(series)
    assert np.isfinite(run.forecast()[501:]).all()
    assert squares(run, series, "mixed", since=600) < 1.15 * squares(calm, series, "mixed", since=600)


def test_a_value_that_is_missing_lets_the_season_go_on():
    series = 10.0 * sine(1200)
    run = fed(series)
    for _ in range(6):
        run.feed(np.nan)
    expected = 10.0 * np.sin(2 * np.pi * (1205 + np.arange(1, H + 1)) / 24.0)
    np.testing.assert_allclose(run.forecast()[-1, 0], expected, atol=2.0)
    assert np.abs(expected - series[-1]).min() > 5.0


def test_a_channel_that_was_never_seen_has_no_forecast_and_spoils_nothing_once_it_speaks():
    run = Run()
    for _ in range(300):
        run.feed(np.nan)
    assert np.isnan(run.forecast()).all()
    series = 1e6 + ar(600, seed=8)
    for value in series:
        run.feed(value)
    assert np.isfinite(run.forecast()[300:]).all()
    errors = series[401:] - run.forecast()[700:-1, 0, 0]
    assert np.mean(errors**2) < 1.3


def test_nothing_is_foretold_beyond_an_end_that_a_channel_stops_at():
    """As rain, which does not fall below nought however fast it has fallen."""
    series = np.maximum(5.0 * ar(1500, seed=10), 0.0)
    run = fed(series)
    assert (
        np.array([foretold.experts for foretold, _ in run.foretold[:50]]) < -series[:50, None, None, None, None]
    ).any()
    for foretold, last in zip(run.foretold[-500:], run.lasts[-500:], strict=True):
        assert (last[:, None, None] + foretold[0].experts >= 0.0).all()
    assert (run.forecast()[-500:] >= 0.0).all()
    assert squares(run, series, "mixed") < 0.9 * squares(run, series, "persistence")


def test_a_batch_equals_each_stream_alone():
    series = np.stack([ar(200, seed=9), 1e6 * sine(200), np.full(200, 7.0)], axis=1)
    together = fed(series)
    for stream in range(3):
        alone = fed(series[:, stream])
        scale = np.abs(series[:, stream]).max()
        np.testing.assert_allclose(together.forecast()[:, stream], alone.forecast()[:, 0], rtol=1e-6, atol=1e-6 * scale)


def test_every_part_with_rows_is_named():
    experts = Experts({**FULL, "C": 1, "H": H, "W": H, "V": H + KEPT})
    parts = {name for name, part in vars(experts).items() if hasattr(part, "columns")}
    assert parts == experts.parts().keys()
