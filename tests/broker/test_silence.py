"""A stream that stops, against a real mosquitto: somebody is told, and told again when it is heard."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.broker.daemon import Bystander, Daemon, pumps
from tests.broker.mosquitto import Mosquitto

EVERY_S = 0.05  # by the sensor's clock
FRAMES = 60
BEGIN = 1_700_000_000.0


GROUP = """
channels = ["flow", "pressure"]
horizon_steps = 2
network = { hidden = 8, layers = 1 }
training = { enabled = false }
"""


def readings(begin: int, count: int) -> list[dict[str, float]]:
    chance = random.Random(begin)
    return [
        {"ts": BEGIN + EVERY_S * n, "flow": chance.gauss(30.0, 1.0), "pressure": chance.gauss(2.0, 0.1)}
        for n in range(begin, begin + count)
    ]


def test_a_stream_that_stops_has_an_incident_until_it_is_heard_also_over_a_crash(
    broker: Mosquitto, bystander: Bystander, daemons: Callable[..., Daemon]
) -> None:
    daemon = daemons(pumps(broker.port, GROUP)).start()
    topic = "streamd/pumps/p1/incident"
    bystander.publish_all("plant/p1/telemetry", readings(0, FRAMES))
    (raised,) = bystander.wait(topic, 1)
    assert (raised["id"], raised["state"], raised["seq"]) == (f"p1-{FRAMES}", "raised", FRAMES)
    assert raised["start_epoch"] == pytest.approx(BEGIN + EVERY_S * FRAMES, abs=1e-3)
    assert raised["channels"] == {"flow": 0.5, "pressure": 0.5}
    assert daemon.metric('streamd_streams_silent{group="pumps"}') == 1
    daemon.stop(9)  # type: ignore[arg-type]

    daemon.start()
    assert daemon.metric('streamd_incidents_open{group="pumps"}') == 1
    bystander.publish("plant/p1/telemetry", readings(FRAMES + 1000, 1)[0])
    told = bystander.wait_for_end(topic)
    assert [one["state"] for one in told if one][-1] == "cleared"
    assert {one["id"] for one in told if one} == {f"p1-{FRAMES}"}
    assert daemon.stop() == 0
