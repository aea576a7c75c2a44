"""The kernels between the experts do what a few lines of numpy say, whatever the numbers, and each stream by itself."""

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
def test_a_value_without_its_season_is_tame_and_where_there_is_none_the_last_one_stays(seed):
    random = np.random.default_rng(seed)
    values, last, lowest, season, before = (random.normal(size=(B, C)) for _ in range(5))
    values[random.random(values.shape) < 0.3] = np.nan
    highest = lowest + random.random((B, C))
    tame, rests, here, start = np.empty((4, B, C))
    kernel.rest(values, last, lowest, highest, season, before, tame, rests, here, start)
    known = np.isfinite(values)
    np.testing.assert_array_equal(tame, np.clip(values, lowest, highest))
    np.testing.assert_array_equal(here, known)
    np.testing.assert_array_equal(rests, np.where(known, np.clip(values, lowest, highest) - season, before))
    np.testing.assert_array_equal(start, np.where(known, -season, before - last))


@pytest.mark.parametrize("seed", range(5))
def test_the_mix_is_the_weighted_sum(seed):
    random = np.random.default_rng(seed)
    weights, experts, mixed = random.random((B, E, H, C)), holed(random, (B, E, H, C)), np.empty((B, H, C))
    kernel.mix(weights, experts, mixed)
    np.testing.assert_allclose(mixed, (weights * experts).sum(axis=1))
    alone = np.empty((1, H, C))
    kernel.mix(weights[1:2], experts[1:2], alone)
    assert alone.tobytes() == mixed[1:2].tobytes()
