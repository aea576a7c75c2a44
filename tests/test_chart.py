"""Numbers as dots and shade."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.chart import BLANK, DOTS, SHADE, chart, limits, marks

NONE = np.full(2, np.nan)


def dots(lines):
    """(x, y from the top) of every dot."""
    return {
        (2 * column + side, 4 * row + depth)
        for row, line in enumerate(lines)
        for column, sign in enumerate(line)
        if ord(sign) >= BLANK
        for side in range(2)
        for depth in range(4)
        if ord(sign) - BLANK & DOTS[side][depth]
    }


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right():
    values = np.arange(4.0)
    lines = chart(values, np.full(4, np.nan), np.full(4, np.nan), width=2, height=1)
    assert dots(lines) == {(0, 3), (1, 2), (2, 1), (3, 0)}


def test_the_band_is_shade_where_no_dot_is():
    values = np.array([0.0, 0.0, 10.0, 10.0])
    lines = chart(values, np.zeros(4), np.full(4, 3.0), width=2, height=4)
    assert lines == [" ⠉", "  ", SHADE * 2, "⣀" + SHADE]


def test_a_band_that_is_very_wide_does_not_press_the_values_into_a_line():
    assert limits(np.array([0.0, 1.0]), np.full(2, -1e6), np.full(2, 1e6)) == (-1.5, 2.5)
    assert limits(np.array([0.0, 1.0]), np.full(2, 0.2), np.full(2, 0.8)) == (0.0, 1.0)
    assert limits(np.array([2.0, 2.0]), np.full(2, 1.0), np.full(2, 3.0)) == (1.0, 3.0)
    assert limits(NONE, NONE, NONE) == (0.0, 1.0)


def test_marks_stand_under_their_numbers():
    assert marks([0, 3], 4, width=2) == "^^"
    assert marks([9], 10, width=5) == "    ^"
    assert marks([0], 1, width=3) == "^  "


@given(
    st.lists(st.floats(-1e9, 1e9) | st.just(float("nan")), min_size=1, max_size=50),
    st.integers(1, 40),
    st.integers(1, 12),
)
def test_any_numbers_make_lines_of_the_size_that_was_asked_for(numbers, width, height):
    values = np.array(numbers)
    lines = chart(values, values - 1.0, values + 1.0, width=width, height=height)
    assert [len(line) for line in lines] == [width] * height
    assert bool(dots(lines)) == bool(np.isfinite(values).any())


def test_a_number_between_two_that_are_missing_is_drawn():
    none = np.full(3, np.nan)
    assert dots(chart(np.array([np.nan, 1.0, np.nan]), none, none, width=20, height=2))


@pytest.mark.parametrize("value", [3.0, -1e300])
def test_a_line_that_stands_still_is_drawn_in_the_middle(value):
    none = np.full(9, np.nan)
    assert {y for _, y in dots(chart(np.full(9, value), none, none, width=5, height=3))} == {6}
