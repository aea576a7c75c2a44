"""The kernels of pending do what a few lines of numpy say, whatever the numbers, and each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine import horizons
from streamd.engine.mix import E
from streamd.engine.pending import GAP_STEPS, MADE, Pending
from streamd.engine.profile import FULL

H, W, C, M = 4, 6, 3, len(MADE)
SIZES = {**FULL, "H": H, "W": W, "C": C}
SLOTS = np.array([4, 0, 2])
B = len(SLOTS)
LARGEST = np.finfo(np.float32).max
AHEAD = horizons.steps(W, H) - 1  # those of a compact state


def frames(seed, count=40):
    """Numbers of frames, steps, changes, and what is foretold; gaps, unknown values and such as are no float32."""
    random = np.random.default_rng(seed)
    for n in range(count):
        steps = random.choice([0.0, 1.0, np.nan, 5.0], p=[0.1, 0.7, 0.1, 0.1], size=B)
        changes, offsets = random.standard_cauchy(size=(B, H, C)), random.standard_cauchy(size=(B, E + 3, H, C))
        changes[random.random(changes.shape) < 0.1] = np.nan
        offsets[random.random(offsets.shape) < 0.1] = random.choice([np.nan, np.inf, -1e300])
        yield np.array([n, n + 3, n + 100]), steps, changes, offsets


def parts(offsets):
    return (offsets[:, :E].copy(), *(offsets[:, place].copy() for place in range(E, E + 3)))


@pytest.mark.parametrize("seed", range(5))
def test_errors_are_those_of_the_plain_formula(seed):
    ours = Pending(SIZES, slots=6)
    kept, unbroken = np.full((B, W, M, H, C), np.nan, np.float32), np.zeros(B)
    rows = np.arange(B)
    for n, steps, changes, offsets in frames(seed):
        unbroken = np.where(steps > GAP_STEPS, 0, unbroken + 1)
        made = kept[rows[:, None], (n[:, None] - 1 - AHEAD) % W, :, np.arange(H)].transpose(0, 2, 1, 3)
        judged = np.where((unbroken[:, None] > AHEAD)[:, :, None], changes, np.nan)
        errors = ours.errors(SLOTS, n, steps, changes)
        np.testing.assert_array_equal(errors[:, 1:], judged[:, None] - made)
        np.testing.assert_array_equal(errors[:, 0], np.where(np.isnan(made[:, 0]), np.nan, judged))
        due = np.where(unbroken[:, None] > 0, kept[rows, (n - 1) % W, MADE.index("published"), 0], np.nan)
        np.testing.assert_array_equal(ours.due(SLOTS, n), due)
        ours.remember(SLOTS, n, *parts(offsets))
        kept[rows, n % W] = np.clip(offsets[:, 1:], -LARGEST, LARGEST)
        np.testing.assert_array_equal(ours.offsets[SLOTS], kept)
        np.testing.assert_array_equal(ours.unbroken[SLOTS], unbroken)


def test_a_stream_gets_the_same_bits_alone_and_among_others_and_no_other_slot_is_touched():
    together, alone = Pending(SIZES, slots=6), Pending(SIZES, slots=6)
    for n, steps, changes, offsets in frames(9):
        errors = together.errors(SLOTS, n, steps, changes)
        together.remember(SLOTS, n, *parts(offsets))
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            assert alone.errors(SLOTS[one], n[one], steps[one], changes[one]).tobytes() == errors[one].tobytes()
            alone.remember(SLOTS[one], n[one], *parts(offsets[one]))
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
    assert np.isnan(together.offsets[[1, 3, 5]]).all()
    assert not together.unbroken[[1, 3, 5]].any()
