"""The kernel of past puts into its rings what numpy would, where single precision can hold it, and nothing else."""

from __future__ import annotations

import numpy as np

from streamd.engine.past import Past
from streamd.engine.score import TERMS

SLOTS = np.array([4, 0, 2])
R, C = 5, 3
LIMIT = float(np.finfo(np.float32).max)


def single(array):
    return np.clip(array, -LIMIT, LIMIT).astype(np.float32)


def frames(seed, count=40):
    random = np.random.default_rng(seed)
    for n in range(count):
        terms, offset = random.normal(size=(3, len(TERMS))), random.normal(size=(3, 4, C))[:, 1]
        bounds = random.normal(size=(3, 2, 2, C))[:, 1]
        score = terms.max(axis=1)
        for array, far in ((terms, np.inf), (offset, 1e300), (offset, np.nan), (bounds, -1e39), (score, np.nan)):
            array[random.random(array.shape) < 0.1] = far
        yield n + np.array([0, 7, 1000]), 60.0 * n + np.arange(3.0), score, terms, offset, bounds


def test_rings_hold_what_the_plain_formula_says():
    ours = Past({"R": R, "C": C}, slots=6)
    plain = {name: array.copy() for name, array in ours.state_dict().items()}
    for n, times, score, terms, offset, bounds in frames(0):
        ours.remember(SLOTS, n, times, score, terms, offset, bounds)
        row, following = n % R, (n + 1) % R
        plain["time"][SLOTS, row] = times
        plain["score"][SLOTS, row] = single(score)
        plain["terms"][SLOTS, row] = single(terms)
        ahead = np.concatenate([offset[:, None], offset[:, None] + bounds], axis=1)
        plain["ahead"][SLOTS, following] = single(ahead)
        for name, array in ours.state_dict().items():
            np.testing.assert_array_equal(array, plain[name], err_msg=name)
    assert np.isfinite(ours.time[SLOTS]).all()
    assert (np.abs(ours.ahead[SLOTS]) == np.float32(LIMIT)).any()


def test_a_stream_gets_the_same_bits_alone_and_among_others():
    together, alone = Past({"R": R, "C": C}, slots=6), Past({"R": R, "C": C}, slots=6)
    for frame in frames(1):
        together.remember(SLOTS, *frame)
        for row in (2, 0, 1):
            alone.remember(SLOTS[row : row + 1], *(array[row : row + 1] for array in frame))
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
