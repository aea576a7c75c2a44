"""The kernels of the scale do what a few lines of numpy say, whatever the numbers, and each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine import scale
from streamd.engine.scale import Scale

SIZES = {"H": 5, "C": 3}
SLOTS = np.array([4, 0, 2])


def frames(seed, count=60):
    """What `learn` takes: values, changes, weights and haste, some unknown, some far off, some that stand still."""
    random = np.random.default_rng(seed)
    for n in range(count):
        values = 10.0 ** random.integers(-3, 4) * random.standard_t(1.5, size=(3, 3))
        changes = random.standard_t(1.5, size=(3, 5, 3)) * (n > 5)  # at first nothing moves
        for array in (values, changes):
            array[random.random(array.shape) < 0.1] = np.nan
            array[random.random(array.shape) < 0.05] = np.inf
        changes[random.random(changes.shape) < 0.1] = 0.0
        yield SLOTS, values, changes, random.random(3), random.random(3).round()


def plain_spreads(state):
    least = scale.TINY * (1.0 + np.abs(state["mean"]))
    spread = np.sqrt(state["square"]) + least
    steps = np.where(state["steps"] > 0, np.sqrt(state["step_square"]), spread[:, None]) + least[:, None]
    return spread, steps


def plainly_learnt(state, values, changes, weight, haste):
    memory = (scale.MEMORY_FRAMES / (1.0 + scale.HASTE * haste))[:, None]
    seen, mean, square = state["seen"], state["mean"], state["square"]
    here = np.isfinite(values)
    trust = np.where(seen < 30, 1.0, weight[:, None])
    rate = np.where(here, trust / np.minimum(seen + 1.0, memory), 0.0)
    reach = np.where((seen < 3) | (square == 0), np.inf, scale.REACH * plain_spreads(state)[0])
    off = np.clip(np.where(here, values, mean) - mean, -reach, reach)
    state["mean"], state["square"] = mean + rate * off, (1.0 - rate) * (square + rate * off * off)
    state["seen"] = np.where(here, np.minimum(seen + trust, scale.MEMORY_FRAMES), seen)
    state["last"] = np.where(here, values, state["last"])

    steps, square, top = state["steps"], state["step_square"], state["top"]
    judged = np.isfinite(changes)
    trust = np.where(steps < 30, 1.0, weight[:, None, None])
    rate = np.where(judged, trust / np.minimum(steps + 1.0, memory[:, None]), 0.0)
    bound = np.where((steps < 3) | (square == 0), np.inf, scale.REACH**2 * square)
    change = np.minimum(np.where(judged, changes, 0.0) ** 2, bound)
    moved = judged & (changes != 0.0)
    state["top"] = np.where(moved, np.maximum(scale.TOP_KEEP * top, np.sqrt(change)), top)
    most = np.where(moved, scale.WIDEST**2 * state["top"] ** 2, np.inf)
    state["step_square"] = np.minimum(square + rate * (change - square), most)
    state["steps"] = np.where(judged, np.minimum(steps + trust, scale.MEMORY_FRAMES), steps)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_learnt_is_that_of_the_plain_formula(seed):
    ours = Scale(SIZES, slots=6)
    plain = {name: array[SLOTS].astype(np.float64) for name, array in ours.state_dict().items()}
    for frame in frames(seed):
        usual = ours.learn(*frame)
        plainly_learnt(plain, *frame[1:])
        spread, steps = plain_spreads(plain)
        np.testing.assert_allclose(usual.spread, spread)
        np.testing.assert_allclose(usual.steps, steps)
        np.testing.assert_array_equal(usual.steps, ours.step_spread(SLOTS))
        np.testing.assert_array_equal(usual.level, ours.mean[SLOTS])
        np.testing.assert_array_equal(usual.last, ours.last[SLOTS])
        np.testing.assert_array_equal(usual.lowest, usual.level - scale.AFAR * usual.spread)
        np.testing.assert_array_equal(usual.highest, usual.level + scale.AFAR * usual.spread)
    for name, array in ours.state_dict().items():
        np.testing.assert_allclose(array[SLOTS], plain[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_stream_gets_the_same_bits_alone_and_among_others():
    together, alone = Scale(SIZES, slots=6), Scale(SIZES, slots=6)
    for slots, *rest in frames(9):
        usual = together.learn(slots, *rest)
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            own = alone.learn(slots[one], *(part[one] for part in rest))
            assert own.steps.tobytes() == usual.steps[one].tobytes()
            assert own.spread.tobytes() == usual.spread[one].tobytes()
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()


def test_slots_that_are_not_in_the_batch_stay_as_they_are():
    ours = Scale(SIZES, slots=6)
    for frame in frames(3):
        ours.learn(*frame)
    assert not any(np.nan_to_num(array[[1, 3, 5]]).any() for array in ours.state_dict().values())


def test_what_is_no_number_teaches_nothing():
    ours = Scale(SIZES, slots=6)
    for frame in frames(4):
        ours.learn(*frame)
    before = {name: array.copy() for name, array in ours.state_dict().items()}
    for unknown in (np.nan, np.inf, -np.inf):
        ours.learn(SLOTS, np.full((3, 3), unknown), np.full((3, 5, 3), unknown), np.ones(3), np.zeros(3))
    for name, array in ours.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_what_enters_is_what_was_sent_as_far_as_it_is_a_number_beside_the_last_values():
    ours, most = Scale(SIZES, slots=6), 1e3
    for _, values, *_ in frames(7):
        ours.last[:] = np.random.default_rng(0).normal(size=(6, 3))
        entered, before = ours.enter(SLOTS, values, most)
        np.testing.assert_array_equal(entered, np.where(np.abs(values) <= most, values, np.nan))
        np.testing.assert_array_equal(before, ours.last[SLOTS])


def test_what_is_usual_is_known_from_so_many_frames_on():
    ours, usual = Scale(SIZES, slots=6), np.random.default_rng(0).random((3, 5, 3))
    ours.steps[:] = np.random.default_rng(1).integers(0, 10, (6, 5, 3))
    np.testing.assert_array_equal(ours.known(SLOTS, usual, 5.0), np.where(ours.steps[SLOTS] >= 5.0, usual, np.nan))


def test_values_stand_still_unless_one_has_moved_by_many_usual_steps():
    random, found = np.random.default_rng(2), set()
    for _ in range(50):
        values, before = random.normal(scale=2.0, size=(2, 3, 3))
        values[random.random(values.shape) < 0.2] = np.nan
        usual = random.random((3, 5, 3))
        still = scale.steady(values, before, usual)
        moved = np.abs(values - before) > scale.STEADY * usual[:, 0]
        np.testing.assert_array_equal(still, ~moved.any(axis=1))
        found |= set(still.tolist())
    assert found == {True, False}
