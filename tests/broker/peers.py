"""Who else is there in a test of the link: a device, a wire that can be cut, and an ear for the log.

Knows MQTT as any client does; knows nothing of streamd.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

LIMIT_S = 20.0  # for what has to happen; a test that waits so long has failed


class Peer:
    """A device or a dashboard: publishes, and sees what is published on the topics that it asks for.

    Args:
        port: of a broker on 127.0.0.1.
        filters: topics to see, at QoS 1.
        login: user and password, where it asks for them.
    """

    def __init__(self, port: int, *filters: str, login: tuple[str, str] | None = None) -> None:
        self._seen: queue.Queue[MQTTMessage] = queue.Queue()
        subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.max_inflight_messages_set(1000)
        self.client.on_message = lambda _client, _data, message: self._seen.put(message)
        self.client.on_subscribe = lambda *_: subscribed.set()
        if login is not None:
            self.client.username_pw_set(*login)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        if filters:
            self.client.subscribe([(name, 1) for name in filters])
            assert subscribed.wait(LIMIT_S)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def publish(self, topic: str, *payloads: str, qos: int = 1, retain: bool = False) -> None:
        """Returns when the broker has them all."""
        sent = [self.client.publish(topic, payload, qos, retain) for payload in payloads]
        for info in sent:
            info.wait_for_publish(LIMIT_S)

    async def sees(self) -> tuple[str, str]:
        """Topic and payload of the next message."""
        message = await asyncio.to_thread(self._seen.get, timeout=LIMIT_S)
        return message.topic, message.payload.decode()


class Wire:
    """A TCP proxy in front of a broker, which can be cut and mended without either end saying goodbye."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.port = 0

    async def __aenter__(self) -> Wire:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def mend(self) -> None:
        """Let connections through, on the same port each time."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            self._writers.clear()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        if self._server is None:  # cut meanwhile
            writer.transport.abort()
            far_writer.transport.abort()
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


class Ear(logging.Handler):
    """Hears what a logger says, so that a test can wait for it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self._said = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the logger, from the loop."""
        self.lines.append(record.getMessage())
        self._said.set()

    async def hears(self, text: str) -> str:
        """The next line with the text; lines before it are forgotten."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                while self.lines:
                    line = self.lines.pop(0)
                    if text in line:
                        return line
                self._said.clear()
                await self._said.wait()


@contextmanager
def ear(name: str = "streamd.mqtt") -> Iterator[Ear]:
    """Listen to a logger."""
    logger = logging.getLogger(name)
    handler, level = Ear(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
