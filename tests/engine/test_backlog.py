"""Backlog: what frames teach is kept until it is taken, as far as it is known, trusted and believable."""

from __future__ import annotations

import numpy as np

from streamd.engine.backlog import KEPT, Backlog
from streamd.engine.profile import FULL

H, C = 3, 2
TWO = np.array([1, 0])
ONES = np.ones((2, H, C))


def test_the_last_frames_are_kept_each_with_its_errors_weights_and_haste():
    random = np.random.default_rng(0)
    backlog = Backlog({**FULL, "H": H, "C": C}, slots=2)
    errors, trusted = random.normal(size=(2 * KEPT, 2, H, C)), random.integers(0, 5, (2 * KEPT, 2, H, C)) / 4.0
    for n in range(len(errors)):
        backlog.add(TWO, np.full(2, n), errors[n], trusted[n], ONES, np.array([0.0, n / 64]))
    for n in range(KEPT, len(errors)):
        np.testing.assert_allclose(backlog.targets[TWO, n % KEPT], errors[n] * trusted[n], rtol=1e-6)
        np.testing.assert_array_equal(backlog.weights[TWO, n % KEPT], trusted[n])
        assert backlog.haste[TWO, n % KEPT].tolist() == [0.0, n / 64]


def test_frames_are_counted_until_they_are_taken():
    backlog = Backlog({**FULL, "H": H, "C": C}, slots=3)
    for n in range(10):
        backlog.add(TWO, np.full(2, n), ONES, ONES, ONES, np.zeros(2))
    assert backlog.count.tolist() == [10, 10, 0]
    backlog.empty(TWO[:1])
    assert backlog.count.tolist() == [10, 0, 0]
    backlog.add(TWO, np.full(2, 10), ONES, ONES, ONES, np.zeros(2))
    assert backlog.count.tolist() == [11, 1, 0]


def test_a_target_that_is_not_known_weighs_nothing_and_one_far_off_next_to_nothing():
    backlog, one = Backlog({**FULL, "H": 3, "C": 1}, slots=1), np.ones((1, 3, 1))
    errors = np.array([np.nan, 1.0, 1e6]).reshape(1, 3, 1)
    backlog.add(np.array([0]), np.array([0]), errors, one, one, np.zeros(1))
    targets, weights = backlog.targets[0, 0, :, 0], backlog.weights[0, 0, :, 0]
    assert targets[:2].tolist() == weights[:2].tolist() == [0.0, 1.0]
    # its product with the target, which moves the coefficients, is no larger than that of a large but believable one
    assert 0.0 < weights[2] < 1e-9
    assert 0.0 < targets[2] <= 300.0
