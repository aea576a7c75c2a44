from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from paho.mqtt.client import MQTTMessage

from streamd.config import Mqtt, Tls
from streamd.edge import connection as connections
from streamd.edge.connection import Connection, Welcome
from streamd.edge.dial import ConnectError, Will, dial
from streamd.edge.outbox import Outgoing
from tests.broker.certificates import make
from tests.broker.fake import CONNACK, DISCONNECT, PUBACK, PUBLISH, SUBSCRIBE, Answer, FakeBroker, accept, publish


class Recorder:
    """A listener that notes what it is told, and publishes what it is given."""

    def __init__(self) -> None:
        self.welcomes: list[Welcome] = []
        self.messages: list[MQTTMessage] = []
        self.acknowledged: list[tuple[int, str | None]] = []
        self.granted: list[Sequence[str | None]] = []
        self.waiting: list[Outgoing] = []
        self.changed = asyncio.Event()
        self.connection: Connection | None = None

    def on_welcome(self, welcome: Welcome) -> None:
        self.welcomes.append(welcome)
        self.changed.set()

    def on_message(self, message: MQTTMessage) -> None:
        self.messages.append(message)
        self.changed.set()

    def on_acknowledged(self, mid: int, refusal: str | None) -> None:
        self.acknowledged.append((mid, refusal))
        self.changed.set()

    def on_granted(self, mid: int, refusals: Sequence[str | None]) -> None:
        self.granted.append(refusals)
        self.changed.set()

    def feed(self) -> bool:
        if self.waiting and self.connection is not None:
            self.connection.publish(self.waiting.pop(0))
        return bool(self.waiting)

    async def told(self) -> None:
        """Until something more is told."""
        async with asyncio.timeout(20):
            await self.changed.wait()
        self.changed.clear()


async def open_to(broker: FakeBroker, tls: Tls | None = None) -> tuple[Connection, Recorder]:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    client = await dial(Mqtt(port=broker.port, tls=tls), "5", Will("status", b"offline"), never)
    recorder = Recorder()
    recorder.connection = Connection(client, recorder)
    return recorder.connection, recorder


async def ends_with(answer: Answer) -> ConnectError:
    async with FakeBroker(answer) as broker:
        connection, _ = await open_to(broker)
        with pytest.raises(ConnectError) as error:
            await connection.run()
        return error.value


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (bytes((CONNACK, 3, 0, 0x84, 0)), "protocol"),  # in MQTT 5
        (bytes((CONNACK, 2, 0, 1)), "protocol"),  # in MQTT 3.1.1
        (bytes((CONNACK, 3, 0, 0x87, 0)), "refused"),  # not authorised
        (bytes((CONNACK, 3, 0, 0x88, 0)), "unavailable"),
        (bytes((CONNACK, 2, 0, 5)), "closed"),  # no answer in MQTT 5
        (bytes((0xF0, 0)), "closed"),  # no answer at all
        (None, "closed"),
    ],
)
def test_why_a_broker_does_not_take_us_in(answer: bytes | None, result: str) -> None:
    assert asyncio.run(ends_with(lambda _: answer)).result == result


def test_a_broker_that_never_answers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECT_LIMIT_S", 0.01)
    monkeypatch.setattr(connections, "MISC_EVERY_S", 0.02)
    assert asyncio.run(ends_with(lambda _: b"")).result == "timeout"


def test_what_the_broker_says_about_itself_is_told() -> None:
    async def body() -> None:
        properties = b"\x21\x00\x05" + b"\x27\x00\x00\x10\x00" + b"\x13\x00\x07"
        connack = bytes((CONNACK, 3 + len(properties), 1, 0, len(properties))) + properties
        async with FakeBroker(lambda _: connack) as broker, asyncio.TaskGroup() as tasks:
            connection, recorder = await open_to(broker)
            tasks.create_task(connection.run(), name="connection")
            await recorder.told()
            assert recorder.welcomes == [Welcome(True, window=5, max_packet_bytes=4096, keepalive_s=7)]
            connection.disconnect()
            await broker.gets(DISCONNECT)

    asyncio.run(body())


def test_the_reason_of_a_goodbye_of_the_broker_is_given() -> None:
    async def body() -> None:
        async with FakeBroker() as broker, asyncio.TaskGroup() as tasks:
            connection, recorder = await open_to(broker)
            task = tasks.create_task(connection.run(), name="connection")
            await recorder.told()
            broker.send(bytes((DISCONNECT, 2, 0x8E, 0)))
            assert await task == "the broker says: Session taken over"

    asyncio.run(body())


def test_nothing_is_read_while_paused_and_everything_afterwards() -> None:
    async def body() -> None:
        async with FakeBroker() as broker, asyncio.TaskGroup() as tasks:
            connection, recorder = await open_to(broker)
            tasks.create_task(connection.run(), name="connection")
            await recorder.told()
            connection.pause()
            broker.send(b"".join(publish(5, mid) for mid in range(1, 501)))
            recorder.waiting.append(Outgoing("out", b"x", 0, retain=False, droppable=True, kind="score"))
            connection.wake()
            await broker.gets(PUBLISH)  # writing goes on
            assert recorder.messages == []
            connection.resume()
            while len(recorder.messages) < 500:
                await recorder.told()
            assert [message.mid for message in recorder.messages] == list(range(1, 501))
            connection.abort()

    asyncio.run(body())


def test_packets_that_share_a_tls_record_are_all_read_though_the_socket_has_nothing_more(tmp_path: Path) -> None:
    async def body() -> None:
        folder = make(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        async with FakeBroker(tls=context) as broker, asyncio.TaskGroup() as tasks:
            connection, recorder = await open_to(broker, Tls(ca_file=str(folder / "ca.crt")))
            tasks.create_task(connection.run(), name="connection")
            await recorder.told()
            broker.send(b"".join(publish(5, mid) for mid in range(1, 501)))  # 6 KB; a record takes 16
            while len(recorder.messages) < 500:
                await recorder.told()
            connection.abort()
        assert len(recorder.messages) == 500

    asyncio.run(body())


def test_acknowledgements_and_publications_keep_their_order() -> None:
    async def body() -> None:
        async with FakeBroker() as broker, asyncio.TaskGroup() as tasks:
            connection, recorder = await open_to(broker)
            tasks.create_task(connection.run(), name="connection")
            await recorder.told()
            for mid in (3, 1, 2):
                connection.acknowledge(mid, 1)
            assert [(await broker.gets(PUBACK))[1] for _ in range(3)] == [3, 1, 2]
            connection.abort()
            await broker.gets(0)

    asyncio.run(body())


def test_the_answers_of_the_broker_are_told() -> None:
    async def body() -> None:
        async with FakeBroker() as broker, asyncio.TaskGroup() as tasks:
            connection, recorder = await open_to(broker)
            tasks.create_task(connection.run(), name="connection")
            await recorder.told()
            mid = connection.subscribe(["a", "b"])
            await broker.gets(SUBSCRIBE)
            broker.send(bytes((0x90, 5, 0, mid, 0, 1, 0x87)))
            await recorder.told()
            assert recorder.granted == [[None, "Not authorized"]]
            mid = connection.publish(Outgoing("out", b"x", 1, retain=False, droppable=False, kind="incident"))
            await broker.gets(PUBLISH)
            broker.send(bytes((PUBACK, 3, 0, mid, 0x87)))
            await recorder.told()
            assert recorder.acknowledged == [(mid, "Not authorized")]
            connection.abort()

    asyncio.run(body())


def test_an_error_of_ours_in_a_callback_ends_the_connection_and_is_raised() -> None:
    async def body() -> None:
        async with FakeBroker(accept) as broker:
            connection, recorder = await open_to(broker)
            recorder.on_welcome = lambda welcome: 1 // 0  # type: ignore[method-assign,assignment]
            with pytest.raises(ZeroDivisionError):
                await connection.run()
            await broker.gets(0)

    asyncio.run(body())
