"""The kernels of the lags do what a few lines of numpy say, whatever the numbers, and each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine import horizons, lags
from streamd.engine.lags import BACK, LAGS, MEANS_FRAMES, STRETCHES, Lags
from streamd.engine.profile import COMPACT, FULL

SIZES = {**FULL, "H": 4, "W": 6, "V": 7, "C": 3}
SLOTS = np.array([4, 0, 2])
LARGEST = np.finfo(np.float32).max


FEWER = {**SIZES, **{axis: COMPACT[axis] for axis in "FGB"}}


def frames(seed, count=BACK + 40):
    """What `observe` takes, of frames each with its own number: some unknown, some far off; one is long missing."""
    random = np.random.default_rng(seed)
    for k in range(count):
        rest = random.standard_t(1.2, size=(3, 3)) * 10.0 ** random.integers(-2, 3)
        rest[random.random(rest.shape) < 0.002] = 1e39
        weight = (random.random(rest.shape) < 0.8) * random.random(rest.shape)
        weight[1, 1] *= k > 20
        yield SLOTS, k + np.array([0, 5, 1000]), rest, weight, random.uniform(0.1, 3.0, (3, 3))


def plainly_observed(state, n, rest, weight, usual):
    fresh = np.isnan(state["means"][:, 0])
    state["ring"] = np.where(fresh[:, None], rest[:, None], state["ring"])
    state["ring"][np.arange(3), n % BACK] = rest
    past = state["ring"][np.arange(3)[:, None], (n[:, None] - np.arange(BACK)) % BACK]  # newest first
    rate = np.maximum(1.0 / (n[:, None] + 1.0), 1.0 / MEANS_FRAMES)[..., None]
    means = np.where(fresh[:, None], rest[:, None], state["means"])
    means = means + rate * (rest[:, None] - means)
    state["means"] = np.where((fresh & (weight == 0.0))[:, None], np.nan, means)
    stretches = np.stack([past[:, start:end].mean(axis=1) for start, end in STRETCHES], axis=1)
    nearest = past[:, 1 : LAGS + 1] - rest[:, None]
    x = np.concatenate([nearest, usual[:, None], stretches - rest[:, None], means - rest[:, None]], axis=1)
    x = np.clip(x, -LARGEST, LARGEST).transpose(0, 2, 1)
    large = np.abs(nearest).max(axis=1) / (lags.LARGE * usual)
    state["features"][np.arange(3), n % 7] = x
    state["trust"][np.arange(3), n % 7] = weight / np.maximum(large, 1.0) ** 2
    return x


@pytest.mark.parametrize("seed", range(4))
def test_features_are_those_of_the_plain_formula(seed):
    ours = Lags(SIZES, slots=6)
    ours.trust[[1, 3, 5]] = 9.0  # what others have
    plain = {name: array[SLOTS].astype(np.float64) for name, array in ours.state_dict().items()}
    for _, n, *rest in frames(seed):
        before = plain["trust"][np.arange(3)[:, None], (n[:, None] - horizons.steps(6, 4)) % 7]
        np.testing.assert_allclose(ours.trusted(SLOTS, n), before)
        x = plainly_observed(plain, n, *rest)
        largest = np.abs(plain["ring"]).max(axis=1)  # differences of such numbers are only so exact
        assert (np.abs(ours.observe(SLOTS, n, *rest) - x) <= 1e-12 * largest[..., None]).all()
        np.testing.assert_allclose(ours.features[SLOTS, n % 7], x, rtol=1e-6, atol=1e-12 * largest.max())
        off = np.abs(ours.means[SLOTS] - plain["means"])
        assert (np.isnan(plain["means"]) | (off <= 1e-12 * largest[:, None])).all()
        np.testing.assert_array_equal(np.isnan(ours.means[SLOTS]), np.isnan(plain["means"]))
    np.testing.assert_array_equal(ours.ring[SLOTS], plain["ring"])


@pytest.mark.parametrize("seed", range(2))
def test_a_compact_state_has_the_near_ones_of_the_same_features_and_two_of_the_slow_means(seed):
    full, few = Lags(SIZES, slots=6), Lags(FEWER, slots=6)
    near = FEWER["F"] - FEWER["G"]
    for frame in frames(seed):
        x, y = full.observe(*frame), few.observe(*frame)
        np.testing.assert_array_equal(y[..., :near], x[..., :near])
        np.testing.assert_array_equal(
            y[..., near:], x[..., -len(MEANS_FRAMES) :][..., MEANS_FRAMES.searchsorted([100, 1000])]
        )


def test_the_last_one_stands_for_what_is_missing():
    ours, random = Lags(SIZES, slots=6), np.random.default_rng(7)
    for _, n, rest, weight, usual in frames(7):
        new = np.where(random.random(rest.shape) < 0.5, np.nan, rest)
        before = ours.ring[SLOTS, (n - 1) % BACK]
        np.testing.assert_array_equal(ours.filled(SLOTS, n, new), np.where(np.isnan(new), before, new))
        ours.observe(SLOTS, n, rest, weight, usual)


def test_a_stream_gets_the_same_bits_alone_and_among_others():
    together, alone = Lags(SIZES, slots=6), Lags(SIZES, slots=6)
    for slots, *rest in frames(9):
        x = together.observe(slots, *rest)
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            assert alone.observe(slots[one], *(part[one] for part in rest)).tobytes() == x[one].tobytes()
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()


def test_slots_that_are_not_in_the_batch_stay_as_they_are():
    ours = Lags(SIZES, slots=6)
    for frame in frames(3):
        ours.observe(*frame)
    assert not any(np.nan_to_num(array[[1, 3, 5]]).any() for array in ours.state_dict().values())


@pytest.mark.parametrize("strange", [np.inf, -np.inf])
def test_a_number_that_is_none_among_the_lags_lets_nobody_trust_the_frame(strange):
    ours = Lags(SIZES, slots=6)
    numbers = np.ones((3, 3))
    for n in range(3):
        rest = np.where([[n == 1, False, False]], strange, numbers)
        ours.observe(SLOTS, np.full(3, n), rest, numbers, numbers)
    assert not (ours.trust[SLOTS, 2, 0] > 0.0).any()
    assert (ours.trust[SLOTS, 2, 1:] == 1.0).all()
