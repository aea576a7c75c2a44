"""There are twenty kinds of streams in which nothing is wrong; each is the same again by its seed and number."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.signals import KINDS, SEVERAL_CHANNELS, stream

ALL = pytest.mark.parametrize("kind", KINDS)


def test_there_are_twenty() -> None:
    assert len(KINDS) == 20
    assert {kind for kind in KINDS if stream(kind, 0, 0, 50, 60.0).values.shape[1] > 1} == SEVERAL_CHANNELS


@ALL
def test_a_stream_is_the_same_again_and_no_other_is_like_it(kind: str) -> None:
    one, again, other, later = (stream(kind, s, n, 2000, 60.0) for s, n in ((1, 0), (1, 0), (1, 2), (2, 0)))
    np.testing.assert_array_equal(one.values, again.values)
    np.testing.assert_array_equal(one.times, again.times)
    for unlike in (other, later):
        assert not np.array_equal(one.values, unlike.values, equal_nan=True)


@ALL
def test_readings_come_in_order_and_are_numbers_where_they_are_not_missing(kind: str) -> None:
    made = stream(kind, 3, 1, 2000, 600.0)
    assert (np.diff(made.times) == 600.0).all()
    missing = ~np.isfinite(made.values)
    assert missing.any() == (kind == "gaps")
    assert missing.mean() < 0.5
    assert (np.nanstd(made.values, axis=0) > 0).all()


def test_a_day_is_told_by_the_clock() -> None:
    made = stream("day and week", 1, 0, 6 * 1440 // 10, 600.0)
    by_clock = made.values[: 4 * 144, 0].reshape(4, 144)
    midday = by_clock - by_clock.mean(axis=1, keepdims=True)
    assert np.corrcoef(midday)[0, 1] > 0.8


def test_what_is_held_comes_several_times_over_and_states_are_two() -> None:
    held = stream("sampled and held", 1, 0, 2000, 60.0).values[:, 0]
    assert (np.diff(held) == 0).mean() > 0.6
    assert len(np.unique(stream("on and off", 1, 0, 2000, 60.0).values)) == 2
    counts = stream("counts", 1, 0, 2000, 60.0).values
    assert (counts == counts.round()).all()
    assert (counts >= 0).all()


def test_coupled_channels_go_together() -> None:
    made = np.corrcoef(stream("coupled", 1, 0, 5000, 60.0).values.T)
    assert np.sort(np.abs(made), axis=1)[:, -2].min() > 0.5  # each has one that is much like it
