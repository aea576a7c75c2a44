"""The first half of a connection: name, TCP, TLS and CONNECT, away from the loop.

Knows addresses, certificates and secrets; does not know what the broker answers.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamd import config

CONNECT_LIMIT_S = 10.0  # for name, TCP and TLS together, and again for the broker's answer
NEVER_EXPIRES = 0xFFFF_FFFF  # the largest session expiry interval

Version: TypeAlias = Literal["5", "3.1.1"]
Result: TypeAlias = Literal["refused", "unavailable", "protocol", "closed", "timeout", "unreachable", "tls", "secret"]


class ConnectError(Exception):
    """The broker was not reached, or did not take us in."""

    def __init__(self, result: Result, reason: str) -> None:
        super().__init__(reason)
        self.result = result


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained and at QoS 1, when we are gone without a goodbye."""

    topic: str
    payload: bytes


async def dial(settings: config.Mqtt, version: Version, will: Will, give_up: asyncio.Future[None]) -> Client:
    """A paho client with an open socket and CONNECT on its way.

    Name, TCP and TLS block, so they run on a thread of the default executor.

    Args:
        settings: where to, and as whom; secrets and certificates are read anew.
        version: of the protocol.
        will: the last will.
        give_up: when it is done the attempt ends.

    Raises:
        ConnectError: no socket, or `give_up` is done.
    """
    abandoned = threading.Event()
    attempt = asyncio.get_running_loop().run_in_executor(None, _open, settings, version, will, abandoned)
    made = False
    try:
        either: set[asyncio.Future[Any]] = {attempt, give_up}
        await asyncio.wait(either, timeout=CONNECT_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        made = attempt.done()
    finally:
        if not made:  # also where the attempt has just ended, and the wait for it was cancelled
            abandoned.set()
            attempt.add_done_callback(_discard)
    if not made:
        raise ConnectError("timeout", "given up" if give_up.done() else f"no socket after {CONNECT_LIMIT_S:.0f} s")
    return attempt.result()


def _open(settings: config.Mqtt, version: Version, will: Will, abandoned: threading.Event) -> Client:
    """Blocks until the socket is open."""
    client = _client(settings, version, will)

    def stop_if_abandoned(_client: Client, _data: Any, sock: Any) -> None:
        # Before CONNECT is sent: a late one with our client id would throw out the connection that came after it.
        if abandoned.is_set():
            sock.close()
            raise ConnectionAbortedError("given up")

    client.on_socket_open = stop_if_abandoned
    arguments: dict[str, Any] = {}
    if version == "5":
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = min(settings.session_expiry_s, NEVER_EXPIRES)
        properties.ReceiveMaximum = min(settings.inbox_messages, 65_535)
        arguments = {"clean_start": False, "properties": properties}
    try:
        client.connect(settings.host, settings.port, settings.keepalive_s, **arguments)
    except ssl.SSLError as error:
        raise ConnectError("tls", str(error)) from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that can't be one
        raise ConnectError("unreachable", str(error) or type(error).__name__) from error
    client.on_socket_open = None
    sock = client.socket()
    if isinstance(sock, socket.socket):  # always, but paho promises less
        # A score follows its forecast at once; else it waits 40 ms for the broker's delayed acknowledgement (Nagle).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _client(settings: config.Mqtt, version: Version, will: Will) -> Client:
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=settings.client_id,
        clean_session=None if version == "5" else False,
        protocol=MQTTProtocolVersion.MQTTv5 if version == "5" else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.connect_timeout = CONNECT_LIMIT_S
    client.will_set(will.topic, will.payload, qos=1, retain=True)
    if settings.username is not None:
        try:
            password = None if settings.password_file is None else config.read_secret(settings.password_file)
        except config.ConfigError as error:
            raise ConnectError("secret", str(error)) from error
        client.username_pw_set(settings.username, password)
    if settings.tls is not None:
        try:
            client.tls_set_context(_tls_context(settings.tls))
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise ConnectError("tls", f"certificates can't be used: {error}") from error
    return client


class _Socket(ssl.SSLSocket):
    """Closed when the handshake fails; paho would leave that to the collector, one open socket per attempt."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _tls_context(tls: config.Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.sslsocket_class = _Socket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def _discard(attempt: asyncio.Future[Client]) -> None:
    """Close what a late attempt opened; also its error, which nobody waits for, is taken from it."""
    if not attempt.cancelled() and attempt.exception() is None:
        close_socket(attempt.result())


def close_socket(client: Client) -> None:
    """Without a DISCONNECT, so that the will goes out."""
    sock = client.socket()
    if sock is not None:
        sock.close()
