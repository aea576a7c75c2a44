"""An embedded MQTT broker for the demo: amqtt on a free port of this machine, for as long as it is needed.

Knows amqtt and its quirks, not who connects. It speaks MQTT 3.1.1 only and forgets everything when it stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

HOST = "127.0.0.1"
_SETTINGS = {
    # We listen ourselves: amqtt would not tell the port that it got, and leaves a connection open that says nothing.
    "listeners": {"default": {"type": "external"}},
    # Named, or amqtt takes its defaults, which log every packet. Without a plugin for it nobody may log in.
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


class BrokerMissingError(Exception):
    """The embedded broker is not installed; the text says how to get it."""


@asynccontextmanager
async def broker() -> AsyncIterator[int]:
    """Serve on HOST while the context is open; gives the port.

    Raises:
        BrokerMissingError: amqtt is not installed.
    """
    try:
        from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
        from amqtt.broker import Broker
    except ImportError as error:
        raise BrokerMissingError("the demo needs an embedded broker: pip install 'streamd[demo]'") from error

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        serving.add(task)
        task.add_done_callback(serving.discard)
        try:
            await inner.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), "default")
        except asyncio.CancelledError:
            pass  # by us, below; asyncio's streams would log a cancelled connection as an error
        finally:
            writer.close()

    with _quiet("amqtt", "transitions"):
        inner = Broker(_SETTINGS)
        await inner.start()
        try:
            server = await asyncio.start_server(serve, HOST, 0)
            try:
                yield server.sockets[0].getsockname()[1]
            finally:
                server.close()
        finally:
            await inner.shutdown()
            for task in serving:  # those that never got as far as a session are not amqtt's to stop
                task.cancel()
            if serving:
                await asyncio.wait(serving)
        await server.wait_closed()


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Keep loggers to what is broken: amqtt warns of each client that leaves, which is what a demo's end is made of."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
