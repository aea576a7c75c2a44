"""The kernels of silence do what a few lines of numpy say, and what lasts strangely long follows from what lasted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.engine import silence as module
from streamd.engine.silence import FEWEST, LENGTHS, SURE, WARM_FRAMES, Silence

SLOTS = np.array([4, 0, 2])
ONE = np.array([0])
C = 4


@dataclass
class Lengths:
    """What is known of lengths of one kind, as numpy has it."""

    count: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    longest: np.ndarray
    odd: np.ndarray

    def line(self, unit):
        n = np.maximum(self.count, 1.0)
        spreads = n * (module.RARE ** (-1.0 / n) - 1.0) - 1.0
        factor = module.LEAST_FACTOR + module.MORE_FACTOR / (1.0 + n / module.SETTLED) + module.FEW_FACTOR / n
        line = np.maximum(self.mean + spreads * np.sqrt(self.square), factor * self.longest)
        line = np.maximum(line, (FEWEST + module.FEWEST_YOUNG / n) * unit)
        return np.where(self.count > 0.0, line, np.inf)

    def learn(self, length, ended, strange, weight, passed, unit):
        longest, odd = (
            each * lasts / np.maximum(lasts + passed, module.TINY)
            for each in (self.longest, self.odd)
            for lasts in (module.LASTS * each + module.LASTS_UNITS * unit,)
        )
        usual, strange = ended & ~strange, ended & strange
        self.longest = np.where(usual, np.maximum(longest, length), longest)
        self.longest = np.where(strange, np.maximum(self.longest, np.minimum(length, odd)), self.longest)
        self.odd = np.where(strange, np.maximum(odd, length), odd)
        w = np.where(usual, np.where(self.count < FEWEST, 1.0, weight), 0.0)
        rate = w / np.minimum(self.count + 1.0, LENGTHS)
        off = np.where(usual, length, self.mean) - self.mean
        self.count, self.mean = np.minimum(self.count + w, module.MOST), self.mean + rate * off
        self.square = (1.0 - rate) * (self.square + rate * off * off)


class Plain:
    """Silence of a few streams, as numpy has it."""

    def __init__(self, streams):
        self.base, self.change = np.full((streams, C), np.nan), np.zeros((streams, C))
        self.run, self.accepted = np.zeros((streams, 2, C)), np.zeros((streams, 2, C), bool)
        self.runs = Lengths(*np.zeros((5, streams, 2, C)))
        self.gaps, self.frames = Lengths(*np.zeros((5, streams))), 0

    def now(self, values):
        here, known = np.isfinite(values), np.isfinite(self.base)
        least = np.where(self.runs.count[:, 0] >= SURE, module.RESOLUTION * np.exp(self.change), 0.0)
        moved = np.abs(values - self.base) > least
        ended = np.stack([moved, here], axis=1)
        longer = np.stack([here & ~moved & known, ~here & known], axis=1)
        return here, moved, ended, np.where(ended, 0.0, self.run + longer)

    def gap_line(self):
        return np.maximum(self.gaps.line(self.gaps.mean), module.SHORTEST_S)

    def parts(self, values, gap):
        *_, ended, run = self.now(values)
        ratio = np.where(self.accepted & ~ended, 0.0, run / self.runs.line(1.0))
        ratio = np.minimum(ratio, module.BELOW if self.frames < WARM_FRAMES else np.inf)
        more = np.maximum(np.where(np.isfinite(gap), gap, 0.0) - self.gaps.mean, 0.0)
        worst = np.maximum(ratio.max(axis=1), (more / (self.gap_line() - self.gaps.mean))[:, None])
        return np.where(worst > 1.0, 1.0 + module.GROWTH * np.log(np.maximum(worst, 1.0)), np.minimum(worst, 1.0) ** 8)

    def learn(self, values, gap, trust):
        here, moved, ended, run = self.now(values)
        size, count = np.abs(values - self.base), self.runs.count[:, 0]
        known = (moved | (here & self.accepted[:, 0])) & (size > 0.0)
        rate = np.where(count < SURE, 1.0, trust[:, None]) / np.minimum(count + 1.0, module.MEMORY)
        self.change = self.change + np.where(known, rate * (np.log(np.where(known, size, 1.0)) - self.change), 0.0)
        strange = (self.run >= self.runs.line(1.0)) & (self.frames >= WARM_FRAMES)
        self.runs.learn(self.run, ended, strange, trust[:, None, None], 1.0, 1.0)
        self.accepted, self.run = self.accepted & ~ended, run
        self.base = np.where(moved | (here & np.isnan(self.base)), values, self.base)

        known = np.isfinite(gap) & (gap > 0.0)
        length, gaps, line = np.where(known, gap, 0.0), self.gaps, self.gap_line()
        young = known & (gaps.count < SURE) & (gaps.odd == 0.0) & (length < gaps.mean / FEWEST)
        kept = np.where(young, 0.0, 1.0)
        odd = np.where(young, np.maximum(gaps.longest, gaps.odd), gaps.odd)
        self.gaps = Lengths(*(kept * each for each in (gaps.count, gaps.mean, gaps.square, gaps.longest)), odd)
        self.gaps.learn(length, known, (length >= line) & ~young, trust, length, self.gaps.mean)
        self.frames += 1

    def arrays(self):
        runs, gaps = vars(self.runs), vars(self.gaps)
        state = {"base": self.base, "change": self.change, "run": self.run, "accepted": self.accepted, **runs}
        return state | {"gaps" if name == "count" else f"gap_{name}": array for name, array in gaps.items()}


def frames(seed, count=1500):
    """Values that move often, seldom and hardly ever, stand still for long, are missing; gaps of many sizes."""
    random = np.random.default_rng(seed)
    values = np.zeros((len(SLOTS), C))
    for n in range(count):
        values = np.where(random.random(values.shape) < [0.9, 0.3, 0.02, 0.6], random.normal(size=values.shape), values)
        if 500 < n < 700:
            values[:, [0, 3]] = 1.0
        sent = values.round(1)
        sent[random.random(values.shape) < 0.05] = np.nan
        sent[1, 2] = np.nan if 800 < n < 860 else sent[1, 2]
        gap = np.exp(random.normal(size=len(SLOTS)) * [0.0, 0.3, 1.0])
        gap[random.random(len(SLOTS)) < 0.01] *= 1000.0
        gap[random.random(len(SLOTS)) < 0.01] = 0.0
        yield sent, gap if n else np.full(len(SLOTS), np.inf)


@pytest.mark.parametrize("seed", range(4))
def test_parts_and_what_is_learnt_are_those_of_the_plain_formula(seed):
    ours, plain, over = Silence({"C": C}, slots=6), Plain(len(SLOTS)), 0
    for n, (values, gap) in enumerate(frames(seed)):
        parts = ours.parts(SLOTS, values, gap)
        np.testing.assert_allclose(parts, plain.parts(values, gap), rtol=1e-9, atol=1e-12)
        trust = np.where(parts.max(axis=1) >= 1.0, 0.1, 1.0)
        ours.learn(SLOTS, values, gap, trust)
        plain.learn(values, gap, trust)
        over += int((parts >= 1.0).sum())
        if n == 600:
            ours.accept(SLOTS[:1])
            plain.accepted[0] = plain.run[0] > 0.0
        np.testing.assert_allclose(ours.patience(SLOTS), plain.gap_line(), rtol=1e-9)
    assert over > 100
    for name, array in plain.arrays().items():
        np.testing.assert_allclose(getattr(ours, name)[SLOTS], array, rtol=1e-9, err_msg=name)


def test_what_began_and_what_lasts_are_those_of_the_plain_formula():
    ours, interval, accept_s = Silence({"C": C}, slots=6), np.array([60.0, np.nan, 10.0]), 300.0
    found = 0
    for n, (values, gap) in enumerate(frames(5)):
        parts = ours.parts(SLOTS, values, gap)
        strange = parts >= 1.0
        ours.learn(SLOTS, values, gap, np.ones(len(SLOTS)))
        times = np.full(len(SLOTS), 10.0 * n)
        run = ours.run[SLOTS]
        longest = np.where(strange, run.max(axis=1), 0.0).max(axis=1)
        began = np.where(longest > 0.0, times - (longest - 1.0) * interval, np.nan)
        np.testing.assert_array_equal(ours.onset(SLOTS, parts, times, interval), began)
        names = "count", "mean", "square", "longest", "odd"
        line = Lengths(*(getattr(ours, name)[SLOTS] for name in names)).line(1.0)
        lasts = ((run - line) * interval[:, None, None] >= accept_s) & ~ours.accepted[SLOTS]
        lasting = ours.lasting(SLOTS, interval, accept_s)
        np.testing.assert_array_equal(lasting, lasts.any(axis=(1, 2)))
        found += int(lasting.sum())
        if n == 640:
            ours.accept(SLOTS[:1])
    assert found > 10


def test_a_stream_gets_the_same_bits_alone_and_among_others_and_touches_no_other():
    together, alone = Silence({"C": C}, slots=6), Silence({"C": C}, slots=6)
    for values, gap in frames(9, 800):
        parts = together.parts(SLOTS, values, gap)
        together.learn(SLOTS, values, gap, np.full(len(SLOTS), 0.7))
        for row in (2, 0, 1):
            one = slice(row, row + 1)
            assert alone.parts(SLOTS[one], values[one], gap[one]).tobytes() == parts[one].tobytes()
            alone.learn(SLOTS[one], values[one], gap[one], np.full(1, 0.7))
    fresh = Silence({"C": C}, slots=6).state_dict()
    for name, array in together.state_dict().items():
        assert array.tobytes() == alone.state_dict()[name].tobytes()
        np.testing.assert_array_equal(array[[1, 3, 5]], fresh[name][[1, 3, 5]])


def learned(lengths, seen=None, weight=1.0):
    """After gaps of all these lengths, each judged by what came before."""
    seen = Silence({"C": 1}, slots=1) if seen is None else seen
    for length in lengths:
        seen.learn(ONE, np.zeros((1, 1)), np.array([float(length)]), np.array([weight]))
    return seen


def line(seen):
    return seen.patience(ONE).item()


def test_nothing_is_strange_where_nothing_was_seen():
    assert line(learned([])) == np.inf


def test_the_more_regular_lengths_were_seen_the_less_is_strange():
    lines = [line(learned([1.0] * count)) for count in (1, 10, 100, 1000)]
    assert lines == sorted(lines, reverse=True)
    assert lines[0] > 100
    assert FEWEST < lines[-1] < 1.1 * FEWEST


def test_lengths_that_end_by_chance_are_rarely_strange():
    seen, strange = learned([]), 0
    for length in np.random.default_rng(0).exponential(size=20_000):
        strange += length >= line(seen)
        learned([length], seen)
    assert strange == 0
    assert line(seen) < 40


def test_a_strange_length_teaches_nothing_until_another_has_lasted_as_long():
    usual = learned([1.0] * 500)
    before = line(usual), usual.gap_mean.item(), usual.gaps.item()
    once = learned([700.0], usual)
    assert (line(once), once.gap_mean.item(), once.gaps.item()) == pytest.approx(before, rel=1e-2)
    shorter = learned([400.0], once)
    assert shorter.gap_longest.item() == 400.0
    assert line(learned([700.0], shorter)) > 700.0


def test_what_was_strange_long_ago_is_forgotten():
    seen = learned([700.0], learned([1.0] * 500))
    odd = seen.gap_odd.item()
    learned([1.0] * 50_000, seen)
    assert seen.gap_odd.item() < 0.9 * odd
    learned([1e9], seen)
    assert seen.gap_longest.item() < 1.0


def test_the_unit_does_not_matter():
    lengths = 1.0 + np.random.default_rng(1).exponential(size=300)
    assert line(learned(lengths / 3600.0)) == pytest.approx(line(learned(lengths)) / 3600.0)


def test_memory_of_mean_and_spread_is_bounded():
    seen = learned([1.0] * int(3 * LENGTHS))
    assert learned([2.0] * int(3 * LENGTHS), seen).gap_mean.item() == pytest.approx(2.0, abs=0.06)


@given(st.lists(st.floats(1e-6, 1e12), max_size=60), st.floats(0.0, 1.0))
def test_all_numbers_stay_finite_and_the_line_is_above_every_usual_length(lengths, weight):
    seen = learned([])
    for length in lengths:
        odd = seen.gap_odd.item()
        learned([length], seen, weight)
        known = seen.gaps, seen.gap_mean, seen.gap_square, seen.gap_longest, seen.gap_odd
        assert np.isfinite(known).all()
        assert seen.gap_square >= 0.0
        if seen.gap_odd.item() <= odd:  # it was not strange, nor the first of another size
            assert line(seen) > length
