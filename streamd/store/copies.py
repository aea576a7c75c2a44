"""A copy of an SQLite file that another process may be writing, for those who only look.

Knows which bytes of a file and its log belong together; does not know what they mean. Takes no lock, and leaves nothing
beside the file: SQLite itself would do both to read it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

TRIES = 10  # the log begins anew once in thousands of pages, so two in a row are rare
# In this order: what moves from the log to the file while the file is copied is in the copy of the log as well. A .new
# stands in for a file that a power cut kept from its place; see `sqlite`.
_PARTS = ("", ".new", "-wal")
_LOG_HEADER = 32  # bytes; differs each time that the log begins anew, which is when it loses pages

_Mark: TypeAlias = tuple[int | None, int | None, bytes]


class CopyError(Exception):
    """No copy could be had; the text says why."""


@contextmanager
def copied(path: Path) -> Iterator[Path | None]:
    """A copy of the file at a path with its log, in a temporary folder of its own; None if there is no file.

    It holds every transaction that was complete when this was called.

    Raises:
        CopyError: the temporary folder has no room, or the file changes too fast.
        OSError: the disk does not give the file.
    """
    with tempfile.TemporaryDirectory(prefix="streamd-") as folder:
        yield _copy(path, Path(folder))


def _copy(path: Path, folder: Path) -> Path | None:
    for _ in range(TRIES):
        before = _mark(path)
        if before[:2] == (None, None):
            return None
        for suffix in _PARTS:
            _copy_one(path.with_name(path.name + suffix), folder)
        if _mark(path) == before:
            return folder / path.name
    raise CopyError(f"{path}: changes too fast to be copied; try again")


def _copy_one(path: Path, folder: Path) -> None:
    there = folder / path.name
    there.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        size, free = path.stat().st_size, shutil.disk_usage(folder).free
        if size > free:
            raise CopyError(
                f"{path}: its {size:,} bytes do not fit in {folder.parent}; set TMPDIR to a place with room"
            )
        shutil.copyfile(path, there)


def _mark(path: Path) -> _Mark:
    """What stays the same as long as copies of file and log belong together."""
    log = b""
    with suppress(FileNotFoundError), path.with_name(f"{path.name}-wal").open("rb") as file:
        log = file.read(_LOG_HEADER)
    return _number(path), _number(path.with_name(f"{path.name}.new")), log


def _number(path: Path) -> int | None:
    with suppress(FileNotFoundError):
        return path.stat().st_ino
    return None
