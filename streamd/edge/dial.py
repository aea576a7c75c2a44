"""The first half of a connection: name, TCP and TLS, away from the loop, and what CONNECT is to say.

Knows addresses, certificates and secrets; does not know what the broker answers.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from streamd import config
from streamd.edge import packets
from streamd.edge.packets import Version

CONNECT_LIMIT_S = 10.0  # for name, TCP and TLS together, and again for the broker's answer
NEVER_EXPIRES = 0xFFFF_FFFF  # the largest session expiry interval

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


@dataclass(frozen=True, slots=True)
class Dialled:
    """A way to a broker that has not been said anything yet."""

    socket: socket.socket  # does not block
    connect: bytes  # to be said first
    version: Version
    keepalive_s: float


async def dial(settings: config.Mqtt, version: Version, will: Will, give_up: asyncio.Future[None]) -> Dialled:
    """An open socket, and what is to be said first.

    Name, TCP and TLS block, so they run on a thread of the default executor.

    Args:
        settings: where to, and as whom; secrets and certificates are read anew.
        version: of the protocol.
        will: the last will.
        give_up: when it is done the attempt ends.

    Raises:
        ConnectError: no socket, or `give_up` is done.
    """
    attempt = asyncio.get_running_loop().run_in_executor(None, _open, settings, version, will)
    made = False
    try:
        either: set[asyncio.Future[Any]] = {attempt, give_up}
        await asyncio.wait(either, timeout=CONNECT_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        made = attempt.done()
    finally:
        if not made:  # also where the attempt has just ended, and the wait for it was cancelled
            # it never says CONNECT: a late one with our client id would throw out the connection that came after it
            attempt.add_done_callback(_discard)
    if not made:
        raise ConnectError("timeout", "given up" if give_up.done() else f"no socket after {CONNECT_LIMIT_S:.0f} s")
    return attempt.result()


def _open(settings: config.Mqtt, version: Version, will: Will) -> Dialled:
    """Blocks until the socket is open."""
    connect = _connect(settings, version, will)
    context = None if settings.tls is None else _tls_context(settings.tls)
    try:
        sock = socket.create_connection((settings.host, settings.port), timeout=CONNECT_LIMIT_S)
        if context is not None:
            sock = _with_tls(sock, context, settings.host)
    except ssl.SSLError as error:
        raise ConnectError("tls", str(error)) from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that can't be one
        raise ConnectError("unreachable", str(error) or type(error).__name__) from error
    # A score follows its forecast at once; else it waits 40 ms for the broker's delayed acknowledgement (Nagle).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    return Dialled(sock, connect, version, settings.keepalive_s)


def _connect(settings: config.Mqtt, version: Version, will: Will) -> bytes:
    password = None
    if settings.username is not None and settings.password_file is not None:
        try:
            password = config.read_secret(settings.password_file)
        except config.ConfigError as error:
            raise ConnectError("secret", str(error)) from error
    return packets.connect(
        version,
        settings.client_id,
        settings.keepalive_s,
        (will.topic, will.payload),
        settings.username,
        password,
        session_expiry_s=min(settings.session_expiry_s, NEVER_EXPIRES),
        receive_maximum=min(settings.inbox_messages, 65_535),
    )


def _with_tls(sock: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    """The broker must be who it says it is; the socket is closed where it is not."""
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except OSError:
        sock.close()  # what took its place is closed by the handshake that failed
        raise


def _tls_context(tls: config.Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise ConnectError("tls", f"certificates can't be used: {error}") from error
    return context


def _discard(attempt: asyncio.Future[Dialled]) -> None:
    """Close what a late attempt opened; also its error, which nobody waits for, is taken from it."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().socket.close()
