"""The newest incidents, open and past, with what people said of them, each as it was told last.

Bounded: of more than `MOST` the oldest go, those that are over first. Knows what outcomes, commands and the archive
tell of incidents; not how they are shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from streamd.records import Command, Effect, Incident, Outcome, Teach, Withdraw
from streamd.store.archive import Kept

MOST: Final = 1000
Key = tuple[str, str]  # group, id


class Entry(msgspec.Struct, frozen=True):
    """One incident."""

    group: str
    incident: Incident
    verdict: str  # "false", "real", or "": none


class Book:
    """Incidents of all groups, in the order in which they were told of last."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def hear(self, group: str, one: Outcome | Effect | Command) -> list[Entry]:
        """Take in what was applied; gives the entries that are others now."""
        if isinstance(one, Outcome | Effect):
            return [self._put(group, incident) for incident in one.incidents]
        if isinstance(one, Teach | Withdraw) and (known := self._entries.get((group, one.incident))) is not None:
            verdict = one.verdict if isinstance(one, Teach) else ""
            entry = self._entries[group, one.incident] = Entry(group, known.incident, verdict)
            return [entry]
        return []

    def fill(self, kept: Iterable[Kept]) -> None:
        """Take in what the archive holds, newest first; what was heard since counts more."""
        newer = self._entries
        self._entries = {
            (one.group, one.told[-1].id): Entry(one.group, one.told[-1], one.verdict) for one in reversed([*kept])
        }
        for key, entry in newer.items():
            old = self._entries.pop(key, None)
            said = entry.verdict or ("" if old is None else old.verdict)
            self._entries[key] = Entry(entry.group, entry.incident, said)
        self._make_room()

    def latest(self) -> list[Entry]:
        """All of them, the newest first."""
        return list(reversed(self._entries.values()))

    def _put(self, group: str, incident: Incident) -> Entry:
        key = group, incident.id
        old = self._entries.pop(key, None)
        entry = self._entries[key] = Entry(group, incident, "" if old is None else old.verdict)
        self._make_room()
        return entry

    def _make_room(self) -> None:
        while len(self._entries) > MOST:
            over = (key for key, entry in self._entries.items() if entry.incident.end is not None)
            del self._entries[next(over, next(iter(self._entries)))]
