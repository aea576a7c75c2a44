"""The kernels of the whitener do what a few lines of numpy say, whatever the numbers, and each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine import joint
from streamd.engine.joint import Whitener

SIZES = {"J": 2, "C": 4}
SLOTS = np.array([4, 0, 2])
UNITS = np.array([1.0, 1e6, 1e-6, 30.0])


def batches(seed, count=150):
    """Vectors, some of them missing or far off, and which are outside."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        vectors = random.standard_t(2.0, size=(len(SLOTS), 2, 4))
        vectors[:, :, 1] += 2.0 * vectors[:, :, 0]
        vectors[random.random(vectors.shape) < 0.1] = random.choice([np.nan, np.inf, 1e100])
        yield vectors * UNITS, random.random((len(SLOTS), 2)) < 0.1


def taught(seed=0):
    """A whitener that has learned, and whose inverses are those of what it knows."""
    whitener = Whitener(SIZES, slots=6)
    for vectors, outside in batches(seed):
        whitener.learn(SLOTS, np.where(np.abs(vectors) > 1e50, np.nan, vectors), outside)
    whitener.solve(SLOTS, np.where(np.arange(3)[:, None] > 0, UNITS, np.nan))
    return whitener


def plainly_learnt(state, vectors, outside):
    known, outside = np.isfinite(vectors), outside[:, :, None]
    state["frames"] = np.where(
        known & ~outside, np.minimum(state["frames"] + 1.0, joint.MEMORY_FRAMES), state["frames"]
    )
    rate = np.where(known, 1.0 / np.where(outside, joint.MEMORY_FRAMES, np.maximum(state["frames"], 1.0)), 0.0)
    off = np.where(known, vectors - state["mean"], 0.0)
    left = off * np.sqrt(1.0 - rate)
    moved = left[..., None] * left[:, :, None] - state["covariance"]
    state["mean"] = state["mean"] + rate * off
    state["covariance"] = state["covariance"] + np.minimum(rate[..., None], rate[:, :, None]) * moved


def plainly_measured(state, vectors, matters):
    known = np.isfinite(vectors) & (state["frames"] >= joint.FIRST_FRAMES)
    off = np.where(known, vectors - state["mean"], 0.0)
    pull = np.einsum("bjcd,bjd->bjc", state["inverse"], off)
    own = np.diagonal(state["inverse"], axis1=2, axis2=3)
    blame = np.where(known & (own > 0.0), pull * pull / np.where(own > 0.0, own, 1.0), 0.0)
    square = (off * pull).sum(axis=2) - np.where(matters, 0.0, blame).sum(axis=2)
    size = np.log1p(np.clip(square / np.maximum(known.sum(axis=2), 1), 0.0, joint._MOST))
    size = np.where(size > joint.LARGE, joint.LARGE + np.log1p(np.maximum(size - joint.LARGE, 0.0)), size)
    return np.where(known.any(axis=2), size, 0.0), np.where(matters, np.minimum(blame, joint._MOST), 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_means_and_covariances_are_those_of_the_plain_formula(seed):
    ours = Whitener(SIZES, slots=6)
    plain = {name: array[SLOTS].copy() for name, array in ours.state_dict().items()}
    for vectors, outside in batches(seed):
        ours.learn(SLOTS, vectors, outside)
        plainly_learnt(plain, vectors, outside)
    for name in ("frames", "mean", "covariance"):
        np.testing.assert_allclose(getattr(ours, name)[SLOTS], plain[name], rtol=1e-9, atol=1e-200)


def test_the_memory_has_an_end():
    ours = Whitener(SIZES, slots=6)
    ours.frames[:] = joint.MEMORY_FRAMES - 1.0
    for vectors, _ in batches(0, count=3):
        ours.learn(SLOTS, np.nan_to_num(vectors), np.zeros((3, 2), bool))
    assert (ours.frames[SLOTS] == joint.MEMORY_FRAMES).all()


def test_an_inverse_is_that_of_the_covariance_with_something_added_to_its_variances():
    ours = taught()
    covariance, diagonal = ours.covariance[SLOTS], np.arange(4)
    level = np.where(np.arange(3)[:, None] > 0, UNITS, 0.0)  # not known: as if zero
    variance = covariance[:, :, diagonal, diagonal]
    covariance[:, :, diagonal, diagonal] = (1.0 + joint.SHRINK) * variance + (joint.FINEST * level + joint.LEAST)[
        :, None
    ] ** 2
    scale = np.sqrt(covariance[:, :, diagonal, diagonal])
    outer = scale[..., None] * scale[:, :, None]
    inverse = np.linalg.inv(covariance / outer)
    np.testing.assert_allclose(ours.inverse[SLOTS] * outer, inverse, rtol=1e-9, atol=1e-12)


def test_an_inverse_is_exactly_symmetric():
    inverse = taught().inverse
    assert inverse[SLOTS].any()
    np.testing.assert_array_equal(inverse, inverse.swapaxes(2, 3))


def test_what_is_no_covariance_keeps_the_inverse_that_it_had():
    ours = taught()
    before = ours.inverse.copy()
    ours.covariance[4, 0, 0, 1] = ours.covariance[4, 0, 1, 0] = np.nan
    ours.covariance[4, 1, 0, 2] = ours.covariance[4, 1, 2, 0] = 10.0
    ours.covariance[[0, 2]] *= 2.0
    ours.solve(SLOTS, np.zeros((3, 4)))
    np.testing.assert_array_equal(ours.inverse[4], before[4])
    assert (ours.inverse[[0, 2]] != before[[0, 2]]).any()


@pytest.mark.parametrize("seed", range(5))
def test_sizes_and_blame_are_those_of_the_plain_formula(seed):
    ours, random = taught(seed), np.random.default_rng(seed)
    ours.frames[2, 1, 3] = joint.FIRST_FRAMES - 1.0
    ours.inverse[0, 1, 2, 2] = 0.0  # nothing is known of it
    state = {name: array[SLOTS] for name, array in ours.state_dict().items()}
    for vectors, _ in batches(seed + 9):
        matters = random.random(vectors.shape) < 0.7
        measured = ours.measure(SLOTS, vectors, matters)
        size, blame = plainly_measured(state, vectors, matters)
        np.testing.assert_allclose(measured.size, size, rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(measured.blame, blame, rtol=1e-6, atol=1e-9)
        size, blame = plainly_measured(state, vectors, np.ones(vectors.shape, bool))
        np.testing.assert_allclose(ours.measure(SLOTS, vectors).size, size, rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(ours.measure(SLOTS, vectors).blame, blame, rtol=1e-6, atol=1e-9)


def test_a_stream_gets_the_same_bits_alone_and_among_others():
    together, alone = taught(), taught()
    for vectors, outside in batches(9):
        together.learn(SLOTS, vectors, outside)
        together.solve(SLOTS, vectors[:, 0])
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            alone.learn(SLOTS[one], vectors[one], outside[one])
            alone.solve(SLOTS[one], vectors[one, 0])
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
    both, one = together.measure(SLOTS, vectors), alone.measure(SLOTS[1:2], vectors[1:2])
    assert both.size[1:2].tobytes() == one.size.tobytes()
    assert both.blame[1:2].tobytes() == one.blame.tobytes()


def test_slots_that_are_not_in_the_batch_stay_as_they_are():
    assert not any(array[[1, 3, 5]].any() for array in taught().state_dict().values())


def test_what_is_due_is_what_the_plain_formula_says():
    random = np.random.default_rng(0)
    n, turn = random.integers(0, 1100, 500), random.integers(0, 40, 500)
    early = (n < joint.YOUNG_FRAMES) & (n % joint.YOUNG_EVERY == 0)
    np.testing.assert_array_equal(joint.due(n, turn), np.flatnonzero(early | ((n + turn) % joint.EVERY == 0)))


def test_a_group_without_channels_has_nothing_that_is_off():
    ours = Whitener({"J": 2, "C": 0}, slots=3)
    nothing, slots = np.zeros((2, 2, 0)), np.array([2, 0])
    ours.learn(slots, nothing, np.zeros((2, 2), bool))
    ours.solve(slots, np.zeros((2, 0)))
    assert ours.measure(slots, nothing).size.tolist() == [[0.0, 0.0], [0.0, 0.0]]
