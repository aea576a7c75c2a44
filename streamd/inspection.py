"""What a state folder holds and whether it is sound, for an operator's eye; a daemon may be at work in it.

Changes nothing there: journal and spill are read as copies, checkpoints in place. Knows how the store's files are
verified and where the engine keeps which number; prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamd.store import checkpoint, lock, spill, sqlite
from streamd.store.archive import Archive
from streamd.store.checkpoint import Checkpoint, CheckpointError, Description
from streamd.store.copies import copied
from streamd.store.folders import ARCHIVE, JOURNAL, QUARANTINE, SPILL
from streamd.store.journal import Journal
from streamd.store.spill import Spill
from streamd.store.sqlite import DamagedError, Database, StoreError, VersionError
from streamd.wire import times

_PAGE_ROWS = 1000  # keys read at once


@dataclass(frozen=True, slots=True)
class JournalState:
    """The records on disk."""

    first: int  # position of the first record; last + 1 if there is none
    last: int
    records: int
    bytes: int  # of the records
    published: int  # position up to which all outcomes had been handed out
    file_bytes: int  # with its write-ahead log
    damage: str  # empty: every record is sound; else the figures are of what a start now would keep


@dataclass(frozen=True, slots=True)
class SpillState:
    """The rows of streams that left memory."""

    streams: int
    versions: int
    bytes: int  # of the rows
    file_bytes: int  # with its write-ahead log
    damaged: int  # versions with a wrong checksum
    damage: str  # empty: every row is sound


@dataclass(frozen=True, slots=True)
class GroupState:
    """One group as of the newest good checkpoint."""

    name: str
    channels: tuple[str, ...]
    profile: str  # full or compact
    frames: int  # applied so far
    known: int  # streams ever seen
    in_memory: int  # of them
    oldest: datetime | None  # of the last times of the streams in memory; None: there are none
    newest: datetime | None
    optimizer_steps: int  # gradient steps that the weights in use took
    generation: int  # times that the weights moved far enough to make hidden states anew
    weights_age: int | None  # frames since a candidate was last taken or dropped; None: none yet, or one is under way
    install_in: int | None  # frames until the candidate under way is judged; None: there is none
    due_in: int  # frames until the next training job is due
    stretch: float  # of the training schedule; 1 is the config's
    frozen: bool


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that a start set aside."""

    path: Path
    size: int  # bytes
    reason: str  # what is wrong with it, where the file itself tells


@dataclass(frozen=True, slots=True)
class Inspection:
    """A state folder."""

    folder: Path
    holder: str | None  # who works in it; None: nobody
    position: int | None  # of the newest good checkpoint; None: there is none
    checkpoints: tuple[Description, ...]  # newest first
    journal: JournalState | None  # None: there is no file
    spill: SpillState | None
    groups: tuple[GroupState, ...]
    quarantine: tuple[Quarantined, ...]
    problems: tuple[str, ...]  # all that is damaged; empty: the folder is sound


class _Learner(msgspec.Struct, frozen=True):
    """What a checkpoint says of a group's training."""

    due_at: int
    install_at: int
    generation: int
    stretch: float
    frozen: bool
    optimizer_step: int
    job_batches: int | None


class _Group(msgspec.Struct, frozen=True):
    """What a checkpoint says of a group."""

    channels: tuple[str, ...]
    frames: int
    streams: list[str]
    known: int
    learner: _Learner


def inspect(folder: Path) -> Inspection:
    """Look at a state folder and verify every checksum in it.

    Raises:
        CopyError: no copy of journal or spill could be had.
        OSError: the disk does not let us read the folder.
    """
    holder = lock.holder(folder)
    problems: list[str] = []
    with ExitStack() as stack:
        # the copies first: a checkpoint that is written meanwhile can only be ahead of them, which is no damage
        kept_journal = stack.enter_context(copied(folder / JOURNAL))
        kept_spill = stack.enter_context(copied(folder / SPILL))
        kept_archive = stack.enter_context(copied(folder / ARCHIVE))
        described = checkpoint.describe(folder)
        checkpoints = tuple(one for one in described if one.path.parent == folder)
        problems += [f"{one.path.name}: {one.reason}" for one in checkpoints if not one.ok]
        newest = next((one for one in checkpoints if one.ok), None)
        position = None if newest is None else newest.position
        journal = None if kept_journal is None else _journal(folder, kept_journal, position or 0)
        rows = None if kept_spill is None else _spill(kept_spill)
        problems += [] if kept_archive is None else _archive(kept_archive)
    if journal is not None:
        if journal.damage:
            problems.append(journal.damage)
        elif journal.first > (position or 0) + 1:
            problems.append(f"{JOURNAL}: begins at {journal.first}; the checkpoint that it goes on from is missing")
    if rows is not None and rows.damage:
        problems.append(rows.damage)
    if folder.joinpath(f"{SPILL}.damaged").exists():
        problems.append(f"{SPILL}: was found damaged by a daemon; its next start looks into it")
    groups: tuple[GroupState, ...] = ()
    if newest is not None:
        try:
            groups = tuple(_groups(checkpoint.load(newest)))
        except (CheckpointError, msgspec.ValidationError, KeyError) as error:
            problems.append(f"{newest.path.name}: what it says of its groups can't be read: {error}")
    reasons = {one.path: one.reason for one in described}
    quarantine = tuple(_quarantine(folder / QUARANTINE, reasons))
    problems += [f"{one.path.relative_to(folder)}: set aside" for one in quarantine]
    return Inspection(
        folder, holder, position, checkpoints, journal, rows, groups, quarantine, problems=tuple(problems)
    )


def _journal(folder: Path, copy: Path, position: int) -> JournalState:
    """The journal of which this is a copy; `position` is where a start would go on."""
    size = _size(copy)
    try:
        journal = Journal.open(copy)
        if journal.rescue is None:
            return _figures(journal, size, "")
        journal.close()
        damage = _in_place(journal.rescue.reason, copy)
        # as a start would: damage to records that a checkpoint covers loses nothing
        with copied(folder / JOURNAL) as again:
            if again is None:
                return JournalState(0, 0, 0, 0, 0, size, damage)
            return _figures(Journal.open(again, after=position), size, damage)
    except (VersionError, StoreError) as error:
        return JournalState(0, 0, 0, 0, 0, size, _in_place(str(error), copy))


def _figures(journal: Journal, size: int, damage: str) -> JournalState:
    try:
        return JournalState(journal.first, journal.last, journal.count, journal.bytes, journal.published, size, damage)
    finally:
        journal.close()


def _spill(copy: Path) -> SpillState:
    """The spill of which this is a copy."""
    size = _size(copy)
    database = Database.made(copy, spill.LAYOUT, sqlite.connect)
    try:
        database.check()
        ((streams, versions, held),) = database.rows(
            'SELECT count(DISTINCT stream), count(*), total(length("row")) FROM version'
        )
        rows = Spill(database, None)
        damaged = sum(not _is_sound(rows, stream, position) for stream, position in _versions(database))
        reasons = [f"{damaged} of {versions} rows have a wrong checksum"] if damaged else []
        if rows.count() != streams:
            reasons.append(f"holds {streams} streams, and says {rows.count()}")
        damage = f"{SPILL}: {'; '.join(reasons)}" if reasons else ""
        return SpillState(streams, versions, int(held), size, damaged, damage)
    except (DamagedError, VersionError, StoreError) as error:
        return SpillState(0, 0, 0, size, 0, _in_place(str(error), copy))
    finally:
        database.close()


def _archive(copy: Path) -> list[str]:
    """What is wrong with the archive of which this is a copy."""
    try:
        archive = Archive.open(copy)
        try:
            damaged = archive.damaged()
        finally:
            archive.close()
    except (VersionError, StoreError, DamagedError) as error:
        return [_in_place(str(error), copy)]
    reasons = [] if archive.rescue is None else [_in_place(archive.rescue.reason, copy)]
    return reasons + ([f"{ARCHIVE}: {damaged} rows have a wrong checksum"] if damaged else [])


def _versions(database: Database) -> Iterator[tuple[bytes, int]]:
    """Stream and position of every row."""
    last: tuple[bytes, int] = (b"", -1)
    question = (
        "SELECT stream, position FROM version WHERE (stream, position) > (?, ?) ORDER BY stream, position LIMIT ?"
    )
    while page := database.rows(question, (*last, _PAGE_ROWS)):
        yield from page
        last = page[-1]


def _is_sound(rows: Spill, stream: bytes, position: int) -> bool:
    try:
        return rows.get(stream.decode(), upto=position) is not None
    except (DamagedError, UnicodeDecodeError):
        return False


def _groups(kept: Checkpoint) -> Iterator[GroupState]:
    settings = kept.meta.get("settings", {})
    for name, meta in sorted(kept.meta["groups"].items()):
        group = msgspec.convert(meta, _Group)
        learner = group.learner
        last_times = kept.arrays[f"{name}/timing.last_time"]
        known = last_times[np.isfinite(last_times)]
        training = learner.job_batches is not None
        yield GroupState(
            name=name,
            channels=group.channels,
            profile="compact" if settings.get(name, {}).get("profile") == "compact" else "full",
            frames=group.frames,
            known=group.known,
            in_memory=len(group.streams),
            oldest=_moment(known, np.min),
            newest=_moment(known, np.max),
            optimizer_steps=learner.optimizer_step,
            generation=learner.generation,
            weights_age=None if training or not learner.install_at else group.frames - learner.install_at,
            install_in=max(learner.install_at - group.frames, 0) if training else None,
            due_in=max(learner.due_at - group.frames, 0),
            stretch=learner.stretch,
            frozen=learner.frozen,
        )


def _moment(last_times: Any, choose: Callable[[Any], Any]) -> datetime | None:
    if not len(last_times):
        return None
    epoch = float(choose(last_times))
    return times.utc(epoch) if times.EARLIEST <= epoch < times.LATEST else None


def _quarantine(folder: Path, reasons: dict[Path, str]) -> Iterator[Quarantined]:
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            yield Quarantined(path, path.stat().st_size, reasons.get(path, ""))


def _size(copy: Path) -> int:
    return sum(path.stat().st_size for path in copy.parent.iterdir())


def _in_place(text: str, copy: Path) -> str:
    """What was said of a copy, said of the file."""
    return text.replace(str(copy), copy.name)
