"""`streamd demo` as a process, as somebody would start it: what it prints, and faults typed into it.

Knows the demo's lines; nothing of how it works inside.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

LIMIT_S = 900.0  # a busy machine takes its time until the plant's scores are calibrated
ROOT = Path(__file__).parent.parent.parent


class Demo:
    """A running demo, and what it tells over its broker."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streamd", "demo"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._news = threading.Condition()
        self.told: list[dict[str, Any]] = []  # incidents, in order
        self.progress: dict[str, float] = {}  # of each machine's warm-up
        threading.Thread(target=self._read, daemon=True).start()
        self.address, self.token = self._find(r"the page: (\S+)\s+token for its buttons: (\S+)")
        _, port = self._find(r"the broker: (\S+):(\d+)")
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._hear
        self._client.on_connect = lambda client, *_: client.subscribe(
            [("streamd/+/+/incident", 0), ("streamd/+/+/score", 0)]
        )
        self._client.connect("127.0.0.1", int(port))
        self._client.loop_start()

    def wait_until_warm(self) -> None:
        """Until no machine's score is a guess any more."""
        with self._news:
            warm = self._news.wait_for(lambda: len(self.progress) == 6 and min(self.progress.values()) >= 1.0, LIMIT_S)
        assert warm, self.progress

    def type(self, line: str) -> None:
        """As a person would, with Enter at its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def incident(self, stream: str) -> dict[str, Any]:
        """The one of a stream that is told next, or was told already and is open."""

        def found() -> dict[str, Any] | None:
            mine = [one for one in self.told if one["stream"] == stream]
            return mine[-1] if mine and mine[-1]["state"] != "cleared" else None

        with self._news:
            assert self._news.wait_for(found, LIMIT_S), "".join(self._lines)
            told = found()
        assert told is not None
        return told

    def end(self) -> int:
        """Ctrl-C, and its exit code."""
        self._client.disconnect()
        self._client.loop_stop()
        self._process.terminate()
        code = self._process.wait(60)
        assert self._process.stdin is not None
        self._process.stdin.close()
        return code

    def _find(self, pattern: str) -> tuple[str, str]:
        with self._news:
            found = self._news.wait_for(lambda: re.search(pattern, "".join(self._lines)), LIMIT_S)
        assert found, "".join(self._lines)
        return found[1], found[2]

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()

    def _hear(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        if not message.payload:
            return
        told = json.loads(message.payload)
        with self._news:
            if message.topic.endswith("/score"):
                self.progress[told["stream"]] = told["warming"]
            elif "stream" in told:  # the others are of many at once
                self.told.append(told)
            self._news.notify_all()
