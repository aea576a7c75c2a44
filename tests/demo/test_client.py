"""The demo's own MQTT connection, against the embedded broker and against none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streamd.demo import client
from streamd.demo.broker import HOST, broker
from streamd.demo.client import connected

ACCEPTED = bytes([0x20, 2, 0, 0])  # CONNACK
REFUSED = bytes([0x20, 2, 0, 5])  # CONNACK, not authorised
GOODBYE = bytes([0xE0, 0])  # DISCONNECT


@asynccontextmanager
async def rude_broker(answer: bytes) -> AsyncIterator[tuple[int, asyncio.Future[bytes]]]:
    """Takes one connection and gives one answer, whatever it hears; the port, and what it heard but the first byte."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        everything = await reader.read()
        writer.close()
        await writer.wait_closed()
        heard.set_result(everything)

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        try:
            yield server.sockets[0].getsockname()[1], heard
        finally:
            await asyncio.wait_for(heard, 5)


def test_what_was_published_just_before_the_end_is_sent_before_the_goodbye() -> None:
    async def scenario() -> bytes:
        async with rude_broker(ACCEPTED) as (port, heard):
            async with connected(port, "mouth") as mouth:
                for number in range(50):
                    mouth.publish("count", f"<{number}>", qos=0)
            return await asyncio.wait_for(heard, 5)

    sent = asyncio.run(scenario())
    assert sent.index(b"<0>") < sent.index(b"<49>")
    assert sent.endswith(GOODBYE)


def test_the_context_opens_only_when_the_subscription_stands() -> None:
    async def scenario() -> bytes:
        arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        async with (
            broker() as port,
            connected(port, "both", topics=[("x", 0)], on_message=lambda _, p: arrived.set_result(p)) as both,
        ):
            both.publish("x", b"1", qos=0)
            return await asyncio.wait_for(arrived, 5)

    assert asyncio.run(scenario()) == b"1"


def test_a_subscription_that_is_not_confirmed_is_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.05)

    async def scenario() -> None:
        async with rude_broker(ACCEPTED) as (port, _), connected(port, "ear", topics=[("x", 0)]):
            pytest.fail("nothing was confirmed")

    with pytest.raises(TimeoutError):
        asyncio.run(scenario())


def test_an_end_by_an_error_closes_the_connection_too() -> None:
    async def scenario() -> None:
        async with broker() as port:
            with pytest.raises(RuntimeError, match="inside"):
                async with connected(port, "guest") as guest:
                    raise RuntimeError("inside")
            assert guest.socket() is None

    asyncio.run(scenario())


def test_a_broker_that_is_not_there_is_an_error() -> None:
    async def scenario() -> None:
        async with broker() as port:
            pass
        async with connected(port, "nobody"):
            pytest.fail("connected to nothing")

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(scenario())


def test_a_broker_that_refuses_is_an_error() -> None:
    async def scenario() -> None:
        async with rude_broker(REFUSED) as (port, _), connected(port, "nobody"):
            pytest.fail("connected to a broker that refuses")

    with pytest.raises(ConnectionError, match="refuses nobody"):
        asyncio.run(scenario())


def test_a_broker_that_says_nothing_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.05)

    async def scenario() -> None:
        async with rude_broker(b"") as (port, _), connected(port, "nobody"):
            pytest.fail("connected to silence")

    with pytest.raises(TimeoutError):
        asyncio.run(scenario())
