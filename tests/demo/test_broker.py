"""The embedded broker, with real connections."""

from __future__ import annotations

import asyncio
import logging
import sys

import pytest

from streamd.demo.broker import HOST, BrokerMissingError, broker
from streamd.demo.client import connected


def test_a_message_goes_from_one_client_to_another_and_keeps_its_bytes() -> None:
    async def scenario() -> tuple[str, bytes]:
        arrived: asyncio.Future[tuple[str, bytes]] = asyncio.get_running_loop().create_future()
        async with (
            broker() as port,
            connected(port, "ear", topics=[("a/+/c", 1)], on_message=lambda *message: arrived.set_result(message)),
            connected(port, "mouth") as mouth,
        ):
            mouth.publish("a/b/c", b"\x00\xff", qos=1)
            return await asyncio.wait_for(arrived, 5)

    assert asyncio.run(scenario()) == ("a/b/c", b"\x00\xff")


def test_a_retained_message_is_there_for_who_comes_later() -> None:
    async def scenario() -> bytes:
        first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        second: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        async with broker() as port:
            async with (
                connected(port, "ear", topics=[("state", 1)], on_message=lambda _, payload: first.set_result(payload)),
                connected(port, "mouth") as mouth,
            ):
                mouth.publish("state", b"here", qos=1, retain=True)
                await asyncio.wait_for(first, 5)
            late = connected(port, "late", topics=[("#", 0)], on_message=lambda _, payload: second.set_result(payload))
            async with late:
                return await asyncio.wait_for(second, 5)

    assert asyncio.run(scenario()) == b"here"


def test_two_brokers_get_ports_of_their_own() -> None:
    async def scenario() -> None:
        async with broker() as one, broker() as two:
            assert one != two

    asyncio.run(scenario())


def test_it_listens_on_this_machine_only_and_no_longer_than_asked() -> None:
    async def scenario() -> None:
        async with broker() as port:
            assert HOST == "127.0.0.1"
            _, writer = await asyncio.open_connection(HOST, port)
            writer.close()
            await writer.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, port)

    asyncio.run(scenario())


def test_a_connection_that_says_nothing_or_nonsense_does_not_hold_up_the_stop() -> None:
    async def scenario() -> None:
        async with broker() as port:
            _, silent = await asyncio.open_connection(HOST, port)
            reader, rude = await asyncio.open_connection(HOST, port)
            rude.write(b"GET / HTTP/1.1\r\n\r\n")
            rude.write_eof()
            assert await asyncio.wait_for(reader.read(), 5) == b""
        for writer in (silent, rude):
            writer.close()
            await writer.wait_closed()

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_it_leaves_no_task_behind_nor_a_word_in_the_log_and_the_levels_as_they_were(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("amqtt")
    monkeypatch.setattr(logger, "level", logging.INFO)

    async def scenario() -> set[asyncio.Task[object]]:
        async with broker() as port, connected(port, "guest", topics=[("#", 1)]):
            assert logger.getEffectiveLevel() == logging.ERROR
            _, silent = await asyncio.open_connection(HOST, port)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
        silent.close()
        await silent.wait_closed()
        return tasks

    assert asyncio.run(scenario()) == set()
    assert logger.level == logging.INFO
    assert caplog.records == []


def test_without_amqtt_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "amqtt" or name.startswith("amqtt.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "amqtt", None)

    async def scenario() -> None:
        async with broker():
            pytest.fail("there is no broker")

    with pytest.raises(BrokerMissingError, match=r"pip install 'streamd\[demo\]'"):
        asyncio.run(scenario())
