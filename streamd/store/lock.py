"""One daemon per state folder: an exclusive lock that the kernel drops when its holder dies.

Knows the folder and its `lock` file; does not know what else is kept there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StateLocked(Exception):  # noqa: N818  # a state of the world, not a mistake
    """Another process works on the folder; the text has its process id."""


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Holds the lock of a state folder, which is made (mode 0700) if it is missing.

    Raises:
        StateLocked: another process holds it.
        OSError: the folder can't be made or written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The file stays when the lock is released: two processes could otherwise hold locks on two files of one name.
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateLocked(f"{folder}: in use by {_named(descriptor)}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def holder(folder: Path) -> str | None:
    """Who holds the lock of a state folder, as `process 123`; None: nobody does. Changes nothing.

    Nothing but an attempt tells, so for some microseconds nobody else gets a free lock either.

    Raises:
        OSError: the lock can't be looked at.
    """
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(descriptor)
    finally:
        os.close(descriptor)
    return None


def _named(descriptor: int) -> str:
    """The process that a lock file names."""
    number = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return f"process {number}" if number.isdigit() else "another process"
