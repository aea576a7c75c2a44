"""Publishes a data file to a broker as a device would: one reading after the other, at its own pace.

Knows MQTT and the clock; not how a file is read, nor what becomes of the readings.
"""

from __future__ import annotations

import math
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from streamd.config import read_secret
from streamd.table import Row, Table

IN_FLIGHT: Final = 100  # messages sent and not yet acknowledged
CONNECT_S: Final = 10.0  # for the broker to answer our CONNECT
RECONNECT_MAX_S: Final = 30

_MAX_TOPIC_BYTES: Final = 65_535
_CHANNEL: Final = "{channel}"


class ReplayError(Exception):
    """The file could not be published whole; the text says why and how far it came."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to publish and as whom. A `ca_file` switches TLS on."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None  # PEM, authorities that may sign the broker's certificate


@dataclass(frozen=True, slots=True)
class Summary:
    """What was published; the broker has acknowledged all of it."""

    rows: int  # read from the file
    empty: int  # of these, rows without a single value, for which nothing was sent
    messages: int
    seconds: float  # from the first reading to the last acknowledgement


def replay(
    table: Table,
    topic: str,
    broker: Broker,
    *,
    rate: float | None = None,
    speed: float | None = None,
    time_field: str = "ts",
    limit: int | None = None,
    console: Console | None = None,
    patience_s: float = 60.0,
) -> Summary:
    """Publish a table at QoS 1, a JSON object for each row, and wait until the broker has acknowledged everything.

    An object holds the time in s since the epoch as `time_field`, and the values by channel, without the missing ones.
    With `{channel}` in the topic each value is a message of its own: `{time_field: ..., "value": ...}`. `rate` is in
    rows per second, `speed` in multiples of real time by the times in the file, 1 where neither is given; either may be
    infinite. `limit` ends after that many rows. On a `console` that is a terminal a progress bar shows.

    A connection that breaks is made again, and what was not acknowledged is sent again before anything new, so that
    readings arrive in order, some perhaps twice.

    Raises:
        ReplayError: what was asked for makes no sense, the broker can't be reached or refuses us, or it acknowledges
            nothing for `patience_s` while something is due.
        ConfigError: the password file can't be read.
        TableError: the file turns out to be broken on the way.
    """
    if rate is not None and speed is not None:
        raise ReplayError("rate and speed exclude each other")
    if broker.password_file is not None and broker.username is None:
        raise ReplayError("a password file goes with a user name")
    for name, value in (("rate", rate), ("speed", speed), ("limit", limit)):
        if value is not None and not value > 0:
            raise ReplayError(f"{name}: expected more than 0, got {value}")
    encode = encoder(topic, table.channels, time_field)
    rows = empty = 0
    with _connected(broker, patience_s) as link, _bar(table, limit, console) as show:
        start = time.monotonic()
        for due, row in schedule(islice(table.rows(), limit), rate, speed):
            link.wait_until(start + due)
            messages = encode(row)
            for address, payload in messages:
                link.publish(address, payload)
            rows += 1
            empty += not messages
            show(rows)
        link.drain()
        return Summary(rows, empty, link.acknowledged, time.monotonic() - start)


def schedule(rows: Iterable[Row], rate: float | None = None, speed: float | None = None) -> Iterator[tuple[float, Row]]:
    """Each row with the time at which it is due, in s after the first; without a rate by the rows' own times.

    >>> [due for due, _ in schedule([Row(5.0, []), Row(8.0, []), Row(7.0, [])], speed=2)]
    [0.0, 1.5, 1.0]
    >>> [due for due, _ in schedule([Row(5.0, []), Row(8.0, [])], rate=10)]
    [0.0, 0.1]
    """
    first: float | None = None
    for number, row in enumerate(rows):
        first = row.time if first is None else first
        yield (number / rate if rate is not None else (row.time - first) / (speed or 1.0)), row


def encoder(topic: str, channels: tuple[str, ...], time_field: str) -> Callable[[Row], list[tuple[str, bytes]]]:
    """What turns a row into topics and payloads; its JSON numbers give the same bits again.

    Raises:
        ReplayError: the topic can't be published to, or the time has the name of a value.
    """
    split = _CHANNEL in topic
    topics = [topic.replace(_CHANNEL, channel) for channel in channels] if split else [topic]
    for channel, each in zip(channels, topics, strict=False):
        if split and any(sign in channel for sign in "/+#"):
            raise ReplayError(f"topic {topic!r}: channel {channel!r} can't be a level of it, for it has one of / + #")
        _check_topic(each)
    if time_field in (["value"] if split else channels):
        raise ReplayError(f"time field {time_field!r}: a value has the same name")

    def one_message(row: Row) -> list[tuple[str, bytes]]:
        values = {name: value for name, value in zip(channels, row.values, strict=True) if not math.isnan(value)}
        return [(topic, msgspec.json.encode({time_field: row.time, **values}))] if values else []

    def message_per_channel(row: Row) -> list[tuple[str, bytes]]:
        return [
            (each, msgspec.json.encode({time_field: row.time, "value": value}))
            for each, value in zip(topics, row.values, strict=True)
            if not math.isnan(value)
        ]

    return message_per_channel if split else one_message


def _check_topic(topic: str) -> None:
    fault = None
    if not topic or len(topic.encode()) > _MAX_TOPIC_BYTES:
        fault = f"expected 1 to {_MAX_TOPIC_BYTES} bytes"
    elif any(sign in topic for sign in "+#\0"):
        fault = "wildcards are for subscribers"
    elif "{" in topic or "}" in topic:
        fault = f"only {_CHANNEL} is filled in; the stream is yours to name"
    if fault is not None:
        raise ReplayError(f"topic {topic!r}: {fault}")


class Link:
    """A connection that counts what the broker owes us.

    Its callbacks run on paho's thread, the rest on the caller's; the condition guards all that both touch.
    """

    def __init__(self, client: Client, patience_s: float) -> None:
        self._client = client
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._connected = False  # at least once
        self._interrupted = False  # since a connection broke something is still to be sent again
        self._fault: str | None = None
        self._outstanding = 0
        self.acknowledged = 0
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    def publish(self, topic: str, payload: bytes) -> None:
        """Send one message, as soon as the window has room and nothing has to be sent again first."""
        self._wait_for(lambda: self._outstanding < IN_FLIGHT and not self._interrupted)
        with self._changed:
            self._outstanding += 1
        self._client.publish(topic, payload, qos=1)  # while the connection is away paho keeps it for the next one

    def drain(self) -> None:
        """Wait until all is acknowledged."""
        self._wait_for(lambda: self._outstanding == 0)

    def wait_until(self, moment: float) -> None:
        """Wait for a time of the monotonic clock; a fault of the broker ends the wait."""
        with self._changed:
            while self._fault is None and (left := moment - time.monotonic()) > 0:
                self._changed.wait(min(left, threading.TIMEOUT_MAX))

    def wait_connected(self) -> None:
        """Wait for the broker's answer to our first CONNECT."""
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._fault is not None, CONNECT_S)
            if not self._connected:
                raise ReplayError(f"the broker {self._fault or f'did not answer for {CONNECT_S:g} s'}")

    def _wait_for(self, ready: Callable[[], bool]) -> None:
        with self._changed:
            while not ready():
                before = self.acknowledged
                self._changed.wait_for(lambda: self._fault is not None or ready(), self._patience_s)
                if self._fault is None and self.acknowledged == before and not ready():
                    self._fault = f"acknowledged nothing for {self._patience_s:g} s"
                if self._fault is not None:
                    state = f"{self.acknowledged} messages acknowledged, {self._outstanding} not"
                    raise ReplayError(f"the broker {self._fault}: {state}")

    def _on_connect(
        self, _client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        with self._changed:
            if reason.is_failure:
                self._fault = f"refused us: {reason}"
            else:
                self._connected = True
                self._interrupted = self._outstanding > 0
            self._changed.notify_all()

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        with self._changed:
            if not self._connected and self._fault is None:
                self._fault = f"hung up on our CONNECT: {reason}"
            self._interrupted = True
            self._changed.notify_all()

    def _on_publish(
        self, _client: Client, _data: object, _mid: int, _reason: ReasonCode, _properties: Properties | None
    ) -> None:
        with self._changed:
            self._outstanding -= 1
            self.acknowledged += 1
            if self._outstanding == 0:
                self._interrupted = False
            self._changed.notify_all()


@contextmanager
def _connected(broker: Broker, patience_s: float) -> Iterator[Link]:
    """A link to the broker, for as long as the block lasts."""
    # 3.1.1: the simplest that every broker takes, embedded ones too. A session of its own, which ends with us.
    client = Client(
        CallbackAPIVersion.VERSION2, f"streamd-replay-{uuid.uuid4().hex[:8]}", protocol=MQTTProtocolVersion.MQTTv311
    )
    client.max_inflight_messages_set(0)  # the link keeps the window; a second one in paho could change the order
    client.reconnect_delay_set(1, RECONNECT_MAX_S)
    if broker.username is not None:
        secret = None if broker.password_file is None else read_secret(str(broker.password_file))
        client.username_pw_set(broker.username, secret)
    link = Link(client, patience_s)
    try:
        if broker.ca_file is not None:
            client.tls_set_context(ssl.create_default_context(cafile=broker.ca_file))
        client.connect(broker.host, broker.port, keepalive=30)
    except OSError as error:
        raise ReplayError(f"{broker.host}:{broker.port}: can't connect: {error}") from error
    client.loop_start()
    try:
        link.wait_connected()
        yield link
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def _bar(table: Table, limit: int | None, console: Console | None) -> Iterator[Callable[[int], None]]:
    """A progress bar, by rows where a limit says how many, else by bytes; yields what takes the rows so far."""
    if console is None or not console.is_terminal:
        yield lambda _rows: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(table.path.name, total=limit or table.size)
        yield lambda rows: progress.update(task, completed=rows if limit else table.position)
