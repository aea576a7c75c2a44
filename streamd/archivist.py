"""Hands what belongs to incidents to the archive, behind the journal: what is archived has happened for good.

Nothing waits for it but a checkpoint, so that what a checkpoint covers need not be computed again to be archived. Knows
what waits; not what an incident is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeGuard

from streamd import metrics
from streamd.records import Command, Effect, Outcome, Teach, Withdraw
from streamd.store import archive
from streamd.store.archive import Item
from streamd.store.sqlite import DamagedError, StoreError

log = logging.getLogger("streamd.archivist")

PAUSE_S = 1.0  # between two writes
Concern: TypeAlias = Outcome | Effect | Teach | Withdraw
MOST_WAITING = 4000  # outcomes; of more, the oldest are given up


class Disk(Protocol):
    """Runs a blocking call elsewhere, one after the other."""

    async def __call__(self, work: Callable[[], Any]) -> Any: ...


class Archive(Protocol):
    """Where incidents are kept; see `store.archive`."""

    def put(self, items: list[Item]) -> None: ...


class Archivist:
    """Of all groups.

    Args:
        archive: used through `disk` only.
        disk: runs the archive's calls.
        flush: commits the records so far to the journal; false when the disk refuses.
        waiting: what a recovery left.
    """

    def __init__(
        self,
        archive: Archive,
        disk: Disk,
        flush: Callable[[], Awaitable[bool]],
        waiting: Sequence[tuple[str, Concern]] = (),
    ) -> None:
        self._archive = archive
        self._disk = disk
        self._flush = flush
        self._waiting = list(waiting)
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        if waiting:
            self._wake.set()
        self._failing = False

    def take(self, group: str, one: Outcome | Effect | Command) -> None:
        """Keep what belongs to incidents of what was just noted and applied."""
        if not concerns(one):
            return
        if len(self._waiting) >= MOST_WAITING:
            del self._waiting[0]
            metrics.dropped.labels("archive", "full").inc()
        self._waiting.append((group, one))
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Write what waits as soon as it is committed, until stopped; what waits then is for `settle`."""
        stopped = asyncio.create_task(stop.wait(), name="archivist-stop")
        try:
            while not stop.is_set():
                woken = asyncio.create_task(self._wake.wait(), name="archivist-wake")
                await asyncio.wait({stopped, woken}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                if stop.is_set():
                    return
                self._wake.clear()
                if not await self._flush() or not await self.settle():
                    self._wake.set()  # again
                await asyncio.wait({stopped}, timeout=PAUSE_S)
        finally:
            stopped.cancel()

    async def settle(self) -> bool:
        """Write all that was taken by now, which is committed; false if the disk refused, and it goes on waiting."""
        async with self._lock:
            some = list(self._waiting)
            if not some:
                return True
            try:
                await self._disk(lambda: self._archive.put(items(some)))
            except StoreError as error:
                if not self._failing:
                    log.error("action=archive_failed waiting=%d reason=%r", len(some), str(error))
                self._failing = True
                return False
            except DamagedError as error:  # the next start makes a new one; that must not hold up everything else
                log.error("action=archive_damaged lost=%d reason=%r", len(some), str(error))
                metrics.dropped.labels("archive", "damaged").inc(len(some))
            self._failing = False
            gone = set(map(id, some))
            self._waiting = [one for one in self._waiting if id(one) not in gone]
            return True


def concerns(one: Outcome | Effect | Command) -> TypeGuard[Concern]:
    """Whether there is anything in it for the archive."""
    if isinstance(one, Outcome):
        return bool(one.incidents or one.excerpts)
    if isinstance(one, Effect):
        return bool(one.incidents)
    return isinstance(one, Teach | Withdraw)


def items(some: list[tuple[str, Concern]]) -> list[Item]:
    """The archive's rows, by groups' names, in order."""
    rows: list[Item] = []
    for group, one in some:
        if isinstance(one, Teach | Withdraw):
            rows.append(archive.of_verdict(group, one))
        else:
            rows += archive.of_incidents(group, one)
    return rows
