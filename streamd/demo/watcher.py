"""The demo's eyes: a subscriber that reads what the plant and the daemon publish, and enters it in the ledger.

Knows topics and payloads; not how the ledger judges them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec

from streamd.demo.ledger import Forecast, GroupIncident, Incident, Ledger, Score, Telemetry

PREFIX = "streamd"
TELEMETRY = "plant/{machine}/telemetry"
# QoS 0: nothing is lost between two sockets of one process, and the broker has less to do.
TOPICS = ((TELEMETRY.format(machine="+"), 0), (f"{PREFIX}/#", 0))


class _Status(msgspec.Struct):
    state: str


class Watcher:
    """Feeds a ledger from the broker.

    `online` is set while the daemon says that it is there.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.online = asyncio.Event()
        self._heard = asyncio.Event()
        self._ledger = ledger

    def on_message(self, topic: str, payload: bytes) -> None:
        """Enter one message; what can't be read is counted."""
        if not payload:  # a retained message was taken off
            return
        try:
            self._enter(topic.split("/"), payload)
        except (msgspec.DecodeError, ValueError):
            self._ledger.unreadable += 1
        self._heard.set()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when the ledger is such that the condition holds; looked at again after each message."""
        while not condition():
            self._heard.clear()
            await self._heard.wait()

    def _enter(self, levels: list[str], payload: bytes) -> None:
        decode = msgspec.json.decode
        match levels:
            case ["plant", machine, "telemetry"]:
                document = decode(payload, type=dict[str, float | str])
                values = {key: value for key, value in document.items() if isinstance(value, float)}
                time = datetime.fromisoformat(str(document.get("time")))
                self._ledger.on_telemetry(Telemetry(machine, time.timestamp(), values))
            case [_, "status"]:
                if decode(payload, type=_Status).state == "online":
                    self.online.set()
                else:
                    self.online.clear()
            case [_, _, "incident"]:
                self._ledger.on_group_incident(decode(payload, type=GroupIncident))
            case [_, _, _, "forecast"]:
                self._ledger.on_forecast(decode(payload, type=Forecast))
            case [_, _, _, "score"]:
                self._ledger.on_score(decode(payload, type=Score))
            case [_, _, _, "incident"]:
                self._ledger.on_incident(decode(payload, type=Incident))
