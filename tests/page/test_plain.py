import math

import numpy as np
import pytest

from streamd.page.plain import exact, short


def test_exact_numbers_keep_every_bit():
    numbers = np.random.default_rng(1).normal(size=50) * 10.0 ** np.arange(-25, 25)
    assert exact(numbers) == numbers.tolist()


def test_short_numbers_are_as_near_as_their_digits_allow_and_shorter_to_write():
    numbers = np.random.default_rng(1).normal(size=50) * 10.0 ** np.arange(-25, 25)
    found = short(numbers, 4)
    assert found == pytest.approx(numbers.tolist(), rel=1e-3)
    assert max(len(repr(number).strip("-").partition("e")[0]) for number in short(numbers[20:30], 4)) <= 8


def test_nought_infinities_and_what_is_missing_stay_what_they_are():
    found = short(np.array([0.0, np.inf, -np.inf, np.nan, 5e-324, 1.7e308]))
    assert found[:3] == [0.0, math.inf, -math.inf]
    assert math.isnan(found[3])
    assert found[4:] == [5e-324, pytest.approx(1.7e308)]


def test_arrays_stay_nested():
    assert short(np.array([[1.23456, 2.0], [3.0, 4.0]], np.float32), 3) == [[1.23, 2.0], [3.0, 4.0]]
