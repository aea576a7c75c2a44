"""What a daemon's journal ever held, also what it has truncated since: written by the daemons, read by the test.

Knows records and positions; does not know who dies when. A record that is committed, but not written down because the
process died in between, is written down by the recovery that finds it.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from streamd import recovery
from streamd.store.journal import Entry, Journal

Records: TypeAlias = dict[int, tuple[str, bytes]]  # position -> group, record


def begin(path: Path) -> None:
    """Write down from now on what this process commits or recovers."""
    commit, replay = Journal.commit, recovery.replay

    def audited_commit(self: Journal, entries: list[Entry], published: int) -> None:
        commit(self, entries, published)
        _append(path, entries)

    async def audited_replay(entries: Iterable[Entry], *arguments: Any, **named: Any) -> Any:
        entries = list(entries)
        _append(path, entries)
        return await replay(entries, *arguments, **named)

    Journal.commit = audited_commit  # type: ignore[method-assign,assignment]
    recovery.replay = audited_replay


def read(path: Path) -> Records:
    """All that was written down.

    Raises:
        ValueError: a position held two different records, or one is missing.
    """
    records: Records = {}
    for line in path.read_bytes().splitlines():
        try:
            rows = msgspec.json.decode(line, type=list[tuple[int, str, str]])
        except msgspec.DecodeError:
            continue  # torn: its writer died, and the next recovery wrote it again; else it is missing below
        for position, group, text in rows:
            record = group, b64decode(text)
            if records.setdefault(position, record) != record:
                raise ValueError(f"position {position} held two different records")
    missing = set(range(1, max(records, default=0) + 1)) - records.keys()
    if missing:
        raise ValueError(f"records are missing at positions {sorted(missing)[:10]}")
    return records


def _append(path: Path, entries: list[Entry]) -> None:
    rows = [(entry.position, entry.group, b64encode(entry.record).decode()) for entry in entries]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, b"\n" + msgspec.json.encode(rows))  # the newline first: it ends a torn line before
    finally:
        os.close(descriptor)
