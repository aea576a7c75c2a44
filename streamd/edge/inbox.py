"""What has arrived and was not fetched yet, in order and bounded.

Knows messages and their sizes; does not know sockets, nor what a payload means.
"""

from __future__ import annotations

import msgspec

PAYLOADS_IN_MEMORY = (
    64  # of the largest size allowed: a line of large messages is full long before a line of small ones
)


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """One message from the broker."""

    topic: str
    payload: bytes
    arrival: float  # s since the epoch, by our clock
    ticket: int  # for `Link.done`
    qos: int
    retain: bool  # kept by the broker from before we subscribed
    response_topic: str | None = None  # where a reply is wanted (MQTT 5)
    correlation: bytes | None = None  # to be sent along with the reply (MQTT 5)


class Inbox:
    """Messages in the order received.

    Args:
        max_payload_bytes: of one message; bounds the bytes that wait.
    """

    def __init__(self, max_payload_bytes: int) -> None:
        self._messages: list[Incoming] = []
        self._bytes = 0
        self._most_bytes = PAYLOADS_IN_MEMORY * max_payload_bytes

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def heavy(self) -> bool:
        """Whether as many bytes wait as may."""
        return self._bytes >= self._most_bytes

    def put(self, message: Incoming) -> None:
        """The newest message."""
        self._messages.append(message)
        self._bytes += len(message.payload)

    def take(self) -> list[Incoming]:
        """Everything that waits; nothing waits any more."""
        messages, self._messages, self._bytes = self._messages, [], 0
        return messages

    def take_redelivered(self) -> list[Incoming]:
        """Take out what the broker sends again when it resumes a session: all that was not acknowledged."""
        messages = self.take()
        for message in messages:
            if message.qos == 0:
                self.put(message)
        return [message for message in messages if message.qos]
