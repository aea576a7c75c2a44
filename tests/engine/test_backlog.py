"""Backlog: what is taken at once is what was put in one by one, and nothing of it twice."""

from __future__ import annotations

import numpy as np

from streamd.engine.backlog import KEPT, Backlog
from streamd.engine.lags import FEATURES, Lags

H, C = 3, 2
SIZES = {"H": H, "V": H + KEPT, "C": C}
TWO = np.array([1, 0])


def filled(frames):
    """Two streams' lags and backlog after so many frames, and what was put in, [N, 2, ...]."""
    random = np.random.default_rng(0)
    lags, backlog = Lags(SIZES, slots=2), Backlog(SIZES, slots=2)
    features, targets, weights = [], [], []
    for n in range(frames):
        now = np.full(2, n)
        targets.append(random.normal(size=(2, H, C)))
        weights.append(random.integers(0, 5, (2, H, C)) / 4.0)
        backlog.add(TWO, now, targets[-1], weights[-1], np.array([0.0, n / 64]))
        features.append(lags.observe(TWO, now, random.normal(size=(2, C)), np.ones((2, C)), np.ones((2, C))))
    return lags, backlog, features, targets, weights


def test_a_block_holds_the_frames_since_the_last_one_the_newest_first():
    frames = KEPT
    lags, backlog, features, targets, weights = filled(frames)
    block = backlog.take(TWO, np.full(2, frames - 1), lags)
    assert block.features.shape == (2, C, KEPT + H - 1, FEATURES)
    for k in range(KEPT):
        n = frames - 1 - k
        np.testing.assert_allclose(block.targets[:, k], targets[n] * weights[n], rtol=1e-6)
        np.testing.assert_array_equal(block.weights[:, k], weights[n])
        assert block.haste[:, k].tolist() == [0.0, n / 64]
        for h in range(H):
            before = features[n - 1 - h] if n - 1 - h >= 0 else np.zeros((2, C, FEATURES))
            np.testing.assert_allclose(block.features[:, :, k + h], before, rtol=1e-6)


def test_no_frame_is_new_twice_and_none_is_that_never_was():
    lags, backlog, *_ = filled(10)
    first = backlog.take(TWO, np.full(2, 9), lags)
    assert first.new.sum(axis=1).tolist() == [10, 10]
    assert first.new.shape == (2, 10)
    again = backlog.take(TWO, np.full(2, 9), lags)
    assert not again.new.any()
    backlog.add(TWO[:1], np.array([10]), np.ones((1, H, C)), np.ones((1, H, C)), np.zeros(1))
    assert backlog.take(TWO, np.array([10, 9]), lags).new.sum(axis=1).tolist() == [1, 0]
