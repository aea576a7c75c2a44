"""Lags: the features of a frame are what its past says, and wait with it for its values."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.lags import BACK, LAGS, LARGE, MEANS_FRAMES, NEAR, STRETCHES, Lags
from streamd.engine.profile import FULL

H, C = 3, 2
V = H + 4
SIZES = {**FULL, "H": H, "V": V, "C": C}
ONE = np.array([0])
END = LAGS + 1 + len(STRETCHES)


def observe(lags, n, rest, weight=1.0, usual=1.0, slots=ONE):
    """Features [C, FEATURES] of one stream's frame n."""
    B = len(slots)
    rest = np.broadcast_to(np.asarray(rest, float), (B, C))
    return lags.observe(slots, np.full(B, n), rest, np.full((B, C), weight), np.full((B, C), usual))[0]


def series(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, C)).cumsum(axis=0)


def test_features_are_the_past_as_differences_from_the_last_value():
    lags, made = Lags(SIZES, slots=1), series(3 * BACK)
    for n, rest in enumerate(made):
        x = observe(lags, n, rest, usual=0.5)
        past = made[np.maximum(n - np.arange(BACK), 0)]  # newest first; before the first it was always like this
        np.testing.assert_allclose(x[:, :LAGS], (past[1 : LAGS + 1] - rest).T)
        assert (x[:, LAGS] == 0.5).all()
        for place, (start, end) in enumerate(STRETCHES):
            np.testing.assert_allclose(x[:, LAGS + 1 + place], past[start:end].mean(axis=0) - rest, atol=1e-9)


def test_running_means_begin_as_plain_means_and_become_slow_ones():
    lags, made = Lags(SIZES, slots=1), series(2000, seed=1)
    expected = np.repeat(made[0][:, None], len(MEANS_FRAMES), axis=1)
    for n, rest in enumerate(made):
        x = observe(lags, n, rest)
        expected += np.maximum(1 / (n + 1), 1 / MEANS_FRAMES) * (rest[:, None] - expected)
        if n < MEANS_FRAMES.min():
            np.testing.assert_allclose(x[:, END:], (made[: n + 1].mean(axis=0) - rest)[:, None].repeat(4, 1), atol=1e-9)
    np.testing.assert_allclose(x[:, END:], expected - rest[:, None], atol=1e-9)


def test_the_nearest_features_look_back_no_further_than_they_say():
    lags, other = Lags(SIZES, slots=1), Lags(SIZES, slots=1)
    made = series(2 * BACK)
    changed = made.copy()
    changed[:-28] += 5.0
    for n in range(len(made)):
        x, y = observe(lags, n, made[n]), observe(other, n, changed[n])
    np.testing.assert_allclose(x[:, :NEAR], y[:, :NEAR])
    assert not np.allclose(x[:, NEAR], y[:, NEAR])


def test_features_and_how_far_they_are_trusted_are_at_hand_until_they_have_been_learned_from():
    lags = Lags(SIZES, slots=1)
    seen = []
    for n, rest in enumerate(series(20)):
        if n >= V:
            now = np.array([n])
            trust = lags.trusted(ONE, now)
            np.testing.assert_array_equal(trust[0], [[1.0 / (1 + n - h)] * C for h in range(1, H + 1)])
            np.testing.assert_allclose(
                lags.features[0, (n - 1 - np.arange(V)) % V], np.stack(seen[n - V :][::-1]), rtol=1e-6
            )
        seen.append(observe(lags, n, rest, weight=1.0 / (1 + n)))


def test_the_last_value_is_at_hand_before_the_next_one_comes():
    lags = Lags(SIZES, slots=1)
    missing = np.full((1, C), np.nan)
    assert lags.filled(ONE, np.array([0]), missing).tolist() == [[0.0, 0.0]]
    for n, rest in enumerate(series(2 * BACK + 3)):
        observe(lags, n, rest)
        np.testing.assert_array_equal(lags.filled(ONE, np.array([n + 1]), missing)[0], rest)
        assert lags.filled(ONE, np.array([n + 1]), np.array([[np.nan, 7.0]])).tolist() == [[rest[0], 7.0]]


@pytest.mark.parametrize("spike", [10 * LARGE, 1e30, -1e100])
def test_a_frame_with_a_spike_among_its_nearest_lags_counts_little_and_later_ones_in_full(spike):
    lags, made = Lags(SIZES, slots=1), series(2 * BACK, seed=2)
    at = BACK // 2
    for n, rest in enumerate(made):
        observe(lags, n, [spike, rest[1]] if n == at else rest)
        weights = lags.trust[0, n % V]
        assert weights[1] == 1.0
        if at <= n <= at + LAGS:
            assert weights[0] <= 1.5 * (LARGE / abs(spike)) ** 2
        else:
            assert weights[0] == 1.0
        assert np.isfinite(lags.features[0, n % V]).all()


def test_a_long_slope_is_nothing_strange():
    """A smooth course is far from its running means, in steps of a frame."""
    lags = Lags(SIZES, slots=1)
    for n in range(1000):
        observe(lags, n, np.sin(n / 100), usual=0.01)
        assert (lags.trust[0, n % V] == 1.0).all()


def test_streams_of_one_batch_are_what_they_are_alone():
    together, apart = Lags(SIZES, slots=3), [Lags(SIZES, slots=1) for _ in range(2)]
    first, second = series(BACK + 20, seed=3), 1e6 * series(BACK + 20, seed=4)
    for n in range(len(first)):
        x = together.observe(
            np.array([2, 0]), np.array([n, n]), np.stack([first[n], second[n]]), np.ones((2, C)), np.ones((2, C))
        )
        np.testing.assert_array_equal(x[0], observe(apart[0], n, first[n]))
        np.testing.assert_array_equal(x[1], observe(apart[1], n, second[n]))
    assert not together.ring[1].any()
