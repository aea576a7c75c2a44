"""One connection to an MQTT broker, driven by asyncio's loop.

Knows sockets and when which packet is due; knows no queues, no retries and nothing of what the messages mean. It reads
and writes by the buffer, not by the packet: a client library that makes three calls to the kernel and several objects
for each message took half of all the time that a reading cost.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from streamd.edge import packets
from streamd.edge.dial import CONNECT_LIMIT_S, ConnectError, Dialled
from streamd.edge.outbox import Outgoing
from streamd.edge.packets import MalformedError, Other, Received, Splitter, Version

MISC_EVERY_S = 1.0  # keepalive is looked at so often
MESSAGES_PER_TURN = 64  # written before the loop's other tasks get their turn
READ_BYTES = 32_768  # the same of what is read: some hundred messages
FOREVER_S = 3600.0  # the keepalive of a broker that asks for none
FENCE = "streamd-fence"  # a topic that nobody subscribes to
BUSY = ("Server unavailable", "Server busy", "Quota exceeded", "Connection rate exceeded")  # may take us in later
REFUSALS_3 = {  # what MQTT 3.1.1 calls by other numbers than 5
    1: "Unsupported protocol version",
    2: "Client identifier not valid",
    3: "Server unavailable",
    4: "Bad user name or password",
    5: "Not authorized",
}


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the broker said when it took us in."""

    session_present: bool  # it kept our subscriptions and what is unacknowledged
    window: int  # QoS-1 messages that it takes unacknowledged
    max_packet_bytes: int | None  # larger ones make it close the connection
    keepalive_s: float  # the broker may ask for another than ours


class Listener(Protocol):
    """What the owner of a connection is told, always from the loop; what it raises ends `Connection.run`."""

    def on_welcome(self, welcome: Welcome) -> None:
        """The broker took us in; nothing was received before."""

    def on_message(self, message: Received) -> None:
        """A message was received."""

    def on_acknowledged(self, mid: int, refusal: str | None) -> None:
        """The broker has a QoS-1 message, or refused it for the reason given."""

    def on_granted(self, mid: int, refusals: Sequence[str | None]) -> None:
        """The broker's answer to a subscription, filter by filter: None, or why not."""

    def on_passed(self, mid: int) -> None:
        """The broker's answer to a fence."""

    def feed(self) -> bool:
        """The socket takes more: publish up to MESSAGES_PER_TURN messages; whether there are more."""


class Connection:
    """Drives what `dial` gave until its socket is closed.

    Args:
        dialled: an open socket.
        listener: is told what happens.
    """

    def __init__(self, dialled: Dialled, listener: Listener) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._socket = dialled.socket
        self._fileno = dialled.socket.fileno()
        self.version: Version = dialled.version
        self._keepalive_s = dialled.keepalive_s
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._welcome: Welcome | None = None
        self._refusal: ConnectError | None = None
        self._reason: str | None = None  # as told first
        self._splitter = Splitter(dialled.version)
        self._packets: deque[Received | Other] = deque()  # read and not told, as reading was paused
        self._out: list[bytes] = [dialled.connect]  # not written, in order
        self._mid = 0  # packet id given last
        self._asked: set[int] = set()  # packet ids without an answer
        self._read_at = self._written_at = self._loop.time()
        self._pinged_at: float | None = None  # when a ping went out that has no answer
        self._reading = False
        self._write_due = False  # `_write` is called soon, or runs
        self._blocked = False  # the socket takes no more for now
        self._parting = False  # close when all is written

    async def run(self) -> str:
        """Until the connection ends; gives the reason.

        Raises:
            ConnectError: it ended before the broker took us in.
        """
        try:
            self.resume()
            self.wake()
            deadline = self._loop.time() + CONNECT_LIMIT_S
            while not self._ended.done():
                await asyncio.wait({self._ended}, timeout=MISC_EVERY_S)
                self._keep_alive()
                if self._welcome is None and self._loop.time() > deadline and not self._ended.done():
                    raise ConnectError("timeout", f"no answer to CONNECT after {CONNECT_LIMIT_S:.0f} s")
            self._ended.result()
        finally:
            self._end()
            self._socket.close()  # without a DISCONNECT the will goes out
        reason = self._reason or "the connection broke"
        if self._welcome is None:
            raise self._refusal or ConnectError("closed", f"{reason} before CONNECT was answered")
        return reason

    def publish(self, message: Outgoing) -> int:
        """Hand a message over; gives the packet id that `on_acknowledged` names if its QoS is 1."""
        mid = self._new_mid() if message.qos else 0
        self._say(
            packets.publish(
                self.version,
                message.topic,
                message.payload,
                qos=message.qos,
                retain=message.retain,
                mid=mid,
                correlation=message.correlation,
            )
        )
        return mid

    def acknowledge(self, mid: int, qos: int) -> None:
        """Tell the broker that a message is dealt with."""
        self._say(packets.puback(mid) if qos == 1 else packets.pubrec(mid))

    def subscribe(self, filters: Sequence[str]) -> int:
        """Ask for topics at QoS 1; gives the packet id that `on_granted` names.

        MQTT 5 brokers send retained messages only for a filter that is new to the session; others always do.
        """
        mid = self._new_mid()
        self._say(packets.subscribe(self.version, mid, filters))
        return mid

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Ask for topics no more."""
        self._say(packets.unsubscribe(self.version, self._new_mid(), filters))

    def fence(self) -> int:
        """Ask for an answer behind all that was handed over so far; gives the packet id that `on_passed` names.

        MQTT answers no QoS-0 message, but to an UNSUBSCRIBE of what nobody subscribed to, and in the order of arrival.
        """
        mid = self._new_mid()
        self._say(packets.unsubscribe(self.version, mid, (FENCE,)))
        return mid

    def wake(self) -> None:
        """There is something to feed."""
        if not self._write_due and not self._blocked:
            self._write_due = True
            self._loop.call_soon(self._guard, self._write)

    def pause(self) -> None:
        """Stop reading, for less than the keepalive: an answer to a ping that is not read is none."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fileno)

    def resume(self) -> None:
        """Read again."""
        if not self._reading and not self._ended.done():
            self._reading = True
            self._loop.add_reader(self._fileno, self._guard, self._read)
            if self._packets or self._pending:
                self._loop.call_soon(self._guard, self._read_pending)

    def disconnect(self) -> None:
        """Say goodbye after what was published so far: the session is kept, the will does not go out."""
        self._say(packets.GOODBYE)
        self._parting = True

    def abort(self) -> None:
        """End without a goodbye: the will goes out."""
        self._end()

    def _end(self, reason: str | None = None) -> None:
        """Leave the loop; the socket is closed by `run`."""
        if self._reason is None:
            self._reason = reason
        if self._reading:
            self.pause()
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self._fileno)
        if not self._ended.done():
            self._ended.set_result(None)

    def _guard(self, step: Callable[[], None]) -> None:
        """Run a step of the loop; an error in it ends `run`, where the loop would log it and go on."""
        if self._ended.done():
            return
        try:
            step()
        except MalformedError as error:
            self._end(f"the broker sent no MQTT: {error}")
        except Exception as error:
            if self._ended.done():
                raise
            self._ended.set_exception(error)

    @property
    def _pending(self) -> bool:
        """Whether TLS has decrypted something already: that no longer makes the socket readable."""
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def _read_pending(self) -> None:
        if self._reading:
            self._read()

    def _read(self) -> None:
        """Tell what was read before, then what there is now, up to a bounded size."""
        self._tell()
        if not self._reading:
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._end(error.strerror)
            return
        if not data:
            self._end()
            return
        self._read_at, self._pinged_at = self._loop.time(), None
        self._packets.extend(self._splitter.feed(data))
        self._tell()
        if self._reading and self._pending:
            self._loop.call_soon(self._guard, self._read_pending)

    def _tell(self) -> None:
        """Tell of the packets read, as long as nobody wants a pause."""
        waiting, tell = self._packets, self._listener.on_message
        while waiting and self._reading:
            packet = waiting.popleft()
            if type(packet) is Received:
                if self._welcome is None:
                    raise MalformedError("a message before the answer to CONNECT")
                tell(packet)
            elif type(packet) is Other:
                self._take(packet.kind, packet.body)

    def _take(self, kind: int, body: bytes) -> None:
        """Anything but a message."""
        if self._welcome is None:
            if kind == packets.CONNACK:
                self._on_connack(body)
            else:
                self._end(f"packet {kind} came")
        elif kind == packets.PUBACK:
            mid, code = packets.answer(body, self.version)
            self._asked.discard(mid)
            self._listener.on_acknowledged(mid, _name(PacketTypes.PUBACK, code) if code >= 0x80 else None)
        elif kind == packets.SUBACK:
            mid, codes = packets.answers(body, self.version)
            self._asked.discard(mid)
            said = [_name(PacketTypes.SUBACK, code) if code >= 0x80 else None for code in codes]
            self._listener.on_granted(mid, said)
        elif kind == packets.UNSUBACK:
            mid, _ = packets.answers(body, self.version)
            self._asked.discard(mid)
            self._listener.on_passed(mid)
        elif kind == packets.PUBREL:
            self._say(packets.pubcomp(body))
        elif kind == packets.DISCONNECT:
            self._end(f"the broker says: {_name(PacketTypes.DISCONNECT, body[0] if body else 0)}")
        elif kind != packets.PINGRESP:
            raise MalformedError(f"packet {kind} is none for a client like us")

    def _on_connack(self, body: bytes) -> None:
        if self.version == "5" and len(body) == 2:
            if body[1] == 1:  # a broker that knows no MQTT 5 says so in 3.1.1
                self._refusal = ConnectError("protocol", REFUSALS_3[1])
            self._end("an answer in another version of MQTT came")
            return
        taken = packets.connack(body, self.version)
        if taken.code:
            if self.version == "5":
                name = _name(PacketTypes.CONNACK, taken.code)
            else:
                name = REFUSALS_3.get(taken.code, f"reason {taken.code}")
            self._refusal = _refusal(name)
            self._end(name)
            return
        if taken.server_keepalive is not None:
            self._keepalive_s = taken.server_keepalive
        self._welcome = Welcome(
            session_present=taken.session_present,
            window=65_535 if taken.receive_maximum is None else taken.receive_maximum,
            max_packet_bytes=taken.maximum_packet_size,
            keepalive_s=self._keepalive_s or FOREVER_S,
        )
        self._listener.on_welcome(self._welcome)

    def _say(self, packet: bytes) -> None:
        self._out.append(packet)
        self.wake()

    def _write(self) -> None:
        self._write_due = True  # whatever is said meanwhile is written below
        more = False
        if self._flush() and self._welcome is not None and not self._parting:
            # Feed only what the socket takes at once: what waits here is not bounded.
            more = self._listener.feed()
            self._flush()
        self._write_due = False
        if self._ended.done():
            return
        if self._out and not self._blocked:
            self._blocked = True
            self._loop.add_writer(self._fileno, self._guard, self._write)
        elif not self._out:
            if self._blocked:
                self._blocked = False
                self._loop.remove_writer(self._fileno)
            if self._parting:
                self._end("we said goodbye")
            elif more:
                self.wake()

    def _flush(self) -> bool:
        """Write what there is, in one call; whether the socket took all of it."""
        if not self._out or self._ended.done():
            return not self._out
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        try:
            count = self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            count = 0
        except OSError as error:
            self._end(error.strerror)
            return False
        if count:
            self._written_at = self._loop.time()
        self._out = [data[count:]] if count < len(data) else []
        return not self._out

    def _keep_alive(self) -> None:
        """Ping in time, and take a connection for dead that leaves a ping unanswered."""
        now = self._loop.time()
        if self._welcome is None or not self._keepalive_s or self._ended.done():
            return
        if self._pinged_at is not None:
            if now - self._pinged_at >= self._keepalive_s:
                self._end("Keep alive timeout")
        elif now - min(self._read_at, self._written_at) >= self._keepalive_s - MISC_EVERY_S:
            self._pinged_at = now
            self._say(packets.PINGREQ_BYTES)

    def _new_mid(self) -> int:
        """A packet id that is not in use."""
        while True:
            self._mid = self._mid % 65_535 + 1
            if self._mid not in self._asked:
                self._asked.add(self._mid)
                return self._mid


def _name(kind: int, code: int) -> str:
    """What the protocol calls a reason."""
    try:
        return ReasonCode(kind, identifier=code).getName()
    except KeyError:
        return f"reason {code}"


def _refusal(reason: str) -> ConnectError:
    if reason == "Unsupported protocol version":
        return ConnectError("protocol", reason)
    return ConnectError("unavailable" if reason in BUSY else "refused", reason)
