"""NAB's published rules: what a set of scores over the whole corpus is worth, at the best line and at a given one.

Knows rows, windows and weights; not which files there are, nor what made the scores. One line holds for all files, as
the rules want it. Method: Lavin and Ahmad 2015, "Evaluating real-time anomaly detection algorithms", and the
profiles that come with the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from streamd.records import F64, I64

PROBATION: Final = 0.15  # of a file's rows, that do not count
LONGEST_PROBATION: Final = 750  # rows
STEEPNESS: Final = 5.0  # of the sigmoid
FAR: Final = 3.0  # widths of the window before: a false alarm that late costs in full


@dataclass(frozen=True, slots=True)
class Profile:
    """What is gained by a window that was found as early as can be, and lost by a false alarm and a missed window."""

    found: float
    false: float
    missed: float


PROFILES: Final = {
    "standard": Profile(1.0, 0.11, 1.0),
    "low-FP": Profile(1.0, 0.22, 1.0),
    "low-FN": Profile(1.0, 0.11, 2.0),
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """What each of a file's N rows is worth if it raises an alarm, in a profile that weighs everything as one."""

    first: int  # row that counts
    worth: F64  # [N] in a window from about 1 at its first row to 0 at its end; else negative, -1 at worst
    window: I64  # [N] number of the window that the row lies in; -1: in none
    windows: int


@dataclass(frozen=True, slots=True)
class Scored:
    """0 is what a detector gets that never alarms, 100 one that alarms at each window's start and never else.

    NaN where there is no window.
    """

    score: float
    line: float  # that was used; infinite: better no alarm at all
    found: int  # windows
    false: int  # rows over the line outside of them


def label(rows: int, windows: Sequence[tuple[int, int]]) -> Labelled:
    """A file's rows by its windows, each given by its first and last row, in order.

    >>> one = label(20, [(10, 14)])
    >>> one.first, one.window.tolist()[9:16], one.worth.round(2).tolist()[9:16]
    (3, [-1, 0, 0, 0, 0, 0, -1], [-1.0, 1.0, 0.98, 0.92, 0.77, 0.47, -0.55])
    """
    worth, window = np.full(rows, -1.0), np.full(rows, -1)
    at = np.arange(rows)
    for number, (begin, end) in enumerate(windows):
        inside = (at >= begin) & (at <= end)
        behind = at > end  # a later window writes over this
        worth[inside] = _sigmoid((at[inside] - end - 1) / (end - begin + 1)) / _sigmoid(np.array(-1.0))
        distance = (at[behind] - end) / max(end - begin, 1)
        worth[behind] = np.where(distance > FAR, -1.0, _sigmoid(distance))
        window[inside] = number
    return Labelled(int(min(PROBATION * rows, LONGEST_PROBATION)), worth, window, len(windows))


def sweep(scores: Sequence[F64], labels: Sequence[Labelled], profile: Profile) -> Scored:
    """The best line over the corpus.

    Args:
        scores: [N] of each file, finite; high is strange.
        labels: of each file.
    """
    corpus = _Corpus.of(scores, labels, profile)
    worth = np.cumsum(corpus.gain)
    last_of_equals = np.append(np.diff(corpus.score) != 0, True)
    totals = np.where(last_of_equals, worth, -np.inf)
    best = int(np.argmax(totals)) if len(totals) else -1
    if best < 0 or totals[best] <= 0:
        return corpus.told(0, np.inf)
    return corpus.told(best + 1, float(corpus.score[best]))


def at(line: float, scores: Sequence[F64], labels: Sequence[Labelled], profile: Profile) -> Scored:
    """With an alarm at each row whose score is on the line or over it."""
    corpus = _Corpus.of(scores, labels, profile)
    return corpus.told(int((corpus.score >= line).sum()), line)


@dataclass(frozen=True, slots=True)
class _Corpus:
    """The rows of all files that count, the strangest first."""

    score: F64  # [M]
    gain: F64  # [M] by this row, once all before it have alarmed
    window: I64  # [M] number over all files
    windows: int
    profile: Profile

    @classmethod
    def of(cls, scores: Sequence[F64], labels: Sequence[Labelled], profile: Profile) -> _Corpus:
        parts, base = [], 0
        for score, one in zip(scores, labels, strict=True):
            if len(score) != len(one.worth) or not np.isfinite(score).all():
                raise ValueError(f"expected {len(one.worth)} finite scores, got {len(score)}")
            numbers = np.where(one.window >= 0, one.window + base, -1)
            parts.append(np.stack([score, one.worth, numbers])[:, one.first :])
            base += one.windows
        score, worth, numbers = np.concatenate(parts, axis=1)
        window = numbers.astype(np.int64)
        order = np.argsort(-score, kind="stable")
        score, worth, window = score[order], worth[order], window[order]
        gain = worth * profile.false
        for number in range(base):  # of a window only the earliest alarm counts, that is the one of most worth
            rows = np.flatnonzero(window == number)
            so_far = np.maximum.accumulate(worth[rows] * profile.found)
            gain[rows] = np.diff(so_far, prepend=-profile.missed)
        return cls(score, gain, window, base, profile)

    def told(self, alarms: int, line: float) -> Scored:
        """With an alarm at the first so many rows."""
        alarmed = self.window[:alarms]
        # nothing found loses `missed` for each window; everything found at once gains `found` for each
        whole = self.windows * (self.profile.found + self.profile.missed)
        return Scored(
            score=100.0 * float(self.gain[:alarms].sum()) / whole if whole else np.nan,
            line=line,
            found=len(np.unique(alarmed[alarmed >= 0])),
            false=int((alarmed < 0).sum()),
        )


def _sigmoid(y: F64) -> F64:
    """From 1 far before the end of a window, through 0 at it, to -1 far behind."""
    found: F64 = 2.0 / (1.0 + np.exp(STEEPNESS * y)) - 1.0
    return found
