"""One connection to an MQTT broker, driven by asyncio's loop and no thread of paho's.

Knows paho, sockets and packets; knows no queues, no retries and nothing of what the messages mean.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from streamd.edge.dial import CONNECT_LIMIT_S, ConnectError, Version, close_socket
from streamd.edge.outbox import Outgoing

MISC_EVERY_S = 1.0  # keepalive is looked at so often
MESSAGES_PER_TURN = 64  # read or written before the loop's other tasks get their turn
FOREVER_S = 3600.0  # the keepalive of a broker that asks for none
FENCE = "streamd-fence"  # a topic that nobody subscribes to
BUSY = ("Server unavailable", "Server busy", "Quota exceeded", "Connection rate exceeded")  # may take us in later


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

    def on_message(self, message: MQTTMessage) -> None:
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
    """Drives a client that `dial` gave until its socket is closed.

    Args:
        client: with an open socket.
        listener: is told what happens.
    """

    def __init__(self, client: Client, listener: Listener) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._listener = listener
        self._socket = client.socket()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._welcome: Welcome | None = None
        self._refusal: ConnectError | None = None
        self._reason: str | None = None  # as paho tells it first
        self._heard = 0  # messages, to see whether a read brought one
        self._reading = False
        self._write_due = False  # `_write` is called soon, or runs
        self._blocked = False  # the socket takes no more for now

    @property
    def version(self) -> Version:
        """Of the protocol that is spoken."""
        return "5" if self._client.protocol == MQTTProtocolVersion.MQTTv5 else "3.1.1"

    async def run(self) -> str:
        """Until the connection ends; gives the reason.

        Raises:
            ConnectError: it ended before the broker took us in.
        """
        try:
            self._attach()
            deadline = self._loop.time() + CONNECT_LIMIT_S
            while not self._ended.done():
                await asyncio.wait({self._ended}, timeout=MISC_EVERY_S)
                self._client.loop_misc()
                if self._welcome is None and self._loop.time() > deadline and not self._ended.done():
                    raise ConnectError("timeout", f"no answer to CONNECT after {CONNECT_LIMIT_S:.0f} s")
            self._ended.result()
        finally:
            self._detach()
        reason = self._reason or "the connection broke"
        if self._welcome is None:
            raise self._refusal or ConnectError("closed", f"{reason} before CONNECT was answered")
        return reason

    def publish(self, message: Outgoing) -> int:
        """Hand a message over; gives the packet id that `on_acknowledged` names if its QoS is 1."""
        properties: Any = None
        if message.correlation is not None and self.version == "5":
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = message.correlation
        return self._client.publish(message.topic, message.payload, message.qos, message.retain, properties).mid

    def acknowledge(self, mid: int, qos: int) -> None:
        """Tell the broker that a message is dealt with."""
        self._client.ack(mid, qos)

    def subscribe(self, filters: Sequence[str]) -> int:
        """Ask for topics at QoS 1; gives the packet id that `on_granted` names.

        MQTT 5 brokers send retained messages only for a filter that is new to the session; others always do.
        """
        if self.version == "5":
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
            _, mid = self._client.subscribe([(name, options) for name in filters])
        else:
            _, mid = self._client.subscribe([(name, 1) for name in filters])
        return mid or 0

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Ask for topics no more."""
        self._client.unsubscribe(list(filters))

    def fence(self) -> int:
        """Ask for an answer behind all that was handed over so far; gives the packet id that `on_passed` names.

        MQTT answers no QoS-0 message, but to an UNSUBSCRIBE of what nobody subscribed to, and in the order of arrival.
        """
        _, mid = self._client.unsubscribe(FENCE)
        return mid or 0

    def wake(self) -> None:
        """There is something to feed."""
        if not self._write_due and not self._blocked:
            self._write_due = True
            self._loop.call_soon(self._guard, self._write)

    def pause(self) -> None:
        """Stop reading, for less than the keepalive: paho takes a connection for dead that leaves a ping unanswered."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fileno)

    def resume(self) -> None:
        """Read again."""
        if not self._reading and not self._ended.done():
            self._reading = True
            self._loop.add_reader(self._fileno, self._guard, self._read)
            self._read_again_if_pending()

    def disconnect(self) -> None:
        """Say goodbye after what was published so far: the session is kept, the will does not go out."""
        self._client.disconnect()
        self.wake()

    def abort(self) -> None:
        """End without a goodbye: the will goes out."""
        self._end()

    def _attach(self) -> None:
        if self._socket is None:  # closed while CONNECT was written
            self._end()
            return
        self._fileno = self._socket.fileno()
        client = self._client
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = lambda *_: self._end()
        client.on_socket_register_write = lambda *_: self.wake()
        self.resume()
        self.wake()

    def _detach(self) -> None:
        """Let go of the loop and of the client, which must not call back when it is collected."""
        self._end()
        client = self._client
        client.on_connect = client.on_message = client.on_disconnect = None
        client.on_subscribe = client.on_unsubscribe = None
        client.on_socket_close = client.on_socket_register_write = None
        close_socket(client)

    def _end(self) -> None:
        """The socket is about to be closed; paho says so in every case, and `on_disconnect` in some cases twice."""
        if self._socket is not None:
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
        except Exception as error:
            if self._ended.done():
                raise
            self._ended.set_exception(error)

    def _read(self) -> None:
        """Paho reads one packet at a time, and a packet is mostly a message: go on while one came."""
        # paho makes two costly objects (16 µs) per QoS-0 message written if somebody listens; we want PUBACKs only.
        self._client.on_publish = self._on_publish
        for _ in range(MESSAGES_PER_TURN):
            heard = self._heard
            self._client.loop_read()
            if self._heard == heard or not self._reading:
                break
        self._client.on_publish = None
        self._read_again_if_pending()

    def _read_again_if_pending(self) -> None:
        """What TLS has decrypted already no longer makes the socket readable."""
        if self._reading and isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            self._loop.call_soon(self._guard, self._read_pending)

    def _read_pending(self) -> None:
        if self._reading:
            self._read()

    def _write(self) -> None:
        self._client.loop_write()
        # Feed only what the socket takes at once: paho's own queue is not bounded.
        more = True
        if self._welcome is not None and not self._client.want_write() and not self._ended.done():
            more = self._listener.feed()
            self._client.loop_write()
        self._write_due = False
        if self._ended.done():
            return
        if self._client.want_write() and not self._blocked:
            self._blocked = True
            self._loop.add_writer(self._fileno, self._guard, self._write)
        elif not self._client.want_write():
            if self._blocked:
                self._blocked = False
                self._loop.remove_writer(self._fileno)
            if more and self._welcome is not None:
                self.wake()

    def _on_connect(self, _client: Client, _data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._refusal = _refusal(reason.getName())
            return
        self._welcome = Welcome(
            session_present=flags.session_present,
            window=getattr(properties, "ReceiveMaximum", 65_535),
            max_packet_bytes=getattr(properties, "MaximumPacketSize", None),
            keepalive_s=self._client.keepalive or FOREVER_S,
        )
        self._listener.on_welcome(self._welcome)

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._heard += 1
        self._listener.on_message(message)

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        self._listener.on_acknowledged(mid, reason.getName() if reason.is_failure else None)

    def _on_subscribe(self, _client: Client, _data: Any, mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        self._listener.on_granted(mid, [r.getName() if r.is_failure else None for r in reasons])

    def _on_unsubscribe(self, _client: Client, _data: Any, mid: int, _reasons: Any, _properties: Any) -> None:
        self._listener.on_passed(mid)

    def _on_disconnect(self, _client: Client, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if self._reason is not None:
            return
        if flags.is_disconnect_packet_from_server:
            self._reason = f"the broker says: {reason.getName()}"
        elif not reason.is_failure:
            self._reason = "we said goodbye"
        elif reason.getName() != "Unspecified error":
            self._reason = reason.getName()


def _refusal(reason: str) -> ConnectError:
    if reason == "Unsupported protocol version":
        return ConnectError("protocol", reason)
    return ConnectError("unavailable" if reason in BUSY else "refused", reason)
