"""An MQTT connection of the demo's own, apart from the daemon's, so that what it sees has truly been on the broker.

Knows paho and asyncio, not payloads. Made for a broker in the same process: it neither pings nor reconnects.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from streamd.demo.broker import HOST

ANSWER_S = 10.0  # the broker answers within milliseconds, unless something else holds up the loop


def _ignore(topic: str, payload: bytes) -> None:
    """Nothing is subscribed to, so nothing comes."""


@asynccontextmanager
async def connected(
    port: int,
    client_id: str,
    *,
    topics: Sequence[tuple[str, int]] = (),
    on_message: Callable[[str, bytes], None] = _ignore,
) -> AsyncIterator[Client]:
    """A connection to the embedded broker, subscribed to topics (each with its QoS) before the context opens.

    `on_message` is called on the loop with topic and payload.

    Raises:
        ConnectionError: the broker refuses the connection.
        TimeoutError: it does not answer within ANSWER_S.
    """
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[ReasonCode] = loop.create_future()
    subscribed: asyncio.Future[None] = loop.create_future()
    gone = asyncio.Event()

    def connect_answered(_client: Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if not accepted.done():
            accepted.set_result(reason)

    def subscribe_answered(*_: Any) -> None:
        if not subscribed.done():
            subscribed.set_result(None)

    def received(_client: Client, _data: Any, message: MQTTMessage) -> None:
        on_message(message.topic, bytes(message.payload))

    def opened(_client: Client, _data: Any, socket: Any) -> None:
        loop.add_reader(socket, client.loop_read)

    def closed(_client: Client, _data: Any, socket: Any) -> None:
        loop.remove_reader(socket)
        loop.remove_writer(socket)
        gone.set()

    def busy(_client: Client, _data: Any, socket: Any) -> None:
        loop.add_writer(socket, client.loop_write)

    def idle(_client: Client, _data: Any, socket: Any) -> None:
        loop.remove_writer(socket)

    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv311)
    client.on_connect = connect_answered
    client.on_subscribe = subscribe_answered
    client.on_message = received
    # paho leaves the socket to the loop: no thread, so no lock, and callbacks may touch what the loop owns.
    client.on_socket_open = opened
    client.on_socket_close = closed
    client.on_socket_register_write = busy
    client.on_socket_unregister_write = idle

    try:
        async with asyncio.timeout(ANSWER_S):
            client.connect(HOST, port, keepalive=0)  # blocks for as long as the kernel takes to accept: not at all
            reason = await accepted
            if reason.is_failure:
                raise ConnectionError(f"the broker refuses {client_id}: {reason}")
            if topics:
                client.subscribe(list(topics))
                await subscribed
        yield client
    finally:
        if client.socket() is not None:
            client.disconnect()
            async with asyncio.timeout(ANSWER_S):
                await gone.wait()  # paho closes the socket when all that was published, and the good-bye, are written
