"""Where the alarm line lies, so that a stream raises as many false alarms as its budget has, and no more.

Peaks over threshold (Siffer et al. 2017, "Anomaly detection in streams with extreme value theory"): the largest of
each block of frames, where it exceeds the median one, has a generalised Pareto tail, drawn out as far as the budget
asks, but no further than the largest that was seen lets expect; alarms teach it once, when they are over. While a
stream is young, its group's tail counts too. On top of it a controller holds all terms together to the budget. Knows
sizes, not what they are of.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.records import F64, I64, Bool

TERMS: Final = 4  # of the score, which imports from here
WEEK_S: Final = 604_800.0
BLOCK: Final = 16  # frames
SHARE: Final = 1.0 / 12.0  # of the budget, that each tail may use
MEMORY_BLOCKS: Final = 1000.0
PRIOR: Final = 20.0  # peaks that what is assumed beforehand counts like
GROUP: Final = 30.0  # peaks that the group's tail counts like
POOL_BLOCKS: Final = 5000.0  # memory of the group
SHAPE: Final = (-0.2, 0.3)  # limits of the tail's shape
CLIP: Final = 1.2  # lines: a peak counts as no larger
FADE: Final = 0.001  # of the way from the median to the largest, by which that is forgotten with each block
MARGIN: Final = 1.2  # for what was largest by chance
BEGIN_BLOCKS: Final = 16  # the median is begun as the mean of so many
BOUND_BLOCKS: Final = 32  # before, the largest says little
STRICTER: Final = (
    0.1  # an alarm raises its term's line by it, relative; LEAN of it is taken back while the budget of one passes
)
LEAN: Final = 0.25  # of the budget, that each term may use
STRICT: Final = (0.8, 2.0)  # limits of that
CALM_FRAMES: Final = 320.0  # without a sign of it, and a disturbance is over ...
SETTLED: Final = 3.0  # blocks of calm, and it teaches again
LONGEST_FRAMES: Final = 3200.0  # ... or taken for one that was usual
SIGN: Final = 0.7  # lines: a block that has less is calm


def frames_per_alarm(interval: F64, per_week: float) -> F64:
    """Frames that may pass between two false alarms, [B]; 1 s apart where nothing is known of the interval."""
    seconds = np.where(np.isfinite(interval) & (interval > 0.0), interval, 1.0)
    return np.maximum(WEEK_S / (per_week * seconds), 1.0)


class Tails(Rows):
    """The tail of each of J sizes."""

    top: F64 = column("J")  # of the block so far
    worst: F64 = column("J")  # of the disturbance that lasts; 0: none does
    lasts: F64 = column("J")  # blocks that it has lasted for
    calm: F64 = column("J")  # blocks without a sign of it
    blocks: F64 = column("J")  # that were learned from
    level: F64 = column("J")  # their median
    peaks: F64 = column("J")  # that exceeded it, as far as the memory reaches
    excess: F64 = column("J")  # their mean excess
    square: F64 = column("J")  # and mean square of it
    largest: F64 = column("J", fill=np.nan)  # of the blocks, slowly forgotten

    def line(self, slots: I64, common: Common, natural: float, reach: F64, channels: int, period: F64) -> F64:
        """Where the line of each size lies, [B, J].

        Args:
            common: what the group's tails are like.
            natural: no line lies lower.
            reach: [J] a tail is drawn out to so many times the frames that it was learned from, and no further.
            channels: that the sizes are of.
            period: [B] frames that may pass between two false alarms.
        """
        blocks, peaks = self.blocks[slots], self.peaks[slots]
        group = np.minimum(common.peaks, GROUP)
        shared = np.minimum(common.blocks, GROUP)
        with np.errstate(invalid="ignore", divide="ignore"):
            level = (blocks * self.level[slots] + shared * common.level) / (blocks + shared)
        weight = peaks + group + PRIOR
        prior = _prior(channels)
        excess = (peaks * self.excess[slots] + group * common.excess + PRIOR * prior) / weight
        square = (peaks * self.square[slots] + group * common.square + PRIOR * 2.0 * prior**2) / weight
        known = BLOCK * np.maximum(np.maximum(blocks, common.blocks), 1.0)
        rarity = np.minimum(period[:, None] / SHARE, reach * known) / BLOCK  # blocks from one to the next
        line = level + _beyond(excess, square, 0.5 * rarity)
        bound = self._bound(slots, rarity)
        line = np.where(bound < line, bound, line)
        return np.fmax(line, natural)  # also where nothing is known yet

    def _bound(self, slots: I64, rarity: F64) -> F64:
        """How far the largest block seen lets a line lie at most, [B, J]; inf where it says nothing.

        Where sizes come from two worlds, calm and disturbed, a tail fitted to both runs off far beyond all that ever
        came. With exponential excesses the largest of n blocks grows as log n, so the one block in `rarity` lies
        log(2 rarity) / log(n) times as far from the median; heavier tails are told by a largest that is far out.
        """
        blocks, level = self.blocks[slots], self.level[slots]
        seen = np.clip(blocks, 2.0, 1.0 / FADE)
        further = np.log(2.0 * np.maximum(rarity, 1.0)) / np.log(seen)
        bound = level + MARGIN * np.maximum(further, 1.0) * (self.largest[slots] - level)
        return np.where((blocks >= BOUND_BLOCKS) & np.isfinite(bound), bound, np.inf)

    def learn(self, slots: I64, n: I64, size: F64, line: F64, warming: Bool, common: Common) -> None:
        """Take in the sizes of a frame [B, J]; n [B] counts the streams' frames."""
        top = np.maximum(self.top[slots], size)
        self.top[slots] = top
        full = (n + 1) % BLOCK == 0
        slots, top, line, warming = slots[full], top[full], line[full], warming[full]
        if not len(slots):
            return
        worst = self.worst[slots]
        alarm = (top >= line) & ~warming[:, None]
        worst = np.where(alarm, np.maximum(worst, top), worst)
        disturbed = worst > 0.0
        lasts = np.where(disturbed, self.lasts[slots] + 1.0, 0.0)
        calm = np.where(disturbed & (top < SIGN * line), self.calm[slots] + 1.0, 0.0)
        # once it is over, for if it taught while it lasts, it would lift the line over itself
        over = disturbed & ((calm >= CALM_FRAMES / BLOCK) | (lasts >= LONGEST_FRAMES / BLOCK))
        self.worst[slots] = np.where(over, 0.0, worst)
        self.lasts[slots], self.calm[slots] = np.where(over, 0.0, lasts), np.where(over, 0.0, calm)
        self.top[slots] = 0.0
        common.learn(*self._peak(slots, top, (top > 0.0) & (~disturbed | (calm >= SETTLED))))
        common.learn(*self._peak(slots, np.minimum(worst, CLIP * line), over))

    def _peak(self, slots: I64, top: F64, counts: Bool) -> tuple[Bool, F64, F64]:
        """Learn from the largest of a block [B, J] where it counts; gives that, the medians and excesses."""
        blocks, level, peaks = self.blocks[slots], self.level[slots], self.peaks[slots]
        excess, square = self.excess[slots], self.square[slots]
        first = counts & (blocks == 0.0)
        # the first one may be far off, from where it would take short steps a thousand blocks
        length = np.where(blocks < BEGIN_BLOCKS, np.abs(top - level), np.maximum(excess, 0.05))
        step = np.maximum(1.0 / (blocks + 1.0), 0.01) * length
        level = np.where(first, top, np.where(counts, level + step * np.sign(top - level), level))
        peak = counts & (top > level)
        beyond = np.where(peak, top - level, 0.0)
        peaks = np.where(peak, np.minimum(peaks + 1.0, MEMORY_BLOCKS), peaks)
        rate = np.where(peak, 1.0 / np.maximum(peaks, 1.0), 0.0)
        largest = self.largest[slots]
        # in a state of an older version, it is what the tail lets expect of so many blocks
        guess = np.where(blocks > 0.0, level + _beyond(excess, square, 0.5 * blocks), top)
        largest = np.where(np.isnan(largest), guess, largest)
        largest = np.where(counts, np.maximum(largest - FADE * (largest - level), top), self.largest[slots])
        self.largest[slots] = largest
        self.blocks[slots] = blocks + counts
        self.level[slots], self.peaks[slots] = level, peaks
        self.excess[slots] = excess + rate * (beyond - excess)
        self.square[slots] = square + rate * (beyond * beyond - square)
        return counts, level, beyond


class Common(Rows):
    """The tails of a group, and how strict its streams have become: where a new stream begins. Never in place."""

    blocks: F64 = column("J")
    level: F64 = column("J")
    peaks: F64 = column("J")
    excess: F64 = column("J")
    square: F64 = column("J")
    streams: F64 = column()  # frames whose strictness went in, as far as the memory reaches
    log_strictness: F64 = column(TERMS)

    def learn(self, counts: Bool, level: F64, beyond: F64) -> None:
        """Take in blocks [B, J] that streams have learned from: their medians and what exceeds them."""
        number = counts.sum(axis=0)
        if not number.any():
            return
        self.blocks = self.blocks + number
        rate = number / np.maximum(np.minimum(self.blocks, POOL_BLOCKS), number + 1e-9)
        mean = np.where(counts, level, 0.0).sum(axis=0) / np.maximum(number, 1)
        self.level = self.level + rate * (mean - self.level)
        peak = beyond > 0.0
        peaks = peak.sum(axis=0)
        self.peaks = np.minimum(self.peaks + peaks, POOL_BLOCKS)
        rate = np.where(peaks > 0, peaks / np.maximum(self.peaks, 1.0), 0.0)
        self.excess = self.excess + rate * (beyond.sum(axis=0) / np.maximum(peaks, 1) - self.excess)
        self.square = self.square + rate * ((beyond * beyond).sum(axis=0) / np.maximum(peaks, 1) - self.square)

    def follow(self, log: F64) -> None:
        """Take in how strict the streams of a batch are, [B, T]."""
        self.streams = np.minimum(self.streams + len(log), POOL_BLOCKS)
        self.log_strictness = self.log_strictness + (len(log) / self.streams)[:, None] * (
            log.mean(axis=0) - self.log_strictness
        )


class Strictness(Rows):
    """How much higher the lines of a stream's terms lie than their tails say: what its own alarms have taught."""

    log: F64 = column(TERMS)
    alarms: F64 = column(TERMS)  # of the disturbance that lasts, each by the term that was highest
    lasts: F64 = column()  # frames since the first of them
    calm: F64 = column()  # frames without a sign of it

    def factor(self, slots: I64) -> F64:
        """Of the lines of each term, [B, T]."""
        return np.exp(self.log[slots])

    def learn(self, slots: I64, terms: F64, raised: Bool, counts: Bool, period: F64) -> None:
        """Take in the terms of a batch [B, T], and which frames raised an incident [B].

        Args:
            counts: [B] whether the budget runs: not while the stream is warming.
            period: [B] frames that may pass between two false alarms.
        """
        guilty = raised[:, None] & (np.arange(TERMS) == terms.argmax(axis=1)[:, None])
        alarms = self.alarms[slots] + guilty
        disturbed = alarms.any(axis=1)
        lasts = np.where(disturbed, self.lasts[slots] + 1.0, 0.0)
        calm = np.where(disturbed & (terms.max(axis=1) < SIGN), self.calm[slots] + 1.0, 0.0)
        over = disturbed & ((calm >= CALM_FRAMES) | (lasts >= LONGEST_FRAMES))
        moved = np.where(over[:, None], alarms, 0.0) - (LEAN * counts / period)[:, None]
        self.log[slots] = np.clip(self.log[slots] + STRICTER * moved, *np.log(STRICT))
        self.alarms[slots] = np.where(over[:, None], 0.0, alarms)
        self.lasts[slots], self.calm[slots] = np.where(over, 0.0, lasts), np.where(over, 0.0, calm)


def _prior(channels: int) -> float:
    """What the mean excess of log(1 + T²/channels) is where the channels are normal.

    T² is chi-squared, whose tail falls to 1/e with each 2 more, and the largest of a block is about
    channels + 3 sqrt(channels) + 2.
    """
    return 2.0 / (2.0 * channels + 3.0 * math.sqrt(channels) + 2.0)


def _beyond(mean: F64, square: F64, rarity: F64) -> F64:
    """The excess that a generalised Pareto tail of this mean and mean square exceeds once in `rarity` peaks."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = 0.5 * (1.0 - mean * mean / np.maximum(square - mean * mean, 1e-12))
    shape = np.clip(shape, *SHAPE)
    shape = np.where(np.abs(shape) < 1e-6, 1e-6, shape)
    beyond: F64 = mean * (1.0 - shape) / shape * (np.maximum(rarity, 1.0) ** shape - 1.0)
    return beyond
