"""The journal: the durable, ordered log of what was applied since the last checkpoint.

Knows positions, groups and bytes; does not know what a record means, nor who waits for it.

A journal is used by one thread at a time: the one that recovers, then the one that commits. The figures
(`first`, `last`, `count`, `bytes`, `published`) may be read from any thread.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streamd.store import sqlite
from streamd.store.sqlite import (
    Connect,
    Connection,
    DamagedError,
    Database,
    Layout,
    Rescue,
    StoreError,
    UnreadableError,
)

JournalError = StoreError  # the disk refuses; nothing was half done, the same call may be made again

# What stands in `base` is older than any entry; what an entry says of `published` is as new as the entry. So a commit
# touches one page at the end of one table, and no other.
LAYOUT = Layout(
    application=0x73646A6C,
    version=1,
    page_size=1024,
    tables=(
        """CREATE TABLE entry (
            position INTEGER PRIMARY KEY,
            published INTEGER NOT NULL,
            crc INTEGER NOT NULL,
            "group" BLOB NOT NULL,
            record BLOB NOT NULL
        )""",
        "CREATE TABLE base (position INTEGER NOT NULL, published INTEGER NOT NULL, crc INTEGER NOT NULL)",
        f"INSERT INTO base VALUES (0, 0, {zlib.crc32(b'0 0')})",  # noqa: S608
    ),
    checkpoint_pages=4000,
    cache_kib=2048,
)
_PAGE_ROWS = 64  # read at once: some MB at most, with the largest records
# The casts give each column its type whatever damage made of it; the checksum then tells.
_SELECT = """
    SELECT position, CAST(published AS INTEGER), CAST(crc AS INTEGER), CAST("group" AS BLOB), CAST(record AS BLOB)
    FROM entry WHERE position > ? ORDER BY position LIMIT ?
"""
_INSERT = "INSERT INTO entry VALUES (?, ?, ?, ?, ?)"
_BASE = "UPDATE base SET position = ?, published = ?, crc = ?"

_Row = tuple[int, int, int, bytes, bytes]  # as in the table


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of one group, as it was applied."""

    position: int  # from 1, no gaps
    group: str
    record: bytes  # as `codec.encode` gives it


class Journal:
    """Entries on the disk, with no gap from `first` to `last`; made by `open`."""

    def __init__(self, database: Database, rescue: Rescue | None) -> None:
        self._database = database
        self.rescue = rescue  # None: the journal was sound when it was opened
        self.base = 0  # position before the first entry
        self.last = 0  # position of the last entry; `base` if there is none
        self.bytes = 0  # of the records
        self.published = 0  # position up to which all outcomes had been handed out by the last commit
        self._doubtful = False  # whether a call failed, so that only the disk knows whether it happened

    @classmethod
    def open(cls, path: Path, connect: Connect = sqlite.connect, after: int = 0) -> Self:
        """The journal at a path, every byte of it verified; made if there is none.

        A damaged one goes to quarantine, `rescue` says why, and a new one begins with what could be read: the entries
        up to the first that is damaged or missing. Where the state at position `after` is safe elsewhere, those are
        the entries from there on, and damage before them loses nothing. A journal that ends before `after` goes on
        from there.

        The caller holds the folder's lock.

        Raises:
            StoreError: the disk is full, read-only or gone, or another process has the file.
            VersionError: the journal is from a newer streamd.
        """
        database = Database.made(path, LAYOUT, connect)
        try:
            _verify(database)
            rescue = None
        except (DamagedError, UnreadableError) as error:
            database, rescue = database.replaced(str(error), lambda new: _copy(database, new, after))
        journal = cls(database, rescue)
        journal._measure()
        if journal.last < after:
            journal.truncate(after)
        return journal

    @property
    def first(self) -> int:
        """Position of the first entry; `last + 1` if there is none."""
        return self.base + 1

    @property
    def count(self) -> int:
        """How many entries there are."""
        return self.last - self.base

    def commit(self, entries: Sequence[Entry], published: int) -> None:
        """Makes entries durable, all or none: when this returns they survive a power cut.

        Entries that are there already, from a call that failed or may have failed, are passed over, so a failed call
        is made again with the same entries and more. After a power cut those of a failed call may be found, as if it
        had succeeded. `published` counts up to the last entry; what lies beyond has no record to be found again.

        Raises:
            ValueError: the entries do not follow the last one, or differ from those that are there.
            StoreError: the disk is full, read-only, gone or sick.
            DamagedError: the file is not what was written.
        """
        self._settle()
        fresh = self._following(entries)
        last = fresh[-1].position if fresh else self.last
        published = max(self.published, min(published, last))
        with self._change() as connection:
            if fresh:
                connection.executemany(_INSERT, [_row(entry, published) for entry in fresh])
            elif published > self.published:
                connection.execute(_BASE, _base(self.base, published))
        self.last, self.published = last, published
        self.bytes += sum(len(entry.record) for entry in fresh)

    def entries(self, after: int) -> Iterator[Entry]:
        """The entries behind a position, in order; those that are committed meanwhile are among them.

        Raises:
            ValueError: some of them are gone: `after` lies before the first.
            DamagedError: one is not what was written.
            StoreError: the disk does not give them.
        """
        self._settle()
        if after < self.base:
            raise ValueError(f"{self._database.path}: begins at {self.first}, has no entries from {after + 1} on")
        return (
            Entry(position, group.decode(), record) for position, _, _, group, record in _sound(self._database, after)
        )

    def truncate(self, upto: int) -> None:
        """Forgets entries up to a position, which a checkpoint must hold; beyond `last`, the next one follows there.

        The space is used again; of a large file that is nearly empty it is given back.

        Raises:
            StoreError, DamagedError: as in `commit`.
        """
        self._settle()
        if upto <= self.base:
            return
        ((gone,),) = self._database.rows("SELECT total(length(record)) FROM entry WHERE position <= ?", (upto,))
        with self._change() as connection:
            connection.execute("DELETE FROM entry WHERE position <= ?", (upto,))
            connection.execute(_BASE, _base(upto, self.published))
        self.base, self.last = upto, max(self.last, upto)
        self.bytes -= int(gone)
        self._database.shrink()

    def close(self) -> None:
        """Ends the use of the file."""
        self._database.close()

    def _following(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Those of the entries that are not there yet."""
        if not entries:
            return entries
        start = entries[0].position
        if start > self.last + 1 or any(entry.position != start + at for at, entry in enumerate(entries)):
            positions = f"{start} to {entries[-1].position}"
            raise ValueError(f"{len(entries)} entries at positions {positions} do not follow {self.last} without gap")
        known = self.last + 1 - start
        for entry in entries[max(0, self.base + 1 - start) : known]:
            if next(_sound(self._database, entry.position - 1))[3:] != (entry.group.encode(), entry.record):
                raise ValueError(f"another entry is at position {entry.position}")
        return entries[known:]

    @contextmanager
    def _change(self) -> Iterator[Connection]:
        """A transaction; if it raises, the next call asks the disk what became of it."""
        self._doubtful = True
        with self._database.transaction() as connection:
            yield connection
        self._doubtful = False

    def _settle(self) -> None:
        if self._doubtful:
            known = self.last
            self._measure()
            if self.last < known:
                raise DamagedError(f"{self._database.path}: ends at {self.last}, but {known} was committed")
            self._doubtful = False

    def _measure(self) -> None:
        """Takes the figures from the disk."""
        base, published = _base_of(self._database)
        ((size,),) = self._database.rows("SELECT total(length(record)) FROM entry")
        newest = self._database.rows("SELECT position, published FROM entry ORDER BY position DESC LIMIT 1")
        last, latest = newest[0] if newest else (base, 0)
        # A rescue may have lost entries whose outcomes were handed out.
        self.base, self.last, self.bytes, self.published = base, last, int(size), min(max(published, latest), last)


def _row(entry: Entry, published: int) -> _Row:
    group = entry.group.encode()
    return entry.position, published, _crc(entry.position, published, group, entry.record), group, entry.record


def _crc(position: int, published: int, group: bytes, record: bytes) -> int:
    return zlib.crc32(record, zlib.crc32(b"%d %d %d " % (position, published, len(group)) + group))


def _base(position: int, published: int) -> tuple[int, int, int]:
    return position, published, zlib.crc32(b"%d %d" % (position, published))


def _base_of(database: Database) -> tuple[int, int]:
    """Position before the first entry, and what had been published when it was set."""
    fields = "CAST(position AS INTEGER), CAST(published AS INTEGER), CAST(crc AS INTEGER)"
    rows = database.rows(f"SELECT {fields} FROM base")  # noqa: S608
    if len(rows) != 1 or _base(*rows[0][:2]) != rows[0]:
        raise DamagedError(f"{database.path}: does not say where it begins")
    return rows[0][0], rows[0][1]


def _sound(database: Database, after: int) -> Iterator[_Row]:
    """The rows behind a position; raises DamagedError at the first that is missing or not what was written."""
    while rows := database.rows(_SELECT, (after, _PAGE_ROWS)):
        for row in rows:
            after += 1
            position, published, crc, group, record = row
            if position != after:
                raise DamagedError(f"{database.path}: entry {after} is missing")
            if group is None or record is None or crc != _crc(position, published, group, record):
                raise DamagedError(f"{database.path}: entry {after} has a wrong checksum")
            yield row


def _verify(database: Database) -> None:
    """Reads everything; raises DamagedError if it is not what was written."""
    database.check()
    base, _ = _base_of(database)
    ((before,),) = database.rows("SELECT count(*) FROM entry WHERE position <= ?", (base,))
    if before:
        raise DamagedError(f"{database.path}: has entries from before {base + 1}, where it begins")
    for _ in _sound(database, base):
        pass


def _readable(database: Database, after: int) -> Iterator[_Row]:
    """The rows behind a position up to the first that is damaged or missing."""
    with suppress(DamagedError, UnreadableError):
        yield from _sound(database, after)


def _copy(damaged: Database, new: Database, after: int) -> int:
    """Writes what can be kept of a damaged journal to a new one; gives the number of entries."""
    start, published = after, 0
    rows: Iterator[_Row] = iter(())
    with suppress(DamagedError, UnreadableError):
        damaged.check_tables()
        rows = _readable(damaged, after)
        base, published = _base_of(damaged)
        if base > after:
            start, rows = base, _readable(damaged, base)
    with new.transaction() as connection:
        connection.executemany(_INSERT, rows)
        connection.execute(_BASE, _base(start, min(published, start)))
    ((kept,),) = new.rows("SELECT count(*) FROM entry")
    return int(kept)
