"""All streams in memory at a glance, as columns: state, score and its term, time; and what of it has changed since.

Read from the engines' arrays when somebody looks: nothing is kept for it, and no stream costs an object. Knows where
the numbers lie; not who asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from streamd.engine.engine import Engine
from streamd.engine.incidents import CALM
from streamd.page.plain import exact, short
from streamd.records import F64, I64, Array

STATES: Final = ("alarm", "silent", "uneasy", "warming", "ok")  # the worst first
ALARM, SILENT, UNEASY, WARMING, OK = range(len(STATES))
MOST: Final = 20_000  # rows; of more streams those in most trouble are told
GROUP: Final = 1 << 32  # ids of one group's streams lie so far from those of the next


@dataclass(frozen=True, slots=True)
class Table:
    """One row for each stream, by id."""

    id: I64  # [N] ascending; a stream keeps it
    seq: I64  # [N] of the last frame
    state: I64  # [N] place in STATES
    score: F64  # [N] NaN where there is none yet
    term: I64  # [N] place in engine.score.TERMS of the one that is largest; -1: there is no score
    time: F64  # [N] s since the epoch, of the last frame
    warming: F64  # [N] progress of the warm-up
    name: tuple[tuple[int, str], ...]  # [N] place of the group, and stream
    counts: tuple[int, ...]  # streams in each state, those that are left out among them
    known: int  # streams that were ever seen, those on the disk among them
    left_out: int  # streams in memory that match and are not in the table


class _New(msgspec.Struct, array_like=True):
    id: int
    group: int  # place in the list of groups
    stream: str


class _Rows(msgspec.Struct):
    """Columns of the rows that are new or have changed."""

    whole: bool  # what was told before is to be forgotten
    new: list[_New]
    gone: list[int]
    id: list[int]
    seq: list[int]
    state: list[int]
    score: list[float]
    term: list[int]
    time: list[float]
    warming: list[float]
    counts: tuple[int, ...]
    known: int
    left_out: int


_encode = msgspec.json.Encoder().encode


def look(engines: Mapping[str, Engine], search: str = "") -> Table:
    """All streams as they are now, or those whose name or group holds a text, in whatever case.

    Args:
        engines: by group, one at least.
    """
    parts = [_of_group(place, name, engine, search) for place, (name, engine) in enumerate(engines.items())]
    columns = {key: np.concatenate([part[key] for part, _ in parts]) for key in _KEYS}
    names = [(place, name) for place, (_, streams) in enumerate(parts) for name in streams]
    counts = np.bincount(columns["state"], minlength=len(STATES))
    order = np.argsort(columns["id"])
    left_out = max(len(order) - MOST, 0)
    if left_out:
        score = np.nan_to_num(columns["score"], nan=-1.0, posinf=np.finfo(np.float64).max)
        worst = np.lexsort((-score, columns["state"]))[:MOST]
        order = worst[np.argsort(columns["id"][worst])]
    return Table(
        **{key: column[order] for key, column in columns.items()},
        name=tuple(names[at] for at in order.tolist()),
        counts=tuple(counts.tolist()),
        known=sum(engine.known for engine in engines.values()),
        left_out=left_out,
    )


def changes(before: Table | None, now: Table) -> bytes:
    """What somebody who has seen one table has to be told to know the other; JSON, by columns."""
    if before is None:
        changed = new = np.ones(len(now.id), np.bool_)
        gone: list[int] = []
    else:
        place = np.minimum(np.searchsorted(before.id, now.id), max(len(before.id) - 1, 0))
        new = before.id[place] != now.id if len(before.id) else np.ones(len(now.id), np.bool_)
        changed = new.copy()
        for key in ("seq", "state", "warming"):
            old, this = getattr(before, key), getattr(now, key)
            if len(old):
                changed |= old[place] != this
        gone = np.setdiff1d(before.id, now.id, assume_unique=True).tolist()
    ids = now.id[new].tolist()
    names = [now.name[at] for at in np.flatnonzero(new).tolist()]
    return _encode(
        _Rows(
            whole=before is None,
            new=[_New(one, group, stream) for one, (group, stream) in zip(ids, names, strict=True)],
            gone=gone,
            id=now.id[changed].tolist(),
            seq=now.seq[changed].tolist(),
            state=now.state[changed].tolist(),
            score=short(now.score[changed]),
            term=now.term[changed].tolist(),
            time=exact(now.time[changed]),
            warming=short(now.warming[changed], 3),
            counts=now.counts,
            known=now.known,
            left_out=now.left_out,
        )
    )


_KEYS = ("id", "seq", "state", "score", "term", "time", "warming")


def states(engine: Engine, slots: I64, score: F64, warming: F64) -> I64:
    """What is to be said of streams in one word, [B], places in STATES.

    Args:
        score, warming: [B] of their last frames.
    """
    state = np.full(len(slots), OK)
    state[score >= CALM] = UNEASY
    state[warming < 1.0] = WARMING  # whatever the score: its lines are a guess
    state[engine.incidents.open[slots]] = ALARM
    state[engine.silence.silent[slots]] = SILENT
    return state


def _of_group(place: int, group: str, engine: Engine, search: str) -> tuple[dict[str, Array], Sequence[str]]:
    """The columns of a group's streams that match, in the order of their slots, and their names."""
    names: Sequence[str] = engine.streams
    slots = np.arange(len(names))
    wanted = search.casefold()
    if wanted and wanted not in group.casefold():
        slots = np.array([slot for slot, name in enumerate(names) if wanted in name.casefold()], np.int64)
        names = [names[slot] for slot in slots.tolist()]
    frame = engine.timing.age[slots] - 1
    there = frame >= 0  # a stream that was reset has none until it speaks again
    row = frame % engine.past.sizes["R"]
    score = np.where(there, engine.past.score[slots, row].astype(np.float64), np.nan)
    terms = engine.past.terms[slots, row]
    warming = engine.judge.warming(slots)
    columns = {
        "id": place * GROUP + engine.timing.number[slots],
        "seq": engine.timing.seq[slots] - 1,
        "state": states(engine, slots, score, warming),
        "score": score,
        "term": np.where(there, np.nan_to_num(terms, nan=-1.0).argmax(axis=1), -1),
        "time": engine.timing.last_time[slots],
        "warming": warming,
    }
    return columns, names
