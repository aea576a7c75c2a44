"""Outcomes to messages: forecasts, scores, incidents and the daemon's own status.

Knows topics and payloads, whose JSON Schemas lie in `schemas/`; not how a score is made or who listens. Numbers are
written with all their digits: a payload's floats are the engine's to the last bit, and NaN is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from streamd.config import Group
from streamd.records import F64, Expected, Incident, Outcome
from streamd.wire.messages import Message
from streamd.wire.times import utc

_encode = msgspec.json.Encoder().encode


class _Interval(msgspec.Struct, gc=False):
    lower: list[float]  # [H]
    upper: list[float]  # [H]


class _Band(msgspec.Struct, gc=False):
    mean: list[float]  # [H]
    lower: list[float]  # [H]
    upper: list[float]  # [H]
    intervals: dict[str, _Interval] | UnsetType = UNSET  # by coverage, where there are several
    paths: list[list[float]] | UnsetType = UNSET  # [P, H]


class _Head(msgspec.Struct, gc=False):
    stream: str
    group: str
    time: datetime
    epoch: float
    seq: int


class _Forecast(_Head, gc=False):
    interval: float
    coverage: float
    times: list[float]  # [H]
    channels: dict[str, _Band]


class _Score(_Head, gc=False):
    score: float
    alarm: bool
    warming: float
    terms: dict[str, float]
    channels: dict[str, float]
    drift: bool
    weights: dict[str, float] | UnsetType = UNSET  # by expert
    muted: bool | UnsetType = UNSET  # told where it is


class _Course(msgspec.Struct):
    id: str
    state: Literal["raised", "updated", "cleared"]
    reason: Literal["calm", "accepted", "heard again"] | None
    start: datetime
    start_epoch: float
    peak: datetime
    peak_epoch: float
    end: datetime | None
    end_epoch: float | None
    score: float
    channels: dict[str, float]


class _Incident(_Course, kw_only=True):
    stream: str
    group: str
    time: datetime
    epoch: float
    seq: int
    terms: dict[str, float]
    expected: dict[str, Expected]
    part_of: str | None


class _GroupIncident(_Course, kw_only=True):
    group: str
    time: datetime
    epoch: float
    streams: tuple[str, ...]


class _Status(msgspec.Struct):
    state: Literal["online", "offline"]
    version: str
    time: datetime
    epoch: float


@dataclass(frozen=True, slots=True)
class Names:
    """What the columns of outcomes are called, and what of them is told."""

    terms: tuple[str, ...]  # of `Outcome.terms`
    experts: tuple[str, ...]  # of `Outcome.weights`
    coverages: tuple[float, ...]  # of `Outcome.levels`: shares of the values that each interval is meant to hold
    coverage: float  # of `Outcome.lower` and `upper`
    weights: bool = False  # tell what each expert counts

    @classmethod
    def of(cls, settings: Group, terms: tuple[str, ...], experts: tuple[str, ...]) -> Names:
        """Those of a group, whose network comes after its experts."""
        coverages, main = settings.coverages, settings.main_coverage
        return cls(terms, (*experts, "network"), coverages, main, settings.expert_weights)


class Wanted(NamedTuple):
    """Rows of an outcome, ascending."""

    forecasts: Sequence[int]
    scores: Sequence[int]


def encode(prefix: str, group: str, outcome: Outcome, names: Names, wanted: Wanted | None = None) -> list[Message]:
    """The messages that tell an outcome: per row its forecast and its score, in the order of the rows, then incidents.

    `wanted` says which rows' forecasts and scores are told; None: all. An open incident is retained; a cleared one is
    published unretained and then taken off the broker. One of many streams has a topic of the group.

    Raises:
        KeyError: an incident is of one stream that is not in the outcome.
        ValueError: the names and the outcome's columns differ in number.
    """
    terms = names.terms
    if outcome.terms.shape[1] != len(terms):
        raise ValueError(f"{len(terms)} names for {outcome.terms.shape[1]} terms")
    everything = range(len(outcome.streams))
    rows = Wanted(everything, everything) if wanted is None else wanted
    forecasts = _forecasts(prefix, group, outcome, names, rows.forecasts) if rows.forecasts else {}
    scores = _scores(prefix, group, outcome, names, rows.scores) if rows.scores else {}
    messages = [told for row in everything for told in (forecasts.get(row), scores.get(row)) if told is not None]
    epochs: list[float] = outcome.times.tolist()
    seqs: list[int] = outcome.seq.tolist()
    if outcome.incidents:
        row_of = {stream: row for row, stream in enumerate(outcome.streams)}
        for told in outcome.incidents:
            if told.streams:
                messages += group_incident(prefix, group, told, max(epochs))
            else:
                row = row_of[told.stream]
                messages += incident(prefix, group, told, epochs[row], seqs[row])
    return messages


def _forecasts(prefix: str, group: str, outcome: Outcome, names: Names, rows: Sequence[int]) -> dict[int, Message]:
    """By row."""
    pick = slice(None) if len(rows) == len(outcome.streams) else list(rows)
    # Whole arrays to lists in one call each, [B, H, C] turned to [B, C, H] before: no Python per number.
    arrays = outcome.mean, outcome.lower, outcome.upper
    mean, lower, upper = (_by_channel(array[pick]).tolist() for array in arrays)
    levels = _by_channel(outcome.levels[pick]).tolist() if len(names.coverages) > 1 else None  # [B, C, Q, 2, H]
    paths = None if outcome.paths is None else _by_channel(outcome.paths[pick]).tolist()  # [B, C, P, H]
    times, usual = outcome.times[pick], outcome.interval[pick]
    ahead = np.arange(1, outcome.mean.shape[1] + 1)
    steps = (times[:, None] + usual[:, None] * ahead).tolist()
    epochs, intervals, seqs = times.tolist(), usual.tolist(), outcome.seq[pick].tolist()
    found: dict[int, Message] = {}
    for at, row in enumerate(rows):
        stream = outcome.streams[row]
        bands = dict(zip(outcome.channels, map(_Band, mean[at], lower[at], upper[at]), strict=True))
        if levels is not None:
            for band, of_channel in zip(bands.values(), levels[at], strict=True):
                ends = zip(names.coverages, of_channel, strict=True)
                band.intervals = {f"{coverage:g}": _Interval(*bounds) for coverage, bounds in ends}
        if paths is not None:
            for band, of_channel in zip(bands.values(), paths[at], strict=True):
                band.paths = of_channel
        head = stream, group, utc(epochs[at]), epochs[at], seqs[at]
        payload = _encode(_Forecast(*head, intervals[at], names.coverage, steps[at], bands))
        found[row] = Message(f"{prefix}/{group}/{stream}/forecast", payload, "forecast", retain=False, qos=0)
    return found


def _scores(prefix: str, group: str, outcome: Outcome, names: Names, rows: Sequence[int]) -> dict[int, Message]:
    """By row."""
    pick = slice(None) if len(rows) == len(outcome.streams) else list(rows)
    weights = np.nanmean(outcome.weights[pick], axis=(2, 3)).tolist() if names.weights else None
    muted = None if outcome.muted is None else outcome.muted[pick].tolist()
    epochs, seqs = outcome.times[pick].tolist(), outcome.seq[pick].tolist()
    scores, warming, drifted = (a[pick].tolist() for a in (outcome.score, outcome.warming, outcome.drifted))
    alarms = (outcome.score[pick] >= 1.0).tolist()
    term_rows, channel_rows = outcome.terms[pick].tolist(), outcome.channel_score[pick].tolist()
    found: dict[int, Message] = {}
    for at, row in enumerate(rows):
        stream = outcome.streams[row]
        named = dict(zip(names.terms, term_rows[at], strict=True))
        parts = dict(zip(outcome.channels, channel_rows[at], strict=True))
        head = stream, group, utc(epochs[at]), epochs[at], seqs[at]
        score = _Score(*head, scores[at], alarms[at], warming[at], named, parts, drifted[at])
        if weights is not None:
            score.weights = dict(zip(names.experts, weights[at], strict=True))
        if muted is not None and muted[at]:
            score.muted = True
        found[row] = Message(f"{prefix}/{group}/{stream}/score", _encode(score), "score", retain=False, qos=0)
    return found


def incident(prefix: str, group: str, told: Incident, epoch: float, seq: int) -> list[Message]:
    """What to publish about an incident of one stream.

    Args:
        epoch, seq: of the frame in which it was raised, updated or cleared; s since the epoch.
    """
    course = _course(told)
    payload = _Incident(
        stream=told.stream,
        group=group,
        time=utc(epoch),
        epoch=epoch,
        seq=seq,
        terms=told.terms,
        expected=told.expected,
        part_of=told.part_of,
        **course,
    )
    return _retained(f"{prefix}/{group}/{told.stream}/incident", _encode(payload), told)


def group_incident(prefix: str, group: str, told: Incident, epoch: float) -> list[Message]:
    """What to publish about an incident of many streams; `epoch` is the time of the newest frame, s since the epoch."""
    payload = _GroupIncident(group=group, time=utc(epoch), epoch=epoch, streams=told.streams, **_course(told))
    return _retained(f"{prefix}/{group}/incident", _encode(payload), told)


def encode_silence(prefix: str, group: str, incidents: Sequence[Incident]) -> list[Message]:
    """The messages that tell the incidents of streams that sent nothing: of the frames that did not come."""
    found: list[Message] = []
    for told in incidents:
        if told.streams:
            found += group_incident(prefix, group, told, told.start)
        else:
            seq = int(told.id.rpartition("-")[2])  # where it begins there is no frame yet
            found += incident(prefix, group, told, told.start, seq)
    return found


def status(prefix: str, state: Literal["online", "offline"], *, version: str, time: float) -> Message:
    """The retained message that says whether the daemon is there.

    `time` is since when, in s since the epoch; in a last will it is when the connection was made that is now lost.
    """
    payload = _encode(_Status(state, version, utc(time), time))
    return Message(f"{prefix}/status", payload, "status", retain=True, qos=1)


def _by_channel(array: F64) -> F64:
    """An array [B, ..., H, C] as [B, C, ..., H]."""
    return np.moveaxis(array, -1, 1)


def _course(told: Incident) -> dict[str, Any]:
    """The fields of `_Course`."""
    return {
        "id": told.id,
        "state": told.state,
        "reason": told.reason,
        "start": utc(told.start),
        "start_epoch": told.start,
        "peak": utc(told.peak),
        "peak_epoch": told.peak,
        "end": None if told.end is None else utc(told.end),
        "end_epoch": told.end,
        "score": told.score,
        "channels": told.channels,
    }


def _retained(topic: str, payload: bytes, told: Incident) -> list[Message]:
    """Keep it on the broker while it is open."""
    if told.state != "cleared":
        return [Message(topic, payload, "incident", retain=True, qos=1)]
    return [
        Message(topic, payload, "incident", retain=False, qos=1),
        Message(topic, b"", "incident", retain=True, qos=1),
    ]
