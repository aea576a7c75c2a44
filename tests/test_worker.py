"""One group's way from readings to outcomes, with a real small engine and an outlet that remembers what it got."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from streamd import metrics, pressure
from streamd.config import Alarm, Group, Network, Source, Training
from streamd.edge.budget import Budget
from streamd.engine.align import _Lane
from streamd.engine.engine import Engine
from streamd.model.training import Candidate, Job, train
from streamd.records import (
    HELD,
    Batch,
    Configure,
    Freeze,
    Incident,
    Outcome,
    Reading,
    Record,
    Reset,
    Silent,
    Stretch,
    Widen,
)
from streamd.residency import Residency
from streamd.wire.messages import Message
from streamd.worker import LATE_S, LOOK_S, Worker

LIMIT_S = 20.0  # only a broken test waits so long
GROUP = "workers"
NOW = 1_700_000_000.0
LONG_AGO = NOW  # an arrival whose frame has waited for its parts for ever
SOURCE = Source(topic="plant/{stream}/telemetry", group=GROUP)
PARTS = Source(topic="plant/{stream}/{channel}", group=GROUP, join_s=600.0)
SETTINGS = Group(
    channels=("flow", "pressure"),
    horizon_steps=2,
    network=Network(hidden=8, layers=1),
    training=Training(
        every_frames=4, lag_frames=2, windows=2, steps=1, burn_in_frames=2, train_frames=4, memory_windows=16
    ),
)


class Trainer:
    """Trains at once, or when the gate is opened."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.waited_for = asyncio.Event()
        self._job: Job | None = None

    def submit(self, job: Job) -> None:
        self._job = job

    def ready(self) -> bool:
        return self.gate.is_set()

    async def wait(self) -> None:
        self.waited_for.set()
        await self.gate.wait()

    def result(self) -> Candidate:
        assert self._job is not None
        assert self.gate.is_set(), "asked for before it was ready: the loop would have been blocked"
        return train(self._job)


class Outlet:
    """Remembers what the worker gave from it, in order."""

    def __init__(self) -> None:
        self.position = 0
        self.records: list[Record] = []
        self.said: list[tuple[str, Any]] = []
        self.inside_after: list[bool] = []  # each record: a message without times is applied in part
        self.deaf = self.behind = False
        self.answers = True  # what it is asked, at once
        self.asked = 0
        self.roomy = asyncio.Event()  # more may be published
        self.roomy.set()
        self._changed = asyncio.Event()

    def note(self, group: str, record: Record) -> int:
        assert group == GROUP
        self.position += 1
        self.records.append(record)
        self._say("note", record)
        return self.position

    def inside(self, group: str, inside: bool) -> None:
        assert group == GROUP
        self.inside_after.append(inside)

    def publish(self, message: Message) -> None:
        self._say("publish", message)

    async def room(self, limit_s: float) -> None:
        assert 0.0 < limit_s < LIMIT_S, "a broker that takes nothing must not stop learning"
        if not self.roomy.is_set():
            self._say("wait", None)
        await self.roomy.wait()

    def done(self, ticket: int, *, timeless: bool = False) -> None:
        self._say("done", (ticket, timeless))

    def ask(self, answered: Callable[[], None]) -> None:
        self.asked += 1
        if self.answers:
            answered()

    @property
    def batches(self) -> list[Batch]:
        return [record for record in self.records if isinstance(record, Batch)]

    @property
    def let_go(self) -> list[int]:
        return [value[0] for what, value in self.said if what == "done"]

    def published(self, kind: str) -> list[dict[str, Any]]:
        messages = [value for what, value in self.said if what == "publish"]
        return [json.loads(message.payload) for message in messages if message.kind == kind and message.payload]

    async def until(self, come: Callable[[], object]) -> None:
        """Until something is so; looked at whenever the worker says something."""
        while not come():
            self._changed.clear()
            await self._changed.wait()

    def _say(self, what: str, value: Any) -> None:
        self.said.append((what, value))
        self._changed.set()


class Shelf:
    """A spill without a disk."""

    def __init__(self) -> None:
        self._rows: dict[str, bytes] = {}

    def put(self, items: Sequence[tuple[str, int, bytes]]) -> None:
        self._rows |= {stream: row for stream, _, row in items}

    def get(self, stream: str) -> bytes | None:
        return self._rows.get(stream)

    def count(self) -> int:
        return len(self._rows)


async def at_once(work: Callable[[], Any]) -> Any:
    return work()


class Bench:
    """A worker and what it works with."""

    def __init__(
        self, settings: Group = SETTINGS, *, budget: Budget | None = None, series: int = 0, resident: int = 1000
    ) -> None:
        self.outlet, self.trainer = Outlet(), Trainer()
        self.engine = Engine(settings, self.trainer)
        self._with = budget or Budget(1.0), series, resident
        self.now = 0.0  # s, by the worker's clock
        self.work()

    def work(self) -> None:
        """Begin with the engine as it is."""
        budget, series, resident = self._with
        self.shelf = getattr(self, "shelf", None) or Shelf()
        self.worker = Worker(
            GROUP,
            self.engine,
            self.trainer,  # type: ignore[arg-type]
            budget,
            self.outlet,
            Residency(GROUP, self.engine, self.shelf, at_once, resident),
            prefix="streamd",
            stream_series=series,
            clock=lambda: self.now,
        )

    async def take(
        self, ticket: int, *readings: Reading, source: Source = SOURCE, arrival: float | None = None
    ) -> None:
        await self.worker.take(
            list(readings),
            source,
            joined="{channel}" in source.topic,
            arrival=time.time() if arrival is None else arrival,
            ticket=ticket,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The worker runs, and is stopped in good order."""
        async with asyncio.TaskGroup() as tasks:
            run = tasks.create_task(self.worker.run())
            yield
            self.worker.stop()
            await run


def reading(n: int, stream: str = "p1", **values: float) -> Reading:
    return Reading(stream, NOW + n, values or {"flow": float(n % 5), "pressure": 1.0})


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, LIMIT_S))


def count(name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"streamd_{name}", {"group": GROUP, **labels}) or 0.0


# --- tickets ---


def test_a_message_is_let_go_only_when_all_its_readings_are_applied() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await bench.take(7, reading(0), reading(1), reading(2))
            await bench.outlet.until(lambda: bench.outlet.let_go)
        said = [(what, value) for what, value in bench.outlet.said if what != "publish"]
        assert [what for what, _ in said] == ["note", "note", "note", "done"]  # one stream: a batch for each
        assert said[-1][1] == (7, False)
        assert len(bench.outlet.published("forecast")) == len(bench.outlet.published("score")) == 3

    run(body())


def test_a_record_is_noted_before_anything_that_comes_of_it_is_said() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await bench.take(0, reading(0), reading(0, "p2"))
            await bench.take(1, reading(1))
        assert [what for what, _ in bench.outlet.said] == [
            *("note", "publish", "publish", "publish", "publish", "done"),
            *("note", "publish", "publish", "done"),
        ]

    run(body())


def test_refused_readings_are_counted_and_do_not_keep_their_message() -> None:
    async def body() -> None:
        bench = Bench()
        before = {reason: count("readings_total", outcome=reason) for reason in ("taken", "late", "double", "future")}
        async with bench.running():
            await bench.take(0, reading(5))
            await bench.take(1, reading(5), reading(3))
            assert bench.outlet.let_go == [1]  # nothing of it is left to wait for
            await bench.take(2, reading(4), reading(6), reading(10**9))
            await bench.outlet.until(lambda: len(bench.outlet.let_go) == 3)
        assert bench.outlet.let_go == [1, 0, 2]
        after = {reason: count("readings_total", outcome=reason) - was for reason, was in before.items()}
        assert after == {"taken": 2, "late": 2, "double": 1, "future": 1}

    run(body())


def test_a_message_without_times_is_let_go_as_such() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await bench.take(0, reading(0))
            await bench.take(1, Reading("p1", None, {"flow": 1.0}))
        assert [value for what, value in bench.outlet.said if what == "done"] == [(0, False), (1, True)]

    run(body())


def test_a_message_without_times_is_told_to_be_applied_in_part_until_it_is_as_a_whole() -> None:
    async def body() -> None:
        bench = Bench()
        timeless = [Reading("p1", None, {"flow": float(n)}) for n in range(3)]
        async with bench.running():
            await bench.take(0, reading(0, "p2"), reading(1, "p2"))
            await bench.take(1, *timeless)
        assert len(bench.outlet.batches) == 3
        assert bench.outlet.inside_after == [True, True, False]
        async with bench.running():
            await bench.take(2, reading(2, "p2"), reading(3, "p2"))
        assert bench.outlet.inside_after[3:] == [False, False]  # known again by their times

    run(body())


# --- order ---


def test_streams_share_a_batch_and_each_stream_keeps_its_order() -> None:
    async def body() -> None:
        bench = Bench()
        for n in range(3):
            await bench.take(n, *(reading(n, stream) for stream in ("p1", "p2", "p3")))
        async with bench.running():
            pass
        assert [batch.streams for batch in bench.outlet.batches] == [("p1", "p2", "p3")] * 3
        assert [batch.times.tolist() for batch in bench.outlet.batches] == [[NOW + n] * 3 for n in range(3)]
        for stream in ("p1", "p2", "p3"):
            seqs = [score["seq"] for score in bench.outlet.published("score") if score["stream"] == stream]
            assert seqs == [0, 1, 2]
        assert bench.outlet.let_go == [0, 1, 2]

    run(body())


def test_while_the_broker_takes_too_little_no_batch_is_made_and_what_comes_meanwhile_shares_the_next() -> None:
    async def body() -> None:
        bench = Bench()
        bench.outlet.roomy.clear()
        async with bench.running():
            await bench.take(0, reading(0))
            await bench.outlet.until(lambda: bench.outlet.said)
            await bench.take(1, reading(0, "p2"))
            assert [what for what, _ in bench.outlet.said] == ["wait"]
            bench.outlet.roomy.set()
        assert [batch.streams for batch in bench.outlet.batches] == [("p1", "p2")]
        assert bench.outlet.let_go == [0, 1]

    run(body())


def test_other_tasks_get_their_turn_between_two_batches() -> None:
    async def body() -> None:
        bench = Bench()
        await bench.take(0, *(reading(n) for n in range(10)))
        turns: list[int] = []

        async def look() -> None:
            while len(bench.outlet.batches) < 10:
                turns.append(len(bench.outlet.batches))
                await asyncio.sleep(0)

        async with bench.running():
            await look()
        assert turns == sorted(set(turns))  # each look found one more batch at most
        assert len(turns) == 10

    run(body())


def test_new_channels_are_noted_before_the_first_batch_that_has_them() -> None:
    async def body() -> None:
        bench = Bench(replace(SETTINGS, channels="auto"))
        async with bench.running():
            await bench.take(0, reading(0, flow=1.0))
            await bench.take(1, reading(1, flow=1.0, level=2.0))
        kinds = [record if isinstance(record, Widen) else Batch for record in bench.outlet.records]
        assert kinds == [Widen(("flow", "level")), Batch, Batch] or kinds == [
            Widen(("flow",)),
            Batch,
            Widen(("level",)),
            Batch,
        ]
        assert bench.engine.channels == ("flow", "level")

    run(body())


# --- parts ---


def test_parts_are_put_together_and_none_of_their_messages_is_let_go_before() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await bench.take(0, reading(0, flow=1.0), source=PARTS)
            await bench.take(1, reading(0, pressure=2.0), source=PARTS)
            assert bench.outlet.said == []  # more may come: nobody knows the stream's channels yet
            await bench.take(2, reading(1, flow=3.0), source=PARTS)
            await bench.outlet.until(lambda: bench.outlet.let_go == [0, 1])
            await bench.take(3, reading(1, pressure=4.0), source=PARTS)
            await bench.outlet.until(lambda: bench.outlet.let_go == [0, 1, 2, 3])
        assert [batch.values.tolist() for batch in bench.outlet.batches] == [[[1.0, 2.0]], [[3.0, 4.0]]]

    run(body())


def test_a_part_that_has_waited_long_enough_goes_on_without_the_others() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await bench.take(0, reading(0, flow=1.0), source=PARTS, arrival=LONG_AGO)
            await bench.outlet.until(lambda: bench.outlet.let_go == [0])
        assert json.dumps(bench.outlet.batches[0].values.tolist()) == "[[1.0, NaN]]"

    run(body())


def test_a_part_is_waited_for_by_the_clock_while_nothing_else_arrives() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            begun = time.time()
            await bench.take(0, reading(0, flow=1.0), source=replace(PARTS, join_s=0.05), arrival=begun)
            await bench.outlet.until(lambda: bench.outlet.let_go == [0])
            assert time.time() - begun >= 0.05

    run(body())


def test_parts_are_only_put_together_where_the_source_says_so() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await bench.take(0, reading(0, flow=1.0), source=replace(PARTS, join=False))
            await bench.outlet.until(lambda: bench.outlet.let_go == [0])
            await bench.take(1, reading(1, flow=1.0), source=replace(SOURCE, join=True))
            assert bench.outlet.let_go == [0]

    run(body())


# --- stop ---


def test_stopping_applies_what_was_taken_in() -> None:
    async def body() -> None:
        bench = Bench()
        await bench.take(0, *(reading(n) for n in range(20)))
        bench.worker.stop()
        await bench.worker.run()
        assert len(bench.outlet.batches) == 20
        assert bench.outlet.let_go == [0]

    run(body())


def test_a_frame_that_still_waits_for_parts_at_the_stop_is_left_to_the_broker() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await bench.take(0, reading(0, flow=1.0), source=PARTS)
            await bench.take(1, reading(0, "p2"))
        assert [batch.streams for batch in bench.outlet.batches] == [("p2",)]
        assert bench.outlet.let_go == [1]

    run(body())


# --- commands ---


def test_a_command_is_carried_out_after_all_that_came_before_it() -> None:
    async def body() -> None:
        bench = Bench()
        await bench.take(0, reading(0), reading(1), reading(2))
        async with bench.running():
            await bench.worker.command(Reset("p1"))
            assert [type(record) for record in bench.outlet.records] == [Batch, Batch, Batch, Reset]
            await bench.take(1, reading(3))
        assert isinstance(bench.outlet.records[-1], Batch)
        assert [score["seq"] for score in bench.outlet.published("score")] == [0, 1, 2, 3]

    run(body())


def test_a_command_is_noted_and_changes_the_engine() -> None:
    async def body() -> None:
        bench = Bench()
        await bench.worker.command(Freeze())
        assert bench.outlet.records == [Freeze()]
        assert bench.engine.learner.frozen

    run(body())


# --- training ---


def test_the_loop_is_free_while_a_candidate_is_waited_for() -> None:
    async def body() -> None:
        bench = Bench()
        before = count("training_steps_total"), count("training_wait_seconds_total")
        bench.trainer.gate.clear()
        async with bench.running():
            await bench.take(0, *(reading(n) for n in range(60)))
            await bench.trainer.waited_for.wait()  # we are here although the worker can't go on
            applied = len(bench.outlet.batches)
            assert 0 < applied < 60
            assert bench.outlet.let_go == []
            bench.trainer.gate.set()
        assert len(bench.outlet.batches) == 60
        assert count("training_steps_total") > before[0]
        assert count("training_wait_seconds_total") > before[1]

    run(body())


def test_the_budgets_stretch_is_carried_out_as_a_command_after_a_job() -> None:
    async def body() -> None:
        bench = Bench(budget=Budget(1.0, stretch=4.0))
        assert count("training_stretch_ratio") == 1.0
        async with bench.running():
            await bench.take(0, *(reading(n) for n in range(60)))
        commands = [record for record in bench.outlet.records if not isinstance(record, Batch)]
        assert commands == [Stretch(4.0)]
        assert bench.engine.learner.stretch == 4.0
        assert count("training_stretch_ratio") == 4.0

    run(body())


def test_applying_the_noted_records_again_gives_the_same_outcomes() -> None:
    async def body() -> None:
        bench = Bench(replace(SETTINGS, channels="auto"), budget=Budget(1.0, stretch=2.0))
        async with bench.running():
            for n in range(80):
                await bench.take(n, reading(n), *([reading(n, "p2", level=float(n))] if n > 30 else []))
                if n == 50:
                    await bench.worker.command(Reset("p1"))
        again = Engine(bench.engine.settings, Trainer())
        scores = []
        for record in bench.outlet.records:
            if isinstance(record, Batch):
                scores += again.apply(record).score.tolist()
            else:
                again.command(record)
        assert scores == [payload["score"] for payload in bench.outlet.published("score")]
        assert again.learner.generator.bit_generator.state == bench.engine.learner.generator.bit_generator.state

    run(body())


# --- memory ---


def test_outcomes_are_the_same_where_streams_leave_memory_in_between() -> None:
    async def body() -> None:
        told = []
        for resident in (1000, 2):
            bench = Bench(resident=resident)
            async with bench.running():
                for n in range(40):
                    await bench.take(n, reading(n, f"p{n * 7 % 5}"))
                    await bench.outlet.until(lambda n=n, bench=bench: len(bench.outlet.let_go) == n + 1)
            assert bench.engine.resident <= resident
            assert bench.engine.known == 5
            told.append([value for what, value in bench.outlet.said if what == "publish"])
        assert told[0] == told[1]

    run(body())


def test_a_late_reading_of_a_stream_that_left_memory_is_still_late() -> None:
    async def body() -> None:
        bench = Bench(resident=2)
        before = count("readings_total", outcome="late")
        async with bench.running():
            for n in range(5):
                await bench.take(n, reading(n + 10, f"p{n}"))
                await bench.outlet.until(lambda n=n: len(bench.outlet.let_go) == n + 1)
            await bench.worker.command(Freeze())  # after it has made room
            assert bench.engine.absent(["p0"])
            await bench.take(5, reading(3, "p0"))
        assert count("readings_total", outcome="late") - before == 1
        assert len(bench.outlet.batches) == 5

    run(body())


def test_a_frame_that_waits_for_parts_finds_its_stream_again_although_that_left_memory() -> None:
    async def body() -> None:
        bench = Bench(resident=2)
        async with bench.running():
            await bench.take(0, reading(0))
            await bench.outlet.until(lambda: bench.outlet.let_go)
            await bench.take(1, reading(1, flow=1.0), source=PARTS, arrival=LONG_AGO)
            await bench.take(2, *(reading(2, f"other-{k}") for k in range(3)))
            await bench.outlet.until(lambda: len(bench.outlet.let_go) == 3)
        assert bench.outlet.let_go == [0, 2, 1]  # the others made p1 leave before its parts were given up
        assert bench.outlet.published("score")[-1]["stream"] == "p1"
        assert bench.outlet.published("score")[-1]["seq"] == 1

    run(body())


def test_what_is_known_of_a_stream_to_order_its_readings_leaves_memory_with_it() -> None:
    async def body() -> None:
        bench = Bench(replace(SETTINGS, max_streams=1000), resident=10)
        async with bench.running():
            for n in range(300):
                await bench.take(n, reading(n, f"p{n}"))
                await bench.outlet.until(lambda n=n: len(bench.outlet.let_go) == n + 1)
        gc.collect()
        kept = sum(type(each) is _Lane for each in gc.get_objects())
        assert kept <= 20

    run(body())


# --- silence ---


async def heard(bench: Bench, *streams: str, frames: int = 60, begin: int = 0) -> None:
    """A frame a second of each, all applied."""
    for n in range(begin, begin + frames):
        bench.now += 1.0
        await bench.take(n, *(reading(n, stream) for stream in streams))
        await bench.outlet.until(lambda: not bench.worker._align.waiting)
        await bench.worker.look()


async def pass_by(bench: Bench, seconds: float) -> None:
    """Time goes on, with a look every few seconds as in life."""
    end = bench.now + seconds
    while bench.now < end:
        bench.now += LOOK_S
        for _ in range(2):  # the second one after the broker's answer
            await bench.worker.look()


def silences(bench: Bench) -> list[Silent]:
    return [record for record in bench.outlet.records if isinstance(record, Silent)]


def told(bench: Bench) -> list[tuple[str, str]]:
    return [(one["id"], one["state"]) for one in bench.outlet.published("incident")]


def test_a_stream_that_stops_is_told_once_and_cleared_by_its_next_frame() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await heard(bench, "p1", "p2")
            await heard(bench, "p2", begin=60, frames=30)
            await pass_by(bench, LOOK_S)
            assert silences(bench) == [Silent(("p1",))]
            assert count("streams_silent") == count("incidents_open") == 1
            (raised,) = bench.outlet.published("incident")
            assert (raised["id"], raised["state"], raised["seq"]) == ("p1-60", "raised", 60)
            assert raised["start_epoch"] == NOW + 60  # when its next frame was due
            assert raised["channels"] == {"flow": 0.5, "pressure": 0.5}
            await heard(bench, "p2", begin=90, frames=30)
            await heard(bench, "p1", "p2", begin=120, frames=1)
            assert told(bench) == [("p1-60", "raised"), ("p1-60", "cleared")]
            assert bench.outlet.published("incident")[-1]["end_epoch"] == NOW + 120
            await pass_by(bench, LOOK_S)
            assert count("streams_silent") == count("incidents_open") == 0

    run(body())


def test_the_command_is_noted_before_its_incident_is_told() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await heard(bench, "p1")
            at = len(bench.outlet.said)
            await pass_by(bench, 30.0)
        kinds = [value.kind if what == "publish" else type(value) for what, value in bench.outlet.said[at:]]
        assert kinds == [Silent, "incident"]

    run(body())


def test_nobody_is_silent_while_nothing_can_be_heard_and_all_are_waited_for_anew_after_that() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await heard(bench, "p1")
            bench.outlet.deaf = True
            await pass_by(bench, 1000.0)
            bench.outlet.deaf = False
            await pass_by(bench, 10.0)
            assert silences(bench) == []
            await pass_by(bench, 20.0)
            assert silences(bench) == [Silent(("p1",))]

    run(body())


def test_nobody_is_silent_while_not_all_that_was_sent_has_been_heard() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await heard(bench, "p1")
            bench.outlet.behind = True
            await pass_by(bench, 100.0)
            assert silences(bench) == []
            bench.outlet.behind = False
            await pass_by(bench, LOOK_S)
            assert silences(bench) == [Silent(("p1",))]

    run(body())


def test_nobody_is_silent_before_the_broker_has_shown_that_it_is_there() -> None:
    async def body() -> None:
        bench = Bench()
        bench.outlet.answers = False
        async with bench.running():
            await heard(bench, "p1")
            await pass_by(bench, 100.0)
            assert silences(bench) == []
            assert bench.outlet.asked > 10  # again and again
            bench.outlet.answers = True
            await pass_by(bench, LOOK_S)
            assert silences(bench) == [Silent(("p1",))]

    run(body())


def test_nobody_is_silent_because_the_process_stood_still() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await heard(bench, "p1")
            await pass_by(bench, LOOK_S)
            bench.now += LOOK_S + LATE_S
            for _ in range(2):
                await bench.worker.look()
            assert silences(bench) == []

    run(body())


def test_after_a_restart_a_stream_is_waited_for_anew_and_a_silent_one_is_not_told_again() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await heard(bench, "p1", "p2")
            await heard(bench, "p2", begin=60, frames=30)
            await pass_by(bench, LOOK_S)
        assert silences(bench) == [Silent(("p1",))]
        bench.now += 1000.0
        bench.work()
        async with bench.running():
            await pass_by(bench, 500.0)
            assert len(silences(bench)) == 1
            assert count("streams_silent") == 1
            await pass_by(bench, 200.0)
            assert silences(bench)[1:] == [Silent(("p2",))]
            assert count("streams_silent") == 2
            await heard(bench, "p1", begin=200, frames=1)
        assert told(bench)[-1] == ("p1-60", "cleared")

    run(body())


def test_a_stream_that_left_memory_is_told_to_be_silent_too() -> None:
    async def body() -> None:
        bench = Bench(resident=2)
        async with bench.running():
            await heard(bench, "p1")
            for n in range(3):
                await heard(bench, f"other-{n}", begin=60, frames=3)
            await bench.worker.command(Freeze())  # after it has made room
            assert bench.engine.absent(["p1"])
            await pass_by(bench, 30.0)
            assert silences(bench) == [Silent(("p1",))]
            await heard(bench, "p1", begin=200, frames=1)
        assert told(bench) == [("p1-60", "raised"), ("p1-60", "cleared")]

    run(body())


# --- counts ---

COUNTED = [("incidents", "raised"), ("incidents", "cleared"), ("group_incidents", "raised")]


def test_incidents_are_counted_as_they_come_and_go_and_over_a_restart() -> None:
    async def body() -> None:
        bench = Bench()
        opened = {1: True, 4: False, 5: True}  # frame -> whether an incident is open from then on

        class Scripted(Engine):
            def apply(self, batch: Batch) -> Outcome:
                outcome = super().apply(batch)
                is_open = opened.get(int(outcome.seq[0]))
                if is_open is None:
                    return outcome
                slot = self.slots.get("p1")
                self.incidents.open[slot], self.incidents.told[slot] = is_open, np.inf  # it tells nothing of its own
                state: Literal["raised", "cleared"] = "raised" if is_open else "cleared"
                incident = Incident("p1-1", "p1", state, NOW, NOW, None, 1.5, {"flow": 1.0})
                many = replace(incident, id="group#1", stream="", streams=("p1", "p2", "p3"))
                return dataclasses.replace(outcome, incidents=(incident, many)[: 1 + is_open], alarm_rate=1.25)

        bench.engine.__class__ = Scripted
        before = [count(f"{name}_total", state=state) for name, state in COUNTED]
        async with bench.running():
            for n, is_open in enumerate((0, 1, 1, 1, 0, 1)):
                await bench.take(n, reading(n))
                await bench.outlet.until(lambda n=n: len(bench.outlet.let_go) == n + 1)
                assert count("incidents_open") == is_open
        after = [count(f"{name}_total", state=state) for name, state in COUNTED]
        assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1, 2]
        told = [(one["id"], one["state"]) for one in bench.outlet.published("incident")]
        both = [("p1-1", "raised"), ("group#1", "raised")]
        assert told == [*both, ("p1-1", "cleared"), *both]
        assert count("alarm_rate_ratio") == 1.25

        restarted = Bench()
        assert count("incidents_open") == count("streams") == 0
        restarted.engine.load_state_dict(*bench.engine.state_dict())
        restarted.work()
        assert count("incidents_open") == count("streams") == 1

    run(body())


def shown(*streams: str) -> list[bool]:
    labels = [{"group": GROUP, "stream": stream} for stream in streams]
    return [metrics.registry.get_sample_value("streamd_stream_score", one) is not None for one in labels]


def test_series_come_and_go_with_their_limit() -> None:
    streams = [f"limited-{n}" for n in range(4)]

    async def body() -> None:
        bench = Bench()
        seen = []
        async with bench.running():
            for n, limit in enumerate((0, 3, 1, 2)):
                bench.worker.show_series(limit)
                left = shown(*streams)
                await bench.take(n, *(reading(n, stream) for stream in streams))
                await bench.outlet.until(lambda n=n: n in bench.outlet.let_go)
                seen.append((left.count(True), shown(*streams)))
        assert seen == [
            (0, [False] * 4),
            (0, [True, True, True, False]),
            (1, [True, False, False, False]),
            (1, [True, True, False, False]),
        ]

    run(body())


# --- other settings ---


def test_other_settings_are_noted_between_two_batches_and_hold_for_what_comes_then() -> None:
    async def body() -> None:
        bench = Bench()
        other = replace(SETTINGS, alarm=Alarm(per_week=9.0), max_batch=1, expert_weights=True, max_resident_streams=2)
        async with bench.running():
            await bench.take(0, reading(0), reading(0, "p2"))
            await bench.outlet.until(lambda: bench.outlet.let_go == [0])
            bench.worker.configure(other)
            bench.worker.configure(other)  # nothing new
            await bench.take(1, reading(1), reading(1, "p2"))
            await bench.take(2, reading(1, "p3"), reading(2))
        records = bench.outlet.records
        kinds = ["batch" if isinstance(record, Batch) else record for record in records]
        assert kinds[:2] == ["batch", Configure(msgspec.to_builtins(other))]
        assert kinds[2:] == ["batch"] * 4
        assert [len(record) for record in records if isinstance(record, Batch)] == [2, 1, 1, 1, 1]
        scores = bench.outlet.published("score")
        assert ["weights" in one for one in scores] == [False, False, True, True, True, True]
        assert bench.engine.settings == other
        assert bench.engine.resident <= 2

    run(body())


def test_readings_that_wait_for_their_turn_are_applied_behind_other_settings() -> None:
    async def body() -> None:
        bench = Bench()
        await bench.take(0, *(reading(n) for n in range(3)))
        bench.worker.configure(replace(SETTINGS, alarm=Alarm(per_week=9.0)))
        async with bench.running():
            pass
        assert [type(record) for record in bench.outlet.records] == [Configure, Batch, Batch, Batch]
        assert bench.outlet.let_go == [0]

    run(body())


def test_settings_that_can_not_be_changed_are_refused_and_nothing_is_noted() -> None:
    async def body() -> None:
        bench = Bench()
        with pytest.raises(ValueError, match="horizon_steps"):
            bench.worker.configure(replace(SETTINGS, horizon_steps=3))
        assert bench.outlet.records == []
        assert bench.engine.settings == SETTINGS

    run(body())


def test_only_so_many_streams_get_series_of_their_own() -> None:
    async def body() -> None:
        bench = Bench(series=2)
        async with bench.running():
            for n in range(3):
                await bench.take(n, *(reading(n, f"series-{k}") for k in range(4)))
        assert count("streams") == 4
        told = [
            metrics.registry.get_sample_value("streamd_stream_score", {"group": GROUP, "stream": f"series-{k}"})
            for k in range(4)
        ]
        assert [score is not None for score in told] == [True, True, False, False]

    run(body())


def test_streams_are_told_to_be_warming_until_their_score_is_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    apply, warm = Engine.apply, {"p1": 0.5, "p2": 0.5}
    monkeypatch.setattr(
        Engine,
        "apply",
        lambda engine, batch: dataclasses.replace(
            apply(engine, batch), warming=np.array([warm[name] for name in batch.streams])
        ),
    )

    async def body() -> None:
        bench = Bench()
        async with bench.running():
            await bench.take(0, reading(0), reading(0, "p2"))
            await bench.worker.command(Freeze())  # after these
            assert count("streams_warming") == 2
            warm["p1"] = 1.0
            await bench.take(1, reading(1))
        assert count("streams_warming") == 1

    run(body())


def test_batches_and_latency_are_observed_once_for_each_batch_and_each_reading() -> None:
    async def body() -> None:
        bench = Bench()
        batches = count("batch_frames_count")
        seen = metrics.registry.get_sample_value("streamd_latency_seconds_count") or 0.0
        async with bench.running():
            await bench.take(0, reading(0), reading(0, "p2"), reading(1))
        assert count("batch_frames_count") - batches == 2
        assert (metrics.registry.get_sample_value("streamd_latency_seconds_count") or 0.0) - seen == 3
        assert bench.worker.busy_s > 0

    run(body())


def test_a_worker_that_has_fallen_asleep_is_woken_by_the_next_reading() -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            for n in range(3):
                for _ in range(10):
                    await asyncio.sleep(0)
                await bench.take(n, reading(n))
                await bench.outlet.until(lambda n=n: len(bench.outlet.let_go) == n + 1)
        assert bench.outlet.let_go == [0, 1, 2]

    run(body())


@pytest.mark.parametrize("streams", [1, 3])
def test_readings_taken_while_others_are_applied_are_not_forgotten(streams: int) -> None:
    async def body() -> None:
        bench = Bench()
        async with bench.running():
            for n in range(50):
                await bench.take(n, reading(n, f"p{n % streams}"))
                if n % 3 == 0:
                    await asyncio.sleep(0)
        assert bench.outlet.let_go == list(range(50))

    run(body())


def test_over_capacity_training_gives_way_then_outdated_forecasts_and_never_a_reading_or_its_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pressure, "MANY", 0)

    async def body() -> None:
        bench = Bench()
        late = time.time() - 10.0

        async def several(first: int) -> None:
            """Three frames of one stream that waited for long, one of another."""
            for n in range(3):
                await bench.take(first + n, reading(first + n), arrival=late)
            await bench.take(first + 3, reading(first, "p2"), arrival=late)
            await bench.outlet.until(lambda: len(bench.outlet.let_go) == first + 4)

        def forecasts() -> list[tuple[str, int]]:
            return [(told["stream"], told["seq"]) for told in bench.outlet.published("forecast")]

        async with bench.running():
            await several(0)
            assert len(forecasts()) == 4
            assert bench.engine.learner.stretch == 1.0
            bench.now = 3.0
            await several(4)
            assert bench.engine.learner.stretch == HELD
            assert bench.outlet.records.count(Stretch(HELD)) == 1
            assert len(forecasts()) == 8
            bench.now = 6.0
            await several(8)
            assert forecasts()[8:] == [("p2", 2), ("p1", 8)], "of p1 only the newest"
            while bench.engine.learner.stretch != 1.0:
                bench.now += 20.0
                bench.worker.nudge()
                await asyncio.sleep(0)
            await bench.take(12, reading(12), reading(13))
            await bench.outlet.until(lambda: 12 in bench.outlet.let_go)
        assert len(bench.outlet.published("score")) == 14
        assert len(forecasts()) == 12
        assert bench.outlet.records.count(Stretch(1.0)) == 1
        assert sorted(bench.outlet.let_go) == list(range(13))

    withheld = count("withheld_total", kind="forecast")
    run(body())
    assert count("withheld_total", kind="forecast") == withheld + 2


def test_training_is_held_for_another_group_too_and_goes_on_when_that_one_can_keep_up() -> None:
    async def body() -> None:
        budget = Budget(1.0)
        bench = Bench(budget=budget)
        async with bench.running():
            budget.press("another", True)
            await bench.take(0, reading(0))
            await bench.outlet.until(lambda: 0 in bench.outlet.let_go)
            assert bench.engine.learner.stretch == HELD
            budget.press("another", False)
            await bench.take(1, reading(1))
            await bench.outlet.until(lambda: 1 in bench.outlet.let_go)
        assert bench.engine.learner.stretch == 1.0

    run(body())


def test_training_that_was_held_when_the_last_run_ended_goes_on() -> None:
    async def body() -> None:
        bench = Bench()
        bench.engine.command(Stretch(HELD))
        bench.work()
        async with bench.running():
            await bench.take(0, reading(0))
            await bench.outlet.until(lambda: 0 in bench.outlet.let_go)
        assert bench.engine.learner.stretch == 1.0

    run(body())
