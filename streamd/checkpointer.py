"""When a checkpoint is worth its bytes, and how it is made without stopping the live path.

The state is marked between two batches and copied in slices while they go on; the journal is flushed up to the mark,
the file is written on another thread, and only when it is on disk the journal loses what two checkpoints cover.
Knows costs and order; the engines know what is copied, the store how it is kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import msgspec

from streamd import metrics
from streamd.config import State
from streamd.engine.engine import Engine
from streamd.keeper import Keeper
from streamd.records import Array
from streamd.residency import Residency
from streamd.store import checkpoint
from streamd.store.checkpoint import Checkpoint
from streamd.store.sqlite import StoreError
from streamd.wire.messages import Message

log = logging.getLogger("streamd.checkpointer")

LOOK_S = 1.0  # how often the costs are looked at
OUTCOMES_S = 5.0  # a checkpoint waits so long for outcomes to go out
LEAST_BYTES = 1_000_000  # a journal smaller than this is not worth a checkpoint


class Journal(Protocol):
    """Where committed records are; see `store.journal`."""

    def truncate(self, upto: int) -> None: ...


class Spill(Protocol):
    """Rows of streams that left memory; see `store.spill`."""

    def forget(self, before: int) -> None: ...


class Disk(Protocol):
    """Runs a blocking call elsewhere, one after the other."""

    async def __call__(self, work: Callable[[], Any]) -> Any: ...


class Checkpointer:
    """Writes checkpoints of all engines at one position.

    Args:
        folder: of the state.
        settings: what a checkpoint may cost; may be set anew at any time, as the filters may.
        engines: by group.
        keeper: numbers the records.
        residencies: of the same groups; nothing is marked while a row is on its way to the disk.
        spill: whose old versions go when no checkpoint needs them any more.
        journal: None where nothing is journaled.
        journal_disk: runs the journal's calls.
        disk: runs the writing of checkpoints.
        saved: position of the newest checkpoint there is; None: there is none.
        unsent: incidents that the link has not got rid of.
        filters: topics that are subscribed to.
        replay_s: how long it would take to apply again what was applied since the start, s.
        settle: writes what else recovery would make again of the journal; false if the disk refuses.
    """

    def __init__(
        self,
        folder: Path,
        settings: State,
        engines: Mapping[str, Engine],
        keeper: Keeper,
        residencies: Sequence[Residency],
        spill: Spill,
        journal: Journal | None,
        journal_disk: Disk,
        disk: Disk,
        *,
        saved: int | None,
        unsent: Callable[[], Sequence[Message]],
        filters: Sequence[str],
        replay_s: Callable[[], float],
        settle: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._folder = folder
        self.settings = settings
        self._engines = engines
        self._keeper = keeper
        self._residencies = residencies
        self._spill = spill
        self._journal = journal
        self._journal_disk = journal_disk
        self._disk = disk
        self._unsent = unsent
        self.filters = filters
        self._replay_s = replay_s
        self._settle = settle
        self._lock = asyncio.Lock()
        self.saved = saved
        self.failing = ""  # why checkpoints can't be written; empty when they can
        self._bytes = 0  # of the newest checkpoint
        self._journaled = 0  # bytes noted when it was marked
        self._replayed_s = 0.0
        self._written = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Write a checkpoint whenever it is due, until stopped."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()
            except TimeoutError:
                if self.due():
                    await self.save()

    def due(self) -> bool:
        """Whether the journal has outgrown the checkpoint or would take too long to replay; without one, the clock."""
        if self._journal is None:
            return time.monotonic() - self._written >= self.settings.checkpoint_s
        grown = self._keeper.noted_bytes - self._journaled >= max(self._bytes, LEAST_BYTES)
        return grown or self._replay_s() - self._replayed_s >= self.settings.recovery_s

    async def save(self) -> bool:
        """Write a checkpoint if anything happened since the last; false if it can't be written."""
        async with self._lock:
            if self._keeper.position == self.saved:
                return True
            if self._keeper.failing:
                return False  # what a checkpoint holds is committed first
            return await self._save()

    async def begin_anew(self) -> None:
        """Write a checkpoint before anything else happens, and forget the journal before it.

        A journal means something only together with the settings that the checkpoint before it holds.
        """
        async with self._lock:
            if await self._save():
                await self._journal_disk(lambda: self._forget(self._keeper.position))

    async def _save(self) -> bool:
        async with AsyncExitStack() as still:
            for residency in self._residencies:
                await still.enter_async_context(residency.lock)
            begun = time.perf_counter()
            snapshots = {name: engine.snapshot() for name, engine in self._engines.items()}
            told = {name: msgspec.to_builtins(engine.settings) for name, engine in self._engines.items()}
        position, journaled, replayed_s = self._keeper.position, self._keeper.noted_bytes, self._replay_s()
        marks = list(self._keeper.marks)
        unsent = [*self._unsent(), *self._keeper.unpublished()]
        metrics.checkpoint_pause_seconds.observe(time.perf_counter() - begun)
        for snapshot in snapshots.values():
            done = False
            while not done:
                await asyncio.sleep(0)
                sliced = time.perf_counter()
                done = snapshot.copy(snapshot.slice_rows)
                metrics.checkpoint_pause_seconds.observe(time.perf_counter() - sliced)
        if not await self._keeper.flush():
            return False
        if self._settle is not None and not await self._settle():
            return False
        await self._keeper.told(position, OUTCOMES_S)  # what a checkpoint covers is not computed again to be sent again
        arrays: dict[str, Array] = {
            f"{name}/{key}": array for name, snapshot in snapshots.items() for key, array in snapshot.arrays.items()
        }
        meta = {
            "groups": {name: snapshot.meta for name, snapshot in snapshots.items()},
            "settings": told,  # of the moment that was marked: they may change while the state is copied
            "filters": list(self.filters),
            "marks": [list(mark) for mark in marks],
            "unsent": [[m.topic, m.payload.decode(), m.retain, m.qos] for m in unsent],
        }
        state = Checkpoint(position, arrays, meta)
        try:
            self._bytes = await self._disk(lambda: self._write(state))
        except OSError as error:
            metrics.checkpoints.labels("failed").inc()
            if not self.failing:
                log.error("action=checkpoint_failed folder=%s error=%r", self._folder, str(error))
            self.failing = str(error)
            return False
        before, self.saved, self.failing = self.saved, position, ""
        self._journaled, self._replayed_s = journaled, replayed_s
        self._written = time.monotonic()
        metrics.checkpoints.labels("written").inc()
        metrics.checkpoint_time.set_to_current_time()
        metrics.checkpoint_bytes.set(self._bytes)
        metrics.checkpoint_written_bytes.inc(self._bytes)
        metrics.checkpoint_seconds.observe(time.perf_counter() - begun)
        log.info("action=checkpoint position=%d bytes=%d", position, self._bytes)
        if before is not None:
            # up to the checkpoint before this one: if this one turns out damaged, that one and the rest still do
            await self._journal_disk(lambda: self._forget(before))
        return True

    def _forget(self, upto: int) -> None:
        try:
            if self._journal is not None:
                self._journal.truncate(upto)
            self._spill.forget(upto)
        except StoreError as error:
            log.warning("action=truncate_failed upto=%d reason=%r", upto, str(error))  # done with the next checkpoint

    def _write(self, state: Checkpoint) -> int:
        """Bytes of the file that now holds the state."""
        return checkpoint.save(self._folder, state, self.settings.keep, created=time.time()).stat().st_size
