"""Malformed, hostile and odd messages, the same each time.

Knows what may be wrong with a topic or a payload; not who has to cope with it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from streamd.config import Source

SOURCES = (
    Source(topic="plant/{stream}/telemetry", time="time", fields={"v": "flow"}),
    Source(topic="bulk/+/{stream}", readings="data.rows", time="t"),
    Source(topic="sensors/{stream}/{channel}"),
    Source(topic="any/{stream}/#"),
)
GOOD_TOPICS = ["plant/p1/telemetry", "bulk/x/p1", "sensors/p1/flow", "any/p1", "any/p1/a/b"]
ODD_TOPICS = [
    "", "/", "//", "plant//telemetry", "plant/p1", "plant/p1/telemetry/", "$SYS/broker/uptime", "sensors/+/#",
    "sensors/p1/", "sensors//flow", "sensors//", "any/", "any//", "any/ ", "any/" + "/" * 150, "any/\U0001f4a9/\u0301",
    "any/\x00", "any/\udcff\ud800", "any/" + "x" * 300, "any/" + "x" * 70_000,
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


def messages(count: int, huge: Sequence[str]) -> list[tuple[str, bytes]]:
    """So many topics and payloads: all that is known to be odd, 10 MB on each topic of `huge`, the rest at random."""
    rng = random.Random(20261123)
    made = [(topic, b'{"v":1,"pad":"' + b"x" * 10_000_000 + b'"}') for topic in huge]
    made += [(topic, payload) for topic in GOOD_TOPICS for payload in ODD_PAYLOADS]
    made += [(topic, b'{"v":1}') for topic in ODD_TOPICS]
    return made + [odd_message(rng, number) for number in range(count - len(made))]
