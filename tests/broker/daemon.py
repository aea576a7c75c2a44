"""A real daemon and a real subscriber for tests: `streamd run` as a process of its own, and what it published.

Knows processes and payloads; nothing of how the daemon works inside.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

LIMIT_S = 180.0

Row = Mapping[str, float]

# lines of a group that learns soon
SMALL = """
network = { hidden = 8, layers = 1 }
training = { every_frames = 4, lag_frames = 4, windows = 2, burn_in_frames = 2, train_frames = 8, cpu_share = 1.0 }
"""


def pumps(port: int, group: str, *, mqtt: str = "", http: str = "") -> str:
    """A config that reads `plant/{stream}/telemetry` with a time `ts` into the group `pumps`.

    Args:
        port: of a broker on 127.0.0.1.
        group: lines of the group's table, and tables after it.
        mqtt, http: more lines of these tables.
    """
    return f"""
[mqtt]
port = {port}
{mqtt}
[http]
port = 0
{http}
[[source]]
topic = "plant/{{stream}}/telemetry"
group = "pumps"
time = "ts"
[group.pumps]
{group}
"""


def streamd(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line, as somebody types it."""
    return subprocess.run(
        [sys.executable, "-m", "streamd", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


class Daemon:
    """`streamd run` with a config file in `folder`; its state is kept there from one start to the next.

    Args:
        program: what Python is to run in place of streamd, with the same arguments.
    """

    def __init__(self, folder: Path, config: str, program: Sequence[str] = ("-m", "streamd")) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = folder / "streamd.toml"
        self.config.write_text(config)
        self._program = program
        self._process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []
        self._spoke = threading.Condition()

    def launch(self) -> Daemon:
        """Start; returns when it waits for the broker."""
        command = [sys.executable, *self._program, "run", "-c", str(self.config)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace")
        self.lines.clear()
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        self.wait_for("action=started")
        return self

    def start(self) -> Daemon:
        """Start; returns when the broker has granted the subscriptions."""
        return self.launch().wait_until_ready()

    def wait_until_ready(self) -> Daemon:
        """Returns when the broker has granted the subscriptions."""
        self.wait_for("action=connected")
        for _ in range(1000):  # the grant follows the connection at once; each question takes a few milliseconds
            if self.http("/readyz")[0] == 200:
                return self
        raise AssertionError(f"not ready: {self.http('/readyz')[1]}\n{self.log}")

    def wait_for(self, text: str) -> str:
        """The first log line that holds the text; waits for it."""
        with self._spoke:
            found = self._spoke.wait_for(lambda: [line for line in self.lines if text in line] or self._ended, LIMIT_S)
        assert isinstance(found, list), f"no {text!r} in:\n{self.log}"
        return str(found[0])

    def wait_for_count(self, text: str, count: int) -> list[str]:
        """The log lines that hold the text, once there are so many; waits for them."""

        def there() -> list[str]:
            found = [line for line in self.lines if text in line]
            return found if len(found) >= count or self._ended else []

        with self._spoke:
            found = self._spoke.wait_for(there, LIMIT_S)
        assert len(found) >= count, f"not {count} times {text!r} in:\n{self.log}"
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; gives the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(LIMIT_S)
        self._process = None
        return code

    def end(self) -> None:
        """Leave nothing behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def http_port(self) -> int:
        """Of the running process."""
        found = re.search(r"http_port=(\d+)", self.wait_for("action=started"))
        assert found is not None
        return int(found[1])

    def http(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=LIMIT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, sample: str) -> float:
        """The value of one sample of /metrics, such as `streamd_refused_total{reason="empty"}`; 0 if it isn't there."""
        _, text = self.http("/metrics")
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{sample} ")), 0.0)

    @property
    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                with self._spoke:
                    self.lines.append(line)
                    self._spoke.notify_all()
        with self._spoke:
            self._spoke.notify_all()


class Bystander:
    """Publishes readings, and sees everything that the daemon publishes, in order.

    Args:
        port: of a broker on 127.0.0.1.
        login: user and password, where it asks for them.
    """

    def __init__(self, port: int, *login: str) -> None:
        self.messages: list[mqtt.MQTTMessage] = []
        self._came = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.max_queued_messages_set(0)
        self._client.on_message = self._note
        if login:
            self._client.username_pw_set(*login)
        granted = threading.Event()
        self._client.on_subscribe = lambda *_: granted.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("streamd/#", qos=1)
        assert granted.wait(LIMIT_S)

    def publish(self, topic: str, payload: Any) -> None:
        """Publish at QoS 1; an object becomes JSON. Returns when the broker has it."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload)
        self._client.publish(topic, body, qos=1).wait_for_publish(LIMIT_S)

    def publish_all(self, topic: str, payloads: Sequence[Any]) -> None:
        """Publish at QoS 1, in order; returns when the broker has the last one."""
        sent = [
            self._client.publish(topic, one if isinstance(one, bytes) else json.dumps(one), qos=1) for one in payloads
        ]
        for one in sent:
            one.wait_for_publish(LIMIT_S)

    def command(self, verb: str, payload: Any = None) -> dict[str, Any]:
        """The daemon's answer to a command."""
        properties = mqtt.Properties(mqtt.PacketTypes.PUBLISH)
        properties.ResponseTopic = "streamd/answers"
        properties.CorrelationData = verb.encode()
        before = len(self.of("streamd/answers"))
        self._client.publish(f"streamd/command/{verb}", json.dumps(payload or {}), qos=1, properties=properties)
        answer = self.wait("streamd/answers", before + 1)[-1]
        assert isinstance(answer, dict)
        return answer

    def wait(self, topic: str, count: int) -> list[Any]:
        """The payloads seen on a topic, once there are so many; gives up when none comes for long."""
        before, found = -1, self.of(topic)
        while before < len(found) < count:
            before = len(found)
            with self._came:
                self._came.wait_for(lambda: len(self.of(topic)) >= count, LIMIT_S)
            found = self.of(topic)
        assert len(found) >= count, f"{len(found)} of {count} on {topic}"
        return found

    def wait_for_seq(self, topic: str, seq: int) -> Any:
        """The newest payload on a topic, once it is the one of this number or a later one."""

        def there() -> Any:
            # asked at each message, so that it looks at the newest one only
            newest = next((m for m in reversed(self.messages) if m.topic == topic), None)
            told = json.loads(newest.payload) if newest is not None and newest.payload else None
            return told if told is not None and told["seq"] >= seq else None

        with self._came:
            found = self._came.wait_for(there, LIMIT_S)
        assert found, f"no seq {seq} on {topic}"
        return found

    def wait_for_end(self, topic: str) -> list[Any]:
        """The payloads seen on a topic, once the last of them is empty: it took the retained one away."""
        with self._came:
            assert self._came.wait_for(lambda: self.of(topic)[-1:] == [None], LIMIT_S), f"no end on {topic}"
        return self.of(topic)

    def of(self, topic: str) -> list[Any]:
        """The payloads seen on a topic so far, in order; None for an empty one."""
        return [json.loads(m.payload) if m.payload else None for m in list(self.messages) if m.topic == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _note(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        with self._came:
            self.messages.append(message)
            self._came.notify_all()
