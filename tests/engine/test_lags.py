"""Lags: the features of a frame are what its past says, and wait with it for its values."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.lags import BACK, FEATURES, LAGS, LARGE, MEANS_FRAMES, NEAR, STRETCHES, Lags

H, C = 3, 2
SIZES = {"H": H, "W": H, "C": C}
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


def test_features_and_weights_wait_for_as_many_frames_as_the_horizon_has():
    lags = Lags(SIZES, slots=1)
    seen = []
    for n, rest in enumerate(series(10)):
        if n >= H:
            features, weights = lags.before(ONE, np.array([n]))
            assert features.shape == (1, H, C, FEATURES)
            for h in range(1, H + 1):
                np.testing.assert_allclose(features[0, h - 1], seen[n - h], rtol=1e-6)
                assert (weights[0, h - 1] == 1.0 / (1 + n - h)).all()
        seen.append(observe(lags, n, rest, weight=1.0 / (1 + n)))


def test_the_last_value_is_at_hand_before_the_next_one_comes():
    lags = Lags(SIZES, slots=1)
    assert lags.rest(ONE, np.array([0])).tolist() == [[0.0, 0.0]]
    for n, rest in enumerate(series(2 * BACK + 3)):
        observe(lags, n, rest)
        np.testing.assert_array_equal(lags.rest(ONE, np.array([n + 1]))[0], rest)


@pytest.mark.parametrize("spike", [10 * LARGE, 1e30, -1e100])
def test_frames_with_a_spike_in_their_past_count_little_and_for_no_longer_than_it_is_seen(spike):
    lags, made = Lags(SIZES, slots=1), series(2 * BACK, seed=2)
    for n, rest in enumerate(made[: BACK // 2]):
        observe(lags, n, rest)
    n = BACK // 2
    observe(lags, n, [spike, 0.0])
    assert (lags.weights[0, n % H] <= [(LARGE / abs(spike)) ** 2 * 1.5, 1.0]).all()
    assert lags.weights[0, n % H, 1] == 1.0
    features = lags.waiting[0, n % H]
    assert np.isfinite(features).all()


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
