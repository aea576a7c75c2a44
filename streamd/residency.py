"""Which streams are in memory: the ones silent for longest leave for the disk, and come back unchanged when they speak.

No outcome depends on it. Knows names and counts; the engine packs and unpacks the rows, the store keeps them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from streamd import metrics
from streamd.engine.engine import Engine
from streamd.store.sqlite import StoreError

log = logging.getLogger("streamd.residency")

ROOM = 0.1  # of the limit is made free at once, so that it is not done for each new stream


class Spill(Protocol):
    """Rows on the disk; see `store.spill`."""

    def put(self, items: Sequence[tuple[str, int, bytes]]) -> None: ...
    def get(self, stream: str) -> bytes | None: ...


class Disk(Protocol):
    """Runs a blocking call elsewhere, one after the other."""

    async def __call__(self, work: Callable[[], Any]) -> Any: ...


class Residency:
    """Of one group's streams.

    Args:
        group: its name.
        engine: whose streams they are.
        spill: shared by all groups.
        disk: runs the spill's calls.
        limit: streams in memory.
    """

    def __init__(self, group: str, engine: Engine, spill: Spill, disk: Disk, limit: int) -> None:
        self.lock = asyncio.Lock()  # held while rows are neither in memory nor on the disk
        self._group = group
        self._engine = engine
        self._spill = spill
        self._disk = disk
        self.limit = limit

    async def bring(self, streams: Iterable[str]) -> None:
        """Make sure that those of the streams that were ever seen are in memory.

        Raises:
            StoreError: the disk does not give them: going on without would be beginning anew.
        """
        engine = self._engine
        if engine.known == engine.resident or not engine.absent(streams):
            return
        async with self.lock:
            wanted = engine.absent(streams)
            rows = await self._disk(lambda: [(stream, self._spill.get(self._key(stream))) for stream in wanted])
            engine.restore([(stream, row) for stream, row in rows if row is not None])

    async def make_room(self, position: int) -> list[str]:
        """Let streams leave if there are too many; gives those that left.

        Args:
            position: of the last record applied.
        """
        engine = self._engine
        if engine.resident <= self.limit:
            return []
        async with self.lock:
            items = engine.spill(engine.resident - int(self.limit * (1.0 - ROOM)))
            versions = [(self._key(stream), position, row) for stream, row in items]
            try:
                await self._disk(lambda: self._spill.put(versions))
            except StoreError as error:
                engine.restore(items)
                log.error("action=spill_failed group=%s streams=%d reason=%r", self._group, len(items), str(error))
                return []
        metrics.spilled.labels(self._group).inc(len(items))
        return [stream for stream, _ in items]

    def _key(self, stream: str) -> str:
        return f"{self._group}/{stream}"
