"""A broker with one persistent session, the wire to it, and the connection that the link under test drives.

Knows packet ids, windows and deliveries at QoS 1, as Mosquitto does them; does not know what a payload means. In the
broken form each acknowledgement releases a whole window more, as Mosquitto 2.0.11 does it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from paho.mqtt.client import MQTTMessage

from streamd.edge.connection import Listener, Welcome
from streamd.edge.dial import ConnectError
from streamd.edge.outbox import Outgoing
from tests.simulation.clock import Clock, Loop

SOCKET_PACKETS = 30  # that a socket takes while nothing gets through


@dataclass(slots=True, eq=False)
class Publication:
    """A message that a client published and the broker took."""

    number: int
    topic: str
    payload: bytes
    kept: bool = True  # by the session, until it is acknowledged


@dataclass(slots=True)
class Session:
    """What the broker keeps of a client that is away."""

    in_flight: OrderedDict[int, Publication] = field(default_factory=OrderedDict)  # packet id -> sent, unacknowledged
    queue: deque[Publication] = field(default_factory=deque)
    last_mid: int = 0
    subscribed: bool = False


class Broker:
    """Takes readings from clients, outcomes from the daemon.

    Args:
        clock: on which packets take their time.
        random: of the latencies.
        window: messages sent ahead of acknowledgements.
        broken: acknowledgements release too much.
        latency_s: of a packet, at most.
    """

    def __init__(self, clock: Clock, random: Random, *, window: int, broken: bool, latency_s: float) -> None:
        self.clock = clock
        self.random = random
        self.up = True
        self.reachable = True
        self.stalled_until = 0.0  # packets that are sent before arrive later
        self.session: Session | None = None
        self.connection: Connection | None = None
        self.on_acknowledged: Callable[[Publication], None] = lambda publication: None
        self.on_outcome: Callable[[int, str, bytes], None] = lambda life, topic, payload: None
        self.on_new_session: Callable[[], None] = lambda: None
        self.life = 0  # of the daemon
        self._window = window
        self._broken = broken
        self.latency_s = latency_s
        self._count = 0

    # --- what clients and the weather do ---

    def publish(self, topic: str, payload: bytes) -> Publication | None:
        """A client publishes; None: the broker is away, and the client gives up."""
        if not self.up:
            return None
        self._count += 1
        publication = Publication(self._count, topic, payload)
        if self.session is None or not self.session.subscribed:
            publication.kept = False
        else:
            self.session.queue.append(publication)
            self._send(self._window)
        return publication

    def stop(self, *, persistent: bool) -> None:
        """The broker goes away; without persistence it forgets the session."""
        self.up = False
        self.drop_connection()
        if not persistent and self.session is not None:
            for publication in (*self.session.in_flight.values(), *self.session.queue):
                publication.kept = False
            self.session = None

    def drop_connection(self) -> None:
        """The TCP connection breaks."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.broken("the connection broke")

    @property
    def pending(self) -> int:
        """Messages that the daemon has yet to acknowledge."""
        return 0 if self.session is None else len(self.session.in_flight) + len(self.session.queue)

    # --- what arrives from the daemon ---

    def connect(self, connection: Connection, receive_maximum: int) -> None:
        if not (self.up and self.reachable):
            connection.broken("the connection broke")
            return
        if self.connection is not None and self.connection is not connection:
            self.connection.broken("taken over")
        self.connection = connection
        present = self.session is not None
        if not present:
            self.on_new_session()
        self.session = self.session or Session()
        connection.receive_maximum = receive_maximum
        connection.down(lambda: connection.welcomed(present))
        for mid, publication in self.session.in_flight.items():
            connection.deliver(mid, publication, dup=True)
        self._send(self._window)

    def subscribe(self) -> None:
        if self.session is not None:
            self.session.subscribed = True
            self._send(self._window)

    def acknowledged(self, mid: int) -> None:
        if self.session is not None and self.session.in_flight.pop(mid, None) is not None:
            if self._broken:
                self._send(len(self.session.in_flight) + self._window)
            else:
                self._send(self._window)

    def _send(self, window: int) -> None:
        session, connection = self.session, self.connection
        if session is None or connection is None:
            return
        if not self._broken:
            window = min(window, connection.receive_maximum)
        while session.queue and len(session.in_flight) < window:
            session.last_mid = session.last_mid % 65_535 + 1
            publication = session.queue.popleft()
            session.in_flight[session.last_mid] = publication
            connection.deliver(session.last_mid, publication, dup=False)


class Connection:
    """Takes the place of `edge.connection.Connection`: the same calls, over a simulated wire.

    Args:
        dialled: what `dial` gave.
        listener: the link.
    """

    version = "5"

    def __init__(self, dialled: Dialled, listener: Listener) -> None:
        self._loop = asyncio.get_running_loop()
        assert isinstance(self._loop, Loop)
        self._alive: Loop = self._loop
        self._broker = dialled.broker
        self._clock = dialled.broker.clock
        self._life = dialled.broker.life
        self._listener = listener
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._welcomed = False
        self._keepalive_s = dialled.keepalive_s
        self.receive_maximum = dialled.receive_maximum
        self._paused: deque[Callable[[], None]] = deque()
        self._reading = True
        self._write_due = False
        self._blocked = False
        self._mid = 0
        self._on_the_way = 0  # packets that have not arrived
        self._gone = False  # nothing more goes out or comes in
        self._last_up = self._last_down = 0.0
        self._mids: dict[int, Publication] = {}

    async def run(self) -> str:
        self._up(lambda: self._broker.connect(self, self.receive_maximum))
        try:
            reason = await self._ended
        finally:
            self._gone = True
        if not self._welcomed:
            raise ConnectError("closed", f"{reason} before CONNECT was answered")
        return reason

    # --- what the link does ---

    def publish(self, message: Outgoing) -> int:
        self._mid = self._mid % 65_535 + 1
        mid = self._mid

        def arrives() -> None:
            self._broker.on_outcome(self._life, message.topic, message.payload)
            if message.qos:
                self.down(lambda: self._listener.on_acknowledged(mid, None))

        self._up(arrives)
        return mid

    def acknowledge(self, mid: int, qos: int) -> None:
        if self._gone:
            return
        self._broker.on_acknowledged(self._mids[mid])
        self._up(lambda: self._broker.acknowledged(mid))

    def subscribe(self, filters: Sequence[str]) -> int:
        def arrives() -> None:
            self._broker.subscribe()
            self.down(lambda: self._listener.on_granted(0, [None] * len(filters)))

        self._up(arrives)
        return 0

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Nothing obsolete is ever published here."""

    def fence(self) -> int:
        self._mid = self._mid % 65_535 + 1
        mid = self._mid
        self._up(lambda: self.down(lambda: self._listener.on_passed(mid)))
        return mid

    def wake(self) -> None:
        if not self._write_due and not self._blocked and not self._gone:
            self._write_due = True
            self._loop.call_soon(self._guard, self._write)

    def pause(self) -> None:
        self._reading = False

    def resume(self) -> None:
        self._reading = True
        self._loop.call_soon(self._guard, self._read_on)

    def disconnect(self) -> None:
        def arrives() -> None:
            if self._broker.connection is self:
                self._broker.connection = None
            self.broken("we said goodbye")

        self._up(arrives)

    def abort(self) -> None:
        if self._broker.connection is self:
            self._broker.connection = None
        self.broken("aborted")

    # --- what the broker does ---

    def welcomed(self, session_present: bool) -> None:
        self._welcomed = True
        self._listener.on_welcome(Welcome(session_present, 65_535, None, self._keepalive_s))

    def deliver(self, mid: int, publication: Publication, *, dup: bool) -> None:
        def arrives() -> None:
            message = MQTTMessage(mid, publication.topic.encode())
            message.payload, message.qos, message.dup = publication.payload, 1, dup
            self._mids[mid] = publication
            self._listener.on_message(message)

        self.down(arrives)

    def broken(self, reason: str) -> None:
        """The end, for both sides; the daemon hears of it when its loop turns."""
        self._gone = True
        if not self._alive.dead:
            self._loop.call_soon(self._end, reason)

    def process_died(self, *, power: bool) -> None:
        """What the kernel has taken may still go out, unless the power is gone too."""
        if power or self._broker.random.random() < 0.5:
            self._gone = True
        if self._broker.connection is self:
            self._broker.connection = None

    # --- the wire ---

    def _up(self, arrives: Callable[[], None]) -> None:
        """A packet to the broker, behind those before it."""
        if self._gone:
            return
        self._on_the_way += 1

        def lands() -> None:
            self._on_the_way -= 1
            if not self._broker.up:
                self.broken("the connection broke")  # also one that was never taken in
            elif not self._gone:
                arrives()
            if self._blocked and self._on_the_way < SOCKET_PACKETS // 2 and not self._alive.dead:
                self._blocked = False
                self.wake()

        self._last_up = max(self._last_up, self._arrival())
        self._clock.at(self._last_up, lands)

    def down(self, arrives: Callable[[], None]) -> None:
        """A packet to the daemon, behind those before it; it is read when the daemon's loop turns."""

        def lands() -> None:
            if not self._gone and not self._alive.dead:
                self._loop.call_soon(self._guard, lambda: self._read(arrives))

        self._last_down = max(self._last_down, self._arrival())
        self._clock.at(self._last_down, lands)

    def _arrival(self) -> float:
        broker = self._broker
        return max(self._clock.now, broker.stalled_until) + broker.random.uniform(0.0, broker.latency_s)

    def _write(self) -> None:
        self._write_due = False
        if not self._welcomed:
            return
        if self._on_the_way >= SOCKET_PACKETS and self._broker.stalled_until > self._clock.now:
            self._blocked = True
        elif self._listener.feed():
            self.wake()

    def _read(self, arrives: Callable[[], None]) -> None:
        if self._reading and not self._paused:
            arrives()
        else:
            self._paused.append(arrives)

    def _read_on(self) -> None:
        while self._paused and self._reading:
            self._paused.popleft()()

    def _guard(self, step: Callable[[], None]) -> None:
        """An error of the link's ends `run`, as it does in the real one."""
        if self._gone or self._ended.done():
            return
        try:
            step()
        except Exception as error:
            self._ended.set_exception(error)

    def _end(self, reason: str) -> None:
        self._gone = True
        if not self._ended.done():
            self._ended.set_result(reason)


@dataclass(frozen=True, slots=True)
class Dialled:
    """Takes the place of the client that `edge.dial.dial` gives."""

    broker: Broker
    keepalive_s: float
    receive_maximum: int


def dialer(broker: Broker) -> Callable[..., Any]:
    """Takes the place of `edge.dial.dial`."""

    async def dial(settings: Any, version: str, will: Any, give_up: asyncio.Future[None]) -> Dialled:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        loop.call_later(broker.random.uniform(0.001, 0.2), answer.cancel)  # any end will do
        await asyncio.wait({answer, give_up}, return_when=asyncio.FIRST_COMPLETED)
        if give_up.done():
            raise ConnectError("timeout", "given up")
        if not (broker.up and broker.reachable):
            raise ConnectError("unreachable", "no route to host")
        return Dialled(broker, settings.keepalive_s, settings.inbox_messages)

    return dial
