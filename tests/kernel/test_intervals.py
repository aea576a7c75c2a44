"""The kernels of intervals and pool do what a few lines of numpy say, whatever the numbers, each stream by itself."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from streamd.engine import horizons, intervals
from streamd.engine.intervals import MEMORY_FRAMES, Intervals, Pool

H, C, Q, W = 4, 3, 2, 5
STEPS = horizons.steps(W, H)  # those of a compact state
SIZES = {"H": H, "C": C, "Q": Q, "W": W}
COVERAGES = (0.5, 0.95)
SLOTS = np.array([4, 0, 2])
B = len(SLOTS)
LARGEST = np.finfo(np.float32).max
AHEAD = np.arange(H)


def frames(seed, count=60):
    """Numbers of frames, errors, usual errors, trust; some unknown, some far off; streams of different age."""
    random = np.random.default_rng(seed)
    for n in range(count):
        errors = random.standard_t(1.5, size=(B, H, C))
        errors[random.random(errors.shape) < 0.1] = np.nan
        errors[random.random(errors.shape) < 0.02] = np.inf
        yield np.array([n, n + 7, n + 100]), errors, random.uniform(0.1, 2.0, errors.shape), random.random(B).round(1)


def plainly_learnt(state, n, errors, usual, trust):
    known = np.isfinite(errors)
    judged, square = state["judged"], state["error_square"]
    rate = np.where(judged < 10, 1.0, trust[:, None, None]) / np.minimum(judged + 1.0, MEMORY_FRAMES)
    bound = np.where(judged < 10, np.inf, 100.0 * np.maximum(square, usual**2))
    size = np.minimum(np.where(known, errors, 0.0) ** 2, bound)
    state["error_square"] = np.where(known, square + rate * (size - square), square)
    state["judged"] = np.where(known, np.minimum(judged + 1.0, MEMORY_FRAMES), judged)
    for b in range(B):
        for h in range(H):
            issued = state["issued"][b, (n[b] - STEPS[h]) % W, :, :, h]  # [Q, 2, C]
            beyond = np.stack([errors[b, h] < issued[:, 0], errors[b, h] > issued[:, 1]], axis=1)
            tails = 0.5 * (1.0 - np.array(COVERAGES))[:, None, None]
            step = intervals.STEP * np.sqrt(0.05 / tails)
            factor = np.where(beyond, np.exp(step * (1.0 - tails)), np.exp(-step * tails))
            counts = known[b, h] & np.isfinite(issued) & (issued != 0.0)
            moved = state["multiplier"][b, :, :, h] * np.where(counts, factor, 1.0)
            state["multiplier"][b, :, :, h] = np.clip(moved, *intervals.BOUNDS)


def plain_bounds(state, spread):
    normal = np.array([NormalDist().inv_cdf(0.5 + coverage / 2) for coverage in COVERAGES])
    widest = np.maximum.accumulate(state["multiplier"] * normal[:, None, None, None], axis=1)
    return np.array([-1.0, 1.0])[:, None, None] * widest * spread[:, None, None]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_learnt_and_issued_is_that_of_the_plain_formula(seed):
    ours = Intervals(SIZES, slots=6)
    plain = {name: array[SLOTS].copy() for name, array in ours.state_dict().items()}
    random = np.random.default_rng(seed)
    for n, errors, usual, trust in frames(seed):
        ours.learn(SLOTS, n, errors, usual, trust, COVERAGES)
        plainly_learnt(plain, n, errors, usual, trust)
        spread = np.where(plain["judged"] > 0, np.sqrt(plain["error_square"]), np.nan)
        spread[random.random(spread.shape) < 0.05] = random.choice([0.0, 1e60, np.nan])
        bounds = ours.bounds(SLOTS, spread, COVERAGES)
        np.testing.assert_allclose(bounds, plain_bounds(plain, spread), rtol=1e-12)
        ours.remember(SLOTS, n, bounds)
        plain["issued"][np.arange(B), n % W] = np.clip(bounds, -LARGEST, LARGEST)
        for place in range(Q):
            np.testing.assert_array_equal(ours.due(SLOTS, n + 1, place), bounds_due(plain, n + 1, place))
    for name, array in ours.state_dict().items():
        np.testing.assert_allclose(array[SLOTS], plain[name], rtol=1e-9)


def bounds_due(state, n, place):
    return state["issued"][np.arange(B), (n - 1) % W, place, :, 0]


def some(random, judged):
    """Intervals of which the streams have judged so many forecasts, [B, H, C]."""
    own = Intervals(SIZES, slots=6)
    own.judged[SLOTS] = judged
    own.error_square[SLOTS] = random.lognormal(0.0, 5.0, size=(B, H, C)) * (random.random((B, H, C)) > 0.1)
    own.multiplier[SLOTS] = random.uniform(0.05, 50.0, size=(B, Q, 2, H, C))
    return own


@pytest.mark.parametrize("seed", range(5))
def test_what_the_group_learns_and_tells_is_that_of_the_plain_formula(seed):
    random = np.random.default_rng(seed)
    pool = Pool(SIZES, slots=1)
    weight, log_spread, log_multiplier = np.zeros((H, C)), np.zeros((H, C)), np.zeros((Q, 2, H, C))
    for _ in range(30):
        judged = random.choice([0.0, 1.0, 15.0, MEMORY_FRAMES], size=(B, H, C))
        own = some(random, judged)
        pool.learn(SLOTS, own)
        square, multiplier = own.error_square[SLOTS], own.multiplier[SLOTS]
        for h, c in np.ndindex(H, C):
            known = (judged[:, h, c] >= MEMORY_FRAMES) & (square[:, h, c] > 0)
            if known.any():
                weight[h, c] = min(weight[h, c] + known.sum(), intervals.POOL_FRAMES)
                rate = known.sum() / weight[h, c]
                log_spread[h, c] += rate * (np.log(np.sqrt(square[known, h, c])).mean() - log_spread[h, c])
                logs = np.log(multiplier[known, :, :, h, c]).mean(axis=0)
                log_multiplier[:, :, h, c] += rate * (logs - log_multiplier[:, :, h, c])
        np.testing.assert_allclose(pool.weight[0], weight)
        np.testing.assert_allclose(pool.log_spread[0], log_spread, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(pool.log_multiplier[0], log_multiplier, rtol=1e-5, atol=1e-6)

        usual = random.uniform(0.01, 2.0, size=(B, H, C))
        steps = random.choice([0.0, 3.0, 20.0], size=(6, H, C))
        surely = np.where(steps[SLOTS] >= 8.0, usual, np.nan)
        prior = np.where(weight > 0, intervals.PRIOR_FRAMES * np.maximum(1.0 - judged / MEMORY_FRAMES, 0.0), 0.0)
        pooled = np.fmin(np.exp(2.0 * log_spread), (intervals.POOL_REACH * surely) ** 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            both = np.sqrt((judged * np.where(judged > 0, square, 0.0) + prior * pooled) / (judged + prior))
        spread = np.where(prior > 0, both, np.where(judged > 0, np.sqrt(square), np.nan))
        spread = np.where(np.isnan(spread) & (steps[SLOTS] > 0), usual, spread)
        np.testing.assert_allclose(pool.spread(SLOTS, own, usual, steps, 8.0), spread, rtol=1e-9)


def test_a_group_learns_as_much_from_many_streams_as_from_each_in_turn_at_the_same_rate():
    """So many that their multipliers' product has no place in any number."""
    pool, own = Pool(SIZES, slots=1), Intervals(SIZES, slots=1000)
    own.judged[:], own.error_square[:], own.multiplier[:] = MEMORY_FRAMES, 4.0, 50.0
    pool.learn(np.arange(1000), own)
    np.testing.assert_allclose(pool.weight, 1000.0)
    np.testing.assert_allclose(pool.log_spread, np.log(2.0))
    np.testing.assert_allclose(pool.log_multiplier, np.log(50.0), rtol=1e-6)


def test_a_stream_gets_the_same_bits_alone_and_among_others():
    together, alone = Intervals(SIZES, slots=6), Intervals(SIZES, slots=6)
    pool = Pool(SIZES, slots=1)
    for n, errors, usual, trust in frames(9):
        steps = np.full((6, H, C), 9.0)
        together.learn(SLOTS, n, errors, usual, trust, COVERAGES)
        spread = pool.spread(SLOTS, together, usual, steps, 8.0)
        bounds = together.bounds(SLOTS, spread, COVERAGES)
        together.remember(SLOTS, n, bounds)
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            alone.learn(SLOTS[one], n[one], errors[one], usual[one], trust[one], COVERAGES)
            spread = pool.spread(SLOTS[one], alone, usual[one], steps, 8.0)
            alone.remember(SLOTS[one], n[one], alone.bounds(SLOTS[one], spread, COVERAGES))
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()


def test_slots_that_are_not_in_the_batch_stay_as_they_are():
    ours, fresh = Intervals(SIZES, slots=6), Intervals(SIZES, slots=6)
    for n, errors, usual, trust in frames(3):
        ours.learn(SLOTS, n, errors, usual, trust, COVERAGES)
        ours.remember(SLOTS, n, ours.bounds(SLOTS, ours.spread(SLOTS), COVERAGES))
    for name, array in ours.state_dict().items():
        np.testing.assert_array_equal(array[[1, 3, 5]], fresh.state_dict()[name][[1, 3, 5]])
