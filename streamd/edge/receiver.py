"""The incoming half of the link: what was received, until it is done and may be acknowledged.

Knows how many messages may be held and which are refused; does not know when a connection comes or goes.
"""

from __future__ import annotations

import time

from paho.mqtt.client import MQTTMessage

from streamd import metrics
from streamd.edge.inbox import Inbox, Incoming
from streamd.edge.ledger import Due, Ledger
from streamd.edge.recall import Recall, checksum

# However few may be held: brokers that know no Receive Maximum, or get it wrong, have more of them on the way, and
# acknowledgements are lost with a connection.
REMEMBERED = 4000  # messages; twice the largest window of a broker that is set up as we ship it


class Receiver:
    """Holds messages from their arrival until they are done.

    Args:
        limit: messages held; QoS-0 messages beyond it are dropped, QoS-1 messages only at twice as many leave no room.
        max_payload_bytes: larger messages are refused.
    """

    def __init__(self, limit: int, max_payload_bytes: int) -> None:
        self._limit = limit
        self._max_payload_bytes = max_payload_bytes
        self._inbox = Inbox(max_payload_bytes)
        self._ledger = Ledger()
        self.recall = Recall(max(2 * limit, REMEMBERED))
        self._copies: dict[int, int] = {}  # ticket of a message not done -> ticket of its copy, sent again
        self._open = True

    @property
    def waiting(self) -> int:
        """Messages not fetched."""
        return len(self._inbox)

    @property
    def held(self) -> int:
        """Messages not done, fetched or not."""
        return len(self._ledger)

    @property
    def room(self) -> bool:
        """Whether the socket may be read."""
        return len(self._ledger) < 2 * self._limit and not self._inbox.heavy

    def accept(self, message: MQTTMessage) -> list[Due]:
        """Take a message in, or count why not; gives what is to be acknowledged at once."""
        metrics.messages.inc()
        if not self._open:
            if message.qos == 0:
                metrics.dropped.labels("inbox", "closed").inc()
            return []  # not acknowledged: the broker sends it again to the next run
        if message.qos == 0 and len(self._ledger) >= self._limit:
            metrics.dropped.labels("inbox", "full").inc()
            return []
        ticket = self._ledger.take(message.mid, message.qos)
        if message.qos:
            seen = checksum(message._topic, bytes(message.payload))
            before = self.recall.find(message.mid, seen) if message.dup else None
            if before is not None:
                return self._received_again(before, ticket)
            self.recall.note(message.mid, seen, ticket)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            metrics.refused.labels("bad_topic").inc()
            return self._ledger.done(ticket)
        payload = bytes(message.payload)
        if len(payload) > self._max_payload_bytes:
            metrics.refused.labels("too_large").inc()
            return self._ledger.done(ticket)
        reply_to = getattr(message.properties, "ResponseTopic", None)
        if reply_to is not None and (not reply_to or "+" in reply_to or "#" in reply_to):
            reply_to = None  # nothing can be published there
        correlation = getattr(message.properties, "CorrelationData", None)
        self._inbox.put(
            Incoming(topic, payload, time.time(), ticket, message.qos, message.retain, reply_to, correlation)
        )
        return []

    def _received_again(self, before: int, ticket: int) -> list[Due]:
        """A copy of a message that is known: it is done when that one is."""
        metrics.dropped.labels("inbox", "received_before").inc()
        if self._ledger.is_done(before):
            return self._ledger.done(ticket)
        older = self._copies.get(before)
        self._copies[before] = ticket
        # An older copy will not be done by anybody else, and acknowledgements would wait for it for ever.
        return [] if older is None else self._ledger.done(older)

    def fetch(self) -> list[Incoming]:
        """All that waits, in order."""
        return self._inbox.take()

    def done(self, ticket: int) -> list[Due]:
        """A message is dealt with; gives what is to be acknowledged now, in order."""
        due = self._ledger.done(ticket)
        copy = self._copies.pop(ticket, None)
        return due if copy is None else due + self._ledger.done(copy)

    def stop(self) -> None:
        """Take nothing in any more."""
        self._open = False

    def connection_lost(self) -> None:
        """Nothing received so far may be acknowledged any more."""
        self._ledger.connection_lost()

    def resumed(self) -> int:
        """The broker will send again what was not acknowledged: let go of what waits; how many that were."""
        again = self._inbox.take_redelivered()
        for message in again:
            self._ledger.done(message.ticket)
            self.recall.forget(message.ticket)
        return len(again)

    def session_lost(self) -> None:
        """The broker sends nothing again: its packet ids begin anew, and mean other messages from now on."""
        self.recall = Recall(max(2 * self._limit, REMEMBERED))
