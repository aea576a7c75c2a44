"""Ranges: an angle is a line inside and an angle outside, and nothing that is shown lies beyond what was declared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.config import Channel
from streamd.engine.ranges import Ranges

FREE, ANGLE, SIGNED, SHARE, COUNT = range(5)
NAMES = ("free", "angle", "signed", "share", "count")
DECLARED = {
    "angle": Channel(wrap=360.0),
    "signed": Channel(wrap=360.0, low=-180.0),
    "share": Channel(low=0.0, high=1.0),
    "count": Channel(low=0.0),
}
RANGES = Ranges(DECLARED, NAMES)

anything = st.floats(-1e6, 1e6)
rows = st.lists(anything, min_size=5, max_size=5)


def unwrap(values, last):
    return RANGES.unwrap(np.array([values], float), np.array([last], float))[0]


def show(last, mean, levels):
    """One forecast of one step, levels [Q, C] as offsets."""
    last, mean, levels = (np.array(each, float) for each in (last, mean, levels))
    shown = RANGES.show(last, mean, levels)
    return shown.mean, shown.levels


@pytest.mark.parametrize(
    ("last", "value", "near"),
    [(350.0, 10.0, 370.0), (10.0, 350.0, -10.0), (90.0, 91.0, 91.0), (3605.0, 0.0, 3600.0), (-725.0, 359.0, -721.0)],
)
def test_an_angle_is_taken_as_near_to_the_last_one_as_it_can_be(last, value, near):
    found = unwrap([value] * 5, [last] * 5)
    assert found[ANGLE] == found[SIGNED] == near
    assert found[[FREE, SHARE, COUNT]].tolist() == [value] * 3


@given(last=anything, value=anything)
def test_an_unwrapped_angle_is_the_same_angle_and_at_most_half_a_turn_away(last, value):
    found = unwrap([value] * 5, [last] * 5)[ANGLE]
    turns = (found - value) / 360.0
    assert turns == pytest.approx(round(turns), abs=1e-6)
    assert abs(found - last) <= 180.0 + 1e-6


def test_a_missing_angle_stays_missing_and_the_first_one_is_taken_as_it_is():
    assert np.isnan(unwrap([np.nan] * 5, [350.0] * 5)).all()
    assert unwrap([725.0] * 5, [np.nan] * 5).tolist() == [725.0] * 5


def test_values_without_declaration_are_left_alone():
    values = np.array([[10.0, np.nan]])
    plain = Ranges({}, ["a", "b"])
    np.testing.assert_array_equal(plain.unwrap(values, np.array([[350.0, 1.0]])), values)
    shown = plain.show(np.array([5.0, -5.0]), np.array([1.0, 1.0]), np.array([[1e9, -1e9]]))
    assert shown.mean.tolist() == [6.0, -4.0]
    assert shown.levels.tolist() == [[1e9 + 5, -1e9 - 5]]


def test_what_is_declared_of_a_channel_that_is_not_there_changes_nothing():
    ranges = Ranges({"gone": Channel(low=0.0), "b": Channel(high=1.0)}, ["a", "b"])
    shown = ranges.show(np.zeros(2), np.array([-7.0, 7.0]), np.zeros((1, 2)))
    assert shown.mean.tolist() == [-7.0, 1.0]


@given(last=rows, mean=rows, below=rows, above=rows)
def test_no_forecast_and_no_bound_of_a_bounded_channel_lies_outside_and_bounds_stay_in_order(last, mean, below, above):
    lower, upper = np.array(mean) - np.abs(below), np.array(mean) + np.abs(above)
    found, (low, high) = show(last, mean, np.stack([lower, upper]))
    for each in (found, low, high):
        assert 0.0 <= each[SHARE] <= 1.0
        assert each[COUNT] >= 0.0
    assert (low <= found + 1e-6).all()
    assert (found <= high + 1e-6).all()


@given(last=rows, mean=rows, width=st.floats(0, 1e4))
def test_an_angles_mean_lies_in_its_turn_and_its_bounds_are_as_far_off_as_they_were(last, mean, width):
    mean = np.array(mean)
    found, (low, high) = show(last, mean, np.stack([mean - width, mean + width]))
    assert 0.0 <= found[ANGLE] <= 360.0
    assert -180.0 <= found[SIGNED] <= 180.0
    for channel in (ANGLE, SIGNED):
        turns = (np.array(last) + mean - found)[channel] / 360.0
        assert turns == pytest.approx(round(turns), abs=1e-6)
        assert found[channel] - low[channel] == pytest.approx(width, abs=1e-5)
        assert high[channel] - found[channel] == pytest.approx(width, abs=1e-5)


def test_a_forecast_that_is_not_known_is_not_invented():
    found, levels = show([np.nan] * 5, [1.0] * 5, [[1.0] * 5])
    assert np.isnan(found).all()
    assert np.isnan(levels).all()
