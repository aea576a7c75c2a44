"""What one device can do to the others and to the daemon, where the broker's rights do not stop it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.broker.daemon import LIMIT_S, Bystander, Daemon
from tests.broker.mosquitto import Mosquitto
from tests.broker.peers import Peer

MAX_STREAMS, MAX_CHANNELS = 5, 4
SETTINGS = f"""
[http]
port = 0
[[source]]
topic = "plant/{{stream}}/telemetry"
group = "pumps"
time = "ts"
[group.pumps]
max_streams = {MAX_STREAMS}
max_channels = {MAX_CHANNELS}
horizon_steps = 2
network = {{ hidden = 8, layers = 1 }}
training = {{ enabled = false }}
[mqtt]
max_payload_bytes = 65536
inbox_messages = 50
"""


class World:
    """A broker that lets everybody do everything, a daemon, an honest device and somebody else."""

    def __init__(self, broker: Mosquitto, folder: Path) -> None:
        self.daemon = Daemon(folder, f"{SETTINGS}port = {broker.port}\n").start()
        self.honest = Bystander(broker.port)
        self.evil = Peer(broker.port)
        self._said = 0

    def close(self) -> None:
        self.evil.__exit__()
        self.honest.close()
        self.daemon.end()

    def outcome(self, outcome: str) -> float:
        """Readings of the group that had it."""
        return self.daemon.metric(f'streamd_readings_total{{group="pumps",outcome="{outcome}"}}')

    def speaks(self, time_s: float | None = None, **more: float) -> None:
        """The honest device sends a reading and is answered, with nothing lost before it."""
        self._said += 1
        reading = {"ts": 1_700_000_000.0 + self._said if time_s is None else time_s, "flow": 20.0 + self._said % 5}
        self.honest.publish("plant/good/telemetry", {**reading, **more})
        told = self.honest.wait("streamd/pumps/good/score", self._said)
        assert [one["seq"] for one in told] == list(range(self._said))
        assert self.daemon.http("/readyz")[0] == 200


@pytest.fixture
def world(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> Iterator[World]:
    one = World(mosquitto(log_packets=False), tmp_path / "daemon")
    one.speaks()
    yield one
    one.close()


def reading(n: int, **values: float) -> str:
    return json.dumps({"ts": 1_700_000_000.0 + n, **(values or {"flow": 1.0})})


def test_streams_and_channels_that_a_device_invents_are_capped_and_those_that_are_known_go_on(world: World) -> None:
    for n in range(40):
        world.evil.publish(f"plant/invented {n}/telemetry", reading(n))
    for n in range(40):
        world.evil.publish("plant/invented 0/telemetry", reading(100 + n, **{f"channel {n}": 1.0}))
    world.speaks()
    assert world.daemon.metric('streamd_streams{group="pumps"}') == MAX_STREAMS
    assert world.outcome("too_many_streams") == 40 - (MAX_STREAMS - 1)
    assert world.outcome("too_many_channels") == 40 - (MAX_CHANNELS - 1)
    channels = world.honest.of("streamd/pumps/good/score")[-1]["channels"]
    assert len(channels) == MAX_CHANNELS
    assert channels["channel 0"] == 0.0, "somebody else's channel has no part in this stream's score"


def test_readings_of_the_future_and_of_the_past_are_dropped_and_hold_up_nobody_else(world: World) -> None:
    now = time.time()
    far = [json.dumps({"ts": now + ahead, "flow": 1.0}) for ahead in (400.0, 1e6, 1e9, 1e300)]
    world.evil.publish("plant/evil/telemetry", *far)
    world.evil.publish("plant/evil/telemetry", *[reading(n) for n in (50, 50, 49, 1)])
    world.speaks()
    assert world.outcome("future") + world.daemon.metric('streamd_refused_total{reason="bad_time"}') == len(far)
    assert world.outcome("double") == 1
    assert world.outcome("late") == 2


def test_what_was_sent_before_moves_nothing_when_it_is_sent_again(world: World) -> None:
    for _ in range(5):
        world.speaks()
    overheard = [reading(n, flow=20.0 + n % 5) for n in range(1, 7)]  # to the letter what the honest device said
    before = world.outcome("taken")
    world.evil.publish("plant/good/telemetry", *overheard)
    world.speaks()
    assert world.outcome("taken") == before + 1
    assert world.outcome("late") + world.outcome("double") == len(overheard)


def test_a_packet_that_would_fill_the_memory_never_comes_and_one_that_is_too_large_is_counted(world: World) -> None:
    world.evil.publish("plant/evil/telemetry", "x" * 70_000, "x" * 20_000_000)
    world.speaks()
    assert world.daemon.metric('streamd_refused_total{reason="too_large"}') == 1
    assert world.daemon.metric("streamd_messages_total") == 3  # two honest ones and that of 70,000 bytes


def test_a_flood_costs_the_flooder_its_messages_and_the_others_none(world: World) -> None:
    infos = [world.evil.client.publish("plant/evil/telemetry", b"{}", 0) for _ in range(5_000)]
    infos += [world.evil.client.publish("plant/evil/telemetry", reading(n), 1) for n in range(500)]
    for _ in range(5):
        world.speaks()
    for info in infos:
        info.wait_for_publish(LIMIT_S)
    world.speaks()
    text = world.daemon.log
    assert text.count("refused: reason=no_values") <= 3, "a sample of them is logged"
    assert "Traceback" not in text


def test_names_of_html_and_of_control_characters_stay_names_or_lead_nowhere(world: World) -> None:
    markup = "<img src=x onerror=alert(1)>"
    world.evil.publish(f"plant/{markup}/telemetry", reading(1, **{"<b>": 1.0, "\x1b[2J": 2.0}))
    told = world.honest.wait(f"streamd/pumps/{markup}/score", 1)[0]
    assert told["stream"] == markup
    assert set(told["channels"]) == {"flow", "<b>"}
    assert world.daemon.metric('streamd_refused_total{reason="bad_name"}') == 1
    world.evil.publish("plant/a\u0085b/telemetry", reading(1))
    world.speaks()
    assert world.daemon.metric('streamd_streams{group="pumps"}') == 2
    assert all(line.isprintable() for line in world.daemon.log.splitlines())
    assert markup not in world.daemon.http("/metrics")[1]
    assert markup not in world.daemon.http("/")[1]


def test_an_answer_that_is_wanted_as_somebody_s_reading_is_not_given(world: World) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ResponseTopic = "plant/good/telemetry"
    before = world.daemon.metric("streamd_messages_total")
    asked = world.evil.client.publish("streamd/command/status", b"{}", 1, properties=properties)
    asked.wait_for_publish(LIMIT_S)
    world.speaks()
    assert world.honest.command("status")["ok"]
    assert world.daemon.metric("streamd_messages_total") == before + 3  # the two questions and the reading
    assert "ok" not in world.honest.of("streamd/pumps/good/score")[-1]["channels"]
