"""The kernels of the regressions do what a few lines of numpy say, whatever the numbers, each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine import horizons, regression
from streamd.engine.backlog import KEPT, Backlog
from streamd.engine.lags import FEATURES, NEAR, Lags
from streamd.engine.profile import FULL
from streamd.engine.regression import Adaptive, Reach, Regression, due

H, W, C = 4, 6, 3
STEPS = horizons.steps(W, H)  # those of a compact state
V = W + KEPT
SIZES = {**FULL, "H": H, "W": W, "C": C, "V": V}
SLOTS = np.array([4, 0, 2])
B = len(SLOTS)
KINDS = [Regression, Adaptive]
USED = {Regression: FEATURES, Adaptive: NEAR}
EVERY = (1, 8, 7, KEPT, 2)  # frames between two times that streams take in what they were taught


class Taught:
    """Backlog and features of streams of different age, fed with random numbers; some are nothing, some very large."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.backlog, self.lags = Backlog(SIZES, slots=6), Lags(SIZES, slots=6)
        self.n = np.array([0, 3, 100]) - 1

    def feed(self, frames, rows=slice(None)):
        for _ in range(frames):
            self.n = self.n + 1
            errors = self.random.standard_t(2, size=(B, H, C))
            errors[self.random.random(errors.shape) < 0.1] = np.nan
            trusted, haste = self.random.random((B, H, C)), self.random.random(B)
            usual = np.ones((B, H, C))
            features = self.random.normal(size=(B, C, FEATURES)) * 10.0 ** self.random.integers(-3, 4, FEATURES)
            for row in range(B)[rows]:
                one = slice(row, row + 1)
                self.backlog.add(SLOTS[one], self.n[one], errors[one], trusted[one], usual[one], haste[one])
                self.lags.features[SLOTS[row], self.n[row] % V] = features[row]


def plainly_folded(kind, state, taught):
    """One frame after the other, as recursive least squares would have it."""
    count = int(taught.backlog.count[SLOTS[0]])
    for row, slot in enumerate(SLOTS):
        x = taught.lags.features[slot, :, :, : USED[kind]].astype(np.float64)
        for n in range(taught.n[row] - count + 1, taught.n[row] + 1):
            place = n % KEPT
            keep = kind.keep ** (1.0 + kind.haste * float(taught.backlog.haste[slot, place]))
            target, weight = taught.backlog.targets[slot, place], taught.backlog.weights[slot, place]
            for name in ("inputs", "products", "input_weight", "product_weight"):
                state[name][row] *= keep
            for c in range(C):
                seen = x[(n - 1) % V, c]
                state["inputs"][row, c] += weight[0, c] * np.outer(seen, seen)
                state["input_weight"][row, c] += weight[0, c]
                for h in range(H):
                    state["products"][row, h, c] += target[h, c] * x[(n - STEPS[h]) % V, c]
                    state["product_weight"][row, h, c] += weight[h, c]


def plainly_solved(state, usual):
    D = state["inputs"].shape[-1]
    slopes = np.zeros((B, H, C, D))
    for row, c in np.ndindex(B, C):
        matrix = state["inputs"][row, c]
        more = regression.RIDGE * usual[row, c] ** 2 + regression.FLOOR * np.diag(matrix).mean()
        for h in range(H):
            have = state["product_weight"][row, h, c]
            if have > regression.FEWEST:
                found = np.linalg.solve(matrix + more * np.eye(D), state["products"][row, h, c])
                slopes[row, h, c] = found * min(state["input_weight"][row, c] / have, regression.MOST_RATIO)
    return slopes


def like(state, plain, rtol):
    for name, array in plain.items():
        size = np.abs(array).max()
        np.testing.assert_allclose(state[name][SLOTS], array, rtol=rtol, atol=rtol * size, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_sums_and_slopes_and_forecasts_are_those_of_the_plain_formula(kind, seed):
    ours, taught = kind(SIZES, slots=6), Taught(seed)
    sums = {name: np.array(array[SLOTS]) for name, array in ours.state_dict().items() if name != "slopes"}
    for every in EVERY:
        taught.feed(every)
        ours.learn(SLOTS, taught.n, taught.backlog, taught.lags)
        plainly_folded(kind, sums, taught)
        taught.backlog.empty(SLOTS)
        like(ours.state_dict(), sums, 1e-9)
        np.testing.assert_array_equal(ours.inputs, ours.inputs.swapaxes(-1, -2))
        usual = taught.random.uniform(0.5, 2.0, size=(B, C))
        ours.solve(SLOTS, usual)
        slopes = plainly_solved(sums, usual)
        np.testing.assert_allclose(ours.slopes[SLOTS], slopes, rtol=1e-4, atol=1e-4 * np.abs(slopes).max())
        x, change = taught.random.normal(size=(B, FEATURES, C)).swapaxes(1, 2), np.empty((B, 2, H, C))
        ours.foretell(SLOTS, x, change[:, 1])
        foretold = np.einsum("bhcf,bcf->bhc", ours.slopes[SLOTS].astype(np.float64), x[..., : USED[kind]])
        np.testing.assert_allclose(change[:, 1], foretold, rtol=1e-4, atol=1e-4 * np.abs(foretold).max())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_number_is_no_slope_and_foretells_no_change(kind):
    ours, change = kind(SIZES, slots=1), np.empty((1, H, C))
    ours.inputs[:], ours.products[:], ours.product_weight[:], ours.input_weight[:] = np.eye(USED[kind]), 1e300, 9.0, 9.0
    ours.inputs[0, 0, 0, 0] = np.nan
    ours.products[0, 0, 1] = -1e300
    ours.solve(np.array([0]), np.ones((1, C)))
    assert not ours.slopes[0, :, 0].any()
    assert (ours.slopes[0, 0, 1] == -np.finfo(np.float32).max).all()
    ours.foretell(np.array([0]), np.full((1, C, FEATURES), 1e30), change)
    assert not change.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_gets_the_same_bits_alone_and_among_others_and_no_other_slot_is_touched(kind):
    together, alone, taught = kind(SIZES, slots=6), kind(SIZES, slots=6), Taught(7)
    usual = np.ones((B, C))
    for every in EVERY:
        taught.feed(every)
        taught.feed(1, rows=slice(1, 2))  # of whom there is more to take in than of the others
        x, change, lone = taught.random.normal(size=(B, C, FEATURES)), np.empty((B, H, C)), np.empty((1, H, C))
        together.learn(SLOTS, taught.n, taught.backlog, taught.lags)
        together.solve(SLOTS, usual)
        together.foretell(SLOTS, x, change)
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            alone.learn(SLOTS[one], taught.n[one], taught.backlog, taught.lags)
            alone.solve(SLOTS[one], usual[one])
            alone.foretell(SLOTS[one], x[one], lone)
            assert lone.tobytes() == change[one].tobytes()
        taught.backlog.empty(SLOTS)
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
        assert not array[[1, 3, 5]].any()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_in_reach_is_that_of_the_plain_formula(seed):
    random, ours = np.random.default_rng(seed), Reach(SIZES, slots=6)
    rise, fall = np.zeros((B, H, C)), np.zeros((B, H, C))
    for _ in range(40):
        errors = random.standard_cauchy(size=(B, H, C))
        errors[random.random(errors.shape) < 0.1] = random.choice([np.nan, np.inf])
        lowest = random.normal(size=(B, C))
        highest = lowest + random.uniform(0.0, 9.0, size=(B, C))
        ours.learn(SLOTS, errors, lowest, highest)
        known, limit = np.isfinite(errors), (highest - lowest)[:, None]
        seen = np.clip(np.where(known, errors, 0.0), -limit, limit)
        rise = np.maximum(np.where(known, regression.KEEP_REACH, 1.0) * rise, seen)
        fall = np.maximum(np.where(known, regression.KEEP_REACH, 1.0) * fall, -seen)
        np.testing.assert_allclose(ours.rise[SLOTS], rise)
        np.testing.assert_allclose(ours.fall[SLOTS], fall)
        changes = 5.0 * random.standard_cauchy(size=(B, 2, H, C))
        seasonal, usual = random.normal(size=(B, H, C)), random.lognormal(-2.0, 2.0, size=(B, H, C))
        most = regression.MOST_CHANGES * usual
        plain = np.clip(changes, -np.minimum(fall, most)[:, None], np.minimum(rise, most)[:, None]) + seasonal[:, None]
        ours.forecasts(SLOTS, changes, seasonal, usual)
        np.testing.assert_allclose(changes, plain)
    assert not ours.rise[[1, 3, 5]].any()
    assert not ours.fall[[1, 3, 5]].any()


def test_whose_turn_it_is_follows_from_the_frames_number_and_the_streams():
    random = np.random.default_rng(0)
    n, turn = random.integers(0, 1000, size=500), random.integers(0, 1000, size=500)
    young, later = regression.SOLVE_EVERY
    every = np.where(n < regression.YOUNG_FRAMES, young, later)
    assert due(n, turn, KEPT).tolist() == np.flatnonzero((n + turn) % every == 0).tolist()
    assert due(n[:0], turn[:0], KEPT).tolist() == []
