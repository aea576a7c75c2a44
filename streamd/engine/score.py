"""How strange a frame is: 1.0 is the alarm line of every stream, whatever its budget.

Four terms, each with its own line: `novelty`, an event; `deviation`, a state; `surprise`, the forecasts' errors;
`silence`, what stops or stands still. The score is the largest of them, so terms that speak together do not add up.
Knows how the terms are put together, not how an incident is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from streamd.config import Alarm
from streamd.engine import horizons, joint
from streamd.engine.calibration import Common, Strictness, Tails, frames_per_alarm
from streamd.engine.joint import Joint, Whitener
from streamd.engine.novelty import Novelty
from streamd.engine.rows import Rows, column
from streamd.engine.rules import OUTSIDE, Rules
from streamd.kernel import score as kernel
from streamd.records import F64, I64, Bool

TERMS: Final = ("novelty", "deviation", "surprise", "silence")
DEVIATION, SILENCE = 1, 3  # places, which the kernel of `parts` knows

DISTRUST: Final = 0.1  # how far a frame over the alarm line is learned from
WARM_FRAMES: Final = 300  # before that the lines are a guess, so a score stays below them
UNSURE: Final = 0.99  # the highest score until then
NATURAL: Final = 1.39  # no line of deviation or surprise lies lower: T² three times as large as usual
STATE_REACH: Final = 4.0  # a young stream's false alarms are the price for a line that a state can hold on to ...
EVENT_REACH: Final = 20.0  # ... which single errors are not worth
GATE: Final = (
    1.5  # what is further off than this, and than that share of its line, teaches the whitener next to nothing
)
GATE_SHARE: Final = 0.5


class Look(msgspec.Struct, frozen=True, gc=False):
    """What a batch's frames are judged by."""

    slots: I64  # [B]
    n: I64  # [B] the streams' frame counts
    turn: I64  # [B] what tells streams apart
    times: F64  # [B] s since the epoch
    interval: F64  # [B] s, usual step
    values: F64  # [B, C] NaN where missing
    expected: F64  # [B, C] what was forecast for this frame; NaN where nothing was
    errors: F64  # [B, H, C] of the forecasts that fell due; NaN where none
    silence: F64  # [B, C] parts of that term


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """What a batch's frames look like beside what their streams were like before."""

    parts: F64  # [B, T, C] each channel's part in each term, 1.0 at the line
    terms: F64  # [B, T]
    score: F64  # [B]
    channel_score: F64  # [B, C]
    trust: F64  # [B] how far the frame may be learned from
    period: F64  # [B] frames that may pass between two false alarms
    accepted: Bool  # [B] a deviation has lasted for so long that it is normal from now on
    over: int  # frames whose score is over the line


def vectors(horizon: int) -> tuple[int, ...]:
    """Which steps' errors count in the surprise: the first, a third of the way, the last."""
    return tuple(sorted({1, horizons.third(horizon), horizon}))


class Score(Rows, loops=kernel.Score):
    """How far a stream's channels are in their warm-up, and since when it has been off."""

    loops: kernel.Score

    seen: F64 = column("C")  # frames with a value
    since: F64 = column(fill=np.nan)  # s since the epoch that its values deviate; NaN: they do not
    frames: F64 = column()  # that they have done so
    there: F64 = column("J", "C")  # where they, and the errors, were meanwhile, mean ...
    spread: F64 = column("J", "C")  # ... and variance


class Judge:
    """All that makes the score of a group's streams."""

    def __init__(self, sizes: Mapping[str, int], alarm: Alarm) -> None:
        self.alarm = alarm
        self._horizons = np.searchsorted(horizons.of(sizes), vectors(sizes.get("W", sizes["H"])))
        self._reach = np.array([STATE_REACH] + [EVENT_REACH] * len(self._horizons))
        self.score = Score(sizes)
        self.novelty = Novelty(sizes)
        self.whitener = Whitener(sizes)
        self.tails = Tails(sizes)
        self.strictness = Strictness(sizes)
        self.common = Common(sizes, slots=1)

    def parts(self) -> dict[str, Rows]:
        """Everything with one row per slot."""
        return {
            "score": self.score,
            "novelty": self.novelty,
            "whitener": self.whitener,
            "tails": self.tails,
            "strictness": self.strictness,
        }

    def begin(self, slots: I64) -> None:
        """Let fresh rows begin with what the group has learned."""
        self.strictness.log[slots] = self.common.log_strictness[0]

    def warming(self, slots: I64) -> F64:
        """Progress of the warm-up, [B]; 1.0 when the lines may be trusted."""
        progress = np.empty(len(slots))
        self.score.loops.warming(slots, WARM_FRAMES, progress)
        return progress

    def look(self, frames: Look, rules: Rules) -> Judgement:
        """Judge a batch's frames, and learn what is usual from them."""
        slots, values = frames.slots, frames.values
        warming = self.warming(slots) < 1.0
        period = frames_per_alarm(frames.interval, self.alarm.per_week)
        before = self.novelty.level[slots] if rules.any else None
        novelty = self.novelty.observe(slots, frames.times, values, period)
        seen = np.empty((len(slots), len(self._reach), values.shape[1]))
        kernel.vectors(slots, values, self.novelty.level, frames.errors, self._horizons, seen)
        off = self.whitener.measure(slots, seen)
        line = self.tails.line(slots, self.common, NATURAL, self._reach, values.shape[1], period)
        factor = self.strictness.factor(slots)
        parts = felt = self._parts(slots, novelty, off, frames.silence, line, factor)
        if before is not None:
            matters = self._matters(frames, before, seen, rules)
            novelty = np.where(matters[:, 0], novelty, 0.0)
            counted = self.whitener.measure(slots, seen, matters[:, 1:])
            felt = self._parts(slots, novelty, counted, frames.silence, line, factor)

        terms, score, trust = np.empty(felt.shape[:2]), np.empty(len(slots)), np.empty(len(slots))
        channel_score, accepted = np.empty(values.shape), np.empty(len(slots), np.bool_)
        strange, usual, taught = np.empty(line.shape, np.bool_), np.empty(line.shape), np.empty(seen.shape)
        outside = rules.outside(values) if rules.ranged else None
        known = (slots, values, frames.silence, outside, warming, seen, off.size, line, parts)
        judged, taken = (terms, channel_score, score, trust), (strange, usual, taught)
        over = self.score.loops.judge(*known, OUTSIDE, GATE, GATE_SHARE, DISTRUST, felt, *judged, *taken)
        self._settle(slots, frames.times, seen, strange, accepted)
        self.whitener.learn(slots, taught, strange)
        due = joint.due(frames.n, frames.turn)
        if len(due):
            self.whitener.solve(slots[due], self.novelty.level[slots[due]])
        self.tails.learn(slots, frames.n, usual, line, warming, self.common)
        return Judgement(
            parts=felt,
            terms=terms,
            score=score,
            channel_score=channel_score,
            trust=trust,
            period=period,
            accepted=accepted,
            over=over,
        )

    def _parts(self, slots: I64, novelty: F64, off: Joint, silence: F64, line: F64, factor: F64) -> F64:
        """Each channel's part in each term, [B, T, C]; not over the line before it is warm, also if it came later."""
        parts = np.empty((len(slots), len(TERMS), novelty.shape[1]))
        of = (novelty, off.size, off.blame, silence, line, factor)
        self.score.loops.parts(slots, *of, WARM_FRAMES, UNSURE, parts)
        return parts

    def _matters(self, frames: Look, before: F64, seen: F64, rules: Rules) -> Bool:
        """Whether each channel's deviation counts in its novelty, and in each vector, [B, 1 + J, C].

        Args:
            before: [B, C] levels before the frames; NaN where there was none.
            seen: [B, J, C] the vectors.
        """
        B, J, C = seen.shape
        sides, others = np.empty((B, 1 + J, C)), np.empty((B, 1 + J, C))
        mean = self.whitener.mean
        kernel.compared(frames.slots, frames.values, before, frames.expected, seen, mean, sides, others)
        return rules.matters(sides, others)

    def _settle(self, slots: I64, times: F64, seen: F64, strange: Bool, accepted: Bool) -> None:
        """Follow where streams are that are off; take it as normal from now on once that has lasted for so long.

        Args:
            seen: [B, J, C] values and errors; NaN where missing.
            strange: [B, J] whether they are off.
            accepted: [B] whether it is normal from now on; is written.
        """
        wait = self.alarm.accept_s
        if self.score.loops.settle(slots, times, seen, strange, self.whitener.mean, wait, accepted):
            self.accept(slots[accepted])

    def accept(self, slots: I64) -> None:
        """Take where the streams' values and errors were while they deviated as normal, and how far they went there."""
        score = self.score
        if not len(slots):
            return
        off = slots[score.frames[slots] > 0.0]
        if len(off):
            self.whitener.accept(off, score.there[off], score.spread[off])
            self.whitener.solve(off, self.novelty.level[off])
            score.since[off], score.frames[off] = np.nan, 0.0

    def onset(self, slots: I64, terms: F64) -> F64:
        """Since when the values of streams that deviate have done so, [B] s since the epoch; NaN of others."""
        onset = np.empty(len(slots))
        self.score.loops.onset(slots, terms, DEVIATION, onset)
        return onset

    def learn(self, slots: I64, terms: F64, raised: Bool, period: F64, warming: F64) -> None:
        """Take in the terms [B, T], which frames raised an incident [B], and the progress of the warm-up [B]."""
        self.strictness.learn(slots, terms, raised, warming >= 1.0, period)
        self.common.follow(self.strictness.log.take(slots, axis=0))
