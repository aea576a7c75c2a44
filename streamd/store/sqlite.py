"""One SQLite file with one writer: made, opened, opened again after a failure, replaced when it is damaged.

Knows pragmas, error codes and in which order files may be moved; does not know what the tables hold.

WAL mode, one fsync of the write-ahead log for each transaction. The connection is dropped after every error and made
again by the next call: what the disk holds then is the truth, not what SQLite remembers from before.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from streamd.store import folders

log = logging.getLogger(__name__)

LARGE_BYTES = 64 * 1024 * 1024
_BESIDE = ("-wal", "-journal", "-shm")  # what SQLite puts beside a file
_ERRNO = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_CANTOPEN: errno.ENOENT,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
    sqlite3.SQLITE_LOCKED: errno.EBUSY,
    sqlite3.SQLITE_PROTOCOL: errno.EBUSY,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
}
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNREADABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)


class StoreError(OSError):
    """The disk did not do it, and nothing was half done; it may heal, so try again. `errno` is as near as we know."""


class UnreadableError(StoreError):
    """The disk did not give bytes back. Where it goes on, they are lost."""


class DamagedError(Exception):
    """The file does not hold what was written to it; the text says what is wrong."""


class VersionError(Exception):
    """The file is sound but from a newer streamd; the text says so."""


class Rows(Protocol):
    """What a statement gave."""

    def fetchall(self) -> list[Any]: ...


class Connection(Protocol):
    """What is used of a connection in autocommit mode: sqlite3's own, or one over a disk that fails on demand."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows: ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> object: ...

    def close(self) -> None: ...


Connect = Callable[[Path], Connection]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a kind of file is."""

    application: int  # SQLite's application_id, so that a foreign file is told from ours
    version: int
    page_size: int  # bytes
    tables: tuple[str, ...]  # statements that make them
    # Pages. Each page counts once however often it was written since the log was last copied into the file.
    checkpoint_pages: int
    cache_kib: int


@dataclass(frozen=True, slots=True)
class Rescue:
    """A file was damaged: where it lies now, what was wrong, and how much of it could be kept."""

    path: Path
    reason: str
    kept: int  # rows


def connect(path: Path) -> Connection:
    """A connection to a file that is there; calls may come from any thread, one at a time."""
    # Never creates: a state folder that vanished must not come back empty.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)


class Database:
    """A file that only we write.

    Args:
        path: of a file that is there.
        layout: what it must be.
        connect: how to reach it.

    Every method raises:
        StoreError: the disk is full, read-only, gone or sick, or another process has the file.
        DamagedError: the file is not what was written.
        VersionError: it is from a newer streamd.
    """

    def __init__(self, path: Path, layout: Layout, connect: Connect) -> None:
        self.path = path
        self._layout = layout
        self._connect = connect
        self._connection: Connection | None = None
        self._salvaging = False  # whether we read what we can, and no longer ask what the file is

    @classmethod
    def made(cls, path: Path, layout: Layout, connect: Connect) -> Self:
        """The database at a path, which is made if there is none; finishes what a power cut left half done."""
        with _disk(path):
            if path.exists():
                _remove(_new(path))
            else:
                if not _new(path).exists():
                    _build(path, layout, connect, lambda _: 0)
                _install(path)
        return cls(path, layout, connect)

    def replaced(self, reason: str, fill: Callable[[Database], int]) -> tuple[Database, Rescue]:
        """A database in the place of this one, which goes to quarantine.

        `fill` writes to the new one what can be read of this one, and tells how many rows that is. Until it is safely
        on the disk, this one stays where it is.
        """
        self._salvaging = True
        kept = _build(self.path, self._layout, self._connect, fill)
        self.close()
        with _disk(self.path):
            there = folders.set_aside(self.path)
            log.error("action=quarantine file=%s reason=%r kept=%d now=%s", self.path.name, reason, kept, there)
            _install(self.path)
        return Database(self.path, self._layout, self._connect), Rescue(there, reason, kept)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """What a question gives, all of it."""
        with self._guarded() as connection:
            return connection.execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Statements that happen all or not at all; on the disk when this ends without an error."""
        with self._guarded() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def check_tables(self) -> None:
        """Raises DamagedError if the tables are not those of the layout."""
        found = [text for (text,) in self.rows("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")]
        if found != [text for text in self._layout.tables if text.startswith("CREATE ")]:
            raise DamagedError(f"{self.path}: other tables than there should be")

    def check(self) -> None:
        """Reads the whole file; raises DamagedError if its tables and pages are not as they should be."""
        self.check_tables()
        found = [text for (text,) in self.rows("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            raise DamagedError(f"{self.path}: {'; '.join(found)}")

    def shrink(self) -> None:
        """Gives the file system back what is free, where that is most of a large file."""
        ((pages,),) = self.rows("PRAGMA page_count")
        ((free,),) = self.rows("PRAGMA freelist_count")
        # Else free pages are used again, which costs no write. What is left, at most an eighth, goes through memory.
        if pages * self._layout.page_size > LARGE_BYTES and pages - free < pages // 8:
            self.rows("VACUUM")

    def close(self) -> None:
        """Copies the log into the file; what was committed is safe even where that fails."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def _guarded(self) -> Iterator[Connection]:
        try:
            yield self._connection or self._open()
        except sqlite3.Error as error:
            self.close()
            if (meaning := _meaning(error, self.path)) is None:
                raise
            raise meaning from error
        except BaseException:
            self.close()  # rolls back what was begun
            raise

    def _open(self) -> Connection:
        self._connection = connection = self._connect(self.path)
        prepare(connection, self._layout)
        ((application,),) = connection.execute("PRAGMA application_id").fetchall()
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        if self._salvaging:
            return connection
        if application != self._layout.application or version != stamp(version & 0xFFFF):
            raise DamagedError(f"{self.path}: not a file of this kind")
        if (number := version & 0xFFFF) > self._layout.version:
            raise VersionError(f"{self.path}: in format {number}; this streamd reads {self._layout.version}")
        if number < self._layout.version:
            raise DamagedError(f"{self.path}: in format {number}, which never was")
        return connection


def prepare(connection: Connection, layout: Layout) -> None:
    """Sets what a connection does not remember from the file."""
    for pragma in (
        # No other process may hold back the reuse of the log, and no shared-memory file is written beside it.
        "locking_mode = EXCLUSIVE",
        f"page_size = {layout.page_size}",
        "journal_mode = WAL",
        "synchronous = FULL",
        f"wal_autocheckpoint = {layout.checkpoint_pages}",
        # The log is overwritten from its start, not cut: its size on the disk changes only after a large transaction.
        f"journal_size_limit = {4 * layout.checkpoint_pages * layout.page_size}",
        f"cache_size = -{layout.cache_kib}",
        # Some distributions build SQLite so that it overwrites what is deleted.
        "secure_delete = OFF",
        "temp_store = MEMORY",
        "trusted_schema = OFF",
        "cell_size_check = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def stamp(version: int) -> int:
    """A format's version as the file's user_version, such that damage does not make one version of another."""
    return (zlib.crc32(b"%d" % version) & 0x7FFF) << 16 | version


def _meaning(error: sqlite3.Error, path: Path) -> Exception | None:
    """What an error says of the world; None if it says something of us."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF in _DAMAGE:
        return DamagedError(f"{path}: {error}")
    if code & 0xFF in _ERRNO:
        kind = UnreadableError if code in _UNREADABLE else StoreError
        return kind(_ERRNO[code & 0xFF], f"{error} ({getattr(error, 'sqlite_errorname', code)})", str(path))
    return None


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Errors of files and folders, as those of SQLite are told."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(error.errno, error.strerror, str(path)) from error


# --- making a new file ---
# A file is built under one name, and gets another when it is complete and synced; a log that was left beside the name
# it will bear at last must be gone by then, for SQLite would apply it. Each step is durable before the next:
#   1. the .part becomes .new   2. the damaged file moves   3. its log moves   4. the .new takes the name
# A start that finds no file but a .new was cut between 1 and 4, and goes on there.


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _build(path: Path, layout: Layout, connect: Connect, fill: Callable[[Database], int]) -> int:
    """Makes the new file for a path, durable but not in its place; gives what `fill` gives."""
    part = path.with_name(f"{path.name}.part")
    with _disk(path):
        _remove(part)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        folders.sync(path.parent)

    def connect_empty(path: Path) -> Connection:
        connection = connect(path)
        for pragma in (
            f"page_size = {layout.page_size}",
            "auto_vacuum = NONE",  # free pages are used again; moving others into them would cost writes
            f"application_id = {layout.application}",
            f"user_version = {stamp(layout.version)}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    database = Database(part, layout, connect_empty)
    try:
        with database.transaction() as connection:
            for statement in layout.tables:
                connection.execute(statement)
        filled = fill(database)
    finally:
        database.close()
    if _beside(part):
        raise StoreError(errno.EIO, "the new file could not be finished", str(part))
    with _disk(path):
        part.rename(_new(path))
        folders.sync(path.parent)
    return filled


def _install(path: Path) -> None:
    """Gives a complete new file its place, where there is none."""
    for left in _beside(path):
        folders.set_aside(left)
    _new(path).rename(path)
    folders.sync(path.parent)


def _beside(path: Path) -> list[Path]:
    files = (path.with_name(path.name + suffix) for suffix in _BESIDE)
    return [file for file in files if file.exists()]


def _remove(path: Path) -> None:
    for file in (path, *_beside(path)):
        file.unlink(missing_ok=True)
