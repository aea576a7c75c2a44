"""What was forecast is judged when its value comes, and not before; sums are what one adds up by hand."""

from __future__ import annotations

import numpy as np

from streamd.tally import Tally, Waiting

NAN = np.nan


def test_a_forecast_is_judged_against_the_row_that_it_was_made_for() -> None:
    waiting = Waiting(horizon=2, channels=1)
    error, persistence, inside = waiting.judge(np.array([5.0]))
    assert np.isnan(np.stack([error, persistence, inside])).all()  # nothing was forecast before the first row
    waiting.keep(np.array([5.0]), np.array([[6.0], [7.0]]), np.array([[5.5], [8.0]]), np.array([[6.5], [9.0]]))
    error, persistence, inside = waiting.judge(np.array([6.5]))
    assert error[0, 0] == 0.5
    assert np.isnan(error[1, 0])
    assert persistence[0, 0] == 1.5
    assert inside[0, 0] == 1.0
    waiting.keep(np.array([6.5]), np.array([[1.0], [1.0]]))
    error, persistence, inside = waiting.judge(np.array([7.5]))
    assert error.tolist() == [[6.5], [0.5]]
    assert persistence.tolist() == [[1.0], [2.5]]
    assert inside[1, 0] == 0.0
    assert np.isnan(inside[0, 0])  # made without an interval


def test_a_missing_value_judges_nothing_and_persistence_goes_on_from_the_last_known() -> None:
    waiting = Waiting(horizon=1, channels=1)
    for value in (3.0, NAN):
        waiting.judge(np.array([value]))
        waiting.keep(np.array([value]), np.array([[0.0]]))
    error, persistence, _ = waiting.judge(np.array([4.0]))
    assert (error[0, 0], persistence[0, 0]) == (4.0, 1.0)
    assert np.isnan(waiting.judge(np.array([NAN]))[0]).all()


def test_means_are_over_what_was_judged_and_null_where_nothing_was() -> None:
    tally = Tally(horizon=1, channels=2)
    tally.add(np.array([[1.0, NAN]]), np.array([[2.0, 2.0]]), np.array([[1.0, NAN]]))
    tally.add(np.array([[-3.0, NAN]]), np.array([[2.0, NAN]]), np.array([[0.0, NAN]]))
    measures = tally.measures(("a", "b"))
    assert measures["rows"] == 2
    assert {name: measures[name]["a"] for name in ("mae", "mse", "mase", "coverage")} == {
        "mae": [2.0],
        "mse": [5.0],
        "mase": [1.0],
        "coverage": [0.5],
    }
    assert {measures[name]["b"][0] for name in ("mae", "mse", "mase", "persistence_mae", "coverage")} == {None}
