"""A broker of few words, for what a real one does not do on request: refuse, hang up, flood, stay silent.

Knows the frame of an MQTT packet; keeps no sessions and routes nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, DISCONNECT = 0x10, 0x20, 0x30, 0x40, 0x80, 0xE0
UNSUBSCRIBE, UNSUBACK = 0xA0, 0xB0
ACCEPT_5, ACCEPT_3 = bytes((CONNACK, 3, 0, 0, 0)), bytes((CONNACK, 2, 0, 0))
LIMIT_S = 20.0

Answer = Callable[[int], bytes | None]  # protocol level of a CONNECT (5 or 4) -> CONNACK; None hangs up; b"" is silence


def accept(level: int) -> bytes:
    """Take anybody in."""
    return ACCEPT_5 if level == 5 else ACCEPT_3


def publish(level: int, mid: int, topic: bytes = b"in/a", payload: bytes = b"1") -> bytes:
    """A QoS-1 message."""
    body = len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + (b"\0" if level == 5 else b"") + payload
    return bytes((PUBLISH | 2, len(body))) + body


class FakeBroker:
    """Answers CONNECT as told and notes what else it gets: (packet type, body), with 0 for a connection that ended."""

    def __init__(self, answer: Answer = accept, *, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self._tls = tls
        self.levels: list[int] = []  # of each CONNECT
        self._packets: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> FakeBroker:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:  # also one that was taken in and has said nothing yet
            writer.transport.abort()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    def send(self, data: bytes) -> None:
        """To the client that came last."""
        assert self._writer is not None
        self._writer.write(data)

    def hang_up(self) -> None:
        """On the client that came last."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def gets(self, kind: int) -> bytes:
        """The body of the next packet of a kind; others before it are forgotten."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                got, body = await self._packets.get()
                if got == kind:
                    return body

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self._writer = writer
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                kind, body = await self._packet(reader)
                if kind == CONNECT:
                    level = body[6]
                    self.levels.append(level)
                    answer = self.answer(level)
                    if answer is None:
                        break
                    writer.write(answer)
                self._packets.put_nowait((kind, body))
        self._packets.put_nowait((0, b""))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _packet(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        kind = (await reader.readexactly(1))[0] & 0xF0
        length = shift = 0
        while True:
            (byte,) = await reader.readexactly(1)
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return kind, await reader.readexactly(length)
