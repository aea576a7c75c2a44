from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from streamd.config import Group, Network, Training
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Batch
from streamd.residency import Residency
from streamd.store.sqlite import StoreError

SETTINGS = Group(
    channels=("a",), horizon_steps=2, network=Network(hidden=4, layers=1), training=Training(enabled=False)
)


class Shelf:
    """A spill in memory that can be told to refuse."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.refuses = False

    def put(self, items: Sequence[tuple[str, int, bytes]]) -> None:
        if self.refuses:
            raise StoreError("no space left")
        self.rows |= {stream: row for stream, _, row in items}

    def get(self, stream: str) -> bytes | None:
        return self.rows.get(stream)


async def at_once(work: Callable[[], Any]) -> Any:
    await asyncio.sleep(0)
    return work()


def frames(*streams: str, time: float) -> Batch:
    return Batch(streams, np.full(len(streams), time), np.full((len(streams), 1), time))


def engine_of(count: int) -> Engine:
    """With streams s0, s1, …, of which the first were silent longest."""
    engine = Engine(SETTINGS, InlineTrainer())
    for number in range(count):
        engine.apply(frames(f"s{number}", time=float(number)))
    return engine


def test_nothing_leaves_while_there_is_room() -> None:
    engine, shelf = engine_of(5), Shelf()
    residency = Residency("g", engine, shelf, at_once, limit=5)
    assert asyncio.run(residency.make_room(5)) == []
    assert engine.resident == 5
    assert not shelf.rows


def test_the_streams_that_were_silent_longest_leave_and_some_room_is_made() -> None:
    engine, shelf = engine_of(21), Shelf()
    gone = asyncio.run(Residency("g", engine, shelf, at_once, limit=20).make_room(21))
    assert gone == ["s0", "s1", "s2"]
    assert engine.resident == 18
    assert engine.known == 21
    assert set(shelf.rows) == {"g/s0", "g/s1", "g/s2"}


def test_a_stream_comes_back_as_it_was() -> None:
    engine, shelf = engine_of(11), Shelf()
    control = engine_of(11)
    residency = Residency("g", engine, shelf, at_once, limit=10)

    async def go() -> None:
        assert "s0" in await residency.make_room(11)
        await residency.bring(["s0", "s10"])

    asyncio.run(go())
    assert engine.last_time("s0") == 0.0
    one, other = engine.apply(frames("s0", time=50.0)), control.apply(frames("s0", time=50.0))
    assert one.seq.tolist() == other.seq.tolist() == [1]
    np.testing.assert_array_equal(one.mean, other.mean)


def test_a_stream_that_was_never_seen_is_not_brought() -> None:
    engine, shelf = engine_of(11), Shelf()
    residency = Residency("g", engine, shelf, at_once, limit=10)

    async def go() -> None:
        await residency.make_room(11)
        await residency.bring(["new"])

    asyncio.run(go())
    assert engine.absent(["new"]) == ["new"]


def test_when_the_disk_refuses_the_streams_stay_in_memory() -> None:
    engine, shelf = engine_of(11), Shelf()
    shelf.refuses = True
    assert asyncio.run(Residency("g", engine, shelf, at_once, limit=10).make_room(11)) == []
    assert engine.resident == 11
    assert engine.last_time("s0") == 0.0


def test_a_stream_on_its_way_to_the_disk_is_brought_back_when_it_is_there() -> None:
    engine, shelf = engine_of(11), Shelf()
    residency = Residency("g", engine, shelf, at_once, limit=10)

    async def go() -> None:
        leaving = asyncio.create_task(residency.make_room(11))
        await asyncio.sleep(0)
        assert residency.lock.locked()  # no checkpoint may be marked now: the row is nowhere
        assert engine.absent(["s0"]) == ["s0"]
        await residency.bring(["s0"])
        await leaving

    asyncio.run(go())
    assert engine.absent(["s0"]) == []


def test_groups_that_share_a_spill_do_not_see_each_others_streams() -> None:
    shelf = Shelf()
    one, other = engine_of(11), engine_of(11)
    first, second = (Residency(name, engine, shelf, at_once, limit=10) for name, engine in (("g", one), ("h", other)))

    async def go() -> None:
        await first.make_room(11)
        other.spill(11)
        await second.bring(["s0"])

    asyncio.run(go())
    assert other.absent(["s0"]) == ["s0"]


def test_a_row_that_can_not_be_read_is_no_new_beginning() -> None:
    class Sick(Shelf):
        def get(self, stream: str) -> bytes | None:
            raise StoreError("input/output error")

    engine = engine_of(11)
    residency = Residency("g", engine, Sick(), at_once, limit=10)

    async def go() -> None:
        await residency.make_room(11)
        await residency.bring(["s0"])

    with pytest.raises(StoreError):
        asyncio.run(go())
    assert engine.absent(["s0"]) == ["s0"]
