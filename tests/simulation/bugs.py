"""Bugs that are planted on purpose, to see that the simulation finds them.

Each is a context in which the daemon has it. Knows the inside of the parts that it breaks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from streamd.checkpointer import Checkpointer
from streamd.keeper import Keeper
from tests.simulation.disk import Disk


@contextlib.contextmanager
def acknowledge_before_commit() -> Iterator[None]:
    """A message is let go when it is applied."""

    def done(self: Keeper, ticket: int, *, timeless: bool = False) -> None:
        self._link.done(ticket)

    with mock.patch.object(Keeper, "done", done):
        yield


@contextlib.contextmanager
def rename_without_sync() -> Iterator[None]:
    """A checkpoint gets its name before its bytes are on the disk."""
    with mock.patch.object(Disk, "sync_file"):
        yield


@contextlib.contextmanager
def truncate_before_checkpoint() -> Iterator[None]:
    """The journal loses what a checkpoint will hold, before that is on the disk."""
    save = Checkpointer._save

    async def truncating(self: Checkpointer, *arguments: Any) -> bool:
        position = self._keeper.position
        if await self._keeper.flush() and self._journal is not None:
            journal = self._journal
            await self._journal_disk(lambda: journal.truncate(position))
        return await save(self, *arguments)

    with mock.patch.object(Checkpointer, "_save", truncating):
        yield


PLANTED: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "acknowledge_before_commit": acknowledge_before_commit,
    "rename_without_sync": rename_without_sync,
    "truncate_before_checkpoint": truncate_before_checkpoint,
}
