"""What stops: a channel that stands still or is missing, a stream that says nothing, each against its own past.

How long each channel stands still, and for how long it is missing, is counted in the stream's frames; the gaps between
frames in seconds. What is usual follows from the lengths of the former ones, in one way for runs and gaps: where
lengths end by chance (with any frame alike), they have a geometric tail whose mean is known to the degree that lengths
were seen: of n lengths, 1 - (1 + t / (n * mean))^-n are shorter than t. Regular lengths have less spread than that, so
mean and spread are told apart; what has a heavier tail is held by its longest. What is strange by its length teaches
nothing until another has lasted as long.
Knows values and gaps, no clock: that a stream says nothing at all, `patience` lets others notice, who have one.
"""

from __future__ import annotations

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.kernel import silence as kernel
from streamd.records import F64, I64, Bool

WARM_FRAMES = 50.0  # before that no channel is over the line
BELOW = 0.99  # of the line
GROWTH = 0.1  # of what lies beyond the line
RESOLUTION = 0.01  # of its usual change (geometric mean): a channel that moves by less stands still ...
SURE = 20.0  # ... once so many changes were seen; before, and where changes are steps, it takes the same value
MEMORY = 1000.0  # changes: forgetting of the usual one
SHORTEST_S = 1e-6  # of a line for gaps
POOL_FACTOR = 30.0  # times the usual patience of the group, where a stream has only been heard once

# Of lengths: runs, whose unit is a frame, and gaps, whose unit is the usual one.
RARE = 1e-8  # share of the lengths beyond the line, if they end by chance alone
FEWEST = 12.0  # units: nothing shorter is strange, however regular the lengths were ...
FEWEST_YOUNG = 300.0  # ... and so many more by the number of lengths seen
# Times the longest so far: 5 at first (the flat top of a rounded wave is 4.9 times as long as what leads up to it), 2
# when thousands have been seen.
LEAST_FACTOR, MORE_FACTOR, SETTLED = 2.0, 3.0, 3000.0
FEW_FACTOR = 10.0  # more, by the number of lengths seen
LENGTHS = 2000.0  # forgetting of mean and spread
LASTS = 300.0  # times its own length is a longest one remembered (to 1/e) ...
LASTS_UNITS = 100_000.0  # ... and so many units more
TINY = 1e-300  # so that nothing is divided by 0
MOST = 1e6  # lengths counted

_TAIL = (RARE, FEWEST, FEWEST_YOUNG, LEAST_FACTOR, MORE_FACTOR, SETTLED, FEW_FACTOR)
_FADING = (LENGTHS, LASTS, LASTS_UNITS, TINY, MOST)


class Silence(Rows, loops=kernel.Silence):
    """Runs and gaps of each stream, and those before them."""

    loops: kernel.Silence

    frames: F64 = column()  # since the row was fresh
    base: F64 = column("C", fill=np.nan)  # where the channel stands since its run began
    change: F64 = column("C")  # mean logarithm of its changes
    run: F64 = column(2, "C")  # frames that it stands still, and is missing, so far
    accepted: Bool = column(2, "C", dtype=np.bool_)  # this run is not strange any more
    count: F64 = column(2, "C")  # of runs seen
    mean: F64 = column(2, "C")
    square: F64 = column(2, "C")  # mean of (length - mean)^2
    longest: F64 = column(2, "C")  # usual one, slowly forgotten
    odd: F64 = column(2, "C")  # longest strange one, slowly forgotten: another like it is usual
    gaps: F64 = column()  # the same of gaps, in s
    gap_mean: F64 = column()
    gap_square: F64 = column()
    gap_longest: F64 = column()
    gap_odd: F64 = column()
    silent: Bool = column(dtype=np.bool_)  # the stream was said to be, and no frame has come since

    def parts(self, slots: I64, values: F64, gap: F64) -> F64:
        """How strange it is that channels stand still, are missing, or had nothing to say until now, [B, C].

        1.0 is the line. Beyond it: 1 + GROWTH ln(how often the line is contained), so that a day's standstill does not
        dwarf all else; below it the 8th power of the share of it that has passed, for a channel that rests half as long
        as would be strange is not half as strange, and takes no blame.
        A gap counts for all channels alike, in the frame that ends it.

        Args:
            values: [B, C], NaN where missing.
            gap: [B] s since the stream's last frame; not finite where there was none.
        """
        out = np.empty(values.shape)
        self.loops.parts(slots, values, gap, SURE, RESOLUTION, WARM_FRAMES, BELOW, GROWTH, SHORTEST_S, *_TAIL, out)
        return out

    def learn(self, slots: I64, values: F64, gap: F64, trust: F64) -> None:
        """Take in a frame, after `parts`.

        Args:
            values: [B, C], NaN where missing.
            gap: [B] s since the stream's last frame; not finite where there was none.
            trust: [B] 0..1, how far the frame is trusted. What was strange by its own length teaches nothing the first
                time, whatever the trust.
        """
        known = (SURE, RESOLUTION, WARM_FRAMES, MEMORY, SHORTEST_S)
        self.loops.learn(slots, values, gap, trust, *known, *_TAIL, *_FADING)

    def onset(self, slots: I64, parts: F64, times: F64, interval: F64) -> F64:
        """When what is strange began to stand still or to be missing, [B] s since the epoch; NaN where nothing is.

        Args:
            parts: [B, C] of the term, 1.0 at the line.
            times, interval: [B] s, of these frames, which were learned from, and the streams' usual step.
        """
        onset = np.empty(len(slots))
        self.loops.onset(slots, parts, times, interval, onset)
        return onset

    def lasting(self, slots: I64, interval: F64, accept_s: float) -> Bool:
        """Whether a channel has been over the line for so long that it is normal from now on, [B].

        Args:
            interval: [B] s, the streams' usual step.
            accept_s: s after which it is.
        """
        lasting = np.zeros(len(slots), np.bool_)
        if self.loops.longest_run(slots, interval) >= accept_s:  # nearly never: lines cost time
            self.loops.lasting(slots, interval, accept_s, *_TAIL, lasting)
        return lasting

    def accept(self, slots: I64) -> None:
        """What stands still or is missing now is not strange any more, until it ends; from then on it would be."""
        if len(slots):
            self.accepted[slots] = self.run[slots] > 0.0

    def patience(self, slots: I64) -> F64:
        """After so many seconds without a frame a stream is silent, [B].

        Of a stream that was heard only once nothing is known but its group's: inf, if the group has no past either.
        """
        line = self._gap_line(slots)
        once = np.isinf(line)
        if once.any():
            old = np.flatnonzero(self.gaps >= WARM_FRAMES)
            if len(old):
                line = np.where(once, POOL_FACTOR * np.median(self._gap_line(old)), line)
        return line

    def _gap_line(self, slots: I64) -> F64:
        line = np.empty(len(slots))
        self.loops.gap_lines(slots, SHORTEST_S, *_TAIL, line)
        return line
