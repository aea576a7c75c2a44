"""The power at periods is that of the plain sum over turns."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.kernel import periods as kernel

HARMONICS = 3


@pytest.mark.parametrize("count", [1, 32, 512])
def test_the_power_is_that_of_the_plain_formula(count):
    past = np.random.default_rng(count).normal(size=count).cumsum()
    periods, power = np.linspace(3.0, 250.0, 40), np.empty(40)
    kernel.power(past, periods, HARMONICS, power)
    turns = (np.arange(count) / periods[:, None])[None] * np.arange(1, HARMONICS + 1)[:, None, None]
    plain = (np.abs((np.exp(-2j * np.pi * turns) * past).sum(axis=-1)) ** 2).sum(axis=0)
    np.testing.assert_allclose(power, plain, rtol=1e-9, atol=1e-9 * plain.max())


def test_a_course_has_most_power_at_its_own_period():
    periods, power = np.linspace(10.0, 15.0, 101), np.empty(101)
    kernel.power(np.sin(2 * np.pi * np.arange(500) / 12.5) * np.hanning(500), periods, HARMONICS, power)
    assert periods[power.argmax()] == 12.5
