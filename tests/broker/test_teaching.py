"""Verdicts against a real mosquitto: the like of it raises no more, also after a kill, until they are withdrawn."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from typing import Any

from tests.broker.daemon import Bystander, Daemon, pumps, streamd
from tests.broker.mosquitto import Mosquitto

WARM, EVERY = 600, 100  # frames until the score is calibrated, and from a spike until all is calm again


GROUP = """
channels = ["flow", "pressure"]
horizon_steps = 2
network = { hidden = 8, layers = 1 }
training = { enabled = false }
alarm = { per_week = 0.05, refractory_s = 1.0 }
"""


class Pump:
    """Readings of noise without a tail, with a spike now and then."""

    def __init__(self, bystander: Bystander) -> None:
        self._bystander = bystander
        self._chance = random.Random(1)
        self._count = 0

    def speak(self, frames: int, **more: float) -> list[dict[str, Any]]:
        """So many readings, the first with more of something; what was told of these frames' scores."""
        rows = []
        for n in range(frames):
            self._count += 1
            row = {"ts": 1_700_000_000.0 + 60 * self._count}
            for name in ("flow", "pressure"):
                row[name] = 20.0 + self._chance.uniform(-1.5, 1.5) + (more.get(name, 0.0) if n == 0 else 0.0)
            rows.append(row)
        self._bystander.publish_all("plant/p1/telemetry", rows)
        self._bystander.wait_for_seq("streamd/pumps/p1/score", self._count - 1)
        told = {one["seq"]: one for one in self._bystander.of("streamd/pumps/p1/score")}
        return [told[seq] for seq in range(self._count - frames, self._count)]


def raised(bystander: Bystander) -> list[str]:
    return [one["id"] for one in bystander.of("streamd/pumps/p1/incident") if one and one["state"] == "raised"]


def test_what_people_call_false_three_times_raises_no_more_until_it_is_withdrawn(
    broker: Mosquitto, bystander: Bystander, daemons: Callable[..., Daemon]
) -> None:
    daemon = daemons(pumps(broker.port, GROUP)).start()
    pump = Pump(bystander)
    pump.speak(WARM)
    spikes = []
    for _ in range(3):
        incident = f"p1-{pump.speak(EVERY, flow=40.0)[0]['seq']}"
        bystander.wait_for_end("streamd/pumps/p1/incident")
        assert incident in raised(bystander)
        answer = bystander.command("feedback", {"group": "pumps", "incident": incident, "verdict": "false"})
        assert answer == {"ok": True, "text": "done", "verb": "feedback", "group": "pumps"}
        spikes.append(incident)
    taught = bystander.command("taught")["taught"]
    assert [one["incident"] for one in taught] == spikes
    assert {(one["group"], one["stream"], one["verdict"]) for one in taught} == {("pumps", "p1", "false")}
    assert daemon.metric('streamd_incidents_taught{group="pumps"}') == 3

    assert daemon.stop(signal.SIGKILL) != 0
    daemon.start()
    spike = pump.speak(EVERY, flow=40.0)[0]
    assert spike["muted"] is True
    assert not spike["alarm"]
    assert max(spike["terms"].values()) >= 1.0
    assert f"p1-{spike['seq']}" not in raised(bystander)
    assert daemon.metric('streamd_scores_muted_total{group="pumps"}') >= 1

    other = f"p1-{pump.speak(EVERY, pressure=60.0)[0]['seq']}"
    bystander.wait_for_end("streamd/pumps/p1/incident")
    assert other in raised(bystander), "another kind of fault still raises"
    assert bystander.command("checkpoint")["ok"]  # which archives first; it would happen by itself within seconds
    told = streamd("explain", other, "-c", daemon.config)
    assert told.returncode == 0, told.stderr
    assert "pressure" in told.stdout
    assert "a false alarm" in told.stdout

    for one in taught:
        assert bystander.command("withdraw", {"incident": one["incident"]})["ok"]
    assert bystander.command("taught")["taught"] == []
    refused = bystander.command("withdraw", {"incident": taught[0]["incident"]})
    assert not refused["ok"]
    assert "was not taught" in refused["text"]
    unknown = bystander.command("feedback", {"incident": "p1-99999", "verdict": "real"})
    assert not unknown["ok"]
    assert "no incident p1-99999" in unknown["text"]
    assert daemon.stop() == 0
