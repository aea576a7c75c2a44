"""Arrays come out of the page's pool as they went in, once each, as exact as the eye needs them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.report.drawing import Figure, Pool, Trace


@given(st.lists(st.floats(-1e30, 1e30) | st.sampled_from([np.nan, np.inf, -np.inf]), max_size=30))
def test_what_went_in_comes_out_to_a_hundredth_of_its_spread(values: list[float]) -> None:
    pool = Pool()
    found = pool.get(pool.put(np.array(values))).astype(float)
    known = np.isfinite(values)
    assert np.isfinite(found).tolist() == known.tolist()
    exact = np.array(values)[known]
    spread = float(np.ptp(exact)) if known.any() else 0.0
    np.testing.assert_allclose(found[known], exact, rtol=0, atol=spread / 100 + 1e-40)


def test_a_large_counter_that_hardly_moves_keeps_its_steps() -> None:
    values = 1e12 + np.arange(5.0)
    pool = Pool()
    np.testing.assert_array_equal(pool.get(pool.put(values)), values)


def test_times_keep_their_seconds() -> None:
    values = (1_700_000_000 + np.arange(100.0)) * 1000
    pool = Pool()
    np.testing.assert_array_equal(pool.get(pool.put(values)), values)


def test_an_array_is_kept_once_however_often_it_is_used() -> None:
    pool = Pool()
    one, other = pool.put(np.arange(3.0)), pool.put(np.array([0, 1, 2]))
    assert one == other
    assert pool.put(np.arange(4.0)) != one
    assert len(pool.arrays) == 2


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [1e300, -1e300]])
def test_arrays_of_nothing_and_of_the_very_large_are_no_trouble(values: list[float]) -> None:
    pool = Pool()
    np.testing.assert_array_equal(pool.get(pool.put(np.array(values))), values)


def test_a_figure_is_plain_json() -> None:
    figure = Figure([Trace({"channel": 1}, {"name": "x", "x": {"array": 0}})], {"xaxis": {}})
    assert json.loads(json.dumps(figure.plain())) == {
        "layout": {"xaxis": {}},
        "traces": [{"when": {"channel": 1}, "spec": {"name": "x", "x": {"array": 0}}}],
    }
