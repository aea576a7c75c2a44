"""A broker, a daemon with a token, and devices whose readings a test makes: what the page is looked at with.

Knows what is sent and what came back over MQTT; knows nothing of the page.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from tests.broker.daemon import Bystander, Daemon

TOKEN = "0123456789abcdef-for-tests"
WARM = 620  # frames until the score is calibrated, and what is left of the first alarms is over
BEGIN = 1_700_000_000.0  # s since the epoch
GROUP = "pumps"


def settings(port: int, *, token: bool = True, training: str = "{ enabled = false }", channels: str = "") -> str:
    return f"""
[mqtt]
port = {port}
[http]
port = 0
{'token_file = "token"' if token else ""}
[[source]]
topic = "plant/{{stream}}/telemetry"
group = "{GROUP}"
time = "ts"
[group.{GROUP}]
{channels}
horizon_steps = 3
network = {{ hidden = 8, layers = 2 }}
training = {training}
alarm = {{ per_week = 0.05, refractory_s = 1.0 }}
"""


class Plant:
    """Streams of noise without a tail on two channels, with whatever a test adds to it."""

    def __init__(self, folder: Path, port: int, **options: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(TOKEN + "\n")
        self.bystander = Bystander(port)
        self.daemon = Daemon(folder, settings(port, **options))
        self.channels = ("flow", "pressure")
        self._chance = random.Random(1)
        self._counts: dict[str, int] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.daemon.http_port}/"

    def speak(self, stream: str = "p1", frames: int = 1, **more: float) -> dict[str, Any]:
        """So many readings, the first with more of something; the score of the last one as told over MQTT."""
        rows = []
        for n in range(frames):
            count = self._counts[stream] = self._counts.get(stream, 0) + 1
            row = {"ts": BEGIN + 60 * count}
            for name in self.channels:
                row[name] = 20.0 + self._chance.uniform(-1.5, 1.5) + (more.get(name, 0.0) if n == 0 else 0.0)
            rows.append(row)
        self.bystander.publish_all(f"plant/{stream}/telemetry", rows)
        told = self.bystander.wait_for_seq(self.topic(stream, "score"), self._counts[stream] - 1)
        assert isinstance(told, dict)
        return told | {"values": {name: rows[-1][name] for name in self.channels}}

    def told(self, stream: str, kind: str, seq: int) -> dict[str, Any]:
        """What was told of a reading over MQTT."""
        self.bystander.wait_for_seq(self.topic(stream, kind), seq)
        return next(one for one in self.bystander.of(self.topic(stream, kind)) if one and one["seq"] == seq)

    def disturb(self, stream: str = "p1") -> tuple[str, float]:
        """An incident: its id, and when it was told over MQTT (s since the epoch)."""
        topic = self.topic(stream, "incident")
        before = len(self.bystander.of(topic))
        self.speak(stream, 1, flow=40.0)
        told = self.bystander.wait(topic, before + 1)[before]
        assert told["state"] == "raised"
        return told["id"], time.time()

    def calm(self, stream: str = "p1") -> None:
        """Until its incident is over, and the next one is another."""
        self.speak(stream, 60)
        self.bystander.wait_for_end(self.topic(stream, "incident"))

    @staticmethod
    def topic(stream: str, kind: str) -> str:
        return f"streamd/{GROUP}/{stream}/{kind}"

    def end(self) -> None:
        self.bystander.close()
        self.daemon.end()
