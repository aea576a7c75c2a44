"""What recurs: the profile of a day, of a week, and of one period found in the data, per stream and channel.

Each profile is a closed line through equally spaced knots, learned by stochastic gradient; one counts as far as it has
foretold deviations from the running level. Knows values and times, not forecasts.
"""

from __future__ import annotations

import numpy as np

from streamd.engine import periods
from streamd.engine.features import DAY_S, WEEK_S
from streamd.engine.rows import Rows, column
from streamd.records import F32, F64, I64

KNOTS = np.array([96, 42, 96])  # of the day, of the week, of the period that was found
OFFSETS = np.cumsum(KNOTS) - KNOTS
TOTAL = int(KNOTS.sum())
FOUND = 2  # the profile whose period was found in the data
LEVEL_FRAMES = 500.0  # memory of the level that seasons deviate from
RATE = 0.05  # what a knot met in one cycle counts so much: about twenty cycles
MATCH_FRAMES = 2000.0  # memory of how well a profile foretold
PART = 4.0  # of a cycle is this part: turns over longer are none of it, but the level's wandering
DOUBT = 0.5  # a profile whose deviations come true by a third or less does not count at all
LOOK = (64, 512)  # frames between two searches for a period: while a stream is young, and later
YOUNG_FRAMES = 1024
FEWEST_FRAMES = 4  # in a day or a week, or it has no profile
SAME = 0.05  # a period found that is so near the last one, relative, is the same
_LIMIT = float(np.finfo(np.float32).max)


class Seasons(Rows):
    """Profiles, how far each is believed, and the frames that a period is looked for in."""

    frames: F64 = column("C")  # that had the channel
    level: F64 = column("C")
    knots: F64 = column(TOTAL, "C")  # deviations from the level
    hits: F32 = column(TOTAL, "C", dtype=np.float32)  # how often a knot was learned from
    match: F64 = column(3, "C")  # running mean of turn x the profile's turn, see `learn`
    power: F64 = column(3, "C")  # running mean of (the profile's turn)^2
    recent: F64 = column(2, 3, "C")  # running means over part of a cycle: of deviations, and of the profile
    period: F64 = column("C", fill=np.nan)  # frames
    phase: F64 = column("C")  # in the period, 0..1, of the last frame
    rest: F32 = column(periods.SPAN, "C", dtype=np.float32)  # ring of what day and week leave unexplained

    def advance(self, slots: I64, steps: F64) -> None:
        """Let a frame's time pass for the found periods.

        Args:
            steps: [B] since the last frame, in usual steps; a gap counts in whole frames.
        """
        passed = np.clip(np.rint(steps), 1.0, 1e6)[:, None]
        period = self.period[slots]
        moved = (self.phase[slots] + passed / period) % 1.0
        self.phase[slots] = np.where(np.isfinite(period), moved, 0.0)

    def expected(self, slots: I64, times: F64, interval: F64) -> F64:
        """What the profiles add up to at these times, before anything of the frame is learned, [B, C]."""
        parts: F64 = self._believed(slots, interval)[:, :, None] * self._at(slots, times[:, None], 0.0)
        season: F64 = parts.sum(axis=1)
        return season[:, 0]

    def ahead(self, slots: I64, times: F64, interval: F64, horizon: int) -> F64:
        """The same for 1..H steps ahead of the frame, [B, H, C]; steps of `interval` s."""
        step = np.arange(1.0, horizon + 1)
        later = times[:, None] + np.where(np.isfinite(interval), interval, 0.0)[:, None] * step
        parts: F64 = self._believed(slots, interval)[:, :, None] * self._at(slots, later, step)
        season: F64 = parts.sum(axis=1)
        return season

    def learn(self, slots: I64, n: I64, times: F64, interval: F64, values: F64, trust: F64) -> None:
        """Take in frames n.

        Args:
            interval: [B] s, usual step.
            values: [B, C], NaN where missing.
            trust: [B] 0..1.
        """
        here = np.isfinite(values)
        frames = self.frames[slots]
        level = np.where(frames > 0, self.level[slots], np.where(here, values, 0.0))
        deviation = np.where(here, values - level, 0.0)
        weight = np.where(here, np.where(frames < 30, 1.0, trust[:, None]), 0.0)
        self.level[slots] = level + deviation / np.minimum(frames + 1.0, LEVEL_FRAMES)
        self.frames[slots] = frames + here

        believed = self._believed(slots, interval)  # [B, 3, C]
        low, high, share = self._place(slots, times[:, None], 0.0)
        at_low, at_high, share = low[:, :, 0], high[:, :, 0], share[:, :, 0]  # [B, 3, C]
        who, channel = slots[:, None], np.arange(self.sizes["C"])
        left = deviation
        forget = np.where(here, 1.0 / np.minimum(frames + 1.0, MATCH_FRAMES), 0.0)
        cycle = self._cycle(slots, interval)
        soon = np.minimum(PART / cycle, 1.0)
        visit = np.maximum(cycle / KNOTS[:, None], 1.0)  # frames from one knot to the next
        for profile in range(len(KNOTS)):
            a, b, s = at_low[:, profile], at_high[:, profile], share[:, profile]
            season = (1.0 - s) * self.knots[who, a, channel] + s * self.knots[who, b, channel]
            # judged by how the last part of a cycle turned, and only where the profile is from earlier cycles: a level
            # that wanders is near to where it was, without the day having anything to do with it
            met = (1.0 - s) * self.hits[who, a, channel] + s * self.hits[who, b, channel]
            told = met >= (0.0 if profile == FOUND else 2.0 * visit[:, profile] - 1.0)
            both = np.stack([left, season], axis=1)
            before = np.where(frames[:, None] > 0, self.recent[slots, :, profile], both)
            turn, foretold = (both - before).transpose(1, 0, 2)
            moved = before + (soon[:, profile] * here)[:, None] * (both - before)
            self.recent[slots, :, profile] = np.where(here[:, None], moved, self.recent[slots, :, profile])
            match, power = self.match[slots, profile], self.power[slots, profile]
            self.match[slots, profile] = match + forget * weight * (told * turn * foretold - match)
            self.power[slots, profile] = power + forget * weight * (foretold * foretold - power)
            error = weight * (left - season)
            for knot, part in ((a, 1.0 - s), (b, s)):
                hits = self.hits[who, knot, channel] + part * here
                self.hits[who, knot, channel] = hits
                self.knots[who, knot, channel] += (
                    np.maximum(RATE / visit[:, profile], 1.0 / np.maximum(hits, 1.0)) * part * error
                )
            if profile < FOUND:
                left = left - believed[:, profile] * season
        left = np.clip(left, -_LIMIT, _LIMIT)
        self.rest[slots, n % periods.SPAN] = np.where(here, left, self.rest[slots, (n - 1) % periods.SPAN])
        self._look(slots, n, interval)

    def _believed(self, slots: I64, interval: F64) -> F64:
        """How far each profile counts, [B, 3, C]: the factor that would have been best for its past foretelling."""
        match, power = self.match[slots], self.power[slots]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            true = np.where(power > 0, match / power, 0.0)
        believed: F64 = np.clip((1.0 + DOUBT) * np.nan_to_num(true) - DOUBT, 0.0, 1.0)
        believed[:, FOUND] *= np.isfinite(self.period[slots])
        for profile, cycle in enumerate((DAY_S, WEEK_S)):
            believed[:, profile] *= (interval * FEWEST_FRAMES <= cycle)[:, None]
        return believed

    def _cycle(self, slots: I64, interval: F64) -> F64:
        """Frames in a day, a week, the found period, [B, 3, C]; endless where there is none."""
        period = self.period[slots]
        with np.errstate(divide="ignore", invalid="ignore"):
            clock = [np.broadcast_to((cycle / interval)[:, None], period.shape) for cycle in (DAY_S, WEEK_S)]
        return np.nan_to_num(np.stack([*clock, period], axis=1), nan=np.inf)

    def _at(self, slots: I64, times: F64, step: F64 | float) -> F64:
        """The profiles at times [B, T], [B, 3, T, C]; `step` frames [T] ahead of the last one."""
        low, high, share = self._place(slots, times, step)
        who, channel = slots[:, None, None, None], np.arange(self.sizes["C"])
        return (1.0 - share) * self.knots[who, low, channel] + share * self.knots[who, high, channel]

    def _place(self, slots: I64, times: F64, step: F64 | float) -> tuple[I64, I64, F64]:
        """Knots before and after these times, and how far between them, [B, 3, T, C]."""
        shape = (*times.shape, self.sizes["C"])
        with np.errstate(invalid="ignore"):
            found = (self.phase[slots][:, None] + np.reshape(step, (1, -1, 1)) / self.period[slots][:, None]) % 1.0
        clock = [np.broadcast_to((times % cycle / cycle)[..., None], shape) for cycle in (DAY_S, WEEK_S)]
        turn = np.stack([*clock, np.broadcast_to(np.nan_to_num(found), shape)], axis=1)
        place = turn * KNOTS[:, None, None]
        low = np.floor(place).astype(np.int64)
        share: F64 = place - low
        low %= KNOTS[:, None, None]
        high = (low + 1) % KNOTS[:, None, None]
        offset = OFFSETS[:, None, None]
        return low + offset, high + offset, share

    def _look(self, slots: I64, n: I64, interval: F64) -> None:
        """Search for a period where it is due."""
        age = n + 1
        due = np.flatnonzero((age >= periods.FEWEST) & (age % np.where(age < YOUNG_FRAMES, *LOOK) == 0))
        for row in due.tolist():
            slot, count = slots[row], min(int(age[row]), periods.SPAN)
            order = (age[row] - count + np.arange(count)) % periods.SPAN
            rest = self.rest[slot, order].astype(np.float64)
            for channel, period in enumerate(periods.find(rest)):
                known = self.period[slot, channel]
                if not period or not self.frames[slot, channel] or _by_the_clock(period * interval[row]):
                    continue
                if not abs(period - known) <= SAME * known:
                    start, knots = OFFSETS[FOUND], int(KNOTS[FOUND])
                    explained = periods.explained(rest[:, channel], period, knots, RATE)
                    if explained < periods.EXPLAINED:
                        continue
                    line, hits = periods.profile(rest[:, channel], period, knots, RATE)
                    self.knots[slot, start:, channel], self.hits[slot, start:, channel] = line, hits
                    self.phase[slot, channel] = 0.0  # the profile begins at the last frame
                    # as if it had always foretold as well as a part of it did the rest; more it has to earn
                    self.power[slot, FOUND, channel] = (line * line).mean()
                    self.match[slot, FOUND, channel] = explained * self.power[slot, FOUND, channel]
                self.period[slot, channel] = period


def _by_the_clock(period_s: float) -> bool:
    """Whether a period is a part of a day, or days, which the profiles of day and week have already."""
    days = period_s / DAY_S
    if days < 1.0:
        days = 1.0 / days
    return days < 7.5 and abs(days - round(days)) < SAME * days
