"""What is acknowledged is on disk: the keeper with a journal, a disk and a link of the test's own, by virtual time."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from streamd import metrics
from streamd.edge.recall import Mark
from streamd.keeper import MARKS, RETRY_S, Keeper
from streamd.pace import ANSWER_S, SMALLEST_WINDOW, STALL_S, SURE, UNSURE_S, Pace
from streamd.records import Batch, Freeze, Marks, Record
from streamd.store import codec
from streamd.store.journal import Entry, JournalError
from streamd.wire.messages import Kind, Message
from tests.simulation.clock import Clock, Loop

COMMIT_S, TAKES_S = 1.0, 0.05  # until a commit is due, and what it takes
BATCH = Batch(("p1", "p2"), np.array([1.0, 2.0]), np.array([[1.0], [2.0]]))


class Journal:
    """Takes its time, and fails on demand."""

    def __init__(self) -> None:
        self.refuses = False
        self.attempts: list[float] = []  # when they began, s
        self.commits: list[tuple[list[Entry], int]] = []

    def commit(self, entries: list[Entry], published: int) -> None:
        if self.refuses:
            raise JournalError(errno.ENOSPC, "no space left", "journal")
        self.commits.append((entries, published))

    async def disk(self, work: Callable[[], None]) -> None:
        self.attempts.append(now())
        await asyncio.sleep(TAKES_S)
        work()

    @property
    def records(self) -> list[Record]:
        return [codec.decode(entry.record) for entries, _ in self.commits for entry in entries]

    @property
    def positions(self) -> list[list[int]]:
        return [[entry.position for entry in entries] for entries, _ in self.commits]


class Link:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.dry, self.held, self.connected = True, 0, True
        self.answers = True  # a fence at once
        self.passed: Callable[[], None] | None = None  # of a fence that has no answer
        self.asked = 0
        self.let_go: list[int] = []
        self.published: list[bytes] = []

    def done(self, ticket: int) -> None:
        self.let_go.append(ticket)

    def marks(self, tickets: Iterable[int]) -> list[Mark]:
        return [(ticket, 10 * ticket) for ticket in tickets]

    def publish_message(self, message: Message) -> None:
        self.published.append(message.payload)

    async def room(self, limit_s: float) -> None:
        await asyncio.sleep(limit_s)  # it is never there in time

    @property
    def fenced(self) -> bool:
        return self.passed is not None

    def fence(self, passed: Callable[[], None]) -> None:
        assert not self.fenced
        self.asked += 1
        if self.answers:
            passed()
        else:
            self.passed = passed

    def answer(self) -> None:
        passed, self.passed = self.passed, None
        assert passed is not None
        passed()


class Bench:
    """A keeper and what it works with."""

    def __init__(
        self,
        *,
        journaled: bool = True,
        commit_frames: int = 1000,
        marks: Iterable[Mark] = (),
        resent: bool = True,
    ) -> None:
        self.journal, self.link = Journal(), Link()
        self.keeper = Keeper(
            self.journal if journaled else None,
            self.journal.disk,
            self.link,
            Pace(COMMIT_S, commit_frames, 100),
            position=10,
            published=10,
            marks=marks,
        )
        if resent:
            self.keeper.resent()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.keeper.run())
            yield
            self.keeper.stop()


def now() -> float:
    return asyncio.get_running_loop().time()


def message(text: bytes, kind: Kind = "forecast") -> Message:
    return Message("streamd/g/p1/x", text, kind, retain=False, qos=0)


def live(body: Callable[[], Awaitable[None]]) -> None:
    """By virtual time: `sleep` takes none, and what would wait for ever raises."""
    Loop(Clock(), None).live(body())  # type: ignore[arg-type]


# --- messages ---


def test_a_message_is_let_go_only_when_its_record_is_on_disk() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            assert bench.keeper.note("g", BATCH) == 11
            bench.keeper.done(1)
            await asyncio.sleep(COMMIT_S + TAKES_S / 2)
            assert bench.link.let_go == []
            await asyncio.sleep(TAKES_S)
            assert bench.link.let_go == [1]
        (entry,) = bench.journal.commits[0][0]
        assert (entry.position, entry.group, bench.keeper.committed) == (11, "g", 11)
        assert codec.encode(BATCH) == entry.record

    live(body)


def test_a_message_that_changed_nothing_goes_at_once_unless_something_waits() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            bench.keeper.done(1)
            assert bench.link.let_go == [1]
            bench.keeper.note("g", BATCH)
            bench.keeper.done(2)
            bench.keeper.done(3)
            assert bench.link.let_go == [1]
            await asyncio.sleep(COMMIT_S + 2 * TAKES_S)
            assert bench.link.let_go == [1, 2, 3]

    live(body)


def test_a_message_that_came_during_a_commit_waits_for_the_next_one_which_needs_no_further_message() -> None:
    async def body() -> None:
        bench = Bench(commit_frames=2)
        async with bench.running():
            bench.keeper.note("g", BATCH)  # two frames: at once
            bench.keeper.done(1)
            await asyncio.sleep(TAKES_S / 2)
            bench.keeper.note("g", Freeze())
            bench.keeper.done(2)
            await asyncio.sleep(TAKES_S)
            assert bench.link.let_go == [1]
            await asyncio.sleep(COMMIT_S + TAKES_S)
            assert bench.link.let_go == [1, 2]
        assert bench.journal.positions == [[11], [12]]

    live(body)


def test_readings_have_their_turn_between_the_answers_to_two_batches() -> None:
    async def body() -> None:
        bench, seen = Bench(), list[list[int]]()
        let_go = bench.link.done

        def done(ticket: int) -> None:
            let_go(ticket)
            asyncio.get_running_loop().call_soon(lambda: seen.append(list(bench.link.let_go)))

        bench.link.done = done  # type: ignore[method-assign]
        async with bench.running():
            for ticket in (1, 2):
                bench.keeper.note("g", BATCH)
                bench.keeper.done(ticket)
            await asyncio.sleep(COMMIT_S + 2 * TAKES_S)
        assert seen == [[1], [1, 2]]

    live(body)


def test_a_commit_does_not_wait_for_its_time_when_the_broker_sends_no_more_before_it() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            bench.keeper.arrived()
            bench.keeper.note("g", BATCH)
            bench.link.held, bench.link.dry = SMALLEST_WINDOW, False
            await asyncio.sleep(2 * STALL_S)
            assert bench.journal.attempts == []  # there is still work
            bench.link.dry = True
            bench.keeper.note("g", BATCH)
            await asyncio.sleep(UNSURE_S + STALL_S)
            assert len(bench.journal.attempts) == 1

    live(body)


def test_when_the_brokers_window_is_what_holds_things_up_it_is_counted_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> None:
        bench = Bench()
        bench.link.held = SMALLEST_WINDOW
        async with bench.running():
            for number in range(1, 7):
                bench.keeper.arrived()
                bench.keeper.note("g", BATCH)
                stall_s = UNSURE_S if number <= SURE else STALL_S
                await asyncio.sleep(stall_s + TAKES_S + ANSWER_S / 2)  # and then the next one comes, soon enough
                assert len(bench.journal.attempts) == number
                said = [line for line in caplog.messages if "action=window_limits messages=20" in line]
                assert len(said) == (number > SURE)
                assert metrics.registry.get_sample_value("streamd_broker_window_limited_commits") == number - 1

    live(body)


def test_without_a_journal_everything_goes_at_once() -> None:
    async def body() -> None:
        bench = Bench(journaled=False)
        async with bench.running():
            bench.keeper.note("g", BATCH)
            bench.keeper.publish(message(b"incident", "incident"))
            bench.keeper.done(1, timeless=True)
            assert (bench.link.published, bench.link.let_go) == ([b"incident"], [1])
            assert await bench.keeper.flush()

    live(body)


# --- outcomes ---


def test_forecasts_go_at_once_and_incidents_after_their_commit_which_they_hurry() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            bench.keeper.note("g", BATCH)
            bench.keeper.publish(message(b"forecast"))
            bench.keeper.publish(message(b"incident", "incident"))
            bench.keeper.done(1)
            assert bench.link.published == [b"forecast"]
            assert [m.payload for m in bench.keeper.unpublished()] == [b"incident"]
            await asyncio.sleep(2 * TAKES_S)
            assert bench.link.published == [b"forecast", b"incident"]
            assert bench.keeper.unpublished() == []
            bench.keeper.publish(message(b"another", "incident"))  # of what is on disk
            assert bench.link.published[-1] == b"another"
            bench.keeper.note("g", BATCH)
            await asyncio.sleep(COMMIT_S / 2)
            assert len(bench.journal.attempts) == 1  # the hurry is over

    live(body)


def test_outcomes_count_as_published_when_the_broker_has_them_and_no_incident_waits() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            bench.keeper.note("g", BATCH)
            bench.keeper.publish(message(b"incident", "incident"))
            assert await bench.keeper.flush()
            assert bench.link.asked == 0
            bench.keeper.note("g", BATCH)
            assert await bench.keeper.flush()
        assert [published for _, published in bench.journal.commits] == [10, 12]

    live(body)


def test_what_the_broker_has_not_confirmed_does_not_count_as_published() -> None:
    async def body() -> None:
        bench = Bench()
        bench.link.answers = False
        async with bench.running():
            for _ in range(3):
                bench.keeper.note("g", BATCH)
                assert await bench.keeper.flush()
            assert bench.link.asked == 1  # it is not asked again before it has answered
            bench.link.answer()
            for _ in range(2):
                bench.keeper.note("g", BATCH)
                assert await bench.keeper.flush()
            bench.link.passed = None  # the connection ends before the answer
            bench.link.answers = True
            bench.keeper.note("g", BATCH)
        # what an answer says is written down with the next commit
        assert [published for _, published in bench.journal.commits] == [10, 10, 10, 11, 11, 16]

    live(body)


def test_nobody_asks_what_the_broker_has_before_what_former_runs_had_not_got_out_is_published() -> None:
    async def body() -> None:
        bench = Bench(resent=False)
        async with bench.running():
            bench.keeper.note("g", BATCH)
            assert await bench.keeper.flush()
            assert bench.link.asked == 0
            bench.keeper.resent()
            bench.keeper.note("g", BATCH)
            assert await bench.keeper.flush()
            assert bench.link.asked == 1

    live(body)


def test_who_waits_until_outcomes_are_told_waits_for_the_broker_but_not_for_ever() -> None:
    async def body() -> None:
        bench = Bench()
        link, keeper = bench.link, bench.keeper
        link.answers = False
        async with bench.running():
            keeper.note("g", BATCH)
            waiting = asyncio.create_task(keeper.told(11, 3.0))
            await asyncio.sleep(1.0)
            assert not waiting.done()
            link.answer()
            begun = now()
            await waiting
            assert now() - begun < 0.1
            keeper.note("g", BATCH)
            await keeper.told(12, 3.0)
            assert now() - begun == pytest.approx(3.0, abs=0.2)
            link.connected = False
            await keeper.told(12, 3.0)  # nothing can be told: at once
            assert now() - begun == pytest.approx(3.0, abs=0.2)
            keeper.note("g", BATCH)
            assert keeper.published == 11
        link.connected, link.answers, link.passed = True, True, None
        await keeper.told(13, 3.0)  # nothing more is committed, but what went out can still be told of
        assert keeper.published == 13

    live(body)


# --- the disk refuses ---


def test_while_the_disk_refuses_nothing_goes_and_when_it_heals_everything_does_in_order() -> None:
    async def body() -> None:
        bench = Bench()
        bench.journal.refuses = True
        async with bench.running():
            bench.keeper.note("g", BATCH)
            bench.keeper.done(1)
            await asyncio.sleep(COMMIT_S + 2 * TAKES_S)
            assert "no space left" in bench.keeper.failing
            bench.keeper.note("g", Freeze())
            bench.keeper.publish(message(b"forecast"))
            bench.keeper.publish(message(b"incident", "incident"))
            bench.keeper.done(2)
            await asyncio.sleep(3600.0)
            assert (bench.link.let_go, bench.link.published) == ([], [b"forecast"])
            bench.journal.refuses = False
            await asyncio.sleep(RETRY_S[1] + 2 * TAKES_S)
            assert (bench.link.let_go, bench.link.published) == ([1, 2], [b"forecast", b"incident"])
            assert bench.keeper.failing == ""
        assert bench.journal.positions == [[11, 12]]

    live(body)


def test_a_disk_that_refuses_is_tried_again_after_pauses_that_double_up_to_a_limit() -> None:
    async def body() -> None:
        bench = Bench(commit_frames=1)
        bench.journal.refuses = True
        async with bench.running():
            bench.keeper.note("g", BATCH)
            for _ in range(200):
                await asyncio.sleep(1.0)
                bench.keeper.arrived()  # what comes meanwhile is no reason to hurry
        pauses = np.diff(bench.journal.attempts[:-1]) - TAKES_S
        assert pauses[:8] == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0], abs=0.01)

    live(body)


# --- the end ---


def test_a_stop_commits_what_waits() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            bench.keeper.note("g", BATCH)
            bench.keeper.done(1)
        assert bench.link.let_go == [1]
        assert bench.journal.attempts == pytest.approx([0.0], abs=0.01)

    live(body)


def test_a_stop_ends_soon_when_the_disk_refuses_and_nothing_is_let_go() -> None:
    async def body() -> None:
        bench = Bench(commit_frames=1)
        bench.journal.refuses = True
        async with bench.running():
            bench.keeper.note("g", BATCH)
            bench.keeper.done(1)
            await asyncio.sleep(10.0)
        assert now() < 11.0  # it does not wait for its next attempt, which would be later
        assert bench.link.let_go == []

    live(body)


def test_a_flush_tells_whether_all_that_was_noted_is_on_disk() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            assert await bench.keeper.flush()
            bench.keeper.note("g", BATCH)
            assert await bench.keeper.flush()
            assert bench.keeper.committed == 11
            assert now() < COMMIT_S
            bench.journal.refuses = True
            bench.keeper.note("g", BATCH)
            assert not await bench.keeper.flush()
            bench.journal.refuses = False
        bench.keeper.note("g", BATCH)
        assert not await bench.keeper.flush()  # nobody commits any more

    live(body)


# --- messages that come again ---


def test_of_messages_without_times_the_ids_are_committed_with_their_readings() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            bench.keeper.note("g", BATCH)
            bench.keeper.done(1)
            bench.keeper.done(2, timeless=True)
            bench.keeper.note("g", BATCH)
            bench.keeper.done(3, timeless=True)
            assert await bench.keeper.flush()
            bench.keeper.note("g", BATCH)
            bench.keeper.done(4)
            assert await bench.keeper.flush()
        assert bench.journal.positions == [[11, 12, 13], [14]]
        assert bench.journal.records[2] == Marks(((2, 20), (3, 30)))
        assert list(bench.keeper.marks) == [(2, 20), (3, 30)]
        assert bench.link.let_go == [1, 2, 3, 4]

    live(body)


def test_ids_are_written_down_once_however_often_the_disk_refuses() -> None:
    async def body() -> None:
        bench = Bench(commit_frames=1)
        bench.journal.refuses = True
        async with bench.running():
            bench.keeper.note("g", BATCH)
            bench.keeper.done(1, timeless=True)
            await asyncio.sleep(10.0)
            bench.journal.refuses = False
        assert [type(record) for record in bench.journal.records] == [Batch, Marks]

    live(body)


def test_as_many_ids_are_remembered_as_a_broker_may_send_again() -> None:
    async def body() -> None:
        bench = Bench(marks=[(0, 0)])
        async with bench.running():
            for ticket in range(1, MARKS + 1):
                bench.keeper.note("g", BATCH)
                bench.keeper.done(ticket, timeless=True)
        assert list(bench.keeper.marks) == [(ticket, 10 * ticket) for ticket in range(1, MARKS + 1)]

    live(body)


def test_nothing_is_committed_while_a_message_without_times_is_applied_in_part() -> None:
    async def body() -> None:
        bench = Bench(commit_frames=1)
        async with bench.running():
            bench.keeper.note("g", BATCH)
            bench.keeper.inside("g", True)
            bench.keeper.publish(message(b"incident", "incident"))
            bench.keeper.note("other", BATCH)
            bench.keeper.inside("other", False)
            await asyncio.sleep(10 * COMMIT_S)
            assert bench.journal.attempts == []
            bench.keeper.inside("g", False)
            await asyncio.sleep(2 * TAKES_S)
            assert bench.journal.positions == [[11, 12]]

    live(body)


def test_a_disk_that_heals_while_a_message_is_applied_in_part_waits_for_the_rest_of_it() -> None:
    async def body() -> None:
        bench = Bench(commit_frames=1)
        bench.journal.refuses = True
        async with bench.running():
            bench.keeper.note("g", BATCH)
            await asyncio.sleep(2 * TAKES_S)
            bench.keeper.note("g", BATCH)
            bench.keeper.inside("g", True)
            bench.journal.refuses = False
            await asyncio.sleep(60.0)
            assert bench.journal.commits == []
            bench.keeper.inside("g", False)
            await asyncio.sleep(60.0)
            assert bench.journal.positions == [[11, 12]]

    live(body)


def test_a_message_that_is_applied_in_part_at_the_end_is_not_kept() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            bench.keeper.note("g", BATCH)
            bench.keeper.inside("g", True)
            flush = asyncio.create_task(bench.keeper.flush())
            await asyncio.sleep(COMMIT_S)
        assert not await flush
        assert bench.journal.attempts == []

    live(body)


# --- a session that is lost ---


def test_the_loss_of_the_session_is_written_down_before_that_is_told_and_ids_are_forgotten() -> None:
    async def body() -> None:
        bench, told = Bench(marks=[(1, 10)]), []
        async with bench.running():
            bench.keeper.session_lost(lambda: told.append(bench.keeper.committed))
            assert (told, list(bench.keeper.marks)) == ([], [])
            await asyncio.sleep(2 * TAKES_S)
            assert told == [11]
        assert bench.journal.records == [Marks(())]

    live(body)


@pytest.mark.parametrize("bench", [lambda: Bench(), lambda: Bench(journaled=False, marks=[(1, 10)])])
def test_the_loss_of_a_session_of_which_nothing_is_known_is_told_at_once(bench: Callable[[], Any]) -> None:
    async def body() -> None:
        made, told = bench(), []
        made.keeper.session_lost(lambda: told.append(True))
        assert told == [True]
        assert not made.keeper.marks

    live(body)


def test_the_loss_of_the_session_is_told_once_even_if_the_disk_refuses() -> None:
    async def body() -> None:
        bench, told = Bench(marks=[(1, 10)]), []
        bench.journal.refuses = True
        async with bench.running():
            bench.keeper.session_lost(lambda: told.append(True))
            await asyncio.sleep(2 * TAKES_S)
            assert told == [True]
            bench.journal.refuses = False
        assert bench.journal.records == [Marks(())]
        assert told == [True]

    live(body)


# --- who can be heard ---


def test_nothing_can_be_heard_without_a_connection_or_while_the_disk_refuses() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            assert not bench.keeper.deaf
            bench.link.connected = False
            assert bench.keeper.deaf
            bench.link.connected = True
            bench.journal.refuses = True
            bench.keeper.note("g", BATCH)
            await asyncio.sleep(2 * COMMIT_S)
            assert bench.keeper.deaf
            bench.journal.refuses = False
            await asyncio.sleep(RETRY_S[1])
            assert not bench.keeper.deaf

    live(body)


def test_it_is_behind_while_messages_wait_here_or_may_wait_at_the_broker() -> None:
    async def body() -> None:
        bench = Bench()
        assert not bench.keeper.behind
        bench.link.dry = False
        assert bench.keeper.behind
        bench.link.dry, bench.link.held = True, SMALLEST_WINDOW
        assert bench.keeper.behind
        bench.link.held = SMALLEST_WINDOW - 1
        assert not bench.keeper.behind

    live(body)


def test_a_question_is_asked_by_a_fence_one_at_a_time() -> None:
    async def body() -> None:
        bench = Bench()
        bench.link.answers = False
        answers: list[int] = []
        bench.keeper.ask(lambda: answers.append(1))
        bench.keeper.ask(lambda: answers.append(2))
        assert answers == []
        bench.link.answer()
        assert answers == [1]

    live(body)


def test_there_is_room_when_the_link_has_some() -> None:
    async def body() -> None:
        bench = Bench()
        begun = now()
        await bench.keeper.room(3.0)
        assert now() - begun >= 3.0

    live(body)
