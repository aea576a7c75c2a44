"""The kernels of the network's step do what a few lines of numpy say."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.features import LIMIT, TURNS_S, observe
from streamd.kernel import network


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def test_a_layer_is_that_of_the_plain_formula():
    random, K, inputs = np.random.default_rng(0), 7, 21
    below, w_below, w_before, bias, before, cell = (
        random.normal(size=size).astype(np.float32)
        for size in ((3, inputs), (4 * K, inputs), (4 * K, K), (4 * K,), (3, 2, K), (3, 2, K))
    )
    gates = below.astype(np.float64) @ w_below.T + before[:, 1] @ w_before.T + bias
    i, f, g, o = np.split(gates, 4, axis=1)
    plain = sigmoid(f) * cell[:, 1] + sigmoid(i) * np.tanh(g)
    hidden, new = np.zeros((2, 3, 2, K), np.float32)
    network.layer(below, w_below, w_before, bias, before[:, 1], cell[:, 1], hidden[:, 0], new[:, 0])
    np.testing.assert_allclose(new[:, 0], plain, atol=1e-5)
    np.testing.assert_allclose(hidden[:, 0], sigmoid(o) * np.tanh(plain), atol=1e-5)
    assert not hidden[:, 1].any()


def test_the_head_adds_what_each_channels_own_planes_say():
    random = np.random.default_rng(1)
    x, top, weights, skip, bias = (
        random.normal(size=size).astype(np.float32) for size in ((2, 17), (2, 9), (12, 9), (4, 5, 3), (12,))
    )
    out = np.empty((2, 4, 3), np.float32)
    network.head(top, weights, bias, x, skip, out)
    plain = (top @ weights.T + bias).reshape(2, 4, 3) + np.einsum("bpc,hpc->bhc", x[:, :15].reshape(2, 5, 3), skip)
    np.testing.assert_allclose(out, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_what_is_observed_is_that_of_the_plain_formula():
    random, B, H, C = np.random.default_rng(2), 40, 4, 3
    values, before, level = 9.0 * random.standard_t(1.5, size=(3, B, C))
    spread, (usual, errors, mixed) = random.random((B, C)), random.standard_t(1.5, size=(3, B, H, C))
    values[random.random((B, C)) < 0.2], before[0], errors[:9], mixed[5] = np.nan, np.nan, np.nan, np.inf
    times, steps = 1.7e9 + 9e4 * random.random(B), np.exp(5.0 * random.normal(size=B))
    x = observe(values, before, level, spread, usual, errors, mixed, times, steps)
    angles = 2 * np.pi * times[:, None] / TURNS_S
    late = np.clip(np.log2(steps), -LIMIT, LIMIT)
    turns = np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(B, -1)
    planes = [(values - level) / spread, (values - before) / usual[:, 0], np.isfinite(values), errors[:, 0]]
    planes = np.concatenate([*planes, mixed[:, -1] / usual[:, -1], late[:, None], turns], axis=1)
    np.testing.assert_allclose(x, np.nan_to_num(np.clip(planes, -LIMIT, LIMIT), nan=0.0), atol=1e-5)


@pytest.mark.parametrize(("where", "value"), [(None, 0.0), ("h", np.nan), ("c", np.inf), ("c", -101.0), ("h", 1.5)])
def test_a_state_is_sound_if_every_number_of_it_is_within_bounds(where, value):
    states = {name: np.full((2, 2, 3), -0.9, np.float32) for name in "hc"}
    if where:
        states[where][1, 1, 2] = value
    assert network.sound(states["h"], states["c"], 100.0) == (where is None)
