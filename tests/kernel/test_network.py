"""The kernels of the network's step do what a few lines of numpy say."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.features import LIMIT, TURNS_S, observe
from streamd.engine.hidden import Hidden
from streamd.kernel import network


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def some(random, *sizes):
    return tuple(random.normal(size=size).astype(np.float32) for size in sizes)


def test_a_step_is_that_of_the_plain_formula():
    random, B, K, H, C, planes = np.random.default_rng(0), 3, 7, 4, 3, 5
    inputs = planes * C + 6
    layers = [some(random, (4 * K, width), (4 * K, K), (4 * K,)) for width in (inputs, K)]
    w_head, b_head, w_skip = some(random, (H * C, K), (H * C,), (H, planes, C))
    x, h, c = some(random, (B, inputs), (B, 2, K), (B, 2, K))
    hidden, cell, out = (np.empty(size, np.float32) for size in (h.shape, c.shape, (B, H, C)))
    network.Network(layers, w_head, b_head, w_skip).step(x, h, c, hidden, cell, out)
    below = x.astype(np.float64)
    for n, (w_below, w_before, bias) in enumerate(layers):
        i, f, g, o = np.split(below @ w_below.T + h[:, n] @ w_before.T + bias, 4, axis=1)
        plain = sigmoid(f) * c[:, n] + sigmoid(i) * np.tanh(g)
        below = sigmoid(o) * np.tanh(plain)
        np.testing.assert_allclose(cell[:, n], plain, atol=1e-5)
        np.testing.assert_allclose(hidden[:, n], below, atol=1e-5)
    skipped = np.einsum("bpc,hpc->bhc", x[:, : planes * C].reshape(B, planes, C), w_skip)
    np.testing.assert_allclose(out, (below @ w_head.T + b_head).reshape(B, H, C) + skipped, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("value", "is_within"), [(-8.0, True), (8.5, False), (-np.inf, False), (np.nan, False)])
def test_numbers_are_within_a_limit_if_each_is(value, is_within):
    numbers = np.zeros((2, 3, 4), np.float32)
    numbers[1, 2, 3] = value
    assert network.within(numbers, 8.0) == is_within
    assert network.within(numbers[:0], 8.0)


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


def test_states_are_put_where_they_are_taken_from_and_no_other_stream_is_touched():
    ours, slots, random = Hidden({"L": 2, "K": 3}, slots=5), np.array([3, 0]), np.random.default_rng(3)
    h, c = some(random, (2, 2, 3), (2, 2, 3))
    ours.put(slots, h, c)
    np.testing.assert_array_equal(ours.h[slots], h)
    np.testing.assert_array_equal(ours.c[slots], c)
    np.testing.assert_array_equal(ours.take(slots), (h, c))
    assert not ours.h[[1, 2, 4]].any()
    assert not ours.c[[1, 2, 4]].any()


def test_a_state_that_other_weights_made_is_due_in_its_streams_own_turn():
    ours, places = Hidden({"L": 1, "K": 1}, slots=5), np.empty(3, np.int64)
    ours.generation[3] = 7
    slots, turns = np.array([0, 3, 4]), np.array([0, 0, 3])

    def due(n, generation):
        return places[: ours.loops.due(slots, np.full(3, n), turns, 16, generation, places)].tolist()

    assert due(16, generation=7) == [0]
    assert due(16, generation=0) == [1]
    assert due(29, generation=7) == [2], "(29 + 3) % 16 == 0"
    assert due(17, generation=7) == []
