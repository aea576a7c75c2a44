from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from streamd.checkpointer import LEAST_BYTES, Checkpointer
from streamd.config import State
from streamd.engine.engine import Engine
from streamd.records import Configure
from streamd.residency import Residency
from streamd.store import checkpoint
from streamd.wire.messages import Message
from tests.engine.runs import SETTINGS, Plant, bits, small_engine, state, with_training

INCIDENT = Message("streamd/g/s/incident", b'{"id":"s-1"}', "incident", retain=True, qos=1)


class Numbers:
    """A keeper that commits when it is asked to."""

    def __init__(self) -> None:
        self.position, self.noted_bytes = 0, 0
        self.failing = ""
        self.marks = [(7, 99)]
        self.committed = 0
        self.held: list[Message] = []
        self.on_flush: Callable[[], None] = lambda: None
        self.on_told: Callable[[int], None] = lambda _: None

    def unpublished(self) -> list[Message]:
        return self.held

    async def flush(self) -> bool:
        self.on_flush()
        self.committed = self.position
        return True

    async def told(self, position: int, limit_s: float) -> None:
        self.on_told(position)


class Forgetful:
    """Journal and spill that note what they were told to forget."""

    def __init__(self) -> None:
        self.forgot: list[tuple[str, int]] = []

    def truncate(self, upto: int) -> None:
        self.forgot.append(("journal", upto))

    def forget(self, before: int) -> None:
        self.forgot.append(("spill", before))

    def put(self, items: Sequence[tuple[str, int, bytes]]) -> None:
        raise AssertionError("nothing leaves memory here")

    get = put


async def at_once(work: Callable[[], Any]) -> Any:
    await asyncio.sleep(0)
    return work()


class Bench:
    """A checkpointer and all that stands around it."""

    def __init__(self, folder: Path, *, journal: bool = True, **settings: Any) -> None:
        self.folder = folder
        self.engine: Engine = small_engine()
        self.plant = Plant(1)
        self.keeper = Numbers()
        self.store = Forgetful()
        self.residency = Residency("g", self.engine, self.store, at_once, limit=100)
        self.replay_s = 0.0
        self.checkpointer = Checkpointer(
            folder,
            State(**settings),
            {"g": self.engine},
            self.keeper,  # type: ignore[arg-type]
            [self.residency],
            self.store,
            self.store if journal else None,
            at_once,
            at_once,
            saved=None,
            unsent=list,
            filters=["plant/+/telemetry"],
            replay_s=lambda: self.replay_s,
        )

    def apply(self, count: int) -> None:
        for batch in self.plant.batches(count):
            self.keeper.position += 1
            self.engine.apply(batch)

    def save(self) -> bool:
        return asyncio.run(self.checkpointer.save())

    def kept(self) -> checkpoint.Checkpoint:
        found = checkpoint.load_newest(self.folder).checkpoint
        assert found is not None
        return found


def test_a_checkpoint_holds_the_state_at_its_mark_though_the_live_path_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.apply(30)
    arrays, _ = state(bench.engine)

    async def body() -> None:
        saving = asyncio.create_task(bench.checkpointer.save())
        await asyncio.sleep(0)  # marked by now
        bench.apply(5)
        assert await saving

    asyncio.run(body())
    kept = bench.kept()
    assert kept.position == 30
    assert bits({key.removeprefix("g/"): np.asarray(array) for key, array in kept.arrays.items()}) == bits(arrays)
    assert kept.meta["filters"] == ["plant/+/telemetry"]
    assert kept.meta["marks"] == [[7, 99]]


def test_settings_that_change_while_the_state_is_copied_are_not_those_of_the_checkpoint(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.apply(30)

    async def body() -> None:
        saving = asyncio.create_task(bench.checkpointer.save())
        await asyncio.sleep(0)  # marked by now
        bench.engine.command(Configure(msgspec.to_builtins(with_training(steps=7))))
        assert await saving

    asyncio.run(body())
    assert bench.kept().meta["settings"]["g"]["training"]["steps"] == SETTINGS.training.steps
    bench.apply(1)
    assert bench.save()
    assert bench.kept().meta["settings"]["g"]["training"]["steps"] == 7


def test_other_settings_and_topics_hold_from_the_next_checkpoint_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, journal=False, checkpoint_s=1e9, keep=9)
    bench.apply(3)
    assert not bench.checkpointer.due()
    bench.checkpointer.settings = State(checkpoint_s=1e-9, keep=1)
    assert bench.checkpointer.due()
    bench.checkpointer.filters = ["works/+"]
    for _ in range(2):
        bench.apply(1)
        assert bench.save()
    assert bench.kept().meta["filters"] == ["works/+"]
    assert len(list(tmp_path.glob("checkpoint-*"))) == 1


def test_nothing_is_written_when_nothing_happened(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.apply(3)
    assert bench.save()
    before = sorted(tmp_path.iterdir())
    assert bench.save()
    assert sorted(tmp_path.iterdir()) == before


def test_the_journal_is_committed_up_to_the_mark_before_the_file_is_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.apply(3)
    seen: list[int] = []
    bench.keeper.on_flush = lambda: seen.append(len(list(tmp_path.glob("checkpoint-*"))))
    assert bench.save()
    assert seen == [0]
    assert bench.keeper.committed == 3


def test_the_file_is_written_when_the_outcomes_that_it_covers_have_gone_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.apply(3)
    seen: list[tuple[int, int]] = []
    bench.keeper.on_told = lambda position: seen.append((position, len(list(tmp_path.glob("checkpoint-*")))))
    assert bench.save()
    assert seen == [(3, 0)]


def test_the_journal_loses_only_what_two_checkpoints_cover(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.apply(10)
    bench.save()
    assert bench.store.forgot == []
    bench.apply(10)
    bench.save()
    assert bench.store.forgot == [("journal", 10), ("spill", 10)]


def test_incidents_that_have_not_gone_out_are_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.apply(3)
    bench.keeper.held = [INCIDENT]
    bench.save()
    assert bench.kept().meta["unsent"] == [[INCIDENT.topic, INCIDENT.payload.decode(), True, 1]]


def test_nothing_is_marked_while_a_row_is_on_its_way_to_the_disk(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.apply(3)

    async def body() -> None:
        async with bench.residency.lock:
            saving = asyncio.create_task(bench.checkpointer.save())
            for _ in range(10):
                await asyncio.sleep(0)
            bench.apply(2)  # still part of the checkpoint
        assert await saving

    asyncio.run(body())
    assert bench.kept().position == 5


def test_a_checkpoint_is_due_when_the_journal_has_outgrown_the_last_one_or_would_take_too_long(tmp_path: Path) -> None:
    bench = Bench(tmp_path, recovery_s=60)
    bench.apply(3)
    assert not bench.checkpointer.due()
    bench.keeper.noted_bytes = LEAST_BYTES
    assert bench.checkpointer.due()
    bench.save()
    assert not bench.checkpointer.due()
    bench.replay_s = 61
    assert bench.checkpointer.due()
    bench.apply(1)
    bench.save()
    assert not bench.checkpointer.due()


def test_a_disk_that_refuses_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    bench.apply(3)

    def full(*_: object, **__: object) -> Path:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", full)
        assert not bench.save()
    assert "no space left" in bench.checkpointer.failing
    assert bench.checkpointer.saved is None
    assert bench.save()
    assert bench.checkpointer.failing == ""
    assert bench.kept().position == 3


def test_to_begin_anew_forgets_the_whole_journal_once_the_new_state_is_safe(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.apply(4)
    asyncio.run(bench.checkpointer.begin_anew())
    assert bench.kept().position == 4
    assert ("journal", 4) in bench.store.forgot
