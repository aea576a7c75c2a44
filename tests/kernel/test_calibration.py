"""The kernels of calibration do what a few lines of numpy say, whatever the sizes, and each stream by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamd.engine import calibration as of
from streamd.engine.calibration import BLOCK, SHAPE, Common, Strictness, Tails, frames_per_alarm

SIZES = {"J": 2}
SLOTS = np.array([4, 0, 2])
REACH, NATURAL, CHANNELS = np.array([4.0, 20.0]), 0.3, 3
PERIOD = np.array([50.0, 2000.0, 1e6])
TAIL = ("blocks", "level", "peaks", "excess", "square")


def sizes(seed, count=2500):
    """Sizes [3, 2] of frames, with disturbances, frames without any, and numbers n that end blocks at other times."""
    random = np.random.default_rng(seed)
    high = np.zeros((3, 2))
    for frame in range(count):
        high = np.where(random.random((3, 2)) < 0.02, random.choice([0.0, 0.0, 0.0, 4.0], (3, 2)), high)
        size = random.exponential(0.3, (3, 2)) + high
        size[random.random((3, 2)) < 0.01] = np.nan
        yield np.array([0, 5, 9]) + frame, size * (random.random((3, 1)) < 0.9), np.array([frame < 300, False, False])


def beyond(mean, square, rarity):
    shape = np.clip(0.5 * (1.0 - mean * mean / np.maximum(square - mean * mean, 1e-12)), *SHAPE)
    shape = np.where(np.abs(shape) < 1e-6, 1e-6, shape)
    return mean * (1.0 - shape) / shape * (np.maximum(rarity, 1.0) ** shape - 1.0)


def plain_line(own, common):
    group, shared = np.minimum(common["peaks"], of.GROUP), np.minimum(common["blocks"], of.GROUP)
    with np.errstate(invalid="ignore"):
        level = (own["blocks"] * own["level"] + shared * common["level"]) / (own["blocks"] + shared)
    prior = 2.0 / (2.0 * CHANNELS + 3.0 * math.sqrt(CHANNELS) + 2.0)
    excess, square = (
        (own["peaks"] * own[name] + group * common[name] + of.PRIOR * before) / (own["peaks"] + group + of.PRIOR)
        for name, before in (("excess", prior), ("square", 2.0 * prior**2))
    )
    known = BLOCK * np.maximum(np.maximum(own["blocks"], common["blocks"]), 1.0)
    rarity = np.minimum(PERIOD[:, None] / of.SHARE, REACH * known) / BLOCK
    line = level + beyond(excess, square, 0.5 * rarity)
    further = np.log(2.0 * np.maximum(rarity, 1.0)) / np.log(np.clip(own["blocks"], 2.0, 1.0 / of.FADE))
    bound = own["level"] + of.MARGIN * np.maximum(further, 1.0) * (own["largest"] - own["level"])
    bound = np.where((own["blocks"] >= of.BOUND_BLOCKS) & np.isfinite(bound), bound, np.inf)
    return np.fmax(np.where(bound < line, bound, line), NATURAL)


def plainly_learnt(own, common, n, size, line, warming):
    own["top"] = np.maximum(own["top"], size)
    full = ((n + 1) % BLOCK == 0)[:, None]
    top = own["top"]
    worst = np.where(full & (top >= line) & ~warming[:, None], np.maximum(own["worst"], top), own["worst"])
    disturbed = worst > 0.0
    lasts = np.where(disturbed, own["lasts"] + 1.0, 0.0)
    calm = np.where(disturbed & (top < of.SIGN * line), own["calm"] + 1.0, 0.0)
    over = full & disturbed & ((calm >= of.CALM_FRAMES / BLOCK) | (lasts >= of.LONGEST_FRAMES / BLOCK))
    peak(own, common, top, full & (top > 0.0) & (~disturbed | (calm >= of.SETTLED)))
    peak(own, common, np.minimum(worst, of.CLIP * line), over)
    for name, value in {"worst": worst, "lasts": lasts, "calm": calm}.items():
        own[name] = np.where(full, np.where(over, 0.0, value), own[name])
    own["top"] = np.where(full, 0.0, top)


def peak(own, common, top, counts):
    blocks, level, excess = own["blocks"], own["level"], own["excess"]
    length = np.where(blocks < of.BEGIN_BLOCKS, np.abs(top - level), np.maximum(excess, 0.05))
    level = level + np.maximum(1.0 / (blocks + 1.0), 0.01) * length * np.sign(top - level)
    level = np.where(counts, np.where(blocks == 0.0, top, level), own["level"])
    counted = counts & (top > level)
    above = np.where(counted, top - level, 0.0)
    peaks = np.where(counted, np.minimum(own["peaks"] + 1.0, of.MEMORY_BLOCKS), own["peaks"])
    rate = np.where(counted, 1.0 / np.maximum(peaks, 1.0), 0.0)
    guess = np.where(blocks > 0.0, level + beyond(excess, own["square"], 0.5 * blocks), top)
    largest = np.where(np.isnan(own["largest"]), guess, own["largest"])
    own["largest"] = np.where(counts, np.maximum(largest - of.FADE * (largest - level), top), own["largest"])
    own["blocks"], own["level"], own["peaks"] = blocks + counts, level, peaks
    own["excess"] = excess + rate * (above - excess)
    own["square"] = own["square"] + rate * (above * above - own["square"])

    number, peaks = counts.sum(axis=0), counted.sum(axis=0)
    common["blocks"] = common["blocks"] + number
    rate = number / np.maximum(np.minimum(common["blocks"], of.POOL_BLOCKS), number + 1e-9)
    mean = np.where(counts, level, 0.0).sum(axis=0) / np.maximum(number, 1)
    common["level"] = common["level"] + rate * (mean - common["level"])
    common["peaks"] = np.minimum(common["peaks"] + peaks, of.POOL_BLOCKS)
    rate = peaks / np.maximum(common["peaks"], 1.0)
    for name, total in (("excess", above.sum(axis=0)), ("square", (above * above).sum(axis=0))):
        common[name] = common[name] + rate * (total / np.maximum(peaks, 1) - common[name])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # sizes that are not known
@pytest.mark.parametrize("seed", range(3))
def test_lines_and_tails_are_those_of_the_plain_formula(seed):
    tails, common = Tails(SIZES, slots=6), Common(SIZES, slots=1)
    tails.blocks[2], tails.excess[2], tails.square[2] = 40.0, 0.3, 0.2  # an older version's, without a largest
    own = {name: array[SLOTS].copy() for name, array in tails.state_dict().items()}
    shared = {name: getattr(common, name).copy() for name in TAIL}
    disturbed = 0.0
    for n, size, warming in sizes(seed):
        line = tails.line(SLOTS, common, NATURAL, REACH, CHANNELS, PERIOD)
        np.testing.assert_allclose(line, plain_line(own, shared), rtol=1e-9)
        tails.learn(SLOTS, n, size, line, warming, common)
        plainly_learnt(own, shared, n, size, line, warming)
        disturbed = max(disturbed, tails.worst.max())
    assert disturbed > 0.0
    for name, array in tails.state_dict().items():
        np.testing.assert_allclose(array[SLOTS], own[name], rtol=1e-9, err_msg=name)
    for name in TAIL:
        np.testing.assert_allclose(getattr(common, name), shared[name], rtol=1e-9, err_msg=name)


def test_a_stream_gets_the_same_bits_alone_and_among_others():
    together, alone = Tails(SIZES, slots=6), Tails(SIZES, slots=6)
    line, group = np.full((3, 2), 2.0), Common(SIZES, slots=1)
    for n, size, warming in sizes(5):
        together.learn(SLOTS, n, size, line, warming, Common(SIZES, slots=1))
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            alone.learn(SLOTS[one], n[one], size[one], line[one], warming[one], Common(SIZES, slots=1))
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
        assert array[[1, 3, 5]].tobytes() == np.full_like(array[:3], Tails.columns[name].fill).tobytes()
    lines = together.line(SLOTS, group, NATURAL, REACH, CHANNELS, PERIOD)
    single = alone.line(SLOTS[1:2], group, NATURAL, REACH, CHANNELS, PERIOD[1:2])
    assert lines[1:2].tobytes() == single.tobytes()


def test_where_nothing_is_known_a_line_is_the_natural_one():
    line = Tails(SIZES, slots=6).line(SLOTS, Common(SIZES, slots=1), NATURAL, REACH, CHANNELS, PERIOD)
    assert (line == NATURAL).all()


def test_frames_per_alarm_are_those_of_the_plain_formula():
    interval = np.array([1.0, 1e-9, 60.0, 1e9, 0.0, -5.0, np.nan, np.inf])
    seconds = np.where(np.isfinite(interval) & (interval > 0.0), interval, 1.0)
    plain = np.maximum(of.WEEK_S / (3.0 * seconds), 1.0)
    np.testing.assert_allclose(frames_per_alarm(interval, 3.0), plain, rtol=1e-15)


def frames(seed, count=6000):
    """Terms [3, 4] in calm and disturbance, which frames raised an incident, and whether the budget runs."""
    random = np.random.default_rng(seed)
    high = np.zeros(3)
    for _ in range(count):
        high = np.where(random.random(3) < 0.003, random.choice([0.0, 0.0, 1.0], 3), high)
        terms = (random.random((3, 4)) * 0.6).round(2) + high[:, None]
        yield terms, (random.random(3) < 0.01) & (high > 0.0), random.random(3) < 0.9


@pytest.mark.parametrize("seed", range(3))
def test_strictness_is_that_of_the_plain_formula_alone_and_among_others(seed):
    ours, single = Strictness({}, slots=6), Strictness({}, slots=6)
    log, alarms, lasts, calm = np.zeros((3, 4)), np.zeros((3, 4)), np.zeros(3), np.zeros(3)
    ended = 0
    for terms, raised, counts in frames(seed):
        ours.learn(SLOTS, terms, raised, counts, PERIOD)
        single.learn(SLOTS[1:2], terms[1:2], raised[1:2], counts[1:2], PERIOD[1:2])
        alarms = alarms + (raised[:, None] & (np.arange(4) == terms.argmax(axis=1)[:, None]))
        disturbed = alarms.any(axis=1)
        lasts = np.where(disturbed, lasts + 1.0, 0.0)
        calm = np.where(disturbed & (terms.max(axis=1) < of.SIGN), calm + 1.0, 0.0)
        over = disturbed & ((calm >= of.CALM_FRAMES) | (lasts >= of.LONGEST_FRAMES))
        moved = np.where(over[:, None], alarms, 0.0) - (of.LEAN * counts / PERIOD)[:, None]
        log = np.clip(log + of.STRICTER * moved, *np.log(of.STRICT))
        alarms = np.where(over[:, None], 0.0, alarms)
        lasts, calm = np.where(over, 0.0, lasts), np.where(over, 0.0, calm)
        ended += over.sum()
        np.testing.assert_allclose(ours.log[SLOTS], log, rtol=1e-9, atol=1e-12)
    assert ended > 3
    for name, plain in {"alarms": alarms, "lasts": lasts, "calm": calm}.items():
        np.testing.assert_array_equal(getattr(ours, name)[SLOTS], plain)
    for name, array in ours.state_dict().items():
        assert array[0].tobytes() == single.state_dict()[name][0].tobytes()
        assert not array[[1, 3, 5]].any()


def test_a_group_follows_its_streams_as_the_plain_formula_says():
    random, common = np.random.default_rng(0), Common(SIZES, slots=1)
    streams, plain = 0.0, np.zeros(4)
    for _ in range(40):
        log = random.normal(size=(int(random.integers(1, 300)), 4))
        common.follow(log)
        streams = min(streams + len(log), of.POOL_BLOCKS)
        plain = plain + len(log) / streams * (log.mean(axis=0) - plain)
        np.testing.assert_allclose(common.log_strictness[0], plain, rtol=1e-9, atol=1e-12)
    assert common.streams.tolist() == [of.POOL_BLOCKS]
