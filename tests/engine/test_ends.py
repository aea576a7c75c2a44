"""Ends: what a channel stops at again and again, and nothing else, bounds what is foretold of it."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.ends import VISITS, Ends

FAR = np.array([[[[-1e9], [1e9]]]])  # [B, K, H, C], offsets


def fed(values, ends=None):
    """One stream of one channel, and its last value."""
    ends, before = ends or Ends({"C": 1}, slots=1), np.full((1, 1), np.nan)
    for value in values:
        ends.learn(np.array([0]), np.array([[value]]), before)
        before = np.array([[value]]) if np.isfinite(value) else before
    return ends, before


def reach(values):
    """The lowest and the highest value that may be foretold."""
    ends, last = fed(values)
    offsets = FAR.copy()
    ends.bound(np.array([0]), last, offsets)
    low, high = (last[0] + offsets[0, 0, :, 0]).tolist()
    return low if low > -1e8 else None, high if high < 1e8 else None


def waves(count=40):
    """Half waves, between which the channel stands at nought."""
    return np.tile([0.0, 0.0, 0.0, 3.0, 5.0, 2.0], count) * np.repeat(1.0 + 0.01 * np.arange(count), 6)


def test_a_value_that_a_channel_comes_back_to_again_and_again_is_an_end_and_a_crest_is_none():
    assert reach(waves()) == (0.0, None)
    assert reach(-waves()) == (None, 0.0)


def test_a_state_that_is_on_or_off_has_two_ends():
    assert reach(np.tile([0.0, 0.0, 1.0], 100)) == (0.0, 1.0)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=2000),
        np.repeat(np.arange(50.0), 40),  # a counter, which stands for long at the highest it has been
        np.full(2000, 7.0),
        np.repeat(-np.arange(10.0), 200) + 0.0,
    ],
    ids=["noise", "counter", "constant", "steps down"],
)
def test_what_is_only_met_or_only_stayed_at_is_no_end(values):
    assert reach(values) in [(None, None), (0.0, None) if values[-1] == 49.0 else (None, None)]


def test_one_value_beyond_an_end_and_it_is_none():
    assert reach([*waves(), -0.1, 1.0]) == (None, None)


def test_it_takes_many_visits():
    visits = int(VISITS)
    assert reach(np.tile([1.0, 0.0], visits - 1)[:-1]) == (None, None)
    assert reach(np.tile([1.0, 0.0], visits))[0] == 0.0


def test_a_missing_value_is_no_visit_and_ends_none():
    gaps = np.where(np.arange(240) % 6 == 1, np.nan, waves())
    assert reach(gaps) == (0.0, None)
    ends, _ = fed(gaps)
    assert ends.low_visits.item() == 40.0


def test_each_stream_and_channel_has_its_own_and_any_forecasts_are_bounded():
    ends, before = Ends({"C": 2}, slots=3), np.full((2, 2), np.nan)
    slots = np.array([2, 0])
    for at, value in enumerate(waves()):
        values = np.array([[value, at], [-value, value]])
        ends.learn(slots, values, before)
        before = values
    offsets = np.full((2, 4, 5, 2), -1e9)
    ends.bound(slots, before, offsets)
    bounded = before[:, None, None] + offsets
    assert (bounded[0, ..., 0] == 0.0).all()
    assert (bounded[0, ..., 1] < -1e8).all()
    assert (bounded[1, ..., 0] < -1e8).all()
    assert (bounded[1, ..., 1] == 0.0).all()
    others = np.full((1, 4, 5, 2), -1e9)
    ends.bound(np.array([1]), np.zeros((1, 2)), others)
    assert (others == -1e9).all()
