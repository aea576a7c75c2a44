"""Rows of streams that left memory, in versions, so that recovery from an older checkpoint finds those of its time.

Knows streams, positions and bytes; does not know what a row holds, nor when a stream has to leave.

A version is the row as it was when the journal stood at a position. Used by one thread at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Self

from streamd.store import sqlite
from streamd.store.sqlite import Connect, DamagedError, Database, Layout, Rescue, UnreadableError

LAYOUT = Layout(
    application=0x73647370,
    version=1,
    page_size=1024,
    tables=(
        """CREATE TABLE version (
            id INTEGER PRIMARY KEY,
            stream BLOB NOT NULL,
            position INTEGER NOT NULL,
            crc INTEGER NOT NULL,
            "row" BLOB NOT NULL
        )""",
        "CREATE UNIQUE INDEX by_stream ON version (stream, position)",
        "CREATE INDEX by_position ON version (position)",
        "CREATE TABLE total (streams INTEGER NOT NULL, forgotten INTEGER NOT NULL, crc INTEGER NOT NULL)",
        f"INSERT INTO total VALUES (0, 0, {zlib.crc32(b'0 0')})",  # noqa: S608
    ),
    checkpoint_pages=4000,
    cache_kib=8192,
)
_FIELDS = 'CAST(stream AS BLOB), CAST(position AS INTEGER), CAST(crc AS INTEGER), CAST("row" AS BLOB)'
_INSERT = 'INSERT OR REPLACE INTO version (stream, position, crc, "row") VALUES (?, ?, ?, ?)'
_TOTAL = "UPDATE total SET streams = ?, forgotten = ?, crc = ?"
_OLDER = """
    SELECT old.id FROM version AS new JOIN version AS old ON old.stream = new.stream AND old.position < new.position
    WHERE new.position > ? AND new.position <= ?
"""
_ANY = 2**63 - 1  # the highest position there can be
_CHUNK = 100  # rows read at once
_LOST = (DamagedError, UnreadableError)

_Row = tuple[bytes, int, int, bytes]  # stream, position, crc, row


class Spill:
    """Versions of rows on the disk; made by `open`."""

    def __init__(self, database: Database, rescue: Rescue | None) -> None:
        self._database = database
        self.rescue = rescue  # None: nothing was known to be damaged when it was opened

    @classmethod
    def open(cls, path: Path, connect: Connect = sqlite.connect) -> Self:
        """The spill at a path, made if there is none.

        It is not read through, which may take long; a damaged row is found when it is asked for, and a note of it is
        left beside the file. Where there is such a note, or the file can't be read at all, it goes to quarantine,
        `rescue` says why, and a new one begins with every version that is sound.

        The caller holds the folder's lock.

        Raises:
            StoreError: the disk is full, read-only or gone, or another process has the file.
            VersionError: the file is from a newer streamd.
        """
        database = Database.made(path, LAYOUT, connect)
        note = _note(path)
        rescue = None
        try:
            if note.exists():
                raise DamagedError(f"{path}: was found damaged")
            database.check_tables()
            _totals(database)
        except _LOST as error:
            database, rescue = database.replaced(str(error), lambda new: _copy(database, new))
            note.unlink(missing_ok=True)
        return cls(database, rescue)

    def put(self, items: Sequence[tuple[str, int, bytes]]) -> None:
        """Keeps rows of (stream, position, row), all or none: when this returns they survive a power cut.

        A row that is there already for the same stream and position is replaced.

        Raises:
            ValueError: a position is not beyond what `forget` was told.
            StoreError: the disk is full, read-only, gone or sick; make the same call again when it has healed.
            DamagedError: the file is not what was written.
        """
        if not items:
            return
        rows = [_sealed(stream.encode(), position, row) for stream, position, row in items]
        with self._noting_damage(), self._database.transaction() as connection:
            streams, forgotten = _totals(self._database)
            if (lowest := min(position for _, position, _ in items)) <= forgotten:
                raise ValueError(f"{self._database.path}: a row of position {lowest}, but {forgotten} is settled")
            for stream in {row[0] for row in rows}:
                known = connection.execute("SELECT 1 FROM version WHERE stream = ? LIMIT 1", (stream,)).fetchall()
                streams += not known
            connection.executemany(_INSERT, rows)
            connection.execute(_TOTAL, _total(streams, forgotten))

    def get(self, stream: str, upto: int | None = None) -> bytes | None:
        """The newest row of a stream, or the newest at or before a position; None if there is none.

        Raises:
            DamagedError: it is not what was written.
            StoreError: the disk does not give it; an UnreadableError may mean that it never will.
        """
        question = f"SELECT {_FIELDS} FROM version WHERE stream = ? AND position <= ? ORDER BY position DESC LIMIT 1"  # noqa: S608
        with self._noting_damage():
            rows = self._database.rows(question, (stream.encode(), _ANY if upto is None else upto))
            if rows and not _is_sound(rows[0]):
                raise DamagedError(f"{self._database.path}: the row of stream {stream!r} has a wrong checksum")
        return rows[0][3] if rows else None

    def forget(self, before: int) -> None:
        """Drops versions that a newer one, at or before a position, stands in for: nothing goes back behind it.

        Raises:
            StoreError, DamagedError: as in `put`.
        """
        with self._noting_damage():
            streams, forgotten = _totals(self._database)
            between = (forgotten, before)
            if not self._database.rows("SELECT 1 FROM version WHERE position > ? AND position <= ? LIMIT 1", between):
                return
            with self._database.transaction() as connection:
                connection.execute(f"DELETE FROM version WHERE id IN ({_OLDER})", between)  # noqa: S608
                connection.execute(_TOTAL, _total(streams, before))
            self._database.shrink()

    def rollback(self, after: int) -> None:
        """Drops versions from behind a position: recovery goes on from there, and will make them again.

        Raises:
            ValueError: `forget` was told of a later position, so rows of this one may be gone.
            StoreError, DamagedError: as in `put`.
        """
        with self._noting_damage():
            streams, forgotten = _totals(self._database)
            if after < forgotten:
                raise ValueError(f"{self._database.path}: can't go back to {after}, {forgotten} is settled")
            question = """
                SELECT count(DISTINCT stream), total(NOT EXISTS (
                    SELECT 1 FROM version AS kept WHERE kept.stream = gone.stream AND kept.position <= ?1
                )) FROM (SELECT DISTINCT stream FROM version WHERE position > ?1) AS gone
            """
            ((touched, lost),) = self._database.rows(question, (after,))
            if not touched:
                return
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM version WHERE position > ?", (after,))
                connection.execute(_TOTAL, _total(streams - int(lost), forgotten))
            self._database.shrink()

    def count(self) -> int:
        """How many streams have a row here."""
        return _totals(self._database)[0]

    def close(self) -> None:
        """Ends the use of the file."""
        self._database.close()

    @contextmanager
    def _noting_damage(self) -> Iterator[None]:
        """Leaves a note of damage, so that the next start looks into all of it."""
        try:
            yield
        except DamagedError:
            with suppress(OSError):  # else the next start meets it again
                _note(self._database.path).touch()
            raise


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def _sealed(stream: bytes, position: int, row: bytes) -> _Row:
    return stream, position, zlib.crc32(row, zlib.crc32(b"%d %d " % (position, len(stream)) + stream)), row


def _is_sound(row: _Row) -> bool:
    stream, position, _, content = row
    return stream is not None and content is not None and _sealed(stream, position, content) == row


def _total(streams: int, forgotten: int) -> tuple[int, int, int]:
    return streams, forgotten, zlib.crc32(b"%d %d" % (streams, forgotten))


def _totals(database: Database) -> tuple[int, int]:
    """How many streams there are, and up to which position superseded versions are gone."""
    fields = "CAST(streams AS INTEGER), CAST(forgotten AS INTEGER), CAST(crc AS INTEGER)"
    rows = database.rows(f"SELECT {fields} FROM total")  # noqa: S608
    if len(rows) != 1 or _total(*rows[0][:2]) != rows[0]:
        raise DamagedError(f"{database.path}: does not say how much it holds")
    return rows[0][0], rows[0][1]


def _copy(damaged: Database, new: Database) -> int:
    """Writes the sound versions of a damaged spill to a new one; gives their number."""
    rows = _readable(damaged)
    while chunk := list(islice(rows, _CHUNK)):
        with new.transaction() as connection:
            connection.executemany(_INSERT, chunk)
    ((versions, streams),) = new.rows("SELECT count(*), count(DISTINCT stream) FROM version")
    with new.transaction() as connection:
        connection.execute(_TOTAL, _total(streams, 0))
    return int(versions)


def _readable(database: Database) -> Iterator[_Row]:
    """Every version that is sound, passing over what can't be read."""
    select = f"SELECT id, {_FIELDS} FROM version WHERE id"  # noqa: S608
    after, highest = 0, _highest(database)
    while after < highest:
        try:
            rows = database.rows(f"{select} > ? ORDER BY id LIMIT ?", (after, _CHUNK))
        except _LOST:  # somewhere in these: one by one
            rows = []
            with suppress(*_LOST):
                rows = database.rows(f"{select} = ?", (after + 1,))
            after += 1
        else:
            after = rows[-1][0] if rows else highest
        yield from (row[1:] for row in rows if _is_sound(row[1:]))


def _highest(database: Database) -> int:
    """The highest id, by the table or, where its end can't be read, by an index; 0 if neither tells."""
    with suppress(*_LOST):
        database.check_tables()
        for source in ("version", "(SELECT id FROM version INDEXED BY by_position)"):
            with suppress(*_LOST):
                ((highest,),) = database.rows(f"SELECT ifnull(max(id), 0) FROM {source}")  # noqa: S608
                return int(highest)
    return 0
