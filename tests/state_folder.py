"""A state folder as a daemon leaves it, written by the store's own classes; no broker, no clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from streamd.config import Group
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Batch, Marks, Record, named
from streamd.residency import Residency
from streamd.store import checkpoint, codec, folders
from streamd.store.checkpoint import Checkpoint
from streamd.store.journal import Entry, Journal
from streamd.store.spill import Spill
from tests.engine.runs import SETTINGS

CREATED = 1_795_000_000.0  # s since the epoch


class StateFolder:
    """One daemon's work, without the daemon; close it before another one goes on."""

    def __init__(self, folder: Path, settings: Group = SETTINGS, group: str = "pumps") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.group = group
        self.engine = Engine(settings, InlineTrainer())
        self.journal = Journal.open(folder / folders.JOURNAL)
        self.spill = Spill.open(folder / folders.SPILL)
        self.residency = Residency(group, self.engine, self.spill, at_once, settings.max_resident_streams)
        self.position = 0
        self.saved: int | None = None

    def apply(self, records: Iterable[Record], room_every: int = 3) -> None:
        """Journal and apply, as the worker does: there is room for others only when it comes up for air."""
        asyncio.run(self._apply(records, room_every))

    async def _apply(self, records: Iterable[Record], room_every: int) -> None:
        records = list(records)
        entries = [Entry(at, self.group, codec.encode(record)) for at, record in enumerate(records, self.position + 1)]
        self.journal.commit(entries, self.position + len(entries))
        for record in records:
            self.position += 1
            if isinstance(record, Batch):
                await self.residency.bring(record.streams)
                self.engine.apply(record)
            else:
                assert not isinstance(record, Marks)
                await self.residency.bring(named(record))
                self.engine.command(record)
                self.residency.limit = self.engine.settings.max_resident_streams
            if self.position % room_every == 0:
                await self.residency.make_room(self.position)

    def checkpoint(self, change: Callable[[Checkpoint], Checkpoint] = lambda kept: kept) -> Path:
        """Write a checkpoint, after it was tampered with, and let the journal forget what two of them cover."""
        arrays, meta = self.engine.state_dict()
        state = Checkpoint(
            self.position,
            {f"{self.group}/{name}": array.copy() for name, array in arrays.items()},
            {
                "groups": {self.group: meta},
                "settings": {self.group: msgspec.to_builtins(self.engine.settings)},
                "filters": [],
                "marks": [],
                "unsent": [],
            },
        )
        path = checkpoint.save(self.folder, change(state), keep=3, created=CREATED)
        if self.saved is not None and self.saved < self.position:
            self.journal.truncate(self.saved)
            self.spill.forget(self.saved)
        self.saved = self.position
        return path

    def close(self) -> None:
        self.journal.close()
        self.spill.close()


async def at_once(work: Callable[[], Any]) -> Any:
    """A disk that does not let anyone wait."""
    return work()


def everything(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """What there is to see of a folder: every file's bytes and time, and the folders' own times."""
    return {
        path: (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in (folder, *folder.rglob("*"))
    }


def flip(path: Path, at: int = -1) -> None:
    """One bit of a file, on the disk."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
