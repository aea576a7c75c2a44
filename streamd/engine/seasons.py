"""What recurs: the profile of a day, of a week, and of one period found in the data, per stream and channel.

Each profile is a closed line through equally spaced knots, learned by stochastic gradient; one counts as far as it has
foretold deviations from the running level. Knows values and times, not forecasts.
"""

from __future__ import annotations

import numpy as np

from streamd.engine import periods
from streamd.engine.features import DAY_S, WEEK_S
from streamd.engine.rows import Rows, column
from streamd.kernel import seasons as kernel
from streamd.records import F32, F64, I64

KNOTS = np.array([96, 42, 96])  # of the day, of the week, of the period that was found
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
LONGEST_GAP = 1e6  # frames: a longer one counts as so many
_LIMIT = float(np.finfo(np.float32).max)


class Seasons(Rows, loops=kernel.Seasons):
    """Profiles, how far each is believed, and the frames that a period is looked for in."""

    loops: kernel.Seasons

    frames: F64 = column("C")  # that had the channel
    level: F64 = column("C")
    knots: F64 = column(TOTAL, "C")  # deviations from the level
    hits: F32 = column(TOTAL, "C", dtype=np.float32)  # how often a knot was learned from
    match: F64 = column(3, "C")  # running mean of turn x the profile's turn, see `learn`
    power: F64 = column(3, "C")  # running mean of (the profile's turn)^2
    recent: F64 = column(2, 3, "C")  # running means over part of a cycle: of deviations, and of the profile
    period: F64 = column("C", fill=np.nan)  # frames
    phase: F64 = column("C")  # in the period, 0..1, of the last frame
    rest: F32 = column("N", "C", dtype=np.float32)  # ring of what day and week leave unexplained

    def learn(
        self, slots: I64, n: I64, turn: I64, steps: F64, times: F64, interval: F64, values: F64, trust: F64
    ) -> F64:
        """Take in frames n; gives what the profiles said of them [B, C] before anything of them was learned.

        Args:
            turn: [B] whatever tells streams apart, so that not all of them look for a period at once.
            steps: [B] since the last frame, in usual steps; a gap counts in whole frames.
            times: [B] s since the epoch.
            interval: [B] s, usual step.
            values: [B, C], NaN where missing.
            trust: [B] 0..1.
        """
        season = np.empty(values.shape)
        memory = (LEVEL_FRAMES, MATCH_FRAMES, PART, DOUBT, RATE, _LIMIT, LONGEST_GAP)
        due = self.loops.learn(
            slots,
            n,
            turn,
            steps,
            times,
            interval,
            values,
            trust,
            KNOTS,
            DAY_S,
            WEEK_S,
            FEWEST_FRAMES,
            *memory,
            periods.FEWEST,
            *LOOK,
            YOUNG_FRAMES,
            season,
        )
        if due:
            self._look(slots, n, turn, interval)
        return season

    def ahead(self, slots: I64, times: F64, interval: F64, horizon: int) -> F64:
        """What the profiles add up to 1..H steps ahead of the frame, [B, H, C]; steps of `interval` s."""
        season = np.empty((len(slots), horizon, self.sizes["C"]))
        clocks = (KNOTS, DAY_S, WEEK_S, FEWEST_FRAMES, DOUBT)
        self.loops.ahead(slots, times, interval, *clocks, season)
        return season

    def _look(self, slots: I64, n: I64, turn: I64, interval: F64) -> None:
        """Search for a period where it is due."""
        age = n + 1
        due = np.flatnonzero((age >= periods.FEWEST) & ((age + turn) % np.where(age < YOUNG_FRAMES, *LOOK) == 0))
        for row in due.tolist():
            slot, count = slots[row], min(int(age[row]), self.sizes["N"])
            order = (age[row] - count + np.arange(count)) % self.sizes["N"]
            rest = self.rest[slot, order].astype(np.float64)
            for channel, period in enumerate(periods.find(rest)):
                known = self.period[slot, channel]
                if not period or not self.frames[slot, channel] or _by_the_clock(period * interval[row]):
                    continue
                if not abs(period - known) <= SAME * known:
                    start, knots = TOTAL - int(KNOTS[FOUND]), int(KNOTS[FOUND])
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
