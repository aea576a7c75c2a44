"""The kernel of timing does what a few lines of numpy say."""

from __future__ import annotations

import numpy as np

from streamd.engine.slots import STEP_RATE, Timing

SLOTS = np.array([3, 0])


def test_steps_and_intervals_are_those_of_the_plain_formula():
    random, timing = np.random.default_rng(0), Timing({}, slots=5)
    last, usual, times = np.full(2, -np.inf), np.full(2, np.nan), np.array([1.7e9, -5.0])
    for n in range(60):
        elapsed, known = times - last, np.isfinite(last)
        usual = np.where(known & np.isnan(usual), elapsed, usual)
        plain = np.where(known, elapsed / usual, 1.0)
        usual = usual * np.exp2(STEP_RATE * np.clip(np.log2(np.maximum(plain, 1e-9)), -1.0, 1.0))
        last = times
        numbers = timing.seq[SLOTS], timing.age[SLOTS], timing.number[SLOTS]
        came = timing.advance(SLOTS, times)
        np.testing.assert_allclose(came.steps, plain)
        np.testing.assert_array_equal([came.seq, came.age, came.number], numbers)
        np.testing.assert_array_equal(came.gap, elapsed)
        np.testing.assert_array_equal(came.interval, timing.interval[SLOTS])
        assert came.first == (n == 0)
        np.testing.assert_allclose(timing.interval[SLOTS], usual)
        assert timing.seq[SLOTS].tolist() == timing.age[SLOTS].tolist() == [n + 1] * 2
        times = times + np.exp(2.0 * random.normal(size=2))
    assert not timing.seq[[1, 2, 4]].any()
    assert np.isnan(timing.interval[[1, 2, 4]]).all()
