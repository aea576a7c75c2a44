"""The outgoing half of the link: from the outbox through the broker's window to the connection, and back if it is lost.

Knows what waits and what is on its way; does not know when a connection comes or goes.
"""

from __future__ import annotations

import logging

from streamd import metrics
from streamd.edge.connection import MESSAGES_PER_TURN, Connection, Welcome
from streamd.edge.outbox import NOTHING, Kind, Outbox, Outgoing

CROWDED = 0.1  # of the limit: with more of it waiting, nothing gets out sooner for being made now
IN_FLIGHT = 20  # QoS-1 messages that wait for the broker's answer; the default window of Mosquitto and of paho
PACKET_OVERHEAD = 32  # bytes around topic, payload and correlation, at most: header, lengths, packet id

log = logging.getLogger("streamd.mqtt")


class Sender:
    """Hands messages over as fast as the connection takes them; a QoS-1 message again until the broker has it.

    Args:
        limit: messages that may wait.
    """

    def __init__(self, limit: int) -> None:
        self._outbox = Outbox(limit)
        self._crowded_at = max(int(CROWDED * limit), 1)
        self._in_flight: dict[int, Outgoing] = {}  # packet id -> QoS-1 message without an answer yet
        self.refusal: tuple[str, str] | None = None  # topic and reason, until the broker takes something there

    @property
    def waiting(self) -> int:
        """Messages not handed over."""
        return len(self._outbox)

    @property
    def crowded(self) -> bool:
        """So many messages wait that more should not be made."""
        return len(self._outbox) >= self._crowded_at

    @property
    def unsent(self) -> int:
        """Messages not handed over, or at QoS 1 and not acknowledged."""
        return len(self._outbox) + len(self._in_flight)

    def unsent_of(self, kind: Kind) -> list[Outgoing]:
        """Of those `unsent`, the ones of a kind that may not be dropped, in the order they were published."""
        waiting = [*self._in_flight.values(), *self._outbox.firm()]
        return [message for message in waiting if message.kind == kind]

    def mark(self) -> int:
        """A mark behind all that was put so far."""
        return self._outbox.mark()

    def is_past(self, mark: int) -> bool:
        """Whether everything before the mark was handed over, and at QoS 1 acknowledged."""
        return not self._in_flight and self._outbox.is_past(mark)

    def put(self, message: Outgoing, *, coalesce: bool) -> None:
        """Queue a message; see `Outbox.put`."""
        dropped = self._outbox.put(message, coalesce=coalesce)
        if dropped is NOTHING:
            return
        for reason, count in zip(dropped._fields, dropped, strict=True):
            if count:
                metrics.dropped.labels("outbox", reason).inc(count)

    def feed(self, connection: Connection, welcome: Welcome) -> bool:
        """Hand over up to MESSAGES_PER_TURN messages; whether there may be more that can go now."""
        window = min(IN_FLIGHT, welcome.window)
        for _ in range(MESSAGES_PER_TURN):
            message = self._outbox.take(window_open=len(self._in_flight) < window)
            if message is None:
                return False
            self.send(message, connection, welcome)
        return True

    def send(self, message: Outgoing, connection: Connection, welcome: Welcome) -> None:
        """Hand over one message, ahead of all that wait."""
        if welcome.max_packet_bytes is not None:
            size = len(message.topic.encode()) + len(message.payload) + len(message.correlation or b"")
            if size + PACKET_OVERHEAD > welcome.max_packet_bytes:
                metrics.dropped.labels("outbox", "too_large").inc()  # the broker would end the connection
                return
        mid = connection.publish(message)
        if message.qos:
            self._in_flight[mid] = message
        metrics.published.labels(message.kind).inc()

    def acknowledged(self, mid: int, refusal: str | None) -> None:
        """The broker has the message, or does not want it."""
        message = self._in_flight.pop(mid, None)
        if message is None:
            return
        if refusal is not None:
            if message.kind != "reply":  # whoever asks chooses where the answer goes
                self.refusal = (message.topic, refusal)
            metrics.dropped.labels("outbox", "refused").inc()
            log.warning("action=publish_refused topic=%r reason=%r", message.topic, refusal)
        elif self.refusal is not None and self.refusal[0] == message.topic:
            self.refusal = None

    def connection_lost(self, birth: Outgoing) -> None:
        """What was on its way goes first on the next connection; but for the birth, which each has of its own."""
        self._outbox.put_back(message for message in self._in_flight.values() if message is not birth)
        self._in_flight.clear()
        self.refusal = None

    def give_up(self) -> None:
        """Send nothing more."""
        if count := self._outbox.clear():
            metrics.dropped.labels("outbox", "closed").inc(count)
