"""Joint deviations: what single channels don't show, who is to blame, and what does not teach."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.joint import FIRST_FRAMES, MEMORY_FRAMES, Whitener, due

ONE = np.array([0])


def trained(vectors, slots=1):
    """A whitener that has learned from vectors [N, C]."""
    whitener = Whitener({"J": 1, "C": vectors.shape[1]}, slots=slots)
    for n, vector in enumerate(vectors):
        teach(whitener, vector)
        if n % 16 == 15:
            whitener.solve(ONE, vector[None])
    whitener.solve(ONE, vectors[-1:])
    return whitener


def teach(whitener, vector, *, outside=False):
    whitener.learn(ONE, np.asarray(vector, float)[None, None], np.array([[outside]]))


def size(whitener, vector, matters=None):
    return whitener.measure(ONE, np.asarray(vector, float)[None, None], matters).size.item()


def blame(whitener, vector):
    return whitener.measure(ONE, np.asarray(vector, float)[None, None]).blame[0, 0]


def coupled(rows=4000, seed=0):
    """Three channels that go together, and one alone."""
    random = np.random.default_rng(seed)
    cause = random.normal(size=(rows, 1))
    return np.hstack([cause, 2 * cause, -cause, random.normal(size=(rows, 1))]) + 0.1 * random.normal(size=(rows, 4))


def test_usual_vectors_are_of_usual_size():
    whitener, fresh = trained(coupled()), coupled(seed=1)
    sizes = [size(whitener, vector) for vector in fresh[:400]]
    assert 0.1 < np.median(sizes) < 0.7  # T² about as large as there are channels, less for the shrinking


def test_a_broken_coupling_shows_although_each_value_is_usual():
    whitener = trained(coupled())
    assert size(whitener, [1.0, 2.0, -1.0, 0.0]) < 1.0
    assert size(whitener, [1.0, 2.0, 1.0, 0.0]) > 1.8


@pytest.mark.parametrize("channel", range(4))
def test_the_channel_that_is_off_gets_the_blame(channel):
    whitener = trained(coupled())
    vector = np.array([1.0, 2.0, -1.0, 0.5])
    vector[channel] += 3.0
    assert blame(whitener, vector).argmax() == channel


def test_a_deviation_that_does_not_matter_does_not_count():
    whitener = trained(coupled())
    vector = np.array([1.0, 2.0, -1.0, 9.0])
    assert size(whitener, vector) > 2.5
    assert size(whitener, vector, np.array([[[True, True, True, False]]])) < 1.0


def test_units_that_differ_by_ten_to_the_nine_change_nothing():
    vectors, factors = coupled(), np.array([1.0, 1e9, 1e-9, 1e3])
    plain, scaled = trained(vectors), trained(vectors * factors)
    probe = np.array([1.0, 2.0, 0.0, 0.5])
    assert size(scaled, probe * factors) == pytest.approx(size(plain, probe), rel=1e-3)


def test_before_the_first_frames_nothing_is_said():
    whitener = trained(coupled(rows=int(FIRST_FRAMES) - 1))
    assert size(whitener, [50.0] * 4) == 0.0


def test_missing_channels_count_for_nothing_and_all_missing_is_not_strange():
    whitener = trained(coupled())
    assert size(whitener, [np.nan] * 4) == 0.0
    assert size(whitener, [np.nan, 2.0, 1.0, np.nan]) > 1.5
    assert blame(whitener, [np.nan, 2.0, 1.0, np.nan])[0] == 0.0


def test_a_channel_that_comes_late_is_judged_once_it_is_known_and_beside_its_own_past():
    vectors = coupled()
    vectors[:, 3] += 300.0
    vectors[:2000, 3] = np.nan
    young = trained(vectors[: 2000 + FIRST_FRAMES - 1])
    assert size(young, [1.0, 2.0, -1.0, 900.0]) == size(young, [1.0, 2.0, -1.0, np.nan])
    known = trained(vectors[:2300])
    assert size(known, [1.0, 2.0, -1.0, 300.5]) < 1.0
    assert blame(known, [1.0, 2.0, -1.0, 306.0]).argmax() == 3


@pytest.mark.parametrize("late", [(3,), (1, 2), (0, 1, 2)])
def test_channels_that_come_one_after_the_other_leave_a_covariance(late):
    vectors = coupled(rows=1500)
    for turn, channel in enumerate(late, 1):
        vectors[: 300 * turn + 50, channel] = np.nan
    covariance = trained(vectors).covariance[0, 0]
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    np.testing.assert_allclose(np.diagonal(covariance), np.nanvar(vectors, axis=0), rtol=0.05)


def test_a_constant_channel_that_moves_is_very_strange_and_a_finite_number():
    vectors = coupled()
    vectors[:, 3] = 5.0
    whitener = trained(vectors)
    assert size(whitener, [1.0, 2.0, -1.0, 5.0]) < 1.0
    moved = size(whitener, [1.0, 2.0, -1.0, 5.1])
    assert 4.0 < moved < 20.0


def test_what_is_outside_teaches_only_as_slowly_as_old_frames_fade():
    whitener = trained(coupled(rows=400))
    before = size(whitener, [9.0, 18.0, -9.0, 0.0])
    slow, fast = trained(coupled(rows=400)), trained(coupled(rows=400))
    for _ in range(200):
        teach(slow, [9.0, 18.0, -9.0, 0.0], outside=True)
        teach(fast, [9.0, 18.0, -9.0, 0.0])
    for one in (slow, fast):
        one.solve(ONE, np.ones((1, 4)))
    assert size(slow, [9.0, 18.0, -9.0, 0.0]) > 0.6 * before
    assert size(fast, [9.0, 18.0, -9.0, 0.0]) < 1.0
    assert slow.frames[0, 0].tolist() == [400.0] * 4
    assert slow.mean[0, 0, 0] == pytest.approx(9.0 * 200 / MEMORY_FRAMES, abs=0.2)


def test_an_accepted_centre_is_normal_at_once():
    whitener = trained(coupled())
    whitener.accept(ONE, np.array([[[30.0, 60.0, -30.0, 0.0]]]), np.zeros((1, 1, 4)))
    assert size(whitener, [30.0, 60.0, -30.0, 0.0]) < 0.5


def test_a_channel_that_is_accepted_as_wilder_may_go_as_far_and_one_that_is_calmer_keeps_what_was_known():
    whitener = trained(coupled())
    whitener.accept(ONE, np.zeros((1, 1, 4)), np.array([[[0.0, 0.0, 0.0, 100.0]]]))
    whitener.solve(ONE, np.ones((1, 4)))
    assert size(whitener, [1.0, 2.0, -1.0, 10.0]) < 1.0
    assert size(whitener, [1.0, 2.0, 1.0, 0.0]) > 1.8  # the coupling of the others is as it was


def test_streams_side_by_side_are_as_each_alone():
    first, second = coupled(rows=300), coupled(rows=300, seed=5)
    together = Whitener({"J": 1, "C": 4}, slots=2)
    for a, b in zip(first, second, strict=True):
        together.learn(np.array([0, 1]), np.stack([a, b])[:, None], np.zeros((2, 1), bool))
    together.solve(np.array([0, 1]), np.ones((2, 4)))
    alone = trained(second)
    alone.solve(ONE, np.ones((1, 4)))
    both = together.measure(np.array([0, 1]), np.array([[[3.0, 1, 1, 1]], [[3.0, 1, 1, 1]]])).size
    assert both[1, 0] == pytest.approx(size(alone, [3.0, 1, 1, 1]), rel=1e-9)


def test_inverses_are_due_often_at_first_and_then_in_turns():
    early = [len(due(np.array([n]), np.array([3]))) for n in range(40)]
    late = [len(due(np.array([n]), np.array([3]))) for n in range(1000, 1032)]
    assert sum(early) >= 10
    assert sum(late) == 2
