"""What stops: a channel that stands still or is missing, a stream that says nothing, each against its own past.

How long each channel stands still, and for how long it is missing, is counted in the stream's frames; the gaps between
frames in seconds. What is usual follows from the lengths of the former ones; see `durations`. Knows values and gaps, no
clock: that a stream says nothing at all, `patience` lets others notice, who have one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streamd.engine.durations import FEWEST, Durations
from streamd.engine.rows import Rows, column
from streamd.records import F64, I64, Bool

STILL, MISSING = 0, 1
WARM_FRAMES = 50.0  # before that no channel is over the line
BELOW = 0.99  # of the line
GROWTH = 0.1  # of what lies beyond the line
POWER = 8
RESOLUTION = 0.01  # of its usual change (geometric mean): a channel that moves by less stands still ...
SURE = 20.0  # ... once so many changes were seen; before, and where changes are steps, it takes the same value
MEMORY = 1000.0  # changes: forgetting of the usual one
SHORTEST_S = 1e-6  # of a line for gaps
POOL_FACTOR = 30.0  # times the usual patience of the group, where a stream has only been heard once


class _Now(NamedTuple):
    """What a frame does to the runs of its channels."""

    here: Bool  # [B, C] there is a value
    moved: Bool  # [B, C] and it is another
    run: F64  # [B, 2, C] with this frame
    ended: Bool  # [B, 2, C] the run before has ended


class Silence(Rows):
    """Runs and gaps of each stream, and those before them."""

    frames: F64 = column()  # since the row was fresh
    base: F64 = column("C", fill=np.nan)  # where the channel stands since its run began
    change: F64 = column("C")  # mean logarithm of its changes
    run: F64 = column(2, "C")  # frames that it stands still, and is missing, so far
    accepted: Bool = column(2, "C", dtype=np.bool_)  # this run is not strange any more
    count: F64 = column(2, "C")  # of runs: see `Durations`
    mean: F64 = column(2, "C")
    square: F64 = column(2, "C")
    longest: F64 = column(2, "C")
    odd: F64 = column(2, "C")
    gaps: F64 = column()  # the same of gaps, in s
    gap_mean: F64 = column()
    gap_square: F64 = column()
    gap_longest: F64 = column()
    gap_odd: F64 = column()
    silent: Bool = column(dtype=np.bool_)  # the stream was said to be, and no frame has come since

    def parts(self, slots: I64, values: F64, gap: F64) -> F64:
        """How strange it is that channels stand still, are missing, or had nothing to say until now, [B, C].

        1.0 is the line. Beyond it: 1 + GROWTH ln(how often the line is contained), so that a day's standstill does not
        dwarf all else; below it a high power of the share of it that has passed, for a channel that rests half as long
        as would be strange is not half as strange, and takes no blame.
        A gap counts for all channels alike, in the frame that ends it.

        Args:
            values: [B, C], NaN where missing.
            gap: [B] s since the stream's last frame; not finite where there was none.
        """
        now = self._now(slots, values)
        ratio = np.where(self.accepted[slots] & ~now.ended, 0.0, now.run / self._of_runs(slots).line(1.0))
        warm = self.frames[slots] >= WARM_FRAMES
        ratio = np.where(warm[:, None, None], ratio, np.minimum(ratio, BELOW))
        usual = self.gap_mean[slots]
        more = np.maximum(np.where(np.isfinite(gap), gap, 0.0) - usual, 0.0)
        gap_ratio = more / (self._gap_line(slots) - usual)
        worst: F64 = np.maximum(ratio.max(axis=1), gap_ratio[:, None])
        return np.where(worst > 1.0, 1.0 + GROWTH * np.log(np.maximum(worst, 1.0)), np.minimum(worst, 1.0) ** POWER)

    def learn(self, slots: I64, values: F64, gap: F64, trust: F64) -> None:
        """Take in a frame, after `parts`.

        Args:
            values: [B, C], NaN where missing.
            gap: [B] s since the stream's last frame; not finite where there was none.
            trust: [B] 0..1, how far the frame is trusted. What was strange by its own length teaches nothing the first
                time, whatever the trust.
        """
        now, before, runs = self._now(slots, values), self.run[slots], self._of_runs(slots)
        strange = (before >= runs.line(1.0)) & (self.frames[slots] >= WARM_FRAMES)[:, None, None]
        changed = now.moved | (now.here & self.accepted[slots, STILL])
        self._learn_change(slots, values, changed, trust)
        self._put_runs(slots, runs.learn(before, now.ended, strange, trust[:, None, None], 1.0, 1.0))
        self.accepted[slots] &= ~now.ended
        self.run[slots] = now.run
        base = self.base[slots]
        self.base[slots] = np.where(now.moved | (now.here & np.isnan(base)), values, base)

        known = np.isfinite(gap) & (gap > 0.0)
        length = np.where(known, gap, 0.0)
        gaps, line = self._of_gaps(slots), self._gap_line(slots)
        # the first gaps were no measure of those that follow: an outage, or a device that was tried out
        young = known & (gaps.count < SURE) & (gaps.odd == 0.0) & (length < gaps.mean / FEWEST)
        gaps = gaps.begin_anew(young)
        self._put_gaps(slots, gaps.learn(length, known, (length >= line) & ~young, trust, length, gaps.mean))
        self.frames[slots] += 1.0
        self.silent[slots] = False

    def onset(self, slots: I64, strange: Bool, times: F64, interval: F64) -> F64:
        """When what is strange began to stand still or to be missing, [B] s since the epoch; NaN where nothing is.

        Args:
            strange: [B, C] channels that are over the line.
            times, interval: [B] s, of these frames, which were learned from, and the streams' usual step.
        """
        run = np.where(strange, self.run[slots].max(axis=1), 0.0).max(axis=1, initial=0.0)
        return np.where(run > 0.0, times - (run - 1.0) * interval, np.nan)

    def lasting(self, slots: I64, interval: F64, accept_s: float) -> Bool:
        """Whether a channel has been over the line for so long that it is normal from now on, [B].

        Args:
            interval: [B] s, the streams' usual step.
            accept_s: s after which it is.
        """
        run = self.run[slots]  # frames, [B, 2, C]
        if not (run * interval[:, None, None] >= accept_s).any():  # nearly always: lines cost time
            return np.zeros(len(slots), np.bool_)
        over = run - self._of_runs(slots).line(1.0)
        lasting = (over * interval[:, None, None] >= accept_s) & ~self.accepted[slots]
        return np.asarray(lasting.any(axis=(1, 2)), np.bool_)

    def accept(self, slots: I64) -> None:
        """What stands still or is missing now is not strange any more, until it ends; from then on it would be."""
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

    def _now(self, slots: I64, values: F64) -> _Now:
        base, run = self.base[slots], self.run[slots]
        here = np.isfinite(values)
        sure = self.count[slots, STILL] >= SURE
        least = np.where(sure, RESOLUTION * np.exp(self.change[slots]), 0.0)
        with np.errstate(invalid="ignore"):
            moved = np.abs(values - base) > least  # not where either is missing
        still = here & ~moved & np.isfinite(base)
        seen_before = np.isfinite(base) | here
        ended = np.stack([moved, here], axis=1)
        longer = np.stack([still, ~here & seen_before], axis=1)
        return _Now(here, moved, np.where(ended, 0.0, run + longer), ended)

    def _learn_change(self, slots: I64, values: F64, changed: Bool, trust: F64) -> None:
        count, mean = self.count[slots, STILL], self.change[slots]
        size = np.abs(values - self.base[slots])
        known = changed & (size > 0.0)
        rate = np.where(count < SURE, 1.0, trust[:, None]) / np.minimum(count + 1.0, MEMORY)
        self.change[slots] = np.where(known, mean + rate * (np.log(np.where(known, size, 1.0)) - mean), mean)

    def _gap_line(self, slots: I64) -> F64:
        gaps = self._of_gaps(slots)
        return np.maximum(gaps.line(gaps.mean), SHORTEST_S)

    def _of_runs(self, slots: I64) -> Durations:
        return Durations(self.count[slots], self.mean[slots], self.square[slots], self.longest[slots], self.odd[slots])

    def _put_runs(self, slots: I64, runs: Durations) -> None:
        self.count[slots], self.mean[slots], self.square[slots] = runs.count, runs.mean, runs.square
        self.longest[slots], self.odd[slots] = runs.longest, runs.odd

    def _of_gaps(self, slots: I64) -> Durations:
        return Durations(
            self.gaps[slots],
            self.gap_mean[slots],
            self.gap_square[slots],
            self.gap_longest[slots],
            self.gap_odd[slots],
        )

    def _put_gaps(self, slots: I64, gaps: Durations) -> None:
        self.gaps[slots], self.gap_mean[slots], self.gap_square[slots] = gaps.count, gaps.mean, gaps.square
        self.gap_longest[slots], self.gap_odd[slots] = gaps.longest, gaps.odd
