"""The journal applied again from a former checkpoint, and what came out compared with the newest one, bit for bit.

Which row a stream has, and whether it is in memory, is not part of what recovery promises, so streams are compared by
name, and brought back where they were let go. Knows which files belong together; `recovery` applies the records, and
`differences` tells states apart. Changes nothing in the state folder.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from streamd import recovery
from streamd.config import Group
from streamd.differences import Difference, of_group, of_streams
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Batch, Marks, named
from streamd.recovery import RECORDS_PER_TURN
from streamd.residency import Residency
from streamd.store import checkpoint, codec
from streamd.store.checkpoint import Checkpoint, CheckpointError
from streamd.store.codec import CodecError
from streamd.store.copies import copied
from streamd.store.folders import JOURNAL, SPILL
from streamd.store.journal import Entry, Journal
from streamd.store.spill import Spill
from streamd.store.sqlite import DamagedError, StoreError, VersionError

STREAMS_PER_TURN = 256  # compared at once

Result = TypeVar("Result")
_Moves: TypeAlias = dict[tuple[str, str | None], tuple[int, int]]


class RerunError(Exception):
    """There is nothing to compare, or it can't be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is not the same in one group."""

    group: str
    difference: Difference
    # Positions of the first and the last record that moved what differs: the cause is there, or in either checkpoint.
    # None: nothing moved it.
    records: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of applying the journal again."""

    begin: int  # position of the checkpoint that it was applied to
    end: int  # position of the newest, which it was compared with
    records: int  # applied
    arrays: int  # compared, of all groups
    streams: int
    findings: tuple[Finding, ...]  # at most one of each array; empty: equal, bit for bit


def rerun(folder: Path, on_share: Callable[[float], None] = lambda _share: None) -> Comparison:
    """Apply the journal of a state folder again, up to its newest good checkpoint.

    Args:
        on_share: told the share of the records that is applied.

    Raises:
        RerunError: there are no two good checkpoints that the journal connects, or something can't be read.
        CopyError: no copy of journal or spill could be had.
        OSError: the disk does not let us read the folder.
    """
    with ExitStack() as stack:
        journal_copy = stack.enter_context(copied(folder / JOURNAL))
        spill_copy = stack.enter_context(copied(folder / SPILL))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamd-")))
        try:
            if journal_copy is None:
                raise RerunError(f"{folder}: there is no journal")
            journal = Journal.open(journal_copy)
            stack.callback(journal.close)
            past = None if spill_copy is None else Spill.open(spill_copy)
            if past is not None:
                stack.callback(past.close)
            begin, end = _ends(folder, journal)
            replayed = _Side(begin, past, scratch / "replayed.sqlite")
            stack.callback(replayed.spill.close)
            kept = _Side(end, past, scratch / "kept.sqlite")
            stack.callback(kept.spill.close)
            for name in end.meta["groups"]:
                # a group that the first lacks has no records between the two: a checkpoint comes before its first one
                replayed.add(name, begin if name in begin.meta["groups"] else end)
                kept.add(name, end)
            return asyncio.run(_compare(journal, replayed, kept, on_share))
        except (DamagedError, VersionError, StoreError, CheckpointError, CodecError) as error:
            raise RerunError(f"{folder}: {error}") from error


def _ends(folder: Path, journal: Journal) -> tuple[Checkpoint, Checkpoint]:
    """The newest good checkpoint, and the nearest before it that the journal goes on from."""
    good = [one for one in checkpoint.describe(folder) if one.ok and one.path.parent == folder]
    if not good:
        raise RerunError(f"{folder}: there is no good checkpoint")
    newest = good[0].position
    if journal.last < newest:
        damage = "" if journal.rescue is None else f" ({journal.rescue.reason})"
        raise RerunError(f"{folder}: the journal ends at {journal.last}, the newest checkpoint is at {newest}{damage}")
    former = [one for one in good[1:] if one.position < newest]
    reached = [one for one in former if one.position >= journal.base]
    if not reached:
        there = ", ".join(str(one.position) for one in former) or "none"
        raise RerunError(
            f"{folder}: the journal begins after {journal.base}, so it takes a good checkpoint between there and the "
            f"newest, at {newest}, to go on from; there is {there}"
        )
    return checkpoint.load(reached[0]), checkpoint.load(good[0])


class _PastSpill:
    """The spill as it was at a position; what leaves memory from then on is kept apart from it."""

    def __init__(self, past: Spill | None, position: int, path: Path) -> None:
        self._past = past
        self._position = position
        self._since = Spill.open(path)
        self.left: set[str] = set()  # keys of the streams that left memory since

    def put(self, items: Sequence[tuple[str, int, bytes]]) -> None:
        self._since.put(items)
        self.left.update(key for key, _, _ in items)

    def get(self, stream: str) -> bytes | None:
        row = self._since.get(stream)
        return row if row is not None or self._past is None else self._past.get(stream, upto=self._position)

    def close(self) -> None:
        self._since.close()


class _Side:
    """The engines of one of the two states that are compared."""

    def __init__(self, begin: Checkpoint, past: Spill | None, path: Path) -> None:
        self._begin = begin
        self.position = begin.position
        self.spill = _PastSpill(past, begin.position, path)
        self.engines: dict[str, Engine] = {}
        self.residencies: dict[str, Residency] = {}

    def add(self, name: str, told: Checkpoint) -> None:
        """The engine of a group as the checkpoint has it, or a new one; `told` has its settings.

        Raises:
            RerunError: the checkpoint's state can't be read.
        """
        arrays, prefix = self._begin.arrays, f"{name}/"
        try:
            settings = msgspec.convert(told.meta["settings"][name], Group)
            engine = Engine(settings, InlineTrainer())
            if name in self._begin.meta["groups"]:
                own = {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}
                engine.load_state_dict(own, self._begin.meta["groups"][name])
        except (msgspec.ValidationError, ValueError, KeyError) as error:
            raise RerunError(f"group {name} at {self.position}: {error}") from error
        self.engines[name] = engine
        self.residencies[name] = Residency(name, engine, self.spill, _at_once, settings.max_resident_streams)


async def _at_once(work: Callable[[], Result]) -> Result:
    """A disk for where nothing else has to go on meanwhile."""
    return work()


async def _compare(journal: Journal, replayed: _Side, kept: _Side, on_share: Callable[[float], None]) -> Comparison:
    begin, end = replayed.position, kept.position
    while replayed.position < end:
        entries = list(islice(_entries(journal, replayed.position, end), RECORDS_PER_TURN))
        # outcomes are not asked for: all of them count as published
        await recovery.replay(entries, replayed.engines, replayed.residencies, end, prefix="")
        replayed.position = entries[-1].position
        on_share((replayed.position - begin) / (end - begin))
    found: list[tuple[str, Difference]] = []
    arrays = streams = 0
    for name in sorted(kept.engines):
        names = _streams(name, replayed, kept)
        found += [(name, one) for one in of_group(replayed.engines[name], kept.engines[name])]
        found += [(name, one) for one in await _rows(name, names, replayed, kept)]
        arrays += len(kept.engines[name].state_dict()[0])
        streams += len(names)
    moves = _moves(_entries(journal, begin, end)) if found else {}
    findings = tuple(Finding(name, one, moves.get((name, one.stream))) for name, one in found)
    return Comparison(begin, end, end - begin, arrays, streams, findings)


def _entries(journal: Journal, after: int, upto: int) -> Iterator[Entry]:
    return takewhile(lambda entry: entry.position <= upto, journal.entries(after))


def _streams(group: str, replayed: _Side, kept: _Side) -> list[str]:
    """Streams that either side has in memory, or moved and then let go."""
    prefix = f"{group}/"
    names = dict.fromkeys(kept.engines[group].slots.names)
    names |= dict.fromkeys(replayed.engines[group].slots.names)
    names |= dict.fromkeys(sorted(key.removeprefix(prefix) for key in replayed.spill.left if key.startswith(prefix)))
    return list(names)


async def _rows(group: str, streams: Sequence[str], replayed: _Side, kept: _Side) -> Iterable[Difference]:
    """What differs of the rows of streams, some at a time; both sides bring back into memory what they let go."""
    found: dict[str, Difference] = {}
    for at in range(0, len(streams), STREAMS_PER_TURN):
        some = streams[at : at + STREAMS_PER_TURN]
        for side in (replayed, kept):
            await side.residencies[group].bring(some)
        for one in of_streams(some, replayed.engines[group], kept.engines[group]):
            first = found.get(one.name)
            found[one.name] = one if first is None else replace(first, count=first.count + one.count)
        for side in (replayed, kept):
            await side.residencies[group].make_room(side.position)
    return found.values()


def _moves(entries: Iterator[Entry]) -> _Moves:
    """Positions of the first and the last record that moved a stream, (group, stream), or anything, (group, None)."""
    moves: _Moves = {}
    for entry in entries:
        record = codec.decode(entry.record)
        if isinstance(record, Marks):
            continue
        streams = record.streams if isinstance(record, Batch) else named(record)
        for stream in (None, *streams):
            first, _ = moves.get((entry.group, stream), (entry.position, 0))
            moves[entry.group, stream] = first, entry.position
    return moves
