"""What recurs: the profile of a day, of a week, and of one period found in the data, per stream and channel.

Each profile is a closed line through equally spaced knots, learned by stochastic gradient; one counts as far as it has
foretold deviations from the running level. Knows values and times, not forecasts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamd.engine import periods
from streamd.engine.features import DAY_S, WEEK_S
from streamd.engine.rows import Rows, column, pick
from streamd.records import F32, F64, I64, Bool

KNOTS = np.array([96, 42, 96])  # of the day, of the week, of the period that was found
OFFSETS = np.cumsum(KNOTS) - KNOTS
CLOCKS_S = np.array([DAY_S, WEEK_S])
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


@dataclass(frozen=True, slots=True)
class Now:
    """Where the profiles stand as a frame comes, before anything of it is learned; the knots before and after it."""

    believed: F64  # [B, 3, C] how far each profile counts
    place: I64  # [B, 2, 3, C] of the knots
    share: F64  # [B, 2, 3, C] how near each of the two is; they add to one
    knots: F64  # [B, 2, 3, C]
    each: F64  # [B, 3, C] what each profile says
    season: F64  # [B, C] what they add up to


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
        passed = np.minimum(np.maximum(np.rint(steps), 1.0), 1e6)[:, None]
        period = self.period[slots]
        moved = (self.phase[slots] + passed / period) % 1.0
        self.phase[slots] = np.where(np.isfinite(period), moved, 0.0)

    def now(self, slots: I64, times: F64, interval: F64) -> Now:
        """Where the profiles stand at these times [B], s since the epoch."""
        turn = np.empty((len(slots), len(KNOTS), self.sizes["C"]))
        turn[:, :FOUND] = _turn(times)[:, :, None]
        turn[:, FOUND] = self.phase[slots]
        place, share = np.empty((len(slots), 2, *turn.shape[1:]), np.int64), np.empty((len(slots), 2, *turn.shape[1:]))
        place[:, 0], place[:, 1], share[:, 1] = _between(turn, KNOTS[:, None], OFFSETS[:, None])
        share[:, 0] = 1.0 - share[:, 1]
        knots = self._knots(slots[:, None, None, None], place)
        each = (share * knots).sum(axis=1)
        believed = self._believed(slots, interval)
        return Now(believed, place, share, knots, each, (believed * each).sum(axis=1))

    def ahead(self, slots: I64, times: F64, interval: F64, horizon: int) -> F64:
        """What the profiles add up to 1..H steps ahead of the frame, [B, H, C]; steps of `interval` s."""
        step = np.arange(1.0, horizon + 1)
        believed = self._believed(slots, interval)
        season = np.zeros((len(slots), horizon, self.sizes["C"]))
        told: Bool = np.any(believed > 0.0, axis=2)
        by_clock, found = np.flatnonzero(told[:, :FOUND].any(axis=1)), np.flatnonzero(told[:, FOUND])
        if len(by_clock):
            at, usual = slots[by_clock], interval[by_clock]
            later = times[by_clock, None] + np.where(np.isfinite(usual), usual, 0.0)[:, None] * step
            low, high, share = _between(_turn(later).transpose(0, 2, 1), KNOTS[:FOUND, None], OFFSETS[:FOUND, None])
            share = share[..., None]
            at = at[:, None, None]
            profile = (1.0 - share) * pick(self.knots, at, low) + share * pick(self.knots, at, high)  # [B, 2, H, C]
            profile *= believed[by_clock, :FOUND, None]
            season[by_clock] = profile.sum(axis=1)
        if len(found):
            at = slots[found]
            turn = np.nan_to_num((self.phase[at, None] + step[:, None] / self.period[at, None]) % 1.0)
            low, high, share = _between(turn, KNOTS[FOUND], OFFSETS[FOUND])
            at = at[:, None, None]
            profile = (1.0 - share) * self._knots(at, low) + share * self._knots(at, high)  # [B, H, C]
            season[found] += believed[found, FOUND, None] * profile
        return season

    def learn(self, slots: I64, n: I64, now: Now, interval: F64, values: F64, trust: F64) -> None:
        """Take in frames n.

        Args:
            now: as of these frames.
            interval: [B] s, usual step.
            values: [B, C], NaN where missing.
            trust: [B] 0..1.
        """
        here = np.isfinite(values)
        frames = self.frames[slots]
        begun = frames > 0
        level = np.where(begun, self.level[slots], np.where(here, values, 0.0))
        deviation = np.where(here, values - level, 0.0)
        weight = np.where(here, np.where(frames < 30, 1.0, trust[:, None]), 0.0)[:, None]
        self.level[slots] = level + deviation / np.minimum(frames + 1.0, LEVEL_FRAMES)
        self.frames[slots] = frames + here

        # what is left for each profile by those before it
        both = np.empty((len(slots), 2, *now.each.shape[1:]))
        left = both[:, 0]
        left[:, 0] = deviation
        for profile in range(FOUND):
            left[:, profile + 1] = left[:, profile] - now.believed[:, profile] * now.each[:, profile]
        both[:, 1] = now.each
        cycle = self._cycle(slots, interval)
        visit = np.maximum(cycle / KNOTS[:, None], 1.0)  # frames from one knot to the next
        who, channel = slots[:, None, None, None], np.arange(self.sizes["C"])
        hits = pick(self.hits, who, now.place, channel)
        # judged by how the last part of a cycle turned, and only where the profile is from earlier cycles: a level
        # that wanders is near to where it was, without the day having anything to do with it
        least = 2.0 * visit - 1.0
        least[:, FOUND] = 0.0  # what was found was found in all of the past
        told = (now.share * hits).sum(axis=1) >= least
        before = np.where(begun[:, None, None], self.recent[slots], both)
        off = both - before
        turn, foretold = off[:, 0], off[:, 1]
        self.recent[slots] = before + (np.minimum(PART / cycle, 1.0) * here[:, None])[:, None] * off
        rate = np.where(here, 1.0 / np.minimum(frames + 1.0, MATCH_FRAMES), 0.0)[:, None] * weight
        match, power = self.match[slots], self.power[slots]
        self.match[slots] = match + rate * (told * turn * foretold - match)
        self.power[slots] = power + rate * (foretold * foretold - power)
        error = (weight * (left - now.each))[:, None]
        hits = hits + now.share * here[:, None, None]
        self.hits[who, now.place, channel] = hits
        speed = np.maximum(RATE / visit[:, None], 1.0 / np.maximum(hits, 1.0))
        self.knots[who, now.place, channel] = now.knots + speed * now.share * error
        rest = np.where(
            here, np.minimum(np.maximum(left[:, FOUND], -_LIMIT), _LIMIT), self.rest[slots, (n - 1) % periods.SPAN]
        )
        self.rest[slots, n % periods.SPAN] = rest
        self._look(slots, n, interval)

    def _believed(self, slots: I64, interval: F64) -> F64:
        """How far each profile counts, [B, 3, C]: the factor that would have been best for its past foretelling."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            true = self.match[slots] / self.power[slots]
        # where nothing was foretold that is not a number, and it counts nothing
        believed: F64 = np.fmin(np.fmax((1.0 + DOUBT) * true - DOUBT, 0.0), 1.0)
        believed[:, FOUND] *= np.isfinite(self.period[slots])
        believed[:, :FOUND] *= (interval[:, None] * FEWEST_FRAMES <= CLOCKS_S)[:, :, None]
        return believed

    def _cycle(self, slots: I64, interval: F64) -> F64:
        """Frames in a day, a week, the found period, [B, 3, C]; endless where there is none."""
        cycle = np.empty((len(slots), len(KNOTS), self.sizes["C"]))
        with np.errstate(divide="ignore", invalid="ignore"):
            cycle[:, :FOUND] = (CLOCKS_S / interval[:, None])[:, :, None]
        cycle[:, FOUND] = self.period[slots]
        return np.where(np.isnan(cycle), np.inf, cycle)

    def _knots(self, who: I64, place: I64) -> F64:
        """Of streams at places [..., C], each channel's own."""
        return pick(self.knots, who, place, np.arange(self.sizes["C"]))

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


def _turn(times: F64) -> F64:
    """Where times [...] stand in the day and in the week, 0..1, [..., 2]."""
    turn: F64 = times[..., None] % CLOCKS_S / CLOCKS_S
    return turn


def _between(turn: F64, knots: I64, offset: I64) -> tuple[I64, I64, F64]:
    """Places of the knots before and after a turn 0..1 of profiles of so many, and how far between them."""
    place = turn * knots
    low = place.astype(np.int64)
    share: F64 = place - low
    low = np.where(low >= knots, 0, low)
    high = low + 1
    return low + offset, np.where(high == knots, 0, high) + offset, share


def _by_the_clock(period_s: float) -> bool:
    """Whether a period is a part of a day, or days, which the profiles of day and week have already."""
    days = period_s / DAY_S
    if days < 1.0:
        days = 1.0 / days
    return days < 7.5 and abs(days - round(days)) < SAME * days
