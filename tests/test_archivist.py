"""What is archived is on disk in the journal before, and a disk that refuses loses nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from streamd import archivist, metrics
from streamd.archivist import Archivist, concerns, items
from streamd.records import Freeze, Teach, Withdraw
from streamd.store.archive import Item
from streamd.store.sqlite import DamagedError, StoreError
from tests.state_folder import at_once
from tests.store.test_archive import told
from tests.wire.test_outcomes import some_outcome

LIMIT_S = 20.0  # only a broken test waits so long


class Archive:
    """Remembers what it was given; refuses as often as it is told to."""

    def __init__(self) -> None:
        self.rows: list[Item] = []
        self.refusals: list[Exception] = []
        self.written = asyncio.Event()

    def put(self, items: list[Item]) -> None:
        if self.refusals:
            raise self.refusals.pop()
        self.rows += items
        self.written.set()


class Journal:
    """Commits when it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.asked = asyncio.Event()

    async def flush(self) -> bool:
        self.asked.set()
        await self.may.wait()
        return True


def raised(number: int) -> Any:
    return some_outcome(incidents=(told(number),))


def run(body: Any) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await body()

    asyncio.run(limited())


def test_only_what_belongs_to_incidents_is_taken() -> None:
    assert concerns(raised(1))
    assert concerns(Teach("s-1", "real"))
    assert concerns(Withdraw("s-1"))
    assert not concerns(some_outcome())
    assert not concerns(Freeze())
    assert [item.kind for item in items([("g", raised(1)), ("g", Teach("s-1", "real"))])] == ["told", "verdict"]


def test_nothing_is_written_before_its_commit() -> None:
    async def body() -> None:
        archive, journal, stop = Archive(), Journal(), asyncio.Event()
        one = Archivist(archive, at_once, journal.flush)
        running = asyncio.create_task(one.run(stop))
        one.take("g", some_outcome())
        one.take("g", raised(1))
        await journal.asked.wait()
        assert archive.rows == []
        journal.may.set()
        await archive.written.wait()
        assert [item.incident for item in archive.rows] == ["s-1"]
        stop.set()
        await running

    run(body)


def test_a_disk_that_refuses_is_asked_again_and_what_waits_stays_in_order() -> None:
    async def body() -> None:
        archive = Archive()
        one = Archivist(archive, at_once, Journal().flush)
        archive.refusals = [StoreError(5, "sick", "x")]
        one.take("g", raised(1))
        assert not await one.settle()
        one.take("g", raised(2))
        assert await one.settle()
        assert [item.incident for item in archive.rows] == ["s-1", "s-2"]
        assert await one.settle()
        assert len(archive.rows) == 2

    run(body)


def test_a_damaged_archive_holds_nothing_up_and_the_loss_is_counted() -> None:
    async def body() -> None:
        labels = {"queue": "archive", "reason": "damaged"}
        before = metrics.registry.get_sample_value("streamd_dropped_total", labels) or 0.0
        archive = Archive()
        one = Archivist(archive, at_once, Journal().flush)
        archive.refusals = [DamagedError("torn")]
        one.take("g", raised(1))
        assert await one.settle()
        assert metrics.registry.get_sample_value("streamd_dropped_total", labels) == before + 1

    run(body)


def test_what_a_recovery_left_is_written_first() -> None:
    async def body() -> None:
        archive = Archive()
        one = Archivist(archive, at_once, Journal().flush, [("g", raised(1))])
        one.take("g", raised(2))
        assert await one.settle()
        assert [item.incident for item in archive.rows] == ["s-1", "s-2"]

    run(body)


def test_what_waits_is_bounded_and_the_oldest_is_given_up(monkeypatch: Any) -> None:
    async def body() -> None:
        monkeypatch.setattr(archivist, "MOST_WAITING", 2)
        archive = Archive()
        one = Archivist(archive, at_once, Journal().flush)
        for number in range(3):
            one.take("g", raised(number))
        assert await one.settle()
        assert [item.incident for item in archive.rows] == ["s-1", "s-2"]

    run(body)
