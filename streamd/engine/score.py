"""How strange a frame is: 1.0 is the alarm line of every stream, whatever its budget.

Four terms, each with its own line: `novelty`, an event; `deviation`, a state; `surprise`, the forecasts' errors;
`silence`, what stops or stands still. The score is the largest of them, so terms that speak together do not add up.
Knows how the terms are put together, not how an incident is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from streamd.config import Alarm
from streamd.engine import joint
from streamd.engine.calibration import Common, Strictness, Tails, frames_per_alarm
from streamd.engine.joint import Joint, Whitener
from streamd.engine.novelty import Novelty
from streamd.engine.rows import Rows, column
from streamd.engine.rules import OUTSIDE, Rules
from streamd.records import F64, I64, Bool

TERMS: Final = ("novelty", "deviation", "surprise", "silence")
DEVIATION, SILENCE = 1, 3

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


@dataclass(frozen=True, slots=True)
class Look:
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


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a batch's frames look like beside what their streams were like before."""

    parts: F64  # [B, T, C] each channel's part in each term, 1.0 at the line
    terms: F64  # [B, T]
    score: F64  # [B]
    channel_score: F64  # [B, C]
    trust: F64  # [B] how far the frame may be learned from
    period: F64  # [B] frames that may pass between two false alarms
    accepted: Bool  # [B] a deviation has lasted for so long that it is normal from now on


def vectors(horizon: int) -> tuple[int, ...]:
    """Which horizons' errors count in the surprise: the first, a third of the way, the last."""
    return tuple(sorted({0, (horizon - 1) // 3, horizon - 1}))


class Score(Rows):
    """How far a stream's channels are in their warm-up, and since when it has been off."""

    seen: F64 = column("C")  # frames with a value
    since: F64 = column(fill=np.nan)  # s since the epoch that its values deviate; NaN: they do not
    frames: F64 = column()  # that they have done so
    there: F64 = column("J", "C")  # where they, and the errors, were meanwhile, mean ...
    spread: F64 = column("J", "C")  # ... and variance


class Judge:
    """All that makes the score of a group's streams."""

    def __init__(self, sizes: Mapping[str, int], alarm: Alarm) -> None:
        self.alarm = alarm
        self.horizons = list(vectors(sizes["H"]))
        self._reach = np.array([STATE_REACH] + [EVENT_REACH] * len(self.horizons))
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
        progress: F64 = np.minimum(self.score.seen[slots].max(axis=1, initial=0.0) / WARM_FRAMES, 1.0)
        return progress

    def look(self, frames: Look, rules: Rules) -> Judgement:
        """Judge a batch's frames, and learn what is usual from them."""
        slots, values = frames.slots, frames.values
        warming = self.warming(slots) < 1.0
        period = frames_per_alarm(frames.interval, self.alarm.per_week)
        level = self.novelty.level[slots]
        novelty = self.novelty.observe(slots, frames.times, values, period)
        seen = np.where(np.isfinite(values), self.novelty.level[slots], np.nan)
        vectors = np.concatenate([seen[:, None], frames.errors[:, self.horizons]], axis=1)
        off = self.whitener.measure(slots, vectors)
        line = self.tails.line(slots, self.common, NATURAL, self._reach, values.shape[1], period)
        parts = self._parts(novelty, off, line, frames.silence, slots)

        felt = parts
        if rules.any:
            usual = np.where(np.isnan(level), values, level)
            matters = np.stack(
                [
                    rules.matters(values, usual),
                    rules.matters(seen, self.whitener.mean[slots, 0]),
                    *[rules.matters(values, frames.expected)] * len(self.horizons),
                ],
                axis=1,
            )
            counted = self.whitener.measure(slots, vectors, matters[:, 1:])
            felt = self._parts(np.where(matters[:, 0], novelty, 0.0), counted, line, frames.silence, slots)
        unsure = self.score.seen[slots] < WARM_FRAMES  # also a channel that came later
        young = unsure[:, None] & (np.arange(len(TERMS)) != SILENCE)[:, None]  # it knows by itself when to be trusted
        parts, felt = (np.where(young, np.minimum(each, UNSURE), each) for each in (parts, felt))
        outside = rules.outside(values)
        felt[:, 0] = np.where(outside, np.fmax(felt[:, 0], OUTSIDE), felt[:, 0])

        gate = np.maximum(GATE, GATE_SHARE * line)
        strange = (off.size >= gate) & ~warming[:, None]
        accepted = self._settle(slots, frames.times, vectors, strange[:, 0])
        # that a channel stands still says nothing of how it moves
        hushed: Bool = frames.silence >= 1.0
        self.whitener.learn(slots, np.where(hushed[:, None], np.nan, vectors), strange)
        due = joint.due(frames.n, frames.turn)
        if len(due):
            self.whitener.solve(slots[due], self.novelty.level[slots[due]])
        size = np.where(np.any(hushed, axis=1)[:, None], 0.0, off.size)
        self.tails.learn(slots, frames.n, size, line, warming, self.common)
        self.score.seen[slots] += np.isfinite(values)

        channel_score = felt.max(axis=1)
        score = channel_score.max(axis=1, initial=0.0)
        # what does not matter to the user is not normal for that
        doubtful = (score >= 1.0) | ((parts.max(axis=(1, 2), initial=0.0) >= 1.0) & ~warming)
        return Judgement(
            parts=felt,
            terms=felt.max(axis=2, initial=0.0),
            score=score,
            channel_score=channel_score,
            trust=np.where(doubtful, DISTRUST, 1.0),
            period=period,
            accepted=accepted,
        )

    def _parts(self, novelty: F64, off: Joint, line: F64, silence: F64, slots: I64) -> F64:
        """Each channel's part in each term, [B, T, C]."""
        blame = off.blame / np.maximum(off.blame.max(axis=2, initial=0.0, keepdims=True), 1e-300)
        each = (off.size / line)[:, :, None] * blame  # [B, J, C]
        parts = np.stack([novelty, each[:, 0], each[:, 1:].max(axis=1), silence], axis=1)
        weighed: F64 = parts / self.strictness.factor(slots)[:, :, None]
        return weighed

    def _settle(self, slots: I64, times: F64, vectors: F64, strange: Bool) -> Bool:
        """Whether streams have been off for so long that where they were meanwhile is normal from now on, [B].

        Args:
            vectors: [B, J, C] values and errors; NaN where missing.
            strange: [B] whether the values are off.
        """
        score = self.score
        since = np.where(strange, np.fmin(score.since[slots], times), np.nan)
        frames = np.where(strange, score.frames[slots] + 1.0, 0.0)
        first = (frames == 1.0)[:, None, None]  # a channel that is missing meanwhile stays what it was
        there = np.where(first, self.whitener.mean[slots], score.there[slots])
        spread = np.where(first, 0.0, score.spread[slots])
        known = strange[:, None, None] & np.isfinite(vectors)
        rate = np.where(known, 1.0 / np.maximum(frames, 1.0)[:, None, None], 0.0)
        off = np.where(known, vectors - there, 0.0)
        score.since[slots], score.frames[slots] = since, frames
        score.there[slots] = there + rate * off
        score.spread[slots] = spread + rate * ((1.0 - rate) * off * off - spread)
        accepted: Bool = times - since > self.alarm.accept_s
        self.accept(slots[accepted])
        return accepted

    def accept(self, slots: I64) -> None:
        """Take where the streams' values and errors were while they deviated as normal, and how far they went there."""
        score = self.score
        off = slots[score.frames[slots] > 0.0]
        if len(off):
            self.whitener.accept(off, score.there[off], score.spread[off])
            self.whitener.solve(off, self.novelty.level[off])
            score.since[off], score.frames[off] = np.nan, 0.0

    def onset(self, slots: I64, terms: F64) -> F64:
        """Since when the values of streams that deviate have done so, [B] s since the epoch; NaN of others."""
        return np.where(terms[:, DEVIATION] >= 1.0, self.score.since[slots], np.nan)

    def learn(self, slots: I64, terms: F64, raised: Bool, period: F64) -> None:
        """Take in the terms [B, T] and which frames raised an incident, [B]."""
        settled = self.warming(slots) >= 1.0
        self.strictness.learn(slots, terms, raised, settled, period)
        self.common.follow(self.strictness.log[slots])
