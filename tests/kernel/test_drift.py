"""The kernel of drift does what a window of plain lists does, bit by bit, and each stream by itself."""

from __future__ import annotations

from math import isnan, log, sqrt

import numpy as np
import pytest

from streamd.engine.drift import BUCKETS, CLOCK, DELTA, HASTE_FRAMES, LARGEST, LEVELS, SHORTEST, Drift

SLOTS = np.array([4, 0, 2])
HALF = np.float32(0.5)


class Plain:
    """The window of one stream: for each size the buckets that there are, (mean, square), the oldest first."""

    def __init__(self):
        self.levels = [[] for _ in range(LEVELS)]
        self.length, self.since = 0, HASTE_FRAMES

    def update(self, error):
        self.since += 1
        if isnan(error):
            return False
        bucket = np.float32(min(max(error, -LARGEST), LARGEST)), np.float32(0.0)
        for buckets in self.levels:
            buckets.append(bucket)
            if len(buckets) <= BUCKETS:
                break
            (one, square), (other, second) = buckets.pop(0), buckets.pop(0)
            half = HALF * (one - other)
            # what the last level passes on drops out
            bucket = one - half, HALF * (square + second) + half * half
        self.length += 1
        if self.length % CLOCK or not self.differs():
            return False
        self.levels, self.length, self.since = [[] for _ in range(LEVELS)], 0, 0
        return True

    def differs(self):
        parts = [
            (2.0**level, float(mean), float(square))
            for level in reversed(range(LEVELS))
            for mean, square in self.levels[level]
        ]
        whole = sum(size for size, *_ in parts)
        mean = sum(size * mean for size, mean, _ in parts) / whole
        variance = sum(size * (square + (one - mean) ** 2) for size, one, square in parts) / whole
        doubt = log(2.0 * log(whole) / DELTA)
        for cut in range(1, len(parts)):
            sizes = [sum(size for size, *_ in part) for part in (parts[:cut], parts[cut:])]
            if min(sizes) < SHORTEST:
                continue
            means = [
                sum(size * one for size, one, _ in part) / total
                for part, total in zip((parts[:cut], parts[cut:]), sizes, strict=True)
            ]
            scarcity = sum(1.0 / (size - SHORTEST + 1.0) for size in sizes)
            chance = sqrt(2.0 * scarcity * variance * doubt) + 2.0 / 3.0 * doubt * scarcity
            if abs(means[0] - means[1]) > chance:
                return True
        return False


def errors(seed, count):
    """Errors of three streams that now and then get larger; some are not known, some are far too large."""
    random = np.random.default_rng(seed)
    for n in range(count):
        error = np.abs(random.normal(size=len(SLOTS))) * (1.0 + n // 400 % 3)
        error[random.random(len(SLOTS)) < 0.1] = np.nan
        error[random.random(len(SLOTS)) < 1e-3] = np.inf
        yield error


@pytest.mark.parametrize("seed", range(3))
def test_windows_and_drifts_are_those_of_plain_lists(seed):
    ours, plain, found = Drift({}, slots=6), [Plain() for _ in SLOTS], 0
    for error in errors(seed, 3000):
        drifted = ours.update(SLOTS, error)
        assert drifted.tolist() == [one.update(value) for one, value in zip(plain, error.tolist(), strict=True)]
        since = np.array([one.since for one in plain])
        np.testing.assert_array_equal(ours.haste(SLOTS), np.maximum(1.0 - since / HASTE_FRAMES, 0.0))
        found += int(drifted.sum())
    assert found > 5
    assert ours.length[SLOTS].tolist() == [one.length for one in plain]
    for slot, one in zip(SLOTS.tolist(), plain, strict=True):
        number = one.length  # of buckets that the level ever got
        for level, buckets in enumerate(one.levels):
            at = np.arange(number - len(buckets), number) % BUCKETS
            assert ours.means[slot, level, at].tolist() == [mean for mean, _ in buckets]
            assert ours.squares[slot, level, at].tolist() == [square for _, square in buckets]
            number = max(number - BUCKETS + 1, 0) // 2


def test_a_window_that_is_full_is_that_of_plain_lists():
    ours, plain = Drift({}, slots=1), Plain()
    for error in np.random.default_rng(7).normal(size=12_000):
        assert ours.update(np.array([0]), np.array([error])).item() == plain.update(float(error))
    assert len(plain.levels[-1]) == BUCKETS
    assert sorted(ours.means[0, -1].tolist()) == sorted(float(mean) for mean, _ in plain.levels[-1])


def test_a_stream_gets_the_same_bits_alone_and_among_others_and_touches_no_other():
    together, alone = Drift({}, slots=6), Drift({}, slots=6)
    for error in errors(9, 1500):
        found = together.update(SLOTS, error)
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            assert alone.update(SLOTS[one], error[one]).item() == found[row]
    fresh = Drift({}, slots=6).state_dict()
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
        np.testing.assert_array_equal(array[[1, 3, 5]], fresh[name][[1, 3, 5]])
