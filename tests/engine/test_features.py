"""Features: whatever comes in, what the network sees is bounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from streamd.engine import features

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True, width=64)
NOON = 1_700_049_600.0  # 2023-11-15T12:00:00Z, a Wednesday


def clock(times, steps):
    """What the network sees of the time."""
    nothing, few = np.zeros((len(times), 1)), np.zeros((len(times), 1, 1))
    x = features.observe(*4 * [nothing], *3 * [few], np.asarray(times, float), np.asarray(steps, float))
    return x[:, -features.CLOCK :]


@given(arrays(np.float64, (3, 2), elements=ANY_FLOAT))
def test_any_value_is_within_the_limit_and_nothing_is_nan(values):
    bounded = features.bounded(values)
    assert bounded.dtype == np.float32
    assert (np.abs(bounded) <= features.LIMIT).all()


def test_values_within_the_limit_stay_as_they_are_and_nan_is_nothing():
    values = np.array([[0.5, -7.5, np.nan, np.inf, -np.inf, 1e300]])
    np.testing.assert_array_equal(features.bounded(values), np.float32([[0.5, -7.5, 0, 8, -8, 8]]))


def test_the_clock_turns_once_a_day_and_once_a_week():
    day, week = features.DAY_S, features.WEEK_S
    ones = np.ones(4)
    late, sin_day, cos_day, sin_week, cos_week = clock(NOON + np.array([0, day / 2, day, week]), ones).T
    assert not late.any()
    np.testing.assert_allclose(cos_day, [-1, 1, -1, -1], atol=1e-4)
    np.testing.assert_allclose(sin_day, 0, atol=1e-4)
    assert sin_week[3] == pytest.approx(sin_week[0], abs=1e-4)
    assert cos_week[3] == pytest.approx(cos_week[0], abs=1e-4)
    assert sin_week[2] != pytest.approx(sin_week[0], abs=1e-2)


@given(arrays(np.float64, 3, elements=st.floats(0, 1e18)), arrays(np.float64, 3, elements=st.floats(-1e12, 1e12)))
def test_any_gap_and_any_time_give_bounded_features(steps, times):
    seen = clock(times, steps)
    assert seen.shape == (3, features.CLOCK)
    assert (np.abs(seen) <= features.LIMIT).all()


def test_a_gap_counts_by_doublings():
    late = clock(np.zeros(4), np.array([0.5, 1.0, 2.0, 8.0]))[:, 0]
    np.testing.assert_array_equal(late, [-1, 0, 1, 3])


def test_the_input_is_plane_after_plane_as_the_network_widens_it():
    planes = {name: np.full((2, 3), place, np.float32) for place, name in enumerate(features.PLANES)}
    clock = np.full((2, features.CLOCK), 9, np.float32)
    x = features.compose(*planes.values(), clock)
    assert x.dtype == np.float32
    expected = [place for place in range(len(features.PLANES)) for _ in range(3)] + [9] * features.CLOCK
    np.testing.assert_array_equal(x, [expected] * 2)
