"""Periods: found where something recurs, in frames and parts of them; none where nothing does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.engine.periods import CYCLES, EXPLAINED, FEWEST, HIGH, SHORTEST, SPAN, explained, find, profile

RATE = 0.05


def sine(period, count=SPAN, phase=0.0):
    return np.sin((np.arange(count) + phase) * (2 * np.pi / period))


def found(series):
    return find(np.asarray(series, np.float64)[:, None])[0]


@pytest.mark.parametrize("period", [4.0, 7.3, 12.5, 24.0, 61.8, 144.0, 200.0])
def test_the_period_of_a_sine_is_found_between_whole_frames(period):
    assert found(sine(period)) == pytest.approx(period, rel=0.02)


@settings(deadline=None, max_examples=50)
@given(
    period=st.floats(8.0, 150.0),  # a shorter one between whole frames is found as its double
    phase=st.floats(0.0, 150.0),
    seed=st.integers(0, 1000),
    unit=st.sampled_from([1e-9, 1.0, 1e9]),
    level=st.floats(-100.0, 100.0),
)
def test_noise_phase_unit_and_level_do_not_hide_it(period, phase, seed, unit, level):
    noise = 0.3 * np.random.default_rng(seed).normal(size=SPAN)
    assert found(unit * (level + sine(period, phase=phase) + noise)) == pytest.approx(period, rel=0.03)


@pytest.mark.parametrize("slope", [0.01, -0.1, 1.0])
def test_a_trend_does_not_hide_it(slope):
    assert found(sine(20.0) + slope * np.arange(SPAN)) == pytest.approx(20.0, rel=0.02)


def test_the_period_is_the_first_of_its_multiples_and_the_whole_of_its_parts():
    spikes = (np.arange(SPAN) % 30 == 0).astype(float)
    assert found(spikes) == pytest.approx(30.0, rel=0.02)
    both = sine(40.0) + 0.8 * sine(20.0, phase=3.0)
    assert found(both) == pytest.approx(40.0, rel=0.02)


def test_each_channel_has_its_own():
    past = np.stack([sine(12.5), sine(33.0), np.zeros(SPAN), np.arange(SPAN, dtype=float)], axis=1)
    periods = find(past)
    assert periods[:2] == pytest.approx([12.5, 33.0], rel=0.02)
    assert periods[2:] == [0.0, 0.0]


def test_a_period_has_to_be_seen_more_than_twice():
    assert found(sine(SPAN / CYCLES / 1.1)) > 0
    assert found(sine(SPAN / 1.8)) == 0.0


@pytest.mark.parametrize("value", [0.0, 7.25, 1e300, -1e-300])
def test_a_constant_has_none(value):
    assert found(np.full(SPAN, value)) == 0.0


def share_believed(make, count=300):
    """Of so many series: those with a period that the profile over it confirms."""
    believed = 0
    for seed in range(count):
        series = make(np.random.default_rng(seed))
        period = found(series)
        believed += period > 0 and explained(series, period, 96, RATE) > EXPLAINED
    return believed / count


def noise(random):
    return random.normal(size=SPAN)


def random_walk(random):
    return random.normal(size=SPAN).cumsum()


def ar(random):
    made = np.zeros(SPAN)
    for n, shock in enumerate(random.normal(size=SPAN - 1), start=1):
        made[n] = 0.9 * made[n - 1] + shock
    return made


def noisy_season(random):
    return sine(random.uniform(5, 150), phase=random.uniform(0, 150)) + 0.5 * random.normal(size=SPAN)


@pytest.mark.parametrize("make", [noise, random_walk, ar])
def test_what_only_seems_to_recur_is_hardly_ever_believed(make):
    assert share_believed(make) <= 0.05


def test_what_does_recur_is_believed():
    assert share_believed(noisy_season) >= 0.97


@pytest.mark.parametrize("count", [FEWEST, 100, SPAN])
def test_a_profile_is_the_mean_course_and_begins_at_the_last_frame(count):
    period, knots = 10.0, 40
    line, hits = profile(3.0 + sine(period, count), period, knots, RATE)
    at_frames = line[:: knots // 10]
    last = (count - 1 + np.arange(10)) * (2 * np.pi / period)
    np.testing.assert_allclose(at_frames, np.sin(last), atol=0.15)
    assert line.mean() == pytest.approx(0.0, abs=1e-9)
    assert hits.sum() == pytest.approx(count)


def test_knots_that_no_frame_met_lie_on_a_line_between_those_that_were():
    line, hits = profile(np.array([0.0, 4.0] * 20), 2.0, 8, RATE)
    assert np.flatnonzero(hits).tolist() == [0, 4]
    assert (line - line[4]).tolist() == pytest.approx([4.0, 3.0, 2.0, 1.0, 0.0, 1.0, 2.0, 3.0])


def test_what_was_long_ago_counts_less():
    then, now = sine(10.0, 256), -sine(10.0, 256, phase=256)
    line, _ = profile(np.concatenate([then, now]), 10.0, 10, RATE)
    recent, _ = profile(now, 10.0, 10, RATE)
    assert np.abs(line - recent).max() < 0.5


def test_a_wrong_period_foretells_nothing():
    series = sine(20.0) + 0.3 * np.random.default_rng(0).normal(size=SPAN)
    assert explained(series, 20.0, 96, RATE) > EXPLAINED
    assert explained(series, 13.0, 96, RATE) < EXPLAINED


def test_no_period_is_shorter_than_can_be_told():
    for period in (1.0, 2.0, 2.5):
        assert found(sine(period)) == 0.0 or found(sine(period)) >= SHORTEST


def test_a_faint_season_in_noise_is_none():
    faint = np.sqrt(2 * HIGH / (1 - HIGH)) * 0.5
    assert sum(found(faint * sine(24.0) + noise(np.random.default_rng(seed))) > 0 for seed in range(100)) <= 3
