"""Our own baselines do what anyone would expect of them, whatever the sensor does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.against.baselines import (
    SETTLED_ROWS,
    AgainstError,
    Persistence,
    Seasonal,
    ZScore,
    slots_of_day,
)

HOUR = 3600.0
NAN = np.nan


def one(value: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([value])


def test_persistence_repeats_the_last_known_value_of_each_channel() -> None:
    last = Persistence(2)
    assert np.isnan(last.forecast(2)).all()
    last.learn(0.0, np.array([1.0, NAN]))
    last.learn(1.0, np.array([NAN, 5.0]))
    assert last.forecast(2).tolist() == [[1.0, 5.0], [1.0, 5.0]]


def test_a_day_ago_is_found_by_the_clock_also_after_a_gap() -> None:
    seasonal = Seasonal(1)
    for hour in range(30):
        if not 26 <= hour < 29:  # three hours of the second day are missing
            seasonal.learn(hour * HOUR, one(float(hour)))
    # after hour 29 come 30, 31 …, which were 6, 7 … a day before; three hours were not repeated
    assert seasonal.forecast(3)[:, 0].tolist() == [6.0, 7.0, 8.0]
    assert seasonal.forecast(23)[20:, 0].tolist() == [2.0, 3.0, 4.0]  # hours 50 to 52: those missing, two days ago


def test_the_day_is_not_known_before_the_usual_step_is_and_then_nothing_is_lost() -> None:
    seasonal = Seasonal(1)
    for hour in range(SETTLED_ROWS - 1):
        seasonal.learn(hour * HOUR, one(float(hour)))
    assert seasonal.forecast(2)[:, 0].tolist() == [7.0, 7.0]
    for hour in range(SETTLED_ROWS - 1, 24):
        seasonal.learn(hour * HOUR, one(float(hour)))
    assert seasonal.forecast(2)[:, 0].tolist() == [0.0, 1.0]


def test_a_period_in_rows_needs_no_clock() -> None:
    seasonal = Seasonal(1, period=3)
    assert np.isnan(seasonal.forecast(1)).all()
    for n, value in enumerate([1.0, 2.0, 3.0, 4.0, NAN]):
        seasonal.learn(float(n * n), one(value))
    assert seasonal.forecast(4)[:, 0].tolist() == [3.0, 4.0, 2.0, 3.0]  # the missing one's is that of a season before


def test_steps_that_do_not_divide_a_day_are_an_error_that_says_what_to_do() -> None:
    seasonal = Seasonal(1)
    for month in range(SETTLED_ROWS - 1):
        seasonal.learn(month * 30 * 86_400.0, one(1.0))
    with pytest.raises(AgainstError, match=r"2.592e\+06 s; say seasonal:ROWS"):
        seasonal.learn((SETTLED_ROWS - 1) * 30 * 86_400.0, one(1.0))


@pytest.mark.parametrize(
    ("step", "slots"), [(1.0, 86_400), (900.0, 96), (HOUR, 24), (5 * HOUR, None), (86_400.0, None), (0.01, None)]
)
def test_a_day_is_counted_in_steps(step: float, slots: int | None) -> None:
    assert slots_of_day([step * n for n in range(9)]) == slots


def test_one_gap_among_the_first_rows_does_not_hide_the_step() -> None:
    assert slots_of_day([0.0, 1.0 * HOUR, 2.0 * HOUR, 50.0 * HOUR, 51.0 * HOUR]) == 24
    assert slots_of_day([7.0]) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50), st.floats(-1e6, 1e6))
def test_a_z_score_is_the_distance_in_deviations_of_all_before(values: list[float], value: float) -> None:
    detector = ZScore(1)
    for each in values:
        detector.learn(one(each))
    deviation = float(np.std(values))
    if deviation > 1e-3:
        assert detector.score(one(value)) == pytest.approx(abs(value - np.mean(values)) / deviation, rel=1e-6, abs=1e-6)


def test_the_strangest_channel_counts_and_missing_ones_do_not() -> None:
    detector = ZScore(3)
    assert detector.score(np.array([1.0, 2.0, NAN])) == 0.0
    for row in ([0.0, 0.0, NAN], [2.0, 4.0, NAN], [NAN, 2.0, NAN]):
        detector.learn(np.array(row))
    before = detector.score(np.array([2.0, 12.0, 9.0]))
    assert before == pytest.approx(10.0 / np.std([0, 4, 2]))
    assert detector.score(np.array([2.0, 12.0, 9.0])) == before  # a question teaches nothing
    assert detector.score(np.array([2.0, NAN, NAN])) == pytest.approx(1.0)
