"""What people taught: patterns of incidents that they called false alarms, the like of which raises no more.

A pattern is where a frame stands in the space of the residuals (which channels are to blame, which way and how far
they are off, which terms speak) and in that of the network (its top hidden state when the frame came). Each incident
keeps a few, of frames unlike each other; a verdict makes a lesson of it, and lessons near a frame vote, once each:
nearest neighbours within a radius, not a fixed number of them, so that nothing is muted where nothing is near.

A lesson of the same stream counts in full and one of another stream of the group by half, so that three "false" do
for a stream's own habit and six for the group's. Knows incidents by their ids; not what a term means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamd.engine.score import TERMS
from streamd.records import F32, F64, I64, Array, Bool, Incident, Verdict

REMEMBERED = 256  # incidents without a verdict, the newest
TAUGHT = 256  # incidents with one, taught last
FACES = 6  # patterns of one incident: its frames differ, as the jump up and the jump back do
NEEDED = 3.0  # votes of "false", and more than of "real"
OF_ANOTHER = 0.5  # the vote of a lesson from another stream
MUTED = 0.99  # the highest score of a frame that is muted: below the line, far from calm

# Distances. Another channel to blame is 1.4 away, the other direction 2, twice the size 1, another term alone 1, quite
# another hidden state 0.7.
NEAR = 0.8
UNLIKE = 0.4  # so far apart, two frames of an incident are both kept
USUAL = 2.0  # usual errors: being off by less says nothing of a direction
LARGEST = 1e6
TERMS_WEIGHT = np.sqrt(0.5)
HIDDEN_WEIGHT = 0.5
SIZES = 2  # of how far off, and of the score
TAIL = SIZES + 1  # the last of all is the generation of the weights that made the hidden state


@dataclass(frozen=True, slots=True)
class Sight:
    """What the patterns of some frames are made of; rows [B]."""

    score: F64  # [B] before anything is muted
    terms: F64  # [B, T]
    channel_score: F64  # [B, C]
    errors: F64  # [B, C] of the one-step forecasts, in usual errors; NaN where there was none
    level: F64  # [B, C] values less their mean, in usual spreads; NaN where one is missing
    hidden: F32  # [B, K] top hidden state before the frames
    generation: I64  # [B] of the weights that made it


@dataclass(slots=True)
class Lesson:
    """An incident that is remembered, and what people said of it."""

    stream: str
    start: float  # s since the epoch
    open: bool
    verdict: Verdict | None
    faces: F32  # [up to FACES, P], never changed in place


class Feedback:
    """Of one group; grows with incidents, up to a bound.

    Args:
        channels: C.
        hidden: cells of a layer, K.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        self._channels, self._hidden = channels, hidden
        self._lessons: dict[str, Lesson] = {}  # by incident; the one raised, taught or withdrawn last comes last
        self._open: dict[str, str] = {}  # stream -> its incident that is open

    def __len__(self) -> int:
        """Incidents that were taught."""
        return sum(lesson.verdict is not None for lesson in self._lessons.values())

    def patterns(self, frames: Sight) -> F32:
        """What is told of frames, [B, P]: blame [C], direction [C], terms [T], hidden state [K], sizes, generation."""
        parts = np.nan_to_num(frames.channel_score, nan=0.0, posinf=LARGEST)
        # what is below half of the worst is the noise of the channels that have no part in it
        blame = _unit(np.maximum(parts - 0.5 * parts.max(axis=1, initial=0.0, keepdims=True), 0.0))
        errors, level = (
            np.clip(np.nan_to_num(array, nan=0.0, posinf=LARGEST, neginf=-LARGEST), -LARGEST, LARGEST)
            for array in (frames.errors, frames.level)
        )
        # from the forecast or, where that has followed, from where the channel usually is
        off = np.where(np.abs(errors) >= np.abs(level), errors, level)
        way = _unit(blame * np.sign(off) * np.maximum(np.abs(off) - USUAL, 0.0))
        far = (np.abs(off) * (blame > 0.0)).max(axis=1, initial=0.0)
        sizes = np.log2(np.clip(np.stack([far, frames.score], axis=1), 1.0, LARGEST))
        terms = TERMS_WEIGHT * _unit(np.nan_to_num(frames.terms, nan=0.0, posinf=LARGEST))
        hidden = HIDDEN_WEIGHT * _unit(frames.hidden.astype(np.float64))
        made = [blame, way, terms, hidden, sizes, frames.generation[:, None]]
        return np.concatenate(made, axis=1).astype(np.float32)

    def muted(self, streams: Sequence[str], patterns: F32) -> Bool:
        """Which frames are like what people called false, [B]."""
        lessons = [lesson for lesson in self._lessons.values() if lesson.verdict is not None]
        found = np.zeros(len(streams), np.bool_)
        if sum(lesson.verdict == "false" for lesson in lessons) < NEEDED:
            return found
        faces = np.concatenate([lesson.faces for lesson in lessons])
        begins = np.cumsum([0, *(len(lesson.faces) for lesson in lessons[:-1])])
        false = np.array([lesson.verdict == "false" for lesson in lessons])
        for row, stream in enumerate(streams):
            near = np.logical_or.reduceat(distance(patterns[row], faces, self._channels) < NEAR, begins)
            votes = near * np.array([1.0 if lesson.stream == stream else OF_ANOTHER for lesson in lessons])
            said = float(votes[false].sum())
            found[row] = said >= NEEDED and said > float(votes[~false].sum())
        return found

    def keep(self, incidents: Sequence[Incident], streams: Sequence[str], patterns: F32) -> None:
        """Remember what a batch showed of incidents.

        Args:
            incidents: that were raised or ended, among others.
            streams, patterns: [B], [B, P] of the frames over the line that were not muted.
        """
        for incident in incidents:
            if incident.state == "cleared" or not incident.stream:  # the latter is of many streams: they have their own
                continue
            if (known := self._lessons.get(incident.id)) is not None:
                known.open = True  # it may have been opened again
            else:
                fresh = np.empty((0, self._width), np.float32)
                self._lessons[incident.id] = Lesson(incident.stream, incident.start, True, None, fresh)
            self._open[incident.stream] = incident.id
            self._forget_oldest(taught=False)
        for stream, pattern in zip(streams, patterns, strict=True):
            lesson = self._lessons.get(self._open.get(stream, ""))
            if lesson is None or len(lesson.faces) == FACES:
                continue
            if not (distance(pattern, lesson.faces, self._channels) < UNLIKE).any():
                lesson.faces = np.concatenate([lesson.faces, pattern[None]])
        for incident in incidents:
            if incident.state == "cleared" and self._open.get(incident.stream) == incident.id:
                del self._open[incident.stream]
                if (ended := self._lessons.get(incident.id)) is not None:
                    ended.open = False

    def refusal(self, incident: str, *, taught: bool = False) -> str:
        """Why nothing can be taught of an incident, or withdrawn if `taught`; empty: it can."""
        lesson = self._lessons.get(incident)
        if taught:
            return "" if lesson is not None and lesson.verdict is not None else f"{incident} was not taught"
        if lesson is None:
            return f"no incident {incident} among those remembered, which are the last {REMEMBERED} and those taught"
        return "" if len(lesson.faces) else f"no frame of {incident} was over the line: there is no pattern to learn"

    def teach(self, incident: str, verdict: Verdict) -> str:
        """Take in a verdict, also another one than before; gives the incident that is forgotten for it, else ""."""
        if self.refusal(incident):
            return ""
        lesson = self._lessons.pop(incident)
        lesson.verdict = verdict
        self._lessons[incident] = lesson
        return self._forget_oldest(taught=True)

    def withdraw(self, incident: str) -> None:
        """Take a verdict back; the incident stays remembered, as if it had just been raised."""
        if self.refusal(incident, taught=True):
            return
        lesson = self._lessons.pop(incident)
        lesson.verdict = None
        self._lessons[incident] = lesson
        self._forget_oldest(taught=False)

    def taught(self) -> list[tuple[str, Lesson]]:
        """What was taught, by incident, the latest last."""
        return [(incident, lesson) for incident, lesson in self._lessons.items() if lesson.verdict is not None]

    def faces(self, incident: str) -> F32:
        """The patterns of an incident, [n, P]; none of one that is not remembered."""
        lesson = self._lessons.get(incident)
        return np.empty((0, self._width), np.float32) if lesson is None else lesson.faces

    def widen(self, channels: int) -> None:
        """Channels more, which no pattern says anything of."""
        places = np.minimum(np.arange(channels), self._channels)  # the last is no place
        places[self._channels :] = -1
        for lesson in self._lessons.values():
            lesson.faces = refit(lesson.faces, self._channels, places, self._hidden, self._hidden)
        self._channels = channels

    def state_dict(self) -> tuple[dict[str, Array], list[list[Any]]]:
        """The patterns one after the other, and the rest as what JSON can hold."""
        empty = np.empty((0, self._width), np.float32)
        faces = np.concatenate([empty, *(lesson.faces for lesson in self._lessons.values())])
        rest = [
            [incident, lesson.stream, lesson.start, lesson.open, lesson.verdict, len(lesson.faces)]
            for incident, lesson in self._lessons.items()
        ]
        return {"patterns": faces}, rest

    def load_state_dict(self, arrays: Mapping[str, Array], rest: Sequence[Sequence[Any]]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            ValueError: the patterns are of other lengths than the settings ask for, or are not as many as they should.
        """
        faces = arrays.get("patterns", np.empty(0))
        wanted = (sum(one[5] for one in rest), self._width)
        if faces.shape != wanted or faces.dtype != np.float32:
            raise ValueError(f"feedback.patterns: {faces.dtype}{faces.shape} is not float32{wanted}")
        self._lessons.clear()
        at = 0
        for incident, stream, start, open_, verdict, count in rest:
            self._lessons[incident] = Lesson(stream, start, open_, verdict, faces[at : at + count])
            at += count
        self._open = {lesson.stream: incident for incident, lesson in self._lessons.items() if lesson.open}

    @property
    def _width(self) -> int:
        return width(self._channels, self._hidden)

    def _forget_oldest(self, *, taught: bool) -> str:
        """Keep within the bound; an incident that is open goes only where all are."""
        of_kind = [one for one, lesson in self._lessons.items() if (lesson.verdict is not None) == taught]
        if len(of_kind) <= (TAUGHT if taught else REMEMBERED):
            return ""
        oldest = next((one for one in of_kind if not self._lessons[one].open), of_kind[0])
        lesson = self._lessons.pop(oldest)
        if self._open.get(lesson.stream) == oldest:
            del self._open[lesson.stream]
        return oldest


def distance(pattern: F32, faces: F32, channels: int) -> F32:
    """How far a pattern [P] is from each of others [n, P]; a smaller disturbance of the same kind is not far."""
    begin, end = 2 * channels + len(TERMS), len(pattern) - TAIL
    plain = np.square(faces[:, :begin] - pattern[:begin]).sum(axis=1)
    # states that other weights made, or none, can't be compared
    same = (faces[:, -1] == pattern[-1]) & faces[:, begin:end].any(axis=1) & pattern[begin:end].any()
    apart = np.square(faces[:, begin:end] - pattern[begin:end]).sum(axis=1)
    more = np.maximum(pattern[end : end + SIZES] - faces[:, end : end + SIZES], 0.0).max(axis=1)
    far: F32 = np.sqrt(plain + np.where(same, apart, 0.0) + more * more)
    return far


def width(channels: int, hidden: int) -> int:
    """Numbers in a pattern."""
    return 2 * channels + len(TERMS) + hidden + TAIL


def refit(patterns: F32, channels: int, places: I64, hidden: int, new_hidden: int) -> F32:
    """Patterns [n, P] made with other channels or cells.

    Args:
        channels, hidden: of then.
        places: [C] where each channel of now stood then, -1: nowhere.
        new_hidden: cells now; if these are others, what the network saw is no longer told.
    """
    terms = patterns.shape[1] - 2 * channels - hidden - TAIL  # a version with other terms made them
    blame, way, spoke, state, tail = np.split(patterns, np.cumsum([channels, channels, terms, hidden]), axis=1)
    count = len(patterns)
    there = places >= 0

    def placed(of_channels: F32) -> F32:
        moved = np.zeros((count, len(places)), np.float32)
        moved[:, there] = of_channels[:, places[there]]
        return moved

    spoken = np.zeros((count, len(TERMS)), np.float32)
    spoken[:, : min(terms, len(TERMS))] = spoke[:, : len(TERMS)]
    kept = state if new_hidden == hidden else np.zeros((count, new_hidden), np.float32)
    return np.concatenate([placed(blame), placed(way), spoken, kept, tail], axis=1)


def _unit(rows: F64) -> F64:
    """Rows [B, n] of length 1, or 0 where there is nothing in them."""
    length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return rows / np.where(length > 0.0, length, 1.0)
