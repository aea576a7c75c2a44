"""From what is on disk to the engines as they were: the newest good checkpoint, then the journal after it.

Through the very same `engine.apply`, with the settings of that time; what fell due for training is computed again. Only
then the state is fitted to settings that have changed. Knows positions, and what was published already; not how any of
it is kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from streamd import archivist, metrics
from streamd.config import Config, ConfigError, Group
from streamd.edge.disk import Disk
from streamd.edge.recall import Mark
from streamd.edge.training import Client, TrainingThread
from streamd.engine.engine import Engine
from streamd.engine.migrate import migrate
from streamd.engine.mix import EXPERTS
from streamd.engine.score import TERMS
from streamd.model.training import Candidate, Job
from streamd.profiles import Kept, full_bytes, is_compact
from streamd.records import Batch, Marks, named
from streamd.residency import Residency
from streamd.store import checkpoint, codec, folders
from streamd.store.archive import Archive
from streamd.store.checkpoint import Checkpoint
from streamd.store.journal import Entry, Journal
from streamd.store.spill import Spill
from streamd.store.sqlite import DamagedError, StoreError
from streamd.wire import outcomes
from streamd.wire.messages import Message

log = logging.getLogger("streamd.recovery")

RECORDS_PER_TURN = 200  # applied between two looks at the event loop


@dataclass(slots=True)
class State:
    """All that a daemon goes on from."""

    engines: dict[str, Engine]  # by group
    trainers: dict[str, Client[Job, Candidate]]
    residencies: dict[str, Residency]
    spill: Spill
    archive: Archive
    journal: Journal | None  # None: durability is "checkpoint"
    saved: int | None  # position of the newest good checkpoint; None: there is none
    position: int  # of the last record applied
    published: int  # position up to which all outcomes are known to have gone out
    known_filters: tuple[str, ...] = ()  # topics that the broker's session may still hold
    again: list[Message] = field(default_factory=list)  # to be published first: what may not have gone out
    marks: list[Mark] = field(default_factory=list)  # of messages that the broker may send again
    unarchived: list[tuple[str, archivist.Concern]] = field(default_factory=list)  # what the archive did not take yet
    refitted: bool = False  # settings have changed, or a group is new: the journal can't be applied to these engines

    def close(self) -> None:
        """End the use of the files; on the thread that opened them."""
        if self.journal is not None:
            self.journal.close()
        self.spill.close()
        self.archive.close()


async def recover(config: Config, thread: TrainingThread[Job, Candidate], disk: Disk, stop: asyncio.Event) -> State:
    """The state in the config's folder, whose lock the caller holds.

    Args:
        thread: carries the engines' training jobs out.
        disk: runs the calls of journal and spill.
        stop: when it is set, what was recovered so far is given back, and nothing on disk has changed.

    Raises:
        CheckpointError: the state was made by a newer streamd.
        ConfigError: the state does not fit the config, and can't be made to.
        StoreError: the disk does not give journal or spill.
    """
    folder = Path(config.state.folder)
    loaded = await asyncio.to_thread(checkpoint.load_newest, folder)
    metrics.checkpoints.labels("quarantined").inc(len(loaded.quarantined))
    kept = loaded.checkpoint
    position = 0 if kept is None else kept.position
    trainers = {name: thread.client(on_cpu=metrics.training_cpu_seconds.labels(name).inc) for name in config.groups()}
    engines = {name: _engine(name, settings, trainers[name], kept) for name, settings in config.groups().items()}
    spill = await disk(lambda: _open_spill(folder, position))
    archive = await disk(lambda: Archive.open(folder / folders.ARCHIVE))
    state = State(
        engines, trainers, {}, spill, archive, None, None if kept is None else kept.position, position, position
    )
    state.residencies = _residencies(state, disk)
    if kept is None:
        log.info("action=begin state=%s", folder)
    else:
        state.known_filters = tuple(kept.meta["filters"])
        state.again += unsent(kept.meta["unsent"])
        state.marks += [(mid, checksum) for mid, checksum in kept.meta["marks"]]
        for name in set(kept.meta["groups"]) - set(engines):
            log.warning("action=forget group=%s reason=%r", name, "no source names it any more")
        if loaded.created is not None:
            metrics.checkpoint_time.set(loaded.created)
        known = sum(engine.known for engine in engines.values())
        log.info("action=resume state=%s position=%d streams=%d", folder, position, known)
    if config.state.durability == "journal":
        state.journal = await disk(lambda: _open_journal(folder, position))
        await _apply_journal(state, state.journal, disk, stop, prefix=config.mqtt.prefix)
    if not stop.is_set():
        _fit(state, profiles(state.engines, config.groups(), config.state.memory_mb * 1e6), disk)
        # the settings that a group begins with are in no record of the journal, so they have to be in a checkpoint
        state.refitted |= kept is not None and not engines.keys() <= kept.meta["groups"].keys()
    return state


def _engine(name: str, settings: Group, trainer: Client[Job, Candidate], kept: Checkpoint | None) -> Engine:
    """The engine as it was, with the settings that it had then; a new one where nothing was kept."""
    if kept is None or name not in kept.meta["groups"]:
        return Engine(settings, trainer)
    own = {key.removeprefix(f"{name}/"): array for key, array in kept.arrays.items() if key.startswith(f"{name}/")}
    try:
        then, meta = msgspec.convert(kept.meta["settings"][name], Group), kept.meta["groups"][name]
        engine = Engine(then, trainer)
        try:
            engine.load_state_dict(own, meta)
        except ValueError:  # as where an older version's state lacks what this one has added
            arrays, meta, notes = migrate(own, meta, then)
            engine = Engine(then, trainer)
            engine.load_state_dict(arrays, meta)
            for note in notes:
                log.warning("action=upgrade group=%s note=%r", name, note)
    except (ValueError, KeyError) as error:
        raise ConfigError(f"the state of group {name} can't be read: {error}; move the state folder away") from error
    return engine


def profiles(engines: Mapping[str, Engine], groups: Mapping[str, Group], budget: float) -> dict[str, Group]:
    """The groups' settings, with "compact" for "auto" where full ones would take more than a budget, in bytes."""
    kept = {
        name: Kept(engines[name].known, len(engines[name].channels), engines[name].settings.profile == "compact")
        for name in groups
    }
    full = full_bytes(kept, groups)
    picked = dict(groups)
    for name, settings in groups.items():
        if settings.profile != "auto":
            continue
        compact = is_compact(settings, kept[name].compact, full, budget)
        if compact:
            picked[name] = msgspec.structs.replace(settings, profile="compact")
        log.info(
            "action=profile group=%s profile=%s streams=%d full_mb=%.0f memory_mb=%.0f",
            *(name, "compact" if compact else "full", engines[name].known, full / 1e6, budget / 1e6),
        )
    return picked


def _fit(state: State, groups: Mapping[str, Group], disk: Disk) -> None:
    """Let the settings of now take the place of those of then."""
    for name, settings in groups.items():
        old = state.engines[name]
        if old.settings == settings:
            continue
        try:
            arrays, meta, notes = migrate(*old.state_dict(), settings)
            engine = Engine(settings, state.trainers[name])
            engine.load_state_dict(arrays, meta)
        except ValueError as error:
            raise ConfigError(f"the state of group {name} can't be fitted to its settings: {error}") from error
        for note in notes:
            log.warning("action=refit group=%s note=%r", name, note)
        state.engines[name] = engine
        state.refitted = True
    state.residencies = _residencies(state, disk)


def _residencies(state: State, disk: Disk) -> dict[str, Residency]:
    return {
        name: Residency(name, engine, state.spill, disk, engine.settings.max_resident_streams)
        for name, engine in state.engines.items()
    }


def _open_spill(folder: Path, position: int) -> Spill:
    """The spill as it was at the checkpoint's position."""
    path = folder / folders.SPILL
    spill = Spill.open(path)
    try:
        spill.rollback(position)
    except ValueError as error:  # the checkpoints that it goes with are lost
        spill.close()
        log.error("action=spill_set_aside file=%s reason=%r", folders.set_aside(path), str(error))
        spill = Spill.open(path)
    return spill


def _open_journal(folder: Path, position: int) -> Journal:
    """The journal that goes on from the checkpoint at a position."""
    path = folder / folders.JOURNAL
    journal = Journal.open(path, after=position)
    if journal.base > position:
        # what lies between can't be had to the bit, so neither can what follows: never guess
        journal.close()
        log.error(
            "action=journal_set_aside file=%s begins=%d state=%d reason=%r",
            folders.set_aside(path),
            journal.first,
            position,
            "the checkpoint that it goes on from is lost",
        )
        journal = Journal.open(path, after=position)
    if journal.last < position:
        journal.truncate(position)  # the checkpoint knows more: go on from there
    return journal


async def _apply_journal(state: State, journal: Journal, disk: Disk, stop: asyncio.Event, *, prefix: str) -> None:
    begun, first = time.perf_counter(), state.position
    while not stop.is_set():  # in pieces: liveness is answered meanwhile, and a signal heard
        entries = await disk(lambda: list(islice(journal.entries(state.position), RECORDS_PER_TURN)))
        if not entries:
            break
        found = await replay(entries, state.engines, state.residencies, journal.published, prefix=prefix)
        state.again += found.messages
        if found.archived:
            state.unarchived += found.archived
            await _archive(state, disk)
        state.marks = found.marks if found.session_lost else state.marks + found.marks
        state.position = entries[-1].position
        if found.strangers:
            log.warning("action=pass_over records=%d reason=%r", found.strangers, "no source names their group")
        await asyncio.sleep(0)
    state.published = max(journal.published, state.saved or 0)
    log.info(
        "action=recovered records=%d seconds=%.2f republished=%d",
        state.position - first,
        time.perf_counter() - begun,
        len(state.again),
    )


async def _archive(state: State, disk: Disk) -> None:
    """Archive again what may not have been: the same rows under the same keys."""
    try:
        await disk(lambda: state.archive.put(archivist.items(state.unarchived)))
        state.unarchived.clear()
    except (StoreError, DamagedError) as error:
        log.error("action=archive_failed waiting=%d reason=%r", len(state.unarchived), str(error))


class Replayed(NamedTuple):
    """What came out of applying journaled records again."""

    messages: list[Message]  # the outcomes that may not have gone out, in order
    marks: list[Mark]  # of messages that the broker may send again
    session_lost: bool  # none of the marks from before counts any more
    strangers: int  # records of groups that are not configured any more
    archived: list[tuple[str, archivist.Concern]]  # by group, what concerns the archive


async def replay(
    entries: Iterable[Entry],
    engines: Mapping[str, Engine],
    residencies: Mapping[str, Residency],
    published: int,
    *,
    prefix: str,
) -> Replayed:
    """Apply journaled records.

    Args:
        entries: in order, from the position after the one that the engines hold.
        engines: by group; records of groups that are not configured any more are passed over.
        residencies: by group; streams that left memory are brought back before they are moved.
        published: position up to which all outcomes went out before.
        prefix: of the topics.

    Returns:
        what is to be published, what is known of messages, and how many records were passed over.
    """
    messages: list[Message] = []
    marks: list[Mark] = []
    session_lost = False
    strangers = 0
    archived: list[tuple[str, archivist.Concern]] = []
    for entry in entries:
        metrics.recovered.inc()
        record = codec.decode(entry.record)
        if isinstance(record, Marks):
            if not record.messages:
                marks.clear()
                session_lost = True
            marks += record.messages
            continue
        engine = engines.get(entry.group)
        if engine is None:
            strangers += 1
            continue
        residency = residencies[entry.group]
        if not isinstance(record, Batch):
            await residency.bring(named(record))
            refused = engine.refusal(record)
            effect = engine.command(record)
            residency.limit = engine.settings.max_resident_streams
            if entry.position > published:
                messages += outcomes.encode_silence(prefix, entry.group, effect.incidents)
            if archivist.concerns(effect):
                archived.append((entry.group, effect))
            if archivist.concerns(record) and not refused:
                archived.append((entry.group, record))
            await residency.make_room(entry.position)
            continue
        await residency.bring(record.streams)
        outcome = engine.apply(record)
        if archivist.concerns(outcome):
            archived.append((entry.group, outcome))
        if entry.position > published:
            names = outcomes.Names.of(engine.settings, TERMS, EXPERTS)
            messages += outcomes.encode(prefix, entry.group, outcome, names)
        await residency.make_room(entry.position)
    return Replayed(messages, marks, session_lost, strangers, archived)


def unsent(saved: Sequence[Sequence[object]]) -> list[Message]:
    """Incidents that a checkpoint kept because they had not gone out: [topic, payload, retain, qos] each."""
    return [
        Message(
            topic=str(topic), payload=str(payload).encode(), kind="incident", retain=bool(retain), qos=int(str(qos))
        )
        for topic, payload, retain, qos in saved
    ]
