"""Rules per channel: which deviations matter, and which values are strange whatever came."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.config import Channel
from streamd.engine.rules import OUTSIDE, Rules

NUMBERS = st.floats(-1e6, 1e6)


def matters(rule, value, expected):
    return Rules({"a": rule}, ["a"]).matters(np.array([[value]]), np.array([[expected]])).item()


def outside(rule, value):
    return Rules({"a": rule}, ["a"]).outside(np.array([[value]])).item()


@given(NUMBERS, NUMBERS)
def test_without_a_rule_every_deviation_matters_and_no_value_is_outside(value, expected):
    assert matters(Channel(), value, expected)
    assert not outside(Channel(), value)


@given(NUMBERS, NUMBERS)
def test_a_channel_that_may_only_go_up_is_not_strange_when_it_goes_down(value, expected):
    assert matters(Channel(direction="up"), value, expected) == (value >= expected)
    assert matters(Channel(direction="down"), value, expected) == (value <= expected)


@pytest.mark.parametrize(("value", "felt"), [(10.0, False), (12.9, False), (13.0, True), (7.1, False), (6.0, True)])
def test_a_deviation_below_the_least_does_not_matter(value, felt):
    assert matters(Channel(least=3.0), value, 10.0) == felt


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_least_share_is_of_the_size_of_what_was_expected(sign):
    rule = Channel(least_relative=0.1)
    assert not matters(rule, sign * 109.0, sign * 100.0)
    assert matters(rule, sign * 89.0, sign * 100.0)
    assert matters(rule, 0.001, 0.0)


def test_of_both_the_larger_counts():
    rule = Channel(least=3.0, least_relative=0.1)
    assert not matters(rule, 12.0, 10.0)  # over a tenth, and below 3
    assert not matters(rule, 105.0, 100.0)  # over 3, and below a tenth
    assert matters(rule, 111.0, 100.0)


@pytest.mark.parametrize("rule", [Channel(direction="up"), Channel(least=5.0), Channel(least_relative=0.5)])
def test_a_deviation_that_is_not_known_matters(rule):
    assert matters(rule, np.nan, 1.0)
    assert matters(rule, 1.0, np.nan)


def test_a_value_beyond_the_declared_range_is_outside_and_its_ends_are_not():
    rule = Channel(low=0.0, high=10.0)
    assert [outside(rule, value) for value in (-0.1, 0.0, 5.0, 10.0, 10.1, np.nan)] == [True, *[False] * 3, True, False]
    assert outside(Channel(low=0.0), -1.0)
    assert not outside(Channel(low=0.0), 1e9)


def test_an_angle_has_no_outside():
    assert not outside(Channel(low=-180.0, wrap=360.0), -500.0)


def test_rules_go_by_the_channels_names_in_the_groups_order():
    rules = Rules({"b": Channel(least=2.0, high=1.0), "gone": Channel(low=9.0)}, ["a", "b", "c"])
    values, expected = np.array([[2.0, 2.0, 2.0]]), np.array([[1.0, 1.0, 1.0]])
    assert rules.matters(values, expected).tolist() == [[True, False, True]]
    assert rules.outside(values).tolist() == [[False, True, False]]


def test_what_does_not_matter_is_nothing_and_what_is_outside_is_over_the_line():
    rules = Rules({"a": Channel(direction="up"), "b": Channel(high=5.0)}, ["a", "b"])
    values, expected = np.array([[1.0, 6.0], [3.0, 6.0], [np.nan, 4.0]]), np.array([[2.0, 6.0], [2.0, 6.0], [2.0, 4.0]])
    parts = np.array([[3.0, 0.1], [3.0, 7.0], [0.5, np.nan]])
    np.testing.assert_array_equal(rules.weigh(parts, values, expected), [[0.0, OUTSIDE], [3.0, 7.0], [0.5, np.nan]])


def test_terms_with_expectations_of_their_own_are_judged_in_one_go():
    rules = Rules({"a": Channel(direction="up")}, ["a"])
    values = np.array([[5.0], [1.0]])  # [B, C]
    expected = np.array([[[4.0], [6.0]], [[0.0], [0.5]]])  # [B, T, C]
    assert rules.matters(values[:, None], expected).tolist() == [[[True], [False]], [[True], [True]]]


def test_a_group_without_channels_has_no_rules():
    rules = Rules({}, [])
    assert rules.weigh(np.zeros((3, 0)), np.zeros((3, 0)), np.zeros((3, 0))).shape == (3, 0)
