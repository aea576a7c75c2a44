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
from streamd.engine.joint import Whitener
from streamd.engine.novelty import Novelty
from streamd.engine.rows import Rows, column
from streamd.records import F64, I64, Bool

TERMS: Final = ("novelty", "deviation", "surprise", "silence")

WARM_FRAMES: Final = 300  # before that the lines are a guess, so a score stays below them
UNSURE: Final = 0.99  # the highest score until then
NATURAL: Final = 1.39  # no line of deviation or surprise lies lower: T² three times as large as usual
GATE: Final = 1.5  # what is further off teaches the whitener nothing ...
GATE_SHARE: Final = 0.5  # ... and so much of its line is


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a batch's frames look like beside what their streams were like before."""

    parts: F64  # [B, T, C] each channel's part in each term, 1.0 at the line
    terms: F64  # [B, T]
    score: F64  # [B]
    channel_score: F64  # [B, C]
    period: F64  # [B] frames that may pass between two false alarms
    accepted: Bool  # [B] a deviation has lasted for so long that it is normal from now on


def vectors(horizon: int) -> tuple[int, ...]:
    """Which horizons' errors count in the surprise: the first, a third of the way, the last."""
    return tuple(sorted({0, (horizon - 1) // 3, horizon - 1}))


class Score(Rows):
    """How far a stream's warm-up is, and since when it has been off."""

    judged: F64 = column()  # frames
    since: F64 = column(fill=np.nan)  # s since the epoch that its values deviate; NaN: they do not
    frames: F64 = column()  # that they have done so
    there: F64 = column("C")  # where they were meanwhile, mean


class Judge:
    """All that makes the score of a group's streams."""

    def __init__(self, sizes: Mapping[str, int], alarm: Alarm) -> None:
        self.alarm = alarm
        self.horizons = list(vectors(sizes["H"]))
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
        return np.minimum(self.score.judged[slots] / WARM_FRAMES, 1.0)

    def look(
        self,
        slots: I64,
        n: I64,
        turn: I64,
        times: F64,
        interval: F64,
        values: F64,
        errors: F64,
        silence: F64,
        matters: Bool | None = None,
    ) -> Judgement:
        """Judge frames and learn from them.

        Args:
            n, turn: [B] the streams' frame counts, and what tells streams apart.
            times, interval: [B] s.
            values: [B, C]; NaN where missing.
            errors: [B, H, C] of the forecasts that fell due; NaN where none.
            silence: [B, C] parts of that term.
            matters: [B, C] channels whose deviation counts; None: all.
        """
        warming = self.score.judged[slots] < WARM_FRAMES
        period = frames_per_alarm(interval, self.alarm.per_week)
        novelty = self.novelty.observe(slots, times, values, period)
        if matters is not None:
            novelty = np.where(matters, novelty, 0.0)
        seen = np.where(np.isfinite(values), self.novelty.level[slots], np.nan)
        vectors = np.concatenate([seen[:, None], errors[:, self.horizons]], axis=1)
        off = self.whitener.measure(slots, vectors, matters)
        line = self.tails.line(slots, self.common, NATURAL, period)
        ratio = off.size / line
        blame = off.blame / np.maximum(off.blame.max(axis=2, initial=0.0, keepdims=True), 1e-300)
        each = ratio[:, :, None] * blame  # [B, J, C]
        parts = np.stack([novelty, each[:, 0], each[:, 1:].max(axis=1), silence], axis=1)

        gate = np.maximum(GATE, GATE_SHARE * line)
        outside = (off.size >= gate) & ~warming[:, None]
        accepted = self._accept(slots, times, seen, outside[:, 0])
        self.whitener.learn(slots, vectors, outside)
        due = joint.due(n, turn)
        if len(due):
            self.whitener.solve(slots[due], np.nan_to_num(self.novelty.level[slots[due]]))
        self.tails.learn(slots, n, off.size, line, warming, self.common)
        self.score.judged[slots] += 1.0

        parts = parts / self.strictness.factor(slots)[:, :, None]
        channel_score = parts.max(axis=1)
        channel_score = np.where(warming[:, None], np.minimum(channel_score, UNSURE), channel_score)
        return Judgement(
            parts=parts,
            terms=parts.max(axis=2, initial=0.0),
            score=channel_score.max(axis=1, initial=0.0),
            channel_score=channel_score,
            period=period,
            accepted=accepted,
        )

    def _accept(self, slots: I64, times: F64, level: F64, outside: Bool) -> Bool:
        """Whether streams have been off for so long that where they were meanwhile is normal from now on, [B]."""
        score = self.score
        since = np.where(outside, np.fmin(score.since[slots], times), np.nan)
        frames = np.where(outside, score.frames[slots] + 1.0, 0.0)
        there = score.there[slots]
        there = (
            there
            + np.where(outside[:, None] & np.isfinite(level), level - there, 0.0) / np.maximum(frames, 1.0)[:, None]
        )
        accepted = times - since > self.alarm.accept_s
        if accepted.any():
            self.whitener.accept(slots[accepted], 0, there[accepted])
        score.since[slots] = np.where(accepted, np.nan, since)
        score.frames[slots] = np.where(accepted, 0.0, frames)
        score.there[slots] = there
        return accepted

    def learn(self, slots: I64, terms: F64, raised: Bool, period: F64) -> None:
        """Take in the terms [B, T] and which frames raised an incident, [B]."""
        settled = self.score.judged[slots] > WARM_FRAMES
        self.strictness.learn(slots, terms, raised, settled, period)
        self.common.follow(self.strictness.log[slots])
