from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamd.edge import packets
from streamd.edge.packets import MalformedError, Other, Received, Splitter, Version

VERSIONS: tuple[Version, ...] = ("5", "3.1.1")
versions = st.sampled_from(VERSIONS)
topics = st.text(st.characters(blacklist_categories=["Cs"]), max_size=300).filter(lambda t: len(t.encode()) < 60_000)
message = st.tuples(topics, st.binary(max_size=20_000), st.integers(0, 1), st.booleans(), st.integers(1, 65_535))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The same bytes in pieces, as a socket may give them."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


@given(versions, st.lists(message, max_size=6), st.lists(st.integers(0, 200_000), max_size=12))
def test_what_is_published_is_received_however_it_is_cut_up(
    version: Version, messages: list[tuple[str, bytes, int, bool, int]], places: list[int]
) -> None:
    stream = b"".join(
        packets.publish(version, topic, payload, qos=qos, retain=retain, mid=mid)
        for topic, payload, qos, retain, mid in messages
    )
    splitter = Splitter(version)
    found = [packet for piece in cut(stream, places) for packet in splitter.feed(piece)]
    assert found == [
        Received(topic.encode(), payload, mid if qos else 0, qos, dup=False, retain=retain)
        for topic, payload, qos, retain, mid in messages
    ]


@given(versions, st.lists(st.binary(max_size=200), max_size=10))
def test_any_bytes_are_packets_or_malformed_and_nothing_else(version: Version, pieces: list[bytes]) -> None:
    splitter = Splitter(version)
    with suppress(MalformedError):
        for piece in pieces:
            splitter.feed(piece)


@given(versions, st.binary(max_size=40))
def test_any_answer_is_read_or_malformed(version: Version, body: bytes) -> None:
    for read in (packets.connack, packets.answer, packets.answers):
        with suppress(MalformedError):
            read(body, version)  # type: ignore[operator]


def test_properties_of_a_message_are_those_that_another_implementation_writes() -> None:
    held = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    held.ResponseTopic, held.CorrelationData = "answers/here", b"\x00\x07"
    held.UserProperty, held.ContentType, held.MessageExpiryInterval = ("a", "b"), "json", 60
    held.SubscriptionIdentifier = 268_435_455
    body = b"\x00\x01t" + b"\x01\x02" + held.pack() + b"payload"  # type: ignore[no-untyped-call]
    (found,) = Splitter("5").feed(bytes((0x3B, len(body))) + body)
    assert found == Received(b"t", b"payload", 258, 1, True, True, "answers/here", b"\x00\x07")


def test_what_the_broker_says_of_itself_is_what_another_implementation_writes() -> None:
    held = Properties(PacketTypes.CONNACK)  # type: ignore[no-untyped-call]
    held.ReceiveMaximum, held.MaximumPacketSize, held.ServerKeepAlive, held.RetainAvailable = 12, 70_000, 9, 1
    held.AssignedClientIdentifier, held.ReasonString = "somebody", "why not"
    body = b"\x01\x00" + held.pack()  # type: ignore[no-untyped-call]
    taken = packets.connack(body, "5")
    assert (taken.session_present, taken.code) == (True, 0)
    assert (taken.receive_maximum, taken.maximum_packet_size, taken.server_keepalive) == (12, 70_000, 9)


def test_a_reply_carries_what_it_answers() -> None:
    packet = packets.publish("5", "to", b"{}", qos=1, retain=False, mid=3, correlation=b"\x00\xff")
    assert Splitter("5").feed(packet) == [Received(b"to", b"{}", 3, 1, correlation=b"\x00\xff")]


def test_a_reply_address_that_is_no_utf_8_is_none() -> None:
    body = b"\x00\x01t" + b"\x04\x08\x00\x01\xff" + b"x"
    assert Splitter("5").feed(bytes((0x30, len(body))) + body) == [Received(b"t", b"x", 0, 0)]


def test_other_packets_come_in_their_place_between_messages() -> None:
    first, last = (packets.publish("5", "t", bytes((n,)), qos=0, retain=False, mid=0) for n in (1, 2))
    found = Splitter("5").feed(first + b"\xd0\x00" + b"\x40\x02\x00\x07" + last + b"\xd0")
    assert found[1:3] == [Other(packets.PINGRESP, b""), Other(packets.PUBACK, b"\x00\x07")]
    assert len(found) == 4


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\xff\xff\xff\xff\x01",  # a length that goes on
        b"\x36\x05\x00\x01t\x00\x01",  # QoS 3
        b"\x30\x03\x00\x09t",  # a topic longer than its packet
        b"\x30\x05\x00\x01t\x02\x63",  # properties longer than their packet
        b"\x30\x06\x00\x01t\x01\x63x",  # a property that does not exist
    ],
)
def test_what_is_no_mqtt_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Splitter("5").feed(data)


def test_a_large_packet_is_looked_at_once_and_not_with_each_piece_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    packet = packets.publish("5", "t", bytes(1_000_000), qos=0, retain=False, mid=0)
    splitter, looks = Splitter("5"), []
    look = splitter._packets
    monkeypatch.setattr(splitter, "_packets", lambda data: looks.append(len(data)) or look(data))
    found = [each for at in range(0, len(packet), 1000) for each in splitter.feed(packet[at : at + 1000])]
    assert [len(each.payload) for each in found if isinstance(each, Received)] == [1_000_000]
    assert len(looks) == 2
