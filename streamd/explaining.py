"""Why an incident was raised: what was expected, what came, which terms spoke, and what earlier was like it.

Read from a copy of the archive in the state folder, so that a daemon may be at work there. Knows where things lie;
prints and draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamd.engine.feedback import NEAR, distance
from streamd.engine.score import TERMS
from streamd.records import F32, F64, I64, Excerpt, Incident
from streamd.store.archive import Archive, Kept
from streamd.store.copies import copied
from streamd.store.folders import ARCHIVE
from streamd.store.sqlite import DamagedError, StoreError, VersionError

LIKE = 5  # earlier incidents that are told
CALM = 0.7  # a frame that scores less may stand in a window that counts as normal
WINDOW = 12  # frames of such a window
STRIDE = 3  # from the beginning of one to that of the next


class ExplainError(Exception):
    """There is nothing to explain; the text says why."""


@dataclass(frozen=True, slots=True)
class Frames:
    """The stream around the incident, in order."""

    channels: tuple[str, ...]  # [C]
    seq: I64  # [N]; gaps where frames were not kept
    times: F64  # [N] s since the epoch
    values: F64  # [N, C]; NaN: missing
    mean: F64  # [N, C] forecast one step before
    lower: F64  # [N, C]
    upper: F64  # [N, C]
    score: F32  # [N]
    terms: F32  # [N, T] in the order of TERMS


@dataclass(frozen=True, slots=True)
class Like:
    """An earlier incident beside this one."""

    incident: Incident
    verdict: str  # "false", "real", or "": none
    distance: float  # of their nearest patterns; below feedback.NEAR they count as alike


@dataclass(frozen=True, slots=True)
class Calm:
    """Frames of the stream that were normal, and nearer than others to those of the incident."""

    start: float  # s since the epoch
    end: float
    distance: float  # root mean square over frames and channels, in the calm values' standard deviations


@dataclass(frozen=True, slots=True)
class Explanation:
    """One incident."""

    group: str
    incident: Incident  # as it was told last
    raised: Incident  # as it was told first
    verdict: str  # "false", "real", or "": none
    frames: Frames | None  # None: none were kept
    like: tuple[Like, ...]  # nearest first
    calm: tuple[Calm, ...]  # nearest first


def latest(folder: Path, count: int) -> list[Kept]:
    """The incidents of a state folder that something was told of last, newest first.

    Raises:
        ExplainError: there are none, or they can't be read.
        CopyError: no copy of the archive could be had.
    """
    with copied(folder / ARCHIVE) as copy:
        if copy is None:
            raise ExplainError(f"{folder}: no incident was archived here")
        try:
            archive = Archive.open(copy)
            try:
                return archive.latest(count)
            finally:
                archive.close()
        except (VersionError, StoreError, DamagedError) as error:
            raise ExplainError(f"{folder}: the archive can't be read: {error}") from error


def explain(folder: Path, incident: str, group: str | None = None) -> Explanation:
    """What there is to say of an incident.

    Args:
        group: where two groups have an incident of that id.

    Raises:
        ExplainError: it is not in the archive, or two are, or the archive can't be read.
        CopyError: no copy of the archive could be had.
    """
    with copied(folder / ARCHIVE) as copy:
        if copy is None:
            raise ExplainError(f"{folder}: no incident was archived here")
        try:
            archive = Archive.open(copy)
            try:
                found = [one for one in archive.find(incident) if group in (None, one.group)]
                if not found:
                    raise ExplainError(
                        f"{folder}: no incident {incident} is in the archive; `streamd explain` lists them"
                    )
                if len(found) > 1:
                    groups = ", ".join(one.group for one in found)
                    raise ExplainError(f"{incident} is one of each of the groups {groups}: say which with --group")
                return explained(found[0], archive.of_group(found[0].group))
            finally:
                archive.close()
        except (VersionError, StoreError, DamagedError) as error:
            raise ExplainError(f"{folder}: the archive can't be read: {error}") from error


def explained(kept: Kept, others: Iterable[Kept]) -> Explanation:
    """The same of an incident and the others of its group, with their frames."""
    incident = kept.told[-1]
    frames = _joined(kept.excerpts)
    like: list[Like] = []
    calm: list[Frames] = []
    for other in others:
        if other.told[0].start >= kept.told[0].start:
            continue
        far = _apart(kept, other)
        if far is not None:
            like.append(Like(other.told[-1], other.verdict, far))
        if other.told[0].stream == incident.stream and (past := _joined(other.excerpts)) is not None:
            calm.append(past)
    like.sort(key=lambda one: (one.distance, -one.incident.start))
    windows = () if frames is None else _calm(frames, incident.peak, kept.told[0].start, [*calm, frames])
    return Explanation(kept.group, incident, kept.told[0], kept.verdict, frames, tuple(like[:LIKE]), windows)


def _joined(excerpts: Iterable[Excerpt]) -> Frames | None:
    """Excerpts one after the other, each frame once; the channels are those of the last."""
    parts = sorted(excerpts, key=lambda one: one.seq)
    if not parts:
        return None
    channels = parts[-1].channels

    def by_name(one: Excerpt, array: F64) -> F64:
        wide = np.full((len(array), len(channels)), np.nan)
        for at, name in enumerate(one.channels):
            if name in channels:
                wide[:, channels.index(name)] = array[:, at]
        return wide

    seq = np.concatenate([one.seq + np.arange(len(one.times)) for one in parts])
    _, first = np.unique(seq, return_index=True)
    values, mean, lower, upper = (
        np.concatenate([by_name(one, getattr(one, name)) for one in parts])[first]
        for name in ("values", "mean", "lower", "upper")
    )
    times = np.concatenate([one.times for one in parts])[first]
    score = np.concatenate([one.score for one in parts])[first]
    width = min(one.terms.shape[1] for one in parts)
    terms = np.concatenate([one.terms[:, :width] for one in parts])[first]
    return Frames(channels, seq[first], times, values, mean, lower, upper, score, terms)


def _apart(kept: Kept, other: Kept) -> float | None:
    """The distance of the nearest two of their patterns; None where they can't be compared."""
    if not kept.excerpts or not other.excerpts:
        return None
    mine, theirs = kept.excerpts[-1], other.excerpts[-1]
    if mine.channels != theirs.channels or mine.patterns.shape[1:] != theirs.patterns.shape[1:]:
        return None
    if not len(mine.patterns) or not len(theirs.patterns):
        return None
    return min(float(distance(one, theirs.patterns, len(mine.channels)).min()) for one in mine.patterns)


def _calm(frames: Frames, peak: float, start: float, past: Iterable[Frames]) -> tuple[Calm, ...]:
    """Windows from before a time in which nothing was strange, those nearest to the window that ends with the peak."""
    end = int(np.searchsorted(frames.times, peak, side="right"))
    shown = frames.values[max(end - WINDOW, 0) : end]
    if len(shown) < WINDOW:
        return ()
    windows: dict[float, tuple[float, F64]] = {}
    for one in past:
        if one.channels != frames.channels:
            continue
        quiet = (one.score < CALM) & (one.times < start)
        for at in range(0, len(one.times) - WINDOW + 1, STRIDE):
            span = slice(at, at + WINDOW)
            if quiet[span].all() and one.seq[at + WINDOW - 1] - one.seq[at] == WINDOW - 1:
                windows[float(one.times[at])] = float(one.times[at + WINDOW - 1]), one.values[span]
    if not windows:
        return ()
    every = np.concatenate([values for _, values in windows.values()])
    known = np.isfinite(every).sum(axis=0) > 1
    if not known.any():
        return ()
    spread = np.nanstd(every[:, known], axis=0)
    spread = np.where(spread > 0.0, spread, 1.0)
    found = []
    for begin, (until, values) in windows.items():
        off = (values[:, known] - shown[:, known]) / spread
        if np.isfinite(off).any():
            found.append(Calm(begin, until, float(np.sqrt(np.nanmean(off * off)))))
    return tuple(sorted(found, key=lambda one: one.distance)[:3])


def spoke(found: Explanation) -> list[tuple[str, float, float, float]]:
    """The terms over the line in the incident: name, first and last time of it (s since the epoch), highest."""
    frames = found.frames
    if frames is None:
        return []
    inside = frames.times >= found.raised.start
    said = []
    for at, name in enumerate(TERMS[: frames.terms.shape[1]]):
        over = np.flatnonzero(inside & (frames.terms[:, at] >= 1.0))
        if len(over):
            times = frames.times[over]
            said.append((name, float(times[0]), float(times[-1]), float(frames.terms[over, at].max())))
    return sorted(said, key=lambda one: -one[3])


def is_alike(one: Like) -> bool:
    """Whether a verdict on it would count for this one."""
    return one.distance < NEAR
