"""The kernels of the horizons do what numpy's straight lines say, each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine import horizons
from streamd.kernel import horizons as kernel

B, E, W, C = 3, 3, 12, 2
STEPS = horizons.steps(W, len(horizons.few(W)))
P = len(STEPS)
EVERY = np.arange(1, W + 1)


def line(judged):
    """[..., P, C] -> [..., W, C]."""
    return np.apply_along_axis(lambda column: np.interp(EVERY, STEPS, column), -2, judged)


def made(seed):
    random = np.random.default_rng(seed)
    seasonal = 10.0 * np.sin(EVERY / 3.0)[None, :, None] + random.normal(size=(B, W, C))
    experts = random.normal(size=(B, E, P, C))
    experts[:, 0], experts[:, 1] = 0.0, seasonal[:, STEPS - 1]
    weights = random.random((B, E, P, C))
    return experts, weights / weights.sum(axis=1, keepdims=True), seasonal, random.normal(size=(B, P, C))


@pytest.mark.parametrize("seed", range(3))
def test_between_judged_steps_lies_a_straight_line(seed):
    judged = np.random.default_rng(seed).normal(size=(5, P, C))
    out = np.empty((5, W, C))
    kernel.between(STEPS, judged, out)
    np.testing.assert_allclose(out, line(judged), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(out[:, STEPS - 1], judged)


@pytest.mark.parametrize("seed", range(3))
def test_experts_are_a_straight_line_on_top_of_the_seasons_and_so_is_what_was_added_to_their_mix(seed):
    experts, weights, seasonal, offset = made(seed)
    every, shares, out = np.full((B, E + 1, W, C), 7.0), np.full((B, E + 2, W, C), 7.0), np.empty((B, W, C))
    kernel.mixed(STEPS, experts, weights, seasonal, offset, every, shares, out)
    plain = seasonal[:, None] + line(experts - seasonal[:, None, STEPS - 1])
    plain[:, 0] = 0.0
    np.testing.assert_allclose(every[:, :E], plain, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(shares[:, :E], line(weights), rtol=1e-12, atol=1e-12)
    mix = (line(weights) * plain).sum(axis=1)
    np.testing.assert_allclose(out, mix + line(offset - mix[:, STEPS - 1]), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(out[:, STEPS - 1], offset, rtol=1e-12, atol=1e-12)
    assert (every[:, E:] == 7.0).all()
    assert (shares[:, E:] == 7.0).all(), "what a compact state does without is the caller's"


def test_a_stream_gets_the_same_bits_alone_and_among_others():
    given = made(9)
    together = np.empty((B, E, W, C)), np.empty((B, E, W, C)), np.empty((B, W, C))
    kernel.mixed(STEPS, *given, *together)
    for row in range(B):
        one = slice(row, row + 1)
        alone = np.empty((1, E, W, C)), np.empty((1, E, W, C)), np.empty((1, W, C))
        kernel.mixed(STEPS, *(each[one] for each in given), *alone)
        assert all(a.tobytes() == b[one].tobytes() for a, b in zip(alone, together, strict=True))


def test_what_is_not_known_at_one_step_leaves_the_others_as_they_are():
    judged, out = np.ones((1, P, C)), np.empty((1, W, C))
    judged[0, -1] = np.nan
    kernel.between(STEPS, judged, out)
    assert (out[0, : STEPS[-2]] == 1.0).all()
    assert np.isnan(out[0, STEPS[-2] :]).all()
