"""Recent: the last frames, each in its place of the ring."""

from __future__ import annotations

import numpy as np

from streamd.engine.features import CLOCK, LIMIT, PLANES, compose
from streamd.engine.recent import Recent

H, R, S, C, L, K = 3, 8, 4, 2, 1, 2
SIZES = {"C": C, "H": H, "R": R, "S": S, "L": L, "K": K}


def record(recent, slots, n, base):
    """Put frames in whose inputs and residuals say their number, those of each plane a hundred more."""
    slots, n = np.array(slots), np.array(n)
    marks = np.broadcast_to(n[:, None].astype(np.float32), (len(n), C))
    planes = {name: marks + 100 * place for place, name in enumerate(PLANES)}
    clock = np.broadcast_to(n[:, None].astype(np.float32), (len(n), CLOCK))
    residual = np.broadcast_to(-n[:, None, None].astype(float), (len(n), H, C))
    recent.record(slots, n, np.array(base, float), compose(*planes.values(), clock), residual, n * 1.0)


def test_changes_are_against_what_was_known_so_many_frames_ago():
    recent = Recent(SIZES, slots=1)
    series = np.random.default_rng(0).normal(size=(40, C))
    for n, values in enumerate(series):
        changes = recent.changes(np.array([0]), np.array([n]), values[None])
        assert changes.shape == (1, H, C)
        for h in range(1, H + 1):
            expected = values - series[n - h] if n >= h else np.full(C, np.nan)
            np.testing.assert_array_equal(changes[0, h - 1], expected)
        record(recent, [0], [n], [values])


def test_changes_skip_missing_values_by_the_last_one_known():
    recent = Recent(SIZES, slots=1)
    record(recent, [0], [0], [[1.0, 5.0]])
    record(recent, [0], [1], [[1.0, 6.0]])  # the first was missing
    changes = recent.changes(np.array([0]), np.array([2]), np.array([[4.0, np.nan]]))
    np.testing.assert_array_equal(changes[0], [[3.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])


def test_a_frame_lies_where_its_number_says_until_the_ring_comes_round():
    recent = Recent(SIZES, slots=2)
    for n in range(2 * R + 3):
        record(recent, [1], [n], [[n, -n]])
    kept = {int(value) for value in recent.base[1, :, 0]}
    assert kept == set(range(R + 3, 2 * R + 3))
    for n in kept:
        assert recent.level[1, n % R, 0] == recent.clock[1, n % R, 0] == recent.trust[1, n % R] == n
        assert (recent.residual[1, n % R] == max(-n, -LIMIT)).all()
    assert np.isnan(recent.base[0]).all()
    assert np.isnan(recent.residual[0]).all()


def test_frames_of_streams_at_different_numbers_share_a_batch():
    recent = Recent(SIZES, slots=3)
    record(recent, [2, 0], [9, 4], [[1.0, 2.0], [3.0, 4.0]])
    assert recent.base[2, 9 % R].tolist() == [1.0, 2.0]
    assert recent.base[0, 4].tolist() == [3.0, 4.0]
    assert np.isfinite(recent.base).sum() == 4


def test_what_the_network_saw_comes_back_plane_by_plane():
    recent = Recent(SIZES, slots=2)
    for n in range(5):
        record(recent, [1], [n], [[0.0, 0.0]])
    planes = [100.0 * place for place in range(len(PLANES)) for _ in range(C)]
    expected = [[n + mark for mark in planes] + [n] * CLOCK for n in (4, 2)]
    np.testing.assert_array_equal(recent.inputs(np.array([1, 1]), np.array([4, 2])), expected)


def test_a_state_is_kept_where_a_stride_begins_and_nowhere_else():
    recent = Recent(SIZES, slots=1)
    assert recent.stride == R // S == 2
    for n in range(11):
        h = np.full((1, L, K), n + 1, np.float32)
        recent.mark(np.array([0]), np.array([n]), h, -h)
    # strides began at 4, 6, 8 and 10; 2 * 4 = 8 lies where 0 lay
    assert recent.start_h[0, :, 0, 0].tolist() == [9, 11, 5, 7]
    assert recent.start_c[0, :, 0, 0].tolist() == [-9, -11, -5, -7]


def test_only_those_streams_of_a_batch_are_marked_whose_stride_begins():
    recent = Recent(SIZES, slots=2)
    states = np.array([[[1, 1]], [[2, 2]]], np.float32)
    recent.mark(np.array([0, 1]), np.array([3, 2]), states, states)
    assert not recent.start_h[0].any()
    assert recent.start_h[1, 1].tolist() == [[2, 2]]
