from __future__ import annotations

import asyncio
import gc
import socket
import threading
from typing import Any
from unittest.mock import Mock

import pytest

from streamd.config import Mqtt
from streamd.edge import dial as dialling
from streamd.edge.dial import ConnectError, Will, close_socket, dial
from tests.broker.fake import CONNECT, FakeBroker

WILL = Will("streamd/status", b"offline")


def never() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


def test_connect_carries_session_window_will_and_client_id() -> None:
    async def body() -> None:
        async with FakeBroker() as broker:
            mqtt = Mqtt(port=broker.port, client_id="pump-house", inbox_messages=300, session_expiry_s=3600)
            client = await dial(mqtt, "5", WILL, never())
            connect = await broker.gets(CONNECT)
            close_socket(client)
        level, flags, keepalive = connect[6], connect[7], int.from_bytes(connect[8:10], "big")
        assert level == 5
        assert flags == 0b0010_1100, "will retained at QoS 1, no clean start"
        assert keepalive == 30
        assert b"\x11" + (3600).to_bytes(4, "big") in connect
        assert b"\x21" + (300).to_bytes(2, "big") in connect
        assert b"pump-house" in connect
        assert connect.endswith(b"streamd/status\x00\x07offline")

    asyncio.run(body())


def test_mqtt_3_1_1_asks_for_the_session_too() -> None:
    async def body() -> None:
        async with FakeBroker() as broker:
            client = await dial(Mqtt(port=broker.port), "3.1.1", WILL, never())
            connect = await broker.gets(CONNECT)
            close_socket(client)
        assert (connect[6], connect[7] & 0b10) == (4, 0)

    asyncio.run(body())


def test_what_follows_at_once_does_not_wait_for_an_acknowledgement_of_tcp() -> None:
    async def body() -> None:
        async with FakeBroker() as broker:
            client = await dial(Mqtt(port=broker.port), "5", WILL, never())
            sock = client.socket()
            assert isinstance(sock, socket.socket)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await broker.gets(CONNECT)  # a connection that the broker has not taken in can't be closed there
            close_socket(client)

    asyncio.run(body())


def test_nobody_at_the_address_is_unreachable() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        with pytest.raises(ConnectError) as error:
            asyncio.run(attempt(Mqtt(port=port)))
    assert error.value.result == "unreachable"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 70])
def test_a_name_that_leads_nowhere_is_unreachable(host: str) -> None:
    with pytest.raises(ConnectError) as error:
        asyncio.run(attempt(Mqtt(host=host)))
    assert error.value.result == "unreachable"


async def attempt(mqtt: Mqtt) -> None:
    await dial(mqtt, "5", WILL, never())


class Blocked:
    """Opening a socket takes until `release`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        open_socket = socket.create_connection

        def slowly(*arguments: Any, **named: Any) -> socket.socket:
            self.release.wait()
            return open_socket(*arguments, **named)

        monkeypatch.setattr(socket, "create_connection", slowly)


def test_an_attempt_that_takes_too_long_is_given_up_and_never_says_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with FakeBroker() as broker:
            with pytest.raises(ConnectError) as error:
                await dial(Mqtt(port=broker.port), "5", WILL, never())
            assert error.value.result == "timeout"
            blocked.release.set()
            await broker.gets(0)
            assert broker.levels == []

    blocked = Blocked(monkeypatch)
    monkeypatch.setattr(dialling, "CONNECT_LIMIT_S", 0.01)
    asyncio.run(body())


def test_an_attempt_ends_when_it_is_no_longer_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with FakeBroker() as broker:
            give_up = never()
            asyncio.get_running_loop().call_soon(give_up.set_result, None)
            with pytest.raises(ConnectError):
                await dial(Mqtt(port=broker.port), "5", WILL, give_up)
            blocked.release.set()
            await broker.gets(0)
            assert broker.levels == []

    blocked = Blocked(monkeypatch)
    asyncio.run(body())


@pytest.mark.parametrize("result", ["socket", "error"])
def test_an_attempt_that_ends_as_it_is_cancelled_leaves_neither_socket_nor_error_behind(result: str) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        attempts: list[asyncio.Future[Any]] = [loop.create_future()]
        loop.run_in_executor = lambda *_: attempts[0]  # type: ignore[method-assign,assignment]
        complaints: list[object] = []
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        task = asyncio.create_task(dial(Mqtt(), "5", WILL, never()))
        await asyncio.sleep(0)
        with socket.socket() as sock:
            if result == "socket":
                attempts[0].set_result(Mock(socket=lambda: sock))
            else:
                attempts[0].set_exception(ConnectError("unreachable", "nobody there"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            assert (sock.fileno() == -1) == (result == "socket")
        attempts.clear()
        gc.collect()
        assert complaints == []

    asyncio.run(body())
