"""Ten thousand malformed, hostile and odd messages among good readings, through a real broker to a real daemon."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
from paho.mqtt.client import topic_matches_sub

from streamd.config import Source
from streamd.wire import commands
from streamd.wire.readings import Decoder
from streamd.wire.topics import Router
from tests.broker.daemon import LIMIT_S, Bystander, Daemon
from tests.broker.mosquitto import Mosquitto
from tests.broker.peers import Peer
from tests.hostile import GOOD_TOPICS, SOURCES, messages

GOOD = 250  # readings, spread evenly over the others
MAX_CHANNELS = 12
ODD_COMMANDS = [
    ("streamd/command/explode", b"{}"),
    ("streamd/command/", b"{}"),
    ("streamd/command/reset/all", b"{}"),
    ("streamd/command/reset", b"{"),
    ("streamd/command/reset", b'{"stream": 7}'),
    ("streamd/command/reset", b'{"group": "nobody"}'),
    ("streamd/command/freeze", b"\xff"),
    ("streamd/command/freeze", b"[" * 100_000),
    ("streamd/command/checkpoint", b'{"folder": "/etc"}'),
]

Topics = list[tuple[str, bytes]]


def settings(port: int) -> str:
    sources = "\n".join(f"[[source]]\n{as_toml(source)}" for source in SOURCES)
    return f"""
[mqtt]
port = {port}
[http]
port = 0
{sources}
[group.default]
max_channels = {MAX_CHANNELS}
max_streams = 20
horizon_steps = 2
network = {{ hidden = 8, layers = 1 }}
training = {{ windows = 2, steps = 1, burn_in_frames = 2, train_frames = 8 }}
"""


def as_toml(source: Source) -> str:
    """The keys that are not left at their defaults."""
    lines = []
    for name in source.__struct_fields__:
        value = getattr(source, name)
        if name == "fields" and value:
            value = ", ".join(f"{path} = {json.dumps(channel)}" for path, channel in value.items())
            lines.append(f"fields = {{ {value} }}")
        elif isinstance(value, str):
            lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(lines)


def can_be_sent(topic: str) -> bool:
    """Whether a client can publish there, and a broker with its wits about it passes it on."""
    try:
        length = len(topic.encode())
    except UnicodeEncodeError:
        return False
    forbidden = topic.startswith("$") or set("+#") & set(topic) or not topic.isprintable()
    return 0 < length <= 65_535 and not forbidden and topic.count("/") < 200


def good(n: int) -> bytes:
    return json.dumps({"time": 1_700_000_000 + n, "v": 20 + n % 5}).encode()


def mixed(bad: Topics) -> Topics:
    """Good readings evenly among the others, one at either end."""
    made: Topics = []
    for n in range(GOOD - 1):
        made.append(("plant/good/telemetry", good(n)))
        made += bad[n * len(bad) // (GOOD - 1) : (n + 1) * len(bad) // (GOOD - 1)]
    return [*made, ("plant/good/telemetry", good(GOOD - 1))]


def expected(sent: Topics) -> tuple[Counter[str], int]:
    """What router and decoders alone make of it: refusals by reason, and readings."""
    router = Router(SOURCES)
    decoders = [Decoder(source, max_channels=MAX_CHANNELS) for source in SOURCES]
    refused: Counter[str] = Counter()
    readings = 0
    for topic, payload in sent:
        if topic.startswith("streamd/"):
            refused["bad_command"] += 1
        elif (route := router.match(topic)) is None:
            refused["bad_topic"] += 1
        else:
            result = decoders[route.source_index].decode(payload, route.stream, route.channel)
            refused.update(result.refused)
            readings += len(result.readings)
    return refused, readings


def samples(text: str, name: str, label: str) -> dict[str, float]:
    """Values of a metric by one of its labels."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith(name + "{"):
            labels, value = line.removeprefix(name + "{").rsplit("} ", 1)
            found[labels.partition(f'{label}="')[2].partition('"')[0]] += float(value)
    return {key: value for key, value in found.items() if value}


def test_ten_thousand_hostile_messages_among_good_readings_stop_nothing_and_each_is_counted(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto(log_packets=False, extra=["max_queued_messages 0", "max_packet_size 20000000"])
    daemon, bystander = Daemon(tmp_path / "daemon", settings(broker.port)), Bystander(broker.port)
    filters = [*Router(SOURCES).filters, commands.topic_filter("streamd")]
    bad = [(topic, payload) for topic, payload in messages(11_500, huge=GOOD_TOPICS[:1]) if can_be_sent(topic)]
    sent = mixed(bad + ODD_COMMANDS)
    received = [one for one in sent if any(topic_matches_sub(name, one[0]) for name in filters)]
    assert len(received) > 10_000 + GOOD
    try:
        daemon.start()
        with Peer(broker.port) as device:
            for info in [device.client.publish(topic, payload, 1) for topic, payload in sent]:
                info.wait_for_publish(LIMIT_S)
        for kind in ("forecast", "score"):
            payloads = bystander.wait(f"streamd/default/good/{kind}", GOOD)
            assert [payload["seq"] for payload in payloads] == list(range(GOOD))
            assert [payload["epoch"] for payload in payloads] == [1_700_000_000 + n for n in range(GOOD)]

        _, text = daemon.http("/metrics")
        refused, readings = expected(received)
        assert daemon.metric("streamd_messages_total") == len(received)
        assert samples(text, "streamd_refused_total", "reason") == refused
        assert {"too_large", "bad_topic", "bad_command", "not_json", "too_deep"} <= refused.keys()
        outcomes = samples(text, "streamd_readings_total", "outcome")
        assert sum(outcomes.values()) == readings
        assert outcomes["taken"] > GOOD
        assert samples(text, "streamd_dropped_total", "reason") == {}
        assert daemon.http("/readyz")[0] == 200
        assert daemon.stop() == 0
    finally:
        daemon.end()
        bystander.close()
    assert "Traceback" not in daemon.log
    assert len(daemon.lines) < 200, "each refusal is counted, but only a sample of them is logged"
    assert all(line.isprintable() for line in daemon.log.splitlines())
    answered = Counter(message.topic.rpartition("/")[2] for message in bystander.messages)
    assert answered["forecast"] == answered["score"] == outcomes["taken"]


def test_the_settings_of_that_test_are_those_of_its_sources() -> None:
    written = msgspec.toml.decode("\n".join(f"[[source]]\n{as_toml(source)}" for source in SOURCES))
    assert msgspec.convert(written["source"], tuple[Source, ...]) == SOURCES
