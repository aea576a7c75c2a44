"""MQTT packets to bytes and back, 3.1.1 and 5, as far as a client that subscribes at QoS 1 meets them.

Knows the layout of packets; no sockets, no sessions, nothing of what a message is for. One pass over all that was
received takes a few microseconds a message, and what is to be sent goes out with one call for many packets.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

Version: TypeAlias = Literal["5", "3.1.1"]

CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREL: Final = 6
SUBACK: Final = 9
UNSUBACK: Final = 11
PINGRESP: Final = 13
DISCONNECT: Final = 14

PINGREQ_BYTES: Final = b"\xc0\x00"
GOODBYE: Final = b"\xe0\x00"  # keeps the session, takes the will back

_RESPONSE_TOPIC, _CORRELATION, _SERVER_KEEPALIVE = 8, 9, 19
_RECEIVE_MAXIMUM, _MAXIMUM_PACKET_SIZE = 33, 39
_SEND_RETAINED_IF_NEW: Final = 0x10  # subscription option of MQTT 5
_U16, _U32 = struct.Struct(">H"), struct.Struct(">I")
_LONGEST: Final = 4  # bytes of a packet's length
# Properties by the width of their values; texts and binaries say their own, a user property holds two of them.
_ONE = frozenset((1, 23, 25, 36, 37, 40, 41, 42))
_TWO = frozenset((19, 33, 34, 35))
_FOUR = frozenset((2, 17, 24, 39))
_TEXTS = frozenset((3, 8, 9, 18, 21, 22, 26, 28, 31))
_SUBSCRIPTION, _USER = 11, 38


class MalformedError(Exception):
    """The bytes are no MQTT, or what a broker never sends; the text says what."""


class Received(msgspec.Struct, frozen=True, gc=False):
    """A PUBLISH."""

    topic: bytes  # as it came: it need not be UTF-8
    payload: bytes
    mid: int  # packet id; 0 at QoS 0
    qos: int
    dup: bool = False
    retain: bool = False
    response_topic: str | None = None  # MQTT 5
    correlation: bytes | None = None  # MQTT 5


class Other(msgspec.Struct, frozen=True, gc=False):
    """Any other packet."""

    kind: int
    body: bytes


class Splitter:
    """Cuts what comes over a connection into packets.

    Args:
        version: of the protocol.
    """

    def __init__(self, version: Version) -> None:
        self._five = version == "5"
        self._rest: list[bytes] = []  # the beginning of a packet that is not complete
        self._have = 0  # bytes of it
        self._need = 2  # bytes before it is worth looking again

    def feed(self, data: bytes) -> list[Received | Other]:
        """The packets that are complete now, in order.

        Raises:
            MalformedError: they can't be read; the connection is of no more use.
        """
        if self._rest:
            self._rest.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._rest)
        try:
            found, at = self._packets(data)
        except (struct.error, IndexError) as error:
            raise MalformedError("a packet is shorter than it says") from error
        self._rest = [data[at:]] if at < len(data) else []
        self._have = len(data) - at
        return found

    def _packets(self, data: bytes) -> tuple[list[Received | Other], int]:
        found: list[Received | Other] = []
        at, size, five = 0, len(data), self._five
        self._need = 2
        while at + 2 <= size:
            first, length, body = data[at], data[at + 1], at + 2
            if length > 127:
                length, body = _length(data, at + 1)
                if not body:
                    self._need = min(size - at + 1, 1 + _LONGEST)
                    break
            end = body + length
            if end > size:
                self._need = end - at
                break
            if first >> 4 != PUBLISH:
                found.append(Other(first >> 4, data[body:end]))
                at = end
                continue
            qos = first >> 1 & 3
            payload_at = body + 2 + (data[body] << 8 | data[body + 1])
            topic = data[body + 2 : payload_at]
            mid = 0
            if qos:
                (mid,) = _U16.unpack_from(data, payload_at)
                payload_at += 2
            held: dict[int, Any] | None = None
            if five:
                if data[payload_at]:
                    held, payload_at = _properties(data, payload_at)
                else:
                    payload_at += 1
            if payload_at > end or qos == 3:
                raise MalformedError("a PUBLISH that can't be read")
            payload = data[payload_at:end]
            if held is None:
                found.append(Received(topic, payload, mid, qos, first & 8 != 0, first & 1 != 0))
            else:
                asked = _topic(held.get(_RESPONSE_TOPIC)), held.get(_CORRELATION)
                found.append(Received(topic, payload, mid, qos, first & 8 != 0, first & 1 != 0, *asked))
            at = end
        return found, at


class Taken(msgspec.Struct, frozen=True):
    """A CONNACK."""

    session_present: bool
    code: int  # 0: taken in
    receive_maximum: int | None = None
    maximum_packet_size: int | None = None
    server_keepalive: int | None = None


def connack(body: bytes, version: Version) -> Taken:
    """The broker's answer to CONNECT.

    Raises:
        MalformedError: it is none in this version of the protocol.
    """
    try:
        if version == "3.1.1":
            return Taken(body[0] & 1 == 1, body[1])
        held, _ = _properties(body, 2)
    except (struct.error, IndexError) as error:
        raise MalformedError("no CONNACK of this version") from error
    limits = held.get(_RECEIVE_MAXIMUM), held.get(_MAXIMUM_PACKET_SIZE), held.get(_SERVER_KEEPALIVE)
    return Taken(body[0] & 1 == 1, body[1], *limits)


def answer(body: bytes, version: Version) -> tuple[int, int]:
    """Packet id and reason code of a PUBACK; 0: all is well.

    Raises:
        MalformedError: it has no packet id.
    """
    return _mid(body), body[2] if version == "5" and len(body) > 2 else 0


def answers(body: bytes, version: Version) -> tuple[int, bytes]:
    """Packet id and reason codes of a SUBACK, one for each filter; of an UNSUBACK in MQTT 5.

    Raises:
        MalformedError: it can't be read.
    """
    mid = _mid(body)
    if version == "3.1.1":
        return mid, body[2:]
    try:
        return mid, body[_properties(body, 2)[1] :]
    except (struct.error, IndexError) as error:
        raise MalformedError("an answer to a subscription that can't be read") from error


def connect(
    version: Version,
    client_id: str,
    keepalive_s: int,
    will: tuple[str, bytes],
    username: str | None = None,
    password: str | None = None,
    *,
    session_expiry_s: int,
    receive_maximum: int,
) -> bytes:
    """A CONNECT that resumes the session where there is one; the will is retained, at QoS 1."""
    flags = 0b0010_1100 | (username is not None) << 7 | (username is not None and password is not None) << 6
    body = [_text(b"MQTT"), bytes((5 if version == "5" else 4, flags)), _U16.pack(keepalive_s)]
    if version == "5":
        body.append(b"\x08\x11" + _U32.pack(session_expiry_s) + b"\x21" + _U16.pack(receive_maximum))
    body.append(_text(client_id.encode()))
    if version == "5":
        body.append(b"\x00")  # the will has no properties
    body += [_text(will[0].encode()), _text(will[1])]
    if username is not None:
        body.append(_text(username.encode()))
        if password is not None:
            body.append(_text(password.encode()))
    return _packet(0x10, b"".join(body))


def publish(
    version: Version,
    topic: str,
    payload: bytes,
    *,
    qos: int,
    retain: bool,
    mid: int,
    correlation: bytes | None = None,
) -> bytes:
    """A PUBLISH; `mid` counts at QoS 1 only."""
    name = topic.encode()
    head = _U16.pack(len(name)) + name
    if qos:
        head += _U16.pack(mid)
    if version == "5":
        head += b"\x00" if correlation is None else _held(b"\x09" + _text(correlation))
    size = len(head) + len(payload)
    first = 0x30 | qos << 1 | retain
    if size < 128:
        return bytes((first, size)) + head + payload
    return b"".join((bytes((first,)), _varint(size), head, payload))


def puback(mid: int) -> bytes:
    """The answer to a message at QoS 1."""
    return b"\x40\x02" + _U16.pack(mid)


def pubrec(mid: int) -> bytes:
    """The first answer to a message at QoS 2."""
    return b"\x50\x02" + _U16.pack(mid)


def pubcomp(body: bytes) -> bytes:
    """The last answer to a message at QoS 2, given its PUBREL."""
    return b"\x70\x02" + _U16.pack(_mid(body))


def subscribe(version: Version, mid: int, filters: Sequence[str]) -> bytes:
    """For topics at QoS 1; in MQTT 5 with the retained messages only of a filter that is new to the session."""
    option = bytes((1 | _SEND_RETAINED_IF_NEW if version == "5" else 1,))
    wanted = b"".join(_text(name.encode()) + option for name in filters)
    return _packet(0x82, _U16.pack(mid) + (b"\x00" if version == "5" else b"") + wanted)


def unsubscribe(version: Version, mid: int, filters: Sequence[str]) -> bytes:
    """Of topics."""
    names = b"".join(_text(name.encode()) for name in filters)
    return _packet(0xA2, _U16.pack(mid) + (b"\x00" if version == "5" else b"") + names)


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _varint(len(body)) + body


def _text(value: bytes) -> bytes:
    return _U16.pack(len(value)) + value


def _held(properties: bytes) -> bytes:
    return _varint(len(properties)) + properties


def _varint(number: int) -> bytes:
    """Seven bits a byte, the low ones first.

    >>> _varint(127), _varint(321)
    (b'\\x7f', b'\\xc1\\x02')
    """
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _topic(name: bytes | None) -> str | None:
    """None also for what is no UTF-8: nothing can be published there."""
    try:
        return None if name is None else name.decode()
    except UnicodeDecodeError:
        return None


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte and what follows it; (0, 0): it does not end here."""
    length = 0
    for place in range(_LONGEST):
        if at + place == len(data):
            return 0, 0
        byte = data[at + place]
        length |= (byte & 127) << 7 * place
        if byte < 128:
            return length, at + place + 1
    raise MalformedError("a length of more than four bytes")


def _mid(body: bytes) -> int:
    if len(body) < 2:
        raise MalformedError("an answer without a packet id")
    return body[0] << 8 | body[1]


def _properties(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Properties by their identifiers, and what follows them; of user properties only the last, unread."""
    if at >= len(data):
        raise IndexError
    length, at = _length(data, at)
    end = at + length
    if not at or end > len(data):
        raise IndexError
    held: dict[int, Any] = {}
    while at < end:
        kind, at = data[at], at + 1
        if kind in _ONE:
            held[kind], at = data[at], at + 1
        elif kind in _TWO:
            held[kind], at = _U16.unpack_from(data, at)[0], at + 2
        elif kind in _FOUR:
            held[kind], at = _U32.unpack_from(data, at)[0], at + 4
        elif kind in _TEXTS or kind == _USER:
            for _ in range(2 if kind == _USER else 1):
                (size,) = _U16.unpack_from(data, at)
                held[kind], at = data[at + 2 : at + 2 + size], at + 2 + size
        elif kind == _SUBSCRIPTION:
            _, at = _length(data, at)
            if not at:
                raise IndexError
        else:
            raise MalformedError(f"an unknown property {kind}")
    if at != end:
        raise IndexError
    return held, end
