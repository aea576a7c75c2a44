"""The kernel that mixes forecasts does what a line of numpy says, whatever the numbers, and each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.kernel import experts as kernel

B, E, H, C = 3, 4, 5, 2


def holed(random, shape):
    """Numbers, some of them unknown."""
    numbers = random.normal(size=shape)
    numbers[random.random(shape) < 0.2] = np.nan
    return numbers


@pytest.mark.parametrize("seed", range(5))
def test_the_mix_is_the_weighted_sum(seed):
    random = np.random.default_rng(seed)
    weights, experts, mixed = random.random((B, E, H, C)), holed(random, (B, E, H, C)), np.empty((B, H, C))
    kernel.mix(weights, experts, mixed)
    np.testing.assert_allclose(mixed, (weights * experts).sum(axis=1))
    alone = np.empty((1, H, C))
    kernel.mix(weights[1:2], experts[1:2], alone)
    assert alone.tobytes() == mixed[1:2].tobytes()


@pytest.mark.parametrize("seed", range(5))
def test_values_are_tamed_and_those_that_are_here_are_told_from_the_others(seed):
    random = np.random.default_rng(seed)
    values, lowest = holed(random, (B, C)), holed(random, (B, C))
    values[0, 0] = random.choice([np.inf, -np.inf])
    highest = lowest + random.random((B, C))
    tame, here = np.empty((2, B, C))
    kernel.tame(values, lowest, highest, tame, here)
    np.testing.assert_array_equal(tame, np.minimum(np.maximum(values, lowest), highest))
    np.testing.assert_array_equal(here, np.isfinite(values))


def test_a_channel_that_is_missing_rests_where_its_seasons_have_carried_it():
    random = np.random.default_rng(0)
    here, ahead = (random.random((B, C)) < 0.5).astype(np.float64), random.normal(size=(B, H, C))
    season, rest, last = random.normal(size=(3, B, C))
    plain = np.where(here > 0.0, -season, rest - last)[:, None] + ahead
    kernel.seasonal(here, season, rest, last, ahead)
    np.testing.assert_array_equal(ahead, plain)
