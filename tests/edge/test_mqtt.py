"""The link against a broker that misbehaves; see tests/broker/test_link.py for a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamd import metrics
from streamd.config import Mqtt
from streamd.edge.connection import Connection
from streamd.edge.mqtt import Link
from streamd.edge.receiver import Receiver
from tests.broker.fake import (
    ACCEPT_3,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Answer,
    FakeBroker,
    accept,
    publish,
)
from tests.broker.peers import LIMIT_S, Ear, ear


def settings(broker: FakeBroker, **others: Any) -> Mqtt:
    return Mqtt(**{"port": broker.port, "reconnect_min_s": 0.01, "reconnect_max_s": 0.05, **others})


@asynccontextmanager
async def running(mqtt: Mqtt) -> AsyncIterator[tuple[Link, Ear]]:
    with ear() as heard:
        link = Link(mqtt, ["in/#"], birth=b"online", will=b"offline", status_topic="streamd/status")
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(link.run(), name="link")
            yield link, heard
            task.cancel()


def old_broker(refusal: bytes | None) -> Answer:
    return lambda level: ACCEPT_3 if level == 4 else refusal


@pytest.mark.parametrize("refusal", [bytes((CONNACK, 3, 0, 0x84, 0)), bytes((CONNACK, 2, 0, 1))])
def test_a_broker_that_refuses_mqtt_5_is_spoken_to_in_3_1_1_from_then_on(refusal: bytes) -> None:
    async def body() -> None:
        async with FakeBroker(old_broker(refusal)) as broker, running(settings(broker)) as (_, heard):
            await heard.hears("action=fall_back")
            assert "protocol=3.1.1" in await heard.hears("action=connected")
            await broker.gets(SUBSCRIBE)
            broker.hang_up()
            await heard.hears("action=disconnected")
            await heard.hears("action=connected")
            assert broker.levels == [5, 4, 4]

    asyncio.run(body())


def test_a_broker_that_hangs_up_on_mqtt_5_is_tried_in_3_1_1_and_next_time_in_5_again() -> None:
    async def body() -> None:
        async with FakeBroker(old_broker(None)) as broker, running(settings(broker)) as (_, heard):
            await heard.hears("action=fall_back")
            await heard.hears("action=connected")
            await broker.gets(SUBSCRIBE)
            broker.hang_up()
            await heard.hears("action=disconnected")
            await heard.hears("action=connected")
            assert broker.levels == [5, 4, 5, 4]

    asyncio.run(body())


def test_a_protocol_that_was_asked_for_is_kept_to() -> None:
    async def body() -> None:
        answer = old_broker(bytes((CONNACK, 3, 0, 0x84, 0)))
        async with FakeBroker(answer) as broker, running(settings(broker, protocol="5")) as (_, heard):
            for _ in range(3):
                assert "result=protocol" in await heard.hears("action=connect_failed")
            assert set(broker.levels) == {5}

    asyncio.run(body())


class Paused:
    """Waits for a connection to stop reading."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.event = asyncio.Event()
        pause = Connection.pause

        def noted(connection: Connection) -> None:
            pause(connection)
            self.event.set()

        monkeypatch.setattr(Connection, "pause", noted)


def flood(count: int) -> bytes:
    return b"".join(publish(5, mid, payload=str(mid).encode()) for mid in range(1, count + 1))


def test_a_broker_that_overruns_the_window_is_read_up_to_twice_the_inbox_and_on_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        paused = Paused(monkeypatch)
        async with FakeBroker() as broker, running(settings(broker, inbox_messages=10)) as (link, _):
            await broker.gets(SUBSCRIBE)
            broker.send(flood(200))
            await paused.event.wait()
            assert metrics.registry.get_sample_value("streamd_queue_length", {"queue": "inbox"}) == 20
            payloads: list[str] = []
            while len(payloads) < 200:
                messages = await link.receive()
                assert len(messages) <= 20
                payloads += [message.payload.decode() for message in messages]
                for message in messages:
                    link.done(message.ticket)
            assert payloads == [str(mid) for mid in range(1, 201)]
            acknowledged = [int.from_bytes((await broker.gets(PUBACK))[:2], "big") for _ in range(200)]
            assert acknowledged == list(range(1, 201))

    asyncio.run(body())


def test_a_link_that_finds_no_room_in_time_says_goodbye_and_comes_back() -> None:
    async def body() -> None:
        keepalive_of_one_second = bytes((CONNACK, 6, 1, 0, 3, 0x13, 0, 1))
        broker = FakeBroker(lambda _: keepalive_of_one_second)
        async with broker, running(settings(broker, inbox_messages=10)) as (link, heard):
            await broker.gets(SUBSCRIBE)
            broker.send(flood(21))
            await heard.hears("action=inbox_overrun")
            assert await broker.gets(DISCONNECT) == b""
            await heard.hears("action=disconnected")
            assert "session=resumed redelivered=20" in await heard.hears("action=connected")
            await broker.gets(SUBSCRIBE)
            broker.send(flood(3))
            assert [message.payload for message in await link.receive()] == [b"1", b"2", b"3"]

    asyncio.run(body())


def test_a_subscription_that_is_refused_is_told_and_the_link_is_not_ready() -> None:
    async def body() -> None:
        async with FakeBroker() as broker, running(settings(broker)) as (link, heard):
            subscribe = await broker.gets(SUBSCRIBE)
            broker.send(bytes((0x90, 4)) + subscribe[:2] + bytes((0, 0x87)))
            assert "Not authorized" in await heard.hears("action=subscription_refused")
            assert link.connected
            assert not link.ready
            (told,) = link.trouble
            assert "does not let us read in/#: Not authorized" in told
            again = await broker.gets(SUBSCRIBE)  # it may have been given the right meanwhile
            assert b"in/#" in again
            broker.send(bytes((0x90, 4)) + again[:2] + bytes((0, 1)))
            broker.send(publish(5, 1))
            assert len(await link.receive()) == 1
            assert link.ready
            assert link.trouble == []

    asyncio.run(body())


def test_the_birth_is_published_after_the_subscription_and_before_all_that_waits() -> None:
    async def body() -> None:
        async with FakeBroker() as broker, running(settings(broker)) as (link, _):
            link.publish("out/incident", b"raised", qos=1, droppable=False, kind="incident")
            await broker.gets(SUBSCRIBE)
            assert b"online" in await broker.gets(PUBLISH)
            assert b"raised" in await broker.gets(PUBLISH)

    asyncio.run(body())


async def take_birth(broker: FakeBroker) -> None:
    """Acknowledge the first thing that is published on a connection."""
    body = await broker.gets(PUBLISH)
    length = int.from_bytes(body[:2], "big")
    broker.send(bytes((PUBACK, 2)) + body[2 + length : 4 + length])


def waiting() -> float:
    return metrics.registry.get_sample_value("streamd_queue_length", {"queue": "outbox"}) or 0.0


def test_there_is_room_when_the_broker_has_taken_most_of_what_waited() -> None:
    async def body() -> None:
        async with FakeBroker() as broker, running(settings(broker, outbox_messages=1000)) as (link, _):
            await broker.gets(SUBSCRIBE)
            await take_birth(broker)
            for _ in range(500):
                link.publish("out/score", b"", kind="score")
            assert waiting() == 500
            await link.room(LIMIT_S)
            assert 0 < waiting() < 100

    asyncio.run(body())


def test_nobody_waits_for_room_without_a_connection_nor_for_longer_than_was_said() -> None:
    async def body() -> None:
        async with FakeBroker() as broker, running(settings(broker, outbox_messages=100)) as (link, heard):
            for _ in range(50):  # more than may be on their way, and the broker acknowledges nothing
                link.publish("out/incident", b"", qos=1, droppable=False, kind="incident")
            await link.room(LIMIT_S)
            await broker.gets(SUBSCRIBE)
            await take_birth(broker)
            await link.room(1e-3)
            assert waiting() > 10
            room = asyncio.create_task(link.room(LIMIT_S))
            await asyncio.sleep(0)
            assert not room.done()
            broker.hang_up()
            await heard.hears("action=disconnected")
            await room

    asyncio.run(body())


@pytest.mark.parametrize(("level", "rest"), [(5, b"\0\x11"), (4, b"")])
def test_a_fence_is_passed_when_the_broker_answers_behind_all_that_was_published(level: int, rest: bytes) -> None:
    async def body() -> None:
        answer = accept if level == 5 else old_broker(None)
        async with FakeBroker(answer) as broker, running(settings(broker)) as (link, _):
            await broker.gets(SUBSCRIBE)
            await take_birth(broker)
            passed = asyncio.Event()
            for number in range(3):
                link.publish("out/score", b"%d" % number, kind="score")
            link.fence(passed.set)
            link.publish("out/score", b"later", kind="score")
            sent = [(await broker.gets(PUBLISH))[-1:] for _ in range(3)]
            assert sent == [b"0", b"1", b"2"]
            asked = await broker.gets(UNSUBSCRIBE)
            assert link.fenced
            assert not passed.is_set()
            broker.send(bytes((UNSUBACK, 2 + len(rest))) + asked[:2] + rest)
            await passed.wait()
            assert not link.fenced

    asyncio.run(body())


def test_a_fence_is_not_passed_when_the_connection_ends_before_nor_without_one() -> None:
    async def body() -> None:
        async with FakeBroker() as broker, running(settings(broker)) as (link, heard):
            calls: list[str] = []
            link.fence(lambda: calls.append("without a connection"))
            assert not link.fenced
            await broker.gets(SUBSCRIBE)
            await take_birth(broker)
            link.fence(lambda: calls.append("of the connection before"))
            asked = await broker.gets(UNSUBSCRIBE)
            broker.hang_up()
            await heard.hears("action=disconnected")
            assert not link.fenced
            await broker.gets(SUBSCRIBE)
            broker.send(bytes((UNSUBACK, 4)) + asked[:2] + b"\0\x11")
            await take_birth(broker)
            passed = asyncio.Event()
            link.fence(passed.set)
            asked = await broker.gets(UNSUBSCRIBE)
            broker.send(bytes((UNSUBACK, 4)) + asked[:2] + b"\0\x11")
            await passed.wait()
            assert calls == []

    asyncio.run(body())


def test_nothing_is_subscribed_to_in_a_new_session_before_the_loss_of_the_old_one_is_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subscriptions: list[Connection] = []
    subscribe = Connection.subscribe

    def noted(connection: Connection, filters: Sequence[str]) -> int:
        subscriptions.append(connection)
        return subscribe(connection, filters)

    monkeypatch.setattr(Connection, "subscribe", noted)

    async def body() -> None:
        lost: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        async with FakeBroker() as broker:
            names: Any = {"birth": b"online", "will": b"offline", "status_topic": "streamd/status"}
            link = Link(settings(broker), ["in/#"], **names, session_lost=lost.put_nowait)
            async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
                task = tasks.create_task(link.run(), name="link")
                written_down = await lost.get()
                await broker.gets(PUBLISH)  # the birth does not wait
                assert not subscriptions
                written_down()
                await broker.gets(SUBSCRIBE)
                broker.hang_up()
                await lost.get()
                await broker.gets(PUBLISH)
                written_down()  # of the connection before
                assert len(subscriptions) == 1
                task.cancel()

    asyncio.run(body())


def test_closing_ends_an_attempt_that_is_under_way() -> None:
    async def body() -> None:
        async with FakeBroker(lambda _: b"") as broker:
            link = Link(settings(broker), ["in/#"], birth=b"", will=b"", status_topic="streamd/status")
            async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
                running = tasks.create_task(link.run(), name="link")
                await broker.gets(CONNECT)
                assert not running.done()
                await link.close(LIMIT_S)
                await broker.gets(0)  # it hung up, where an answer is waited for ten seconds else
                await running
            assert not link.connected
            assert broker.levels == [5]

    asyncio.run(body())


def test_closing_before_a_connection_was_made_gives_up_what_waits_and_receive_gives_nothing() -> None:
    async def body() -> None:
        async with FakeBroker(lambda _: None) as broker, running(settings(broker)) as (link, heard):
            await heard.hears("action=connect_failed")
            link.publish("out/incident", b"raised", qos=1, droppable=False, kind="incident")
            await link.close(LIMIT_S)
            assert await link.receive() == []
            assert metrics.registry.get_sample_value("streamd_queue_length", {"queue": "outbox"}) == 0

    asyncio.run(body())


def test_an_error_of_ours_ends_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        def broken(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(Receiver, "accept", broken)
        async with FakeBroker() as broker:
            link = Link(settings(broker), ["in/#"], birth=b"", will=b"", status_topic="streamd/status")
            async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
                task = tasks.create_task(link.run(), name="link")
                await broker.gets(SUBSCRIBE)
                broker.send(publish(5, 1))
                await asyncio.wait({task})

    with pytest.raises(ExceptionGroup) as error:
        asyncio.run(body())
    assert error.group_contains(ZeroDivisionError)
