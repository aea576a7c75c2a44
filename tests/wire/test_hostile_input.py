"""Ten thousand malformed, hostile and odd messages over router and decoder: each is decoded or has a reason."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from typing import Any

from streamd.config import Source
from streamd.wire.readings import REASONS, Decoder
from streamd.wire.topics import Router

MESSAGES = 10_000
SOURCES = (
    Source(topic="plant/{stream}/telemetry", time="time", fields={"v": "flow"}),
    Source(topic="bulk/+/{stream}", readings="data.rows", time="t"),
    Source(topic="sensors/{stream}/{channel}"),
    Source(topic="any/{stream}/#"),
)
GOOD_TOPICS = ["plant/p1/telemetry", "bulk/x/p1", "sensors/p1/flow", "any/p1", "any/p1/a/b"]
ODD_TOPICS = [
    "", "/", "//", "plant//telemetry", "plant/p1", "plant/p1/telemetry/", "$SYS/broker/uptime", "sensors/+/#",
    "sensors/p1/", "sensors//flow", "any/", "any/\x00", "any/\udcff\ud800", "any/" + "x" * 300, "any/" + "x" * 70_000,
    "any/p1" + "/" * 70_000, "plant/p\n1/telemetry", "bulk/x/\x1b[2J", "nowhere/at/all", "any/\u202e", "ANY/p1",
]  # fmt: skip
ODD_PAYLOADS = [
    b"", b" ", b"\x00", b"\xff\xfe\xfd", b"\xef\xbb\xbf{}", b"{", b"}", b"[", b"]", b'"', b"{}", b"[]", b"[[]]",
    b"null", b"true", b'"1"', b"NaN", b"Infinity", b"-Infinity", b"nan", b"1e400", b"-1e400", b"9" * 400, b"9" * 5000,
    b'{"v":NaN}', b'{"v":Infinity}', b'{"v":1e400}', b'{"v":1e400,"w":1}', b'{"v":"1"}', b'{"v":null}', b'{"v":[1]}',
    b'{"v":1,"time":"soon"}', b'{"v":1,"time":1e400}', b'{"v":1,"time":-1}', b'{"v":1,"time":{"v":1}}', b'{"":1}',
    b'{"v":1,"flow":2}',
    b'{"\\u0000":1}', b'{"\\ud800":1}', b'{"v":1}x', b'{"v":1,}', b"{'v':1}", b'{"v":01}', b'{"v":+1}', b"v=1 17",
    b'{"data":{"rows":[]}}', b'{"data":{"rows":7}}', b'{"data":[{"rows":[1]}]}', b'{"data":{"rows":[{"v":1},{},3]}}',
    b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b'{"v":1,"deep":' + b'{"a":' * 50 + b"1" + b"}" * 50 + b"}", b'{"v":' + b"1" * 1_000_000 + b"}",
    b"[" + b"1," * 200_000 + b"1]", b"[" + b"{}," * 9_000 + b"{}]", b'{"' + b"x" * 100_000 + b'":1}',
    b"\x30\x05mqtt\x00\x01", b"\x1f\x8b\x08\x00\x00", b"\x82\xa1v\xcb\x3f\xf0", b"<v>1</v>", b"GET / HTTP/1.1\r\n\r\n",
]  # fmt: skip
SEEDS = [
    b'{"time":"2026-11-23T12:00:00Z","v":1.5,"motor":{"rpm":1480,"on":true},"unit":"bar"}',
    b'{"data":{"rows":[{"t":1795435200,"v":1},{"t":1795435201,"v":2.5e-3}]}}',
    b'{"value":21.5}',
    b" 21.5 ",
]


def odd_value(rng: random.Random, depth: int = 0) -> Any:
    kinds = [None, True, -0.0, 1e308, 10**400, -1, "", "1", "2026-11-23", "\x00", "é" * 300, [], {}, 1.5, 42]
    if depth < 10 and rng.random() < 0.5:
        if rng.random() < 0.3:
            return [odd_value(rng, depth + 1) for _ in range(rng.randrange(5))]
        keys = ["v", "time", "t", "data", "rows", "value", "a.b", "", "\n", "x" * 300, f"k{rng.randrange(100)}"]
        return {rng.choice(keys): odd_value(rng, depth + 1) for _ in range(rng.randrange(6))}
    return rng.choice(kinds)


def damaged(rng: random.Random, payload: bytes) -> bytes:
    """A good payload with bytes cut, doubled, exchanged or put in."""
    broken = bytearray(payload)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(broken) + 1)
        match rng.randrange(4):
            case 0:
                del broken[at : at + rng.randrange(1, 9)]
            case 1:
                broken[at:at] = broken[at : at + rng.randrange(1, 9)]
            case 2:
                broken[at:at] = rng.choice([b"NaN", b"1e999", b"{", b"]", b'"', b"\xff", b"\x00", b"null", b"-"])
            case _:
                broken[at : at + 1] = rng.randbytes(1)
    return bytes(broken)


def odd_message(rng: random.Random, number: int) -> tuple[str, bytes]:
    topic = rng.choice(GOOD_TOPICS)
    match number % 5:
        case 0:
            return rng.choice(ODD_TOPICS), rng.choice(SEEDS)
        case 1:
            return topic, rng.choice(ODD_PAYLOADS)
        case 2:
            return topic, rng.randbytes(rng.randrange(1, 200))
        case 3:
            return topic, json.dumps(odd_value(rng)).encode()
        case _:
            return topic, damaged(rng, rng.choice(SEEDS))


def test_ten_thousand_hostile_messages_stop_nothing_and_each_is_counted() -> None:
    rng = random.Random(20261123)
    router = Router(SOURCES)
    decoders = [Decoder(source, max_channels=5) for source in SOURCES]
    huge = b'{"v":1,"pad":"' + b"x" * 10_000_000 + b'"}'
    messages = [(topic, huge) for topic in GOOD_TOPICS]
    messages += [(topic, payload) for topic in GOOD_TOPICS for payload in ODD_PAYLOADS]
    messages += [(topic, b'{"v":1}') for topic in ODD_TOPICS]
    messages += [odd_message(rng, number) for number in range(MESSAGES - len(messages))]
    assert len(messages) == MESSAGES

    counted: Counter[str] = Counter()
    decoded = 0
    for topic, payload in messages:
        route = router.match(topic)
        if route is None:
            counted["bad_topic"] += 1
            continue
        result = decoders[route.source_index].decode(payload, route.stream, route.channel)
        assert result.readings or result.refused, (topic, payload[:100])
        counted.update(result.refused)
        decoded += bool(result.readings)
        for reading in result.readings:
            assert reading.stream == "p1" or topic.startswith("any/")
            assert reading.values
            assert all(math.isfinite(value) for value in reading.values.values())

    assert decoded > 500
    assert set(counted) == set(REASONS)  # each reason was met, and no other


def test_a_good_message_is_decoded_after_all_of_that() -> None:
    router, source = Router(SOURCES), SOURCES[0]
    decoder = Decoder(source, max_channels=5)
    for payload in ODD_PAYLOADS:
        decoder.decode(payload, "p1", None)
    route = router.match(GOOD_TOPICS[0])
    assert route is not None
    result = decoder.decode(SEEDS[0], route.stream, route.channel)
    assert result.refused == []
    assert result.readings[0].values == {"flow": 1.5, "motor.rpm": 1480.0, "motor.on": 1.0}
    assert result.readings[0].time == 1_795_435_200.0
