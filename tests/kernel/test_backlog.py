"""The kernel of the backlog does what a few lines of numpy say, whatever the numbers, and each stream by itself."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.backlog import KEPT, Backlog
from streamd.engine.lags import LARGE
from streamd.engine.profile import FULL

H, C = 4, 3
SIZES = {**FULL, "H": H, "C": C}
SLOTS = np.array([4, 0, 2])
B = len(SLOTS)
LARGEST = np.finfo(np.float32).max


def frames(seed, count=40):
    """Numbers of frames, errors, trust, usual errors and haste; some errors unknown, some no single precision holds."""
    random = np.random.default_rng(seed)
    for n in range(count):
        errors = 10.0 * random.standard_cauchy(size=(B, H, C))
        errors[random.random(errors.shape) < 0.1] = random.choice([np.nan, np.inf, 1e300])
        usual = random.lognormal(0.0, 3.0, size=errors.shape)
        usual[random.random(errors.shape) < 0.05] = 1e290
        yield np.array([n, n + 5, n + 100]), errors, random.random(errors.shape), usual, random.random(B)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_kept_is_that_of_the_plain_formula(seed):
    ours, rows = Backlog(SIZES, slots=6), np.arange(B)
    targets, weights, kept = np.zeros((B, KEPT, H, C)), np.zeros((B, KEPT, H, C)), np.zeros((B, KEPT))
    for n, errors, trusted, usual, haste in frames(seed):
        ours.add(SLOTS, n, errors, trusted, usual, haste)
        known = np.isfinite(errors)
        target = np.where(known, errors, 0.0)
        far = np.maximum(np.abs(target) / (LARGE * usual), 1.0)
        weight = np.where(known, trusted, 0.0) / far / far
        targets[rows, n % KEPT] = np.clip(target * weight, -LARGEST, LARGEST)
        weights[rows, n % KEPT] = weight
        kept[rows, n % KEPT] = haste
    for array, plain in ((ours.targets, targets), (ours.weights, weights), (ours.haste, kept)):
        np.testing.assert_array_equal(array[SLOTS], plain.astype(np.float32))
    assert ours.count.tolist() == [40, 0, 40, 0, 40, 0]


def test_a_stream_gets_the_same_bits_alone_and_among_others_and_no_other_slot_is_touched():
    together, alone = Backlog(SIZES, slots=6), Backlog(SIZES, slots=6)
    for batch in frames(9):
        together.add(SLOTS, *batch)
        for row in (2, 0, 1):
            alone.add(SLOTS[row : row + 1], *(each[row : row + 1] for each in batch))
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
        assert not array[[1, 3, 5]].any()
