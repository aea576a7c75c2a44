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
from streamd.kernel import calibration as kernel
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
_LOG_STRICT: Final = (math.log(STRICT[0]), math.log(STRICT[1]))
CALM_FRAMES: Final = 320.0  # without a sign of it, and a disturbance is over ...
SETTLED: Final = 3.0  # blocks of calm, and it teaches again
LONGEST_FRAMES: Final = 3200.0  # ... or taken for one that was usual
SIGN: Final = 0.7  # lines: a block that has less is calm


def frames_per_alarm(interval: F64, per_week: float) -> F64:
    """Frames that may pass between two false alarms, [B]; 1 s apart where nothing is known of the interval."""
    period = np.empty(len(interval))
    kernel.periods(interval, WEEK_S / per_week, period)
    return period


class Tails(Rows, loops=kernel.Tails):
    """The tail of each of J sizes."""

    loops: kernel.Tails

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

        No further than the largest block seen lets it: where sizes come from two worlds, calm and disturbed, a tail
        fitted to both runs off far beyond all that ever came. With exponential excesses the largest of n blocks grows
        as log n, so the one block in `rarity` lies log(2 rarity) / log(n) times as far from the median; heavier tails
        are told by a largest that is far out.

        Args:
            common: what the group's tails are like.
            natural: no line lies lower.
            reach: [J] a tail is drawn out to so many times the frames that it was learned from, and no further.
            channels: that the sizes are of.
            period: [B] frames that may pass between two false alarms.
        """
        line = np.empty((len(slots), len(reach)))
        bounds = (natural, SHARE, BLOCK, BOUND_BLOCKS, FADE, MARGIN)
        beforehand = (GROUP, PRIOR, _prior(channels))
        self.loops.lines(slots, reach, period, *bounds, *beforehand, *SHAPE, common.loops, line)
        return line

    def learn(self, slots: I64, n: I64, size: F64, line: F64, warming: Bool, common: Common) -> None:
        """Take in the sizes of a frame [B, J]; n [B] counts the streams' frames."""
        if not self.loops.push(slots, n, BLOCK, size):
            return
        learnt = np.zeros((2, 5, size.shape[1]))
        disturbances = (SIGN, SETTLED, CALM_FRAMES / BLOCK, LONGEST_FRAMES / BLOCK)
        memory = (CLIP, BEGIN_BLOCKS, MEMORY_BLOCKS, FADE)
        self.loops.close(slots, n, BLOCK, line, warming, *disturbances, *memory, *SHAPE, learnt)
        common.learn(learnt)


class Common(Rows, loops=kernel.Common):
    """The tails of a group, and how strict its streams have become: where a new stream begins. One row."""

    loops: kernel.Common

    blocks: F64 = column("J")
    level: F64 = column("J")
    peaks: F64 = column("J")
    excess: F64 = column("J")
    square: F64 = column("J")
    streams: F64 = column()  # frames whose strictness went in, as far as the memory reaches
    log_strictness: F64 = column(TERMS)

    def learn(self, learnt: F64) -> None:
        """Take in what streams have learned from.

        Args:
            learnt: [2, 5, J] for blocks, and for disturbances that are over: how many, the sum of the medians by then,
                how many were peaks, the sums of their excesses and of the squares of these.
        """
        self.loops.learn(learnt, POOL_BLOCKS)

    def follow(self, log: F64) -> None:
        """Take in how strict the streams of a batch are, [B, T]."""
        self.loops.follow(log, POOL_BLOCKS)


class Strictness(Rows, loops=kernel.Strictness):
    """How much higher the lines of a stream's terms lie than their tails say: what its own alarms have taught."""

    loops: kernel.Strictness

    log: F64 = column(TERMS)
    alarms: F64 = column(TERMS)  # of the disturbance that lasts, each by the term that was highest
    lasts: F64 = column()  # frames since the first of them
    calm: F64 = column()  # frames without a sign of it

    def factor(self, slots: I64) -> F64:
        """Of the lines of each term, [B, T]."""
        return np.exp(self.log.take(slots, axis=0))

    def learn(self, slots: I64, terms: F64, raised: Bool, counts: Bool, period: F64) -> None:
        """Take in the terms of a batch [B, T], and which frames raised an incident [B].

        Args:
            counts: [B] whether the budget runs: not while the stream is warming.
            period: [B] frames that may pass between two false alarms.
        """
        ends = (SIGN, CALM_FRAMES, LONGEST_FRAMES)
        self.loops.learn(slots, terms, raised, counts, period, *ends, STRICTER, LEAN, *_LOG_STRICT)


def _prior(channels: int) -> float:
    """What the mean excess of log(1 + T²/channels) is where the channels are normal.

    T² is chi-squared, whose tail falls to 1/e with each 2 more, and the largest of a block is about
    channels + 3 sqrt(channels) + 2.
    """
    return 2.0 / (2.0 * channels + 3.0 * math.sqrt(channels) + 2.0)
