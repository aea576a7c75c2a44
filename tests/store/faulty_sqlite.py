"""SQLite over a disk that fails on demand: a file-system layer for apsw, and its connection with the face of sqlite3's.

Knows how SQLite calls a file system and what it makes of errors; the disk knows what becomes of the bytes.
"""

# ruff: noqa: N802

from __future__ import annotations

import contextlib
import errno
import itertools
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from streamd.store.sqlite import Connect
from tests.store.faults import Disk

_names = itertools.count()


def through(disk: Disk) -> Connect:
    """Connects as `store.sqlite.connect` does, to files on a disk."""
    vfs = _Vfs(f"disk-{next(_names)}", disk)

    def connect(path: Path) -> Connection:
        connection = Connection(path, vfs)
        disk.users.append(connection.drop)
        return connection

    return connect


class _Vfs(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        self._disk = disk
        super().__init__(name, "unix")
        self.name = name

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        path = None if name is None else Path(name if isinstance(name, str) else name.filename())
        if path is None or not self._disk.holds(path):
            return apsw.VFSFile("unix", name, flags)
        new = bool(flags[0] & apsw.SQLITE_OPEN_CREATE) and not path.exists()
        if not new:
            return _VfsFile(self._disk, path, name, flags)
        with _as_sqlite(apsw.SQLITE_CANTOPEN):
            return self._disk.create(path, lambda: _VfsFile(self._disk, path, name, flags, new=True))

    def xDelete(self, name: str, sync_folder: bool) -> None:
        path = Path(name)
        if not path.exists():
            super().xDelete(name, False)  # says that there is none
        with _as_sqlite(apsw.SQLITE_IOERR_DELETE):
            self._disk.unlink(path, lambda: super(_Vfs, self).xDelete(name, False))
            if sync_folder:
                self._disk.sync_folder(path.parent)

    def excepthook(self, *_: object) -> bool:
        """SQLite has no way to tell this one: it goes on."""
        return True


class _VfsFile(apsw.VFSFile):
    def __init__(self, disk: Disk, path: Path, name: Any, flags: list[int], *, new: bool = False) -> None:
        super().__init__("unix", name, flags)
        self._disk, self._path = disk, path
        kinds = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
        self._name_unsynced = new and bool(flags[0] & kinds)

    def xWrite(self, data: bytes, offset: int) -> None:
        with _as_sqlite(apsw.SQLITE_IOERR_WRITE):
            done = self._disk.write(
                self._disk.file(self._path),
                offset,
                bytes(data),
                lambda part: super(_VfsFile, self).xWrite(part, offset),
            )
            if done < len(data):  # the next write of SQLite's own loop meets the error itself
                raise OSError(self._disk.struck, "a short write")

    def xTruncate(self, length: int) -> None:
        with _as_sqlite(apsw.SQLITE_IOERR_TRUNCATE):
            self._disk.truncate(self._disk.file(self._path), length, lambda: super(_VfsFile, self).xTruncate(length))

    def xSync(self, _flags: int) -> None:
        with _as_sqlite(apsw.SQLITE_IOERR_FSYNC):
            self._disk.sync(self._disk.file(self._path))
            if self._name_unsynced:
                self._disk.sync_name(self._path)
                self._name_unsynced = False

    def excepthook(self, *_: object) -> bool:
        """SQLite has no way to tell this one: it goes on."""
        return True


@contextlib.contextmanager
def _as_sqlite(code: int) -> Any:
    """An OSError as SQLite's own layer reports it."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC and code in (apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_TRUNCATE):
            code = apsw.SQLITE_FULL
        failure = apsw.exception_for(code)
        failure.extendedresult = code
        raise failure from error


class Connection:
    """apsw's connection with the face of sqlite3's."""

    def __init__(self, path: Path, vfs: _Vfs) -> None:
        with _as_sqlite3():
            self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs.name)

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> _Rows:
        with _as_sqlite3():
            return _Rows(self._connection.execute(sql, parameters).fetchall())

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> None:
        with _as_sqlite3():
            self._connection.executemany(sql, parameters).fetchall()

    def close(self) -> None:
        with _as_sqlite3():
            self._connection.close()

    def drop(self) -> None:
        """What becomes of it when the power is gone."""
        with contextlib.suppress(sqlite3.Error):
            self.close()


@dataclass(frozen=True, slots=True)
class _Rows:
    rows: list[Any]

    def fetchall(self) -> list[Any]:
        return self.rows


@contextlib.contextmanager
def _as_sqlite3() -> Any:
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None  # SQLite passes over some errors while it closes
    try:
        yield
    except apsw.Error as error:
        failure = sqlite3.OperationalError(str(error))
        failure.sqlite_errorcode = getattr(error, "extendedresult", apsw.SQLITE_ERROR)
        failure.sqlite_errorname = type(error).__name__
        raise failure from error
    finally:
        sys.unraisablehook = hook
