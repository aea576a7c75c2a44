"""The replay memory: newest windows in a ring, a fair sample of the older ones, targets that have really come."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.features import CLOCK, LIMIT, PLANES, compose
from streamd.engine.memory import FRAME_ARRAYS, HELD_BACK, Memory
from streamd.engine.recent import Recent

H, R, S, C, L, K = 2, 12, 3, 2, 1, 2
SIZES = {"C": C, "H": H, "R": R, "S": S, "L": L, "K": K}
T = R - H
SLOTS = 24


def random(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def numbered(count, slots=SLOTS, seed=0):
    """A memory that so many windows were put into, window i marked by a trust of i; the ids in its rows, -1: none."""
    memory, generator = Memory(SIZES, slots), random(seed)
    recent = Recent(SIZES, slots=1)
    for number in range(count):
        recent.trust[:] = number
        memory.add(recent, np.array([0]), np.array([R - 1]), generator)
    ids = memory.trust[:, 0].astype(int)
    ids[min(count, slots) :] = -1
    return memory, ids


class Streams:
    """Random frames of two streams through `Recent`, windows cut as the engine does it; all of it in lists too."""

    def __init__(self, frames, seed=0):
        generator = random(seed)
        self.recent = Recent(SIZES, slots=2)
        self.memory = Memory(SIZES, SLOTS)
        self.frames = []  # [n][array name] -> [2, ...]
        self.ends = []  # (slot, n) of each window in order
        slots = np.array([0, 1])
        for number in range(frames):
            n = np.full(2, number)
            planes = dict(zip(PLANES, generator.normal(size=(len(PLANES), 2, C)).astype(np.float32), strict=True))
            clock = generator.normal(size=(2, CLOCK)).astype(np.float32)
            residual = generator.normal(0, LIMIT / 2, size=(2, H, C)).astype(np.float32)
            residual[generator.random(residual.shape) < 0.2] = np.nan
            trust = generator.choice([0.125, 1.0], size=2)
            h, c = generator.normal(size=(2, 2, L, K)).astype(np.float32)
            self.recent.mark(slots, n, h, c)
            x = compose(*planes.values(), clock)
            self.recent.record(slots, n, np.zeros((2, C)), x, residual.astype(np.float64), trust)
            self.frames.append({**planes, "clock": clock, "residual": residual, "trust": trust, "h": h, "c": c})
            if (number + 1) % self.recent.stride == 0 and number + 1 >= R:
                self.memory.add(self.recent, slots, n, generator)
                self.ends += [(slot, number) for slot in (0, 1)]


def test_a_window_holds_its_frames_in_order_and_the_state_before_the_first():
    streams = Streams(28)
    assert len(streams.ends) == streams.memory.added == 2 * 5
    for row, (slot, end) in enumerate(streams.ends):
        numbers = range(end - R + 1, end + 1)
        for name in FRAME_ARRAYS:
            expected = np.array([streams.frames[n][name][slot] for n in numbers])
            if name == "residual":
                expected = np.clip(expected, -LIMIT, LIMIT)
            np.testing.assert_array_equal(getattr(streams.memory, name)[row], expected)
        np.testing.assert_array_equal(streams.memory.h[row], streams.frames[numbers[0]]["h"][slot])
        np.testing.assert_array_equal(streams.memory.c[row], streams.frames[numbers[0]]["c"][slot])


def test_targets_are_what_the_mix_turned_out_to_be_off_and_weigh_what_both_ends_are_trusted():
    streams = Streams(28, seed=1)
    rows = np.array([0, 3, 7, 8])
    windows = streams.memory.windows(rows)
    assert windows.x.shape == (len(rows), T, len(PLANES) * C + CLOCK)
    assert windows.target.shape == windows.weight.shape == (len(rows), T, H, C)
    unknown = beyond = 0
    for w, row in enumerate(rows):
        slot, end = streams.ends[row]
        first = end - R + 1
        for t in range(T):
            frame = streams.frames[first + t]
            planes = [frame[name][slot] for name in (*PLANES, "clock")]
            np.testing.assert_array_equal(windows.x[w, t], np.concatenate(planes))
            for h in range(1, H + 1):
                later = streams.frames[first + t + h]
                for c in range(C):
                    residual = later["residual"][slot, h - 1, c]
                    target, weight = windows.target[w, t, h - 1, c], windows.weight[w, t, h - 1, c]
                    if np.isnan(residual):
                        unknown += 1
                        assert (target, weight) == (0.0, 0.0)
                    else:
                        beyond += abs(residual) > LIMIT
                        assert target == np.clip(residual, -LIMIT, LIMIT)
                        assert weight == pytest.approx(frame["trust"][slot] * later["trust"][slot])
    assert unknown > 10
    assert beyond > 1


def test_what_the_trainer_gets_is_finite_and_bounded_whatever_was_measured():
    streams = Streams(28)
    streams.memory.residual[:, ::2] = np.inf
    streams.memory.residual[:, 1::2] = -1e38
    windows = streams.memory.windows(np.arange(8))
    assert np.abs(windows.target).max() == LIMIT
    for array in (windows.x, windows.h, windows.c, windows.target, windows.weight):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()


def test_windows_for_the_trainer_do_not_change_when_the_memory_does():
    streams = Streams(28)
    windows = streams.memory.windows(np.array([0, 1]))
    before = [array.copy() for array in (windows.x, windows.h, windows.c, windows.target, windows.weight)]
    for array in streams.memory.state_dict().values():
        array[:] = 0
    for array, copy in zip((windows.x, windows.h, windows.c, windows.target, windows.weight), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_the_ring_holds_the_newest_windows():
    for count in (1, 5, 12, 13, 30, 100):
        memory, ids = numbered(count)
        newest = set(range(max(0, count - SLOTS // 2), count))
        assert set(ids[: SLOTS // 2]) - {-1} == newest
        assert memory.added == count
        assert memory.used == min(count, SLOTS)
        assert (ids[: memory.used] >= 0).all()


def test_the_reservoir_holds_older_windows_each_once():
    for count in (13, 24, 30, 100):
        _, ids = numbered(count)
        old = [number for number in ids[SLOTS // 2 :].tolist() if number >= 0]
        assert len(old) == len(set(old)) == min(count - SLOTS // 2, SLOTS // 2)
        assert max(old) < count - SLOTS // 2


def test_the_reservoir_is_a_fair_sample_of_all_older_windows():
    count, slots, runs = 40, 8, 400
    kept = np.zeros(count - slots // 2)
    for seed in range(runs):
        _, ids = numbered(count, slots, seed)
        kept[ids[slots // 2 :]] += 1
    share = (slots - slots // 2) / len(kept)
    sigma = np.sqrt(runs * share * (1 - share))
    assert kept.sum() == runs * (slots - slots // 2)
    assert np.abs(kept - runs * share).max() < 4.5 * sigma
    early, late = kept[: len(kept) // 2].mean(), kept[len(kept) // 2 :].mean()
    assert early == pytest.approx(late, rel=0.15)


def test_the_held_back_windows_are_the_newest_and_are_never_sampled():
    generator = random()
    for count in (1, 4, 5, 6, 11, 12, 13, 14, 23, 24, 25, 60):
        memory, ids = numbered(count)
        held_back = memory.held_back()
        assert ids[held_back].tolist() == list(range(count - 1, max(count - 1 - HELD_BACK, -1), -1))
        assert memory.ready == (count > HELD_BACK)
        if memory.ready:
            drawn = memory.sample(200, generator, favour=0.0)
            assert not {*drawn.tolist()} & {*held_back.tolist()}
            assert (ids[drawn] >= 0).all()


def test_half_of_a_sample_is_old_as_soon_as_there_are_old_windows():
    generator = random()
    memory, _ = numbered(SLOTS // 2)
    assert (memory.sample(50, generator, favour=0.0) < SLOTS // 2).all()
    memory, _ = numbered(100)
    drawn = memory.sample(1000, generator, favour=0.0)
    assert (drawn >= SLOTS // 2).sum() == 500
    assert set(drawn.tolist()) == set(range(SLOTS)) - set(memory.held_back().tolist())


def test_fewer_of_a_sample_are_old_the_more_the_recent_are_favoured():
    memory, _ = numbered(100)
    old = [
        int((memory.sample(1000, random(), favour=favour) >= SLOTS // 2).sum()) for favour in (0.0, 0.25, 0.5, 0.9, 1.0)
    ]
    assert old == [500, 375, 250, 50, 0]


def test_the_rows_that_are_about_to_change_are_told_before():
    memory, _ = numbered(SLOTS // 2 + 3)
    recent, told = Recent(SIZES, slots=1), []
    before = {name: array.copy() for name, array in memory.state_dict().items()}

    def keep(rows):
        for name, array in memory.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
        told.extend(rows.tolist())

    recent.trust[:] = 99.0
    memory.add(recent, np.array([0]), np.array([R - 1]), random(), keep)
    changed = np.flatnonzero((memory.trust != before["trust"]).any(axis=1))
    assert (memory.trust == 99.0).any()
    assert set(changed.tolist()) <= set(told)
    assert told


def test_widening_leaves_the_old_channels_windows_and_weighs_the_new_ones_nothing():
    streams = Streams(28)
    before = streams.memory.windows(np.arange(4))
    streams.memory.widen({"C": 3})
    after = streams.memory.windows(np.arange(4))
    np.testing.assert_array_equal(after.target[..., :C], before.target)
    np.testing.assert_array_equal(after.weight[..., :C], before.weight)
    assert not after.weight[..., C:].any()
