"""Incidents that were: what was told of each, the frames around it, and what people said of it. The newest so many MB.

A row is written again under the same key when recovery comes by it again, so that none is lost or doubled. Knows bytes
and keys; not why an incident was raised. Used by one thread at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeAlias, get_args

import msgspec
import numpy as np

from streamd.records import Array, Effect, Excerpt, Incident, Outcome, Teach, Withdraw
from streamd.store import sqlite
from streamd.store.sqlite import Connect, DamagedError, Database, Layout, Rescue, UnreadableError

LAYOUT = Layout(
    application=0x73647361,
    version=1,
    page_size=4096,
    tables=(
        """CREATE TABLE kept (
            id INTEGER PRIMARY KEY,
            "group" TEXT NOT NULL,
            incident TEXT NOT NULL,
            kind TEXT NOT NULL,
            place INTEGER NOT NULL,
            crc INTEGER NOT NULL,
            body BLOB NOT NULL
        )""",
        'CREATE UNIQUE INDEX by_incident ON kept ("group", incident, kind, place)',
    ),
    checkpoint_pages=500,
    cache_kib=2048,
)
MOST_BYTES = 64_000_000  # of the bodies
MOST_INCIDENTS = 5000
PRUNED = 200  # rows, after which room is made: it takes a look at all of them
_FIELDS = '"group", incident, kind, place, crc, body'
_INSERT = f"INSERT OR REPLACE INTO kept (id, {_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_BY_ID = f"SELECT {_FIELDS} FROM kept WHERE id = ?"  # noqa: S608
_LOST = (DamagedError, UnreadableError)

Kind: TypeAlias = Literal["told", "frames", "verdict"]
KINDS = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Item:
    """One row: of an incident, what was told of it once, frames from a number on, or a verdict."""

    group: str
    incident: str
    kind: Kind
    place: int  # checksum of the body; number of the first frame; 0
    body: bytes


class _Frames(msgspec.Struct, frozen=True, array_like=True):
    """An excerpt: arrays as little-endian bytes, deflated."""

    stream: str
    channels: tuple[str, ...]
    seq: int
    count: int
    terms: int
    patterns: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """All there is of one incident."""

    group: str
    told: tuple[Incident, ...]  # oldest first; never empty
    excerpts: tuple[Excerpt, ...]  # by the number of their first frames
    verdict: str  # "false", "real", or "": none


def of_incidents(group: str, outcome: Outcome | Effect) -> list[Item]:
    """What is to be kept of incidents; it takes milliseconds where many are raised at once."""
    bodies = [(one.id, msgspec.msgpack.encode(one)) for one in outcome.incidents]
    # equal incidents are one: a number of a frame would not do for those of many streams, nor times, which may be equal
    items = [Item(group, name, "told", zlib.crc32(body), body) for name, body in bodies]
    excerpts = outcome.excerpts if isinstance(outcome, Outcome) else ()
    return items + [Item(group, one.incident, "frames", one.seq, _packed(one)) for one in excerpts]


def of_verdict(group: str, command: Teach | Withdraw) -> Item:
    """What people said of an incident, or that they took it back."""
    verdict = command.verdict if isinstance(command, Teach) else ""
    return Item(group, command.incident, "verdict", 0, verdict.encode())


class Archive:
    """Incidents on the disk; made by `open`."""

    def __init__(self, database: Database, rescue: Rescue | None) -> None:
        self._database = database
        self._unpruned = PRUNED  # rows since there was last made room
        self.rescue = rescue  # None: nothing was known to be damaged when it was opened

    @classmethod
    def open(cls, path: Path, connect: Connect = sqlite.connect) -> Self:
        """The archive at a path, made if there is none; a damaged one goes to quarantine, and its sound rows are kept.

        Raises:
            StoreError: the disk is full, read-only or gone, or another process has the file.
            VersionError: the file is from a newer streamd.
        """
        database = Database.made(path, LAYOUT, connect)
        rescue = None
        try:
            database.check()
        except _LOST as error:
            database, rescue = database.replaced(str(error), lambda new: _copy(database, new))
        return cls(database, rescue)

    def put(self, items: Sequence[Item]) -> None:
        """Keep these, all or none, in the place of those with the same keys; the oldest incidents make room.

        Raises:
            StoreError, DamagedError: the disk did not do it.
        """
        if not items:
            return
        with self._database.transaction() as connection:
            for item in items:
                key = (item.group, item.incident, item.kind, item.place)
                before = connection.execute(
                    'SELECT id FROM kept WHERE "group" = ? AND incident = ? AND kind = ? AND place = ?', key
                ).fetchall()
                identity = before[0][0] if before else None  # its age stays
                connection.execute(_INSERT, (identity, *key, _crc(*key, item.body), item.body))
            self._unpruned += len(items)
            if self._unpruned < PRUNED:
                return
            self._unpruned = 0
            sizes = connection.execute(
                'SELECT "group", incident, sum(length(body)) FROM kept GROUP BY "group", incident ORDER BY max(id) DESC'
            ).fetchall()
            total = 0
            for number, (group, incident, size) in enumerate(sizes):
                total += size
                if number and (total > MOST_BYTES or number >= MOST_INCIDENTS):
                    connection.execute('DELETE FROM kept WHERE "group" = ? AND incident = ?', (group, incident))

    def latest(self, count: int) -> list[Kept]:
        """The incidents that were moved last, newest first; without their frames.

        Raises:
            StoreError, DamagedError: the disk does not give them.
        """
        rows = self._database.rows(
            "SELECT \"group\", incident FROM kept WHERE kind = 'told' GROUP BY 1, 2 ORDER BY max(id) DESC LIMIT ?",
            (count,),
        )
        found = (self._get(group, incident, frames=False) for group, incident in rows)
        return [one for one in found if one is not None]

    def find(self, incident: str) -> list[Kept]:
        """Incidents of this id, one at most of each group, with their frames."""
        rows = self._database.rows('SELECT DISTINCT "group" FROM kept WHERE incident = ? ORDER BY 1', (incident,))
        found = (self._get(group, incident, frames=True) for (group,) in rows)
        return [one for one in found if one is not None]

    def of_group(self, group: str) -> Iterator[Kept]:
        """All incidents of a group with their frames, one by one."""
        rows = self._database.rows('SELECT DISTINCT incident FROM kept WHERE "group" = ?', (group,))
        found = (self._get(group, incident, frames=True) for (incident,) in rows)
        return (one for one in found if one is not None)

    def damaged(self) -> int:
        """How many rows are not what was written, and so left out."""
        return sum(
            not _is_sound(row)
            for (at,) in self._database.rows("SELECT id FROM kept ORDER BY id")
            for row in self._database.rows(_BY_ID, (at,))
        )

    def close(self) -> None:
        """Ends the use of the file."""
        self._database.close()

    def _get(self, group: str, incident: str, *, frames: bool) -> Kept | None:
        rows = self._database.rows(
            f'SELECT {_FIELDS} FROM kept WHERE "group" = ? AND incident = ? AND kind != ? ORDER BY id',  # noqa: S608
            (group, incident, "" if frames else "frames"),
        )
        told: list[Incident] = []
        excerpts: list[Excerpt] = []
        verdict = ""
        for row in rows:
            if not _is_sound(row):
                continue
            *_, kind, _place, _, body = row
            if kind == "told":
                told.append(msgspec.msgpack.decode(body, type=Incident))
            elif kind == "frames":
                excerpts.append(_unpacked(incident, body))
            else:
                verdict = body.decode()
        return Kept(group, tuple(told), tuple(excerpts), verdict) if told else None


def _packed(one: Excerpt) -> bytes:
    exact: list[Array] = [one.times[:, None], one.values]
    coarse: list[Array] = [one.mean - one.values, one.lower - one.values, one.upper - one.values]
    # a band about a value that is missing has nothing to be told from
    whole: list[Array] = [one.mean, one.lower, one.upper]
    narrow = [np.where(np.isfinite(a), a, b) for a, b in zip(coarse, whole, strict=True)]
    limit = float(np.finfo(np.float32).max)
    single = [np.clip(array, -limit, limit) for array in (*narrow, one.score[:, None], one.terms)]
    data = b"".join(
        (
            np.concatenate(exact, axis=1).astype("<f8").tobytes(),
            np.concatenate(single, axis=1).astype("<f4").tobytes(),
            one.patterns.astype("<f4").tobytes(),
        )
    )
    count, terms = one.terms.shape
    head = one.stream, one.channels, one.seq, count, terms, len(one.patterns)
    return msgspec.msgpack.encode(_Frames(*head, zlib.compress(data, 1)))


def _unpacked(incident: str, body: bytes) -> Excerpt:
    head = msgspec.msgpack.decode(body, type=_Frames)
    data, N, C, T = zlib.decompress(head.data), head.count, len(head.channels), head.terms
    exact = np.frombuffer(data, "<f8", N * (1 + C)).reshape(N, 1 + C).astype(np.float64)
    at = exact.nbytes
    single = np.frombuffer(data, "<f4", N * (3 * C + 1 + T), at).reshape(N, -1).astype(np.float32)
    at += single.nbytes
    patterns = np.frombuffer(data, "<f4", -1, at).reshape(head.patterns, -1) if head.patterns else np.empty((0, 0))
    values = exact[:, 1:]
    base = np.where(np.isfinite(values), values, 0.0)
    mean, lower, upper = (base + single[:, C * at : C * (at + 1)].astype(np.float64) for at in range(3))
    return Excerpt(
        incident=incident,
        stream=head.stream,
        channels=head.channels,
        seq=head.seq,
        times=exact[:, 0],
        values=values,
        mean=mean,
        lower=lower,
        upper=upper,
        score=single[:, 3 * C],
        terms=single[:, 3 * C + 1 :],
        patterns=patterns.astype(np.float32),
    )


def _crc(group: str, incident: str, kind: str, place: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(f"{group}\0{incident}\0{kind}\0{place}".encode()))


def _is_sound(row: Sequence[object]) -> bool:
    group, incident, kind, place, crc, body = row
    return (
        isinstance(group, str)
        and isinstance(incident, str)
        and kind in KINDS
        and isinstance(place, int)
        and isinstance(body, bytes)
        and crc == _crc(group, incident, str(kind), place, body)
    )


def _copy(damaged: Database, new: Database) -> int:
    """Writes the sound rows of a damaged archive to a new one, as far as they can be read; gives their number."""
    kept, at = 0, 0
    with suppress(*_LOST):
        ((last,),) = damaged.rows("SELECT ifnull(max(id), 0) FROM kept")
        while at < last:
            at += 1
            with suppress(*_LOST):
                rows = [row for row in damaged.rows(_BY_ID, (at,)) if _is_sound(row)]
                with new.transaction() as connection:
                    for row in rows:
                        connection.execute(_INSERT, (at, *row))
                kept += len(rows)
    return kept
