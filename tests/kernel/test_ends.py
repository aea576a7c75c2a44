"""The kernels of ends do what a few lines of numpy say, whatever the numbers, and each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.ends import VISITS, Ends

C = 3
SLOTS = np.array([4, 0, 2])
B = len(SLOTS)


def frames(seed, count=300):
    """Values of a few steps, that come back to their ends, some missing or beyond all numbers; and those before."""
    random = np.random.default_rng(seed)
    before = np.full((B, C), np.nan)
    for _ in range(count):
        values = np.clip(random.integers(-2, 3, size=(B, C)), -1, 1) * np.array([1.0, 0.1, 1e80])
        values[random.random(values.shape) < 0.1] = np.nan
        values[random.random(values.shape) < 0.002] = np.inf
        yield values, before
        before = np.where(np.isnan(values), before, values)


@pytest.mark.parametrize("seed", range(5))
def test_ends_and_forecasts_are_those_of_the_plain_formula(seed):
    random, ours = np.random.default_rng(seed), Ends({"C": C}, slots=6)
    lowest, highest = np.full((B, C), np.inf), np.full((B, C), -np.inf)
    low_visits, high_visits = np.zeros((B, C)), np.zeros((B, C))
    for values, before in frames(seed):
        ours.learn(SLOTS, values, before)
        came = np.isfinite(values) & (values != before)
        low_visits = np.where(values < lowest, 1.0, low_visits + (came & (values == lowest)))
        high_visits = np.where(values > highest, 1.0, high_visits + (came & (values == highest)))
        lowest, highest = np.fmin(lowest, values), np.fmax(highest, values)
        last, offsets = random.normal(size=(B, C)), 3.0 * random.standard_cauchy(size=(B, 2, 4, C))
        offsets[random.random(offsets.shape) < 0.1] = np.nan
        low = np.where(low_visits >= VISITS, lowest - last, -np.inf)[:, None, None]
        high = np.where(high_visits >= VISITS, highest - last, np.inf)[:, None, None]
        plain = np.clip(offsets, low, high)
        ours.bound(SLOTS, last, offsets)
        np.testing.assert_array_equal(offsets, plain)
    assert (low_visits >= VISITS).any()
    for name, plain in (("lowest", lowest), ("highest", highest), ("low_visits", low_visits)):
        np.testing.assert_array_equal(ours.state_dict()[name][SLOTS], plain)
    np.testing.assert_array_equal(ours.high_visits[SLOTS], high_visits)


def test_a_stream_gets_the_same_bits_alone_and_among_others_and_no_other_slot_is_touched():
    together, alone, fresh = (Ends({"C": C}, slots=6) for _ in range(3))
    for values, before in frames(9):
        together.learn(SLOTS, values, before)
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            alone.learn(SLOTS[one], values[one], before[one])
            offsets, lone = np.full((B, 1, 4, C), -9.0), np.full((1, 1, 4, C), -9.0)
            together.bound(SLOTS, before, offsets)
            alone.bound(SLOTS[one], before[one], lone)
    assert lone.tobytes() == offsets[one].tobytes()
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
        np.testing.assert_array_equal(array[[1, 3, 5]], fresh.state_dict()[name][[1, 3, 5]])
