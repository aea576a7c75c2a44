"""A small plant that numbers its readings, and a witness who sees what the daemon makes of them.

Knows topics and payloads; nothing of processes. Each reading follows from the seed and its number alone.
"""

from __future__ import annotations

import json
import math
import random
import re
import threading
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

LIMIT_S = 180.0
GROUPS = ("left", "right")  # one stream each, so that every batch is one frame, in any run
BEGIN_S = 1_700_000_000.0  # time of the first readings, by the sensors' clock
CALM = 300  # readings of a stream before the first disturbance: scores are calibrated by then
RARE = 0.02  # share of disturbed readings from then on: most incidents end before the next one begins
_SEQ = re.compile(rb'"seq":(\d+)')


class Plant:
    """Two streams of readings, `s` of each group.

    Args:
        seed: all values follow from it.
        timed: whether readings carry their time.
    """

    def __init__(self, seed: int, *, timed: bool) -> None:
        self._seed = seed
        self._timed = timed

    def reading(self, number: int) -> tuple[str, bytes]:
        """Topic and payload of a reading, numbered over both streams; its stream's own number is channel `n`."""
        n, group = number // len(GROUPS), GROUPS[number % len(GROUPS)]
        chance = random.Random(f"{self._seed}/{number}")
        flow = math.sin(n / 7.0) + chance.gauss(0.0, 0.1)
        if n >= CALM and chance.random() < RARE:
            flow += 40.0
        values = {"n": n, "flow": flow} | ({"ts": BEGIN_S + n} if self._timed else {})
        return f"plant/{group}/s", json.dumps(values).encode()


class _Seen:
    """Digests of one kind of outcome of one stream, by seq."""

    def __init__(self) -> None:
        self.digests: list[bytes] = []
        self.repeated = 0


class Witness:
    """Publishes readings and commands, and checks outcomes as they come: no gap in seq, and the same when repeated.

    Args:
        port: of the broker.
        prefix: of the daemon's topics.
        timed: whether readings carry their time; else what was not committed may come again with another one.
    """

    def __init__(self, port: int, prefix: str, *, timed: bool) -> None:
        self.wrong: list[str] = []
        self.incidents: dict[str, list[bytes]] = {group: [] for group in GROUPS}  # payloads, each once, as first seen
        self.listening = threading.Event()  # subscribed, so that nothing is missed from now on
        self._prefix = prefix
        self._timed = timed
        self._known_incidents: set[bytes] = set()
        self._seen = {(group, kind): _Seen() for group in GROUPS for kind in ("forecast", "score")}
        self._changed = threading.Condition()
        self._sent: list[mqtt.MQTTMessageInfo] = []
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.max_inflight_messages_set(1000)
        client.max_queued_messages_set(0)
        client.reconnect_delay_set(1, 1)
        client.on_message = self._note
        client.on_connect = self._subscribe
        client.on_subscribe = lambda *_: self.listening.set()
        client.connect("127.0.0.1", port)
        client.loop_start()
        assert self.listening.wait(LIMIT_S)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Queue a message at QoS 1."""
        self._sent.append(self._client.publish(topic, payload, qos=1, retain=retain))

    def settle(self) -> None:
        """Returns when the broker has taken over all that was published."""
        sent, self._sent = self._sent, []
        for info in sent:
            info.wait_for_publish(LIMIT_S)
            assert info.is_published()

    def answered(self) -> int:
        """Readings whose forecast and score were seen, as long as none was left out."""
        with self._changed:
            return self._answered()

    def wait(self, count: int, given_up: Callable[[], bool] = lambda: False) -> bool:
        """Until so many readings are answered; false if it was given up, or none is answered for long."""
        with self._changed:
            before = -1
            while not given_up() and before < (answered := self._answered()) < count:
                before = answered
                self._changed.wait_for(lambda: self._answered() >= count or given_up(), LIMIT_S)
            return self._answered() >= count

    def look_again(self) -> None:
        """Let `wait` ask whether it is to give up."""
        with self._changed:
            self._changed.notify_all()

    def digests(self) -> dict[tuple[str, str], list[bytes]]:
        """Of all outcomes, by group and kind, in the order of seq."""
        return {key: seen.digests for key, seen in self._seen.items()}

    def repeated(self) -> int:
        """Outcomes that came more than once."""
        return sum(seen.repeated for seen in self._seen.values())

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _answered(self) -> int:
        return sum(min(len(self._seen[group, kind].digests) for kind in ("forecast", "score")) for group in GROUPS)

    def _subscribe(self, *_: Any) -> None:
        self._client.subscribe(f"{self._prefix}/#", qos=1)

    def _note(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        payload = bytes(message.payload)
        _, group, *rest = message.topic.split("/")
        if rest == ["s", "incident"] and payload and not message.retain:
            if payload not in self._known_incidents:
                self._known_incidents.add(payload)
                self.incidents[group].append(payload)
        elif rest in (["s", "forecast"], ["s", "score"]):
            self._check(message.topic, self._seen[group, rest[1]], payload)

    def _check(self, topic: str, seen: _Seen, payload: bytes) -> None:
        found = _SEQ.search(payload)
        assert found is not None, payload
        seq, digest = int(found[1]), blake2b(payload, digest_size=8).digest()
        with self._changed:
            if seq > len(seen.digests):
                self.wrong.append(f"{topic}: seq {seq} after {len(seen.digests) - 1}")
                seen.digests += [b""] * (seq - len(seen.digests))
            if seq < len(seen.digests):
                seen.repeated += 1
                if self._timed and seen.digests[seq] != digest:
                    self.wrong.append(f"{topic}: seq {seq} came again with other content")
            else:
                seen.digests.append(digest)
            self._changed.notify_all()
