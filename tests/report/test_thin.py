"""Whatever sticks out of a series still does when it is thinned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamd.records import F64
from streamd.report.thin import envelope, extremes, means, rolling

Series = hnp.arrays(np.float64, st.integers(1, 400), elements=st.floats(-1e9, 1e9) | st.just(np.nan))


@given(Series, st.integers(2, 100))
def test_highest_and_lowest_of_all_survive(values: F64, points: int) -> None:
    rows = extremes(values, points)
    assert len(rows) <= max(points, len(values) if points >= len(values) else 0)
    assert (np.diff(rows) > 0).all()
    if np.isfinite(values).any():
        assert np.nanmax(values[rows]) == np.nanmax(values)
        assert np.nanmin(values[rows]) == np.nanmin(values)


@pytest.mark.parametrize("at", [0, 1, 28_799, 57_599])
def test_a_spike_of_one_row_in_a_long_file_is_kept_at_its_row(at: int) -> None:
    values = np.sin(np.arange(57_600) / 50.0)
    values[at] = -99.0
    rows = extremes(values, 1000)
    assert len(rows) <= 1000
    assert at in rows


def test_a_short_series_is_left_alone() -> None:
    assert extremes(np.array([3.0, np.nan, 1.0]), 3).tolist() == [0, 1, 2]


def test_a_long_gap_stays_one() -> None:
    values = np.ones(1000)
    values[300:700] = np.nan
    rows = extremes(values, 100)
    assert np.isnan(values[rows]).any()


@given(Series, st.integers(1, 60))
def test_a_band_is_nowhere_narrower_than_it_was(values: F64, points: int) -> None:
    lower, upper = values - 1.0, values + 2.0
    rows, low, high = envelope(lower, upper, points)
    known = np.flatnonzero(np.isfinite(values))
    assert len(rows) == len(low) == len(high) <= max(points, len(known) if len(known) <= points else 0)
    ends = np.append(rows[1:], len(values))[: len(rows)]
    for begin, end, below, above in zip(rows, ends, low, high, strict=True):
        inside = known[(known >= begin) & (known < end)]
        assert below == lower[inside].min()
        assert above == upper[inside].max()


def test_rows_without_a_band_are_left_out() -> None:
    nan = np.nan
    rows, lower, upper = envelope(np.array([nan, 0.0, 1.0]), np.array([1.0, 2.0, nan]), 10)
    assert (rows.tolist(), lower.tolist(), upper.tolist()) == ([1], [0.0], [2.0])


def test_means_are_over_what_a_bucket_knows() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan], [5.0, 7.0], [np.nan, 9.0]])
    rows, thinned = means(values, 2)
    assert rows.tolist() == [0, 2]
    np.testing.assert_array_equal(thinned, [[2.0, np.nan], [5.0, 8.0]])
    rows, same = means(values, 4)
    assert rows.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(same, values)


@given(st.lists(st.sampled_from([0.0, 1.0, float("nan")]), max_size=60), st.integers(1, 12))
def test_a_rolling_share_is_that_of_the_last_rows_that_say_something(inside: list[float], window: int) -> None:
    shares = rolling(np.array(inside), window)
    for n, share in enumerate(shares):
        said = [each for each in inside[: n + 1] if each == each]
        if inside[n] != inside[n] or len(said) < window:
            assert np.isnan(share)
        else:
            assert share == pytest.approx(np.mean(said[-window:]))
