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
