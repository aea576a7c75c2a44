"""Which messages were received before: a broker that has no acknowledgement sends a message again under the same id.

A message is known again by its packet id and a checksum of topic and payload. That matters where readings carry no time
of their own: nothing else tells the second copy from a new reading. Knows ids, not what is done with a message.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

Mark: TypeAlias = tuple[int, int]  # packet id, checksum

DONE_BEFORE = 0  # no ticket: a former run had dealt with it


class _Known(NamedTuple):
    checksum: int
    ticket: int


class Recall:
    """The newest messages received at QoS 1.

    Args:
        limit: how many are remembered; a broker sends no more again than its window holds.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_mid: OrderedDict[int, _Known] = OrderedDict()
        self._mids: dict[int, int] = {}  # ticket -> packet id

    def note(self, mid: int, checksum: int, ticket: int) -> None:
        """A message came in under an id, which means no older one any more."""
        self._drop(mid)
        self._by_mid[mid] = _Known(checksum, ticket)
        self._mids[ticket] = mid
        while len(self._by_mid) > self._limit:
            self._drop(next(iter(self._by_mid)))

    def find(self, mid: int, checksum: int) -> int | None:
        """The ticket of the message that is sent again, DONE_BEFORE, or None: it was not received before."""
        known = self._by_mid.get(mid)
        return known.ticket if known is not None and known.checksum == checksum else None

    def forget(self, ticket: int) -> None:
        """The message was let go unseen: it is new when it comes again."""
        mid = self._mids.get(ticket)
        if mid is not None:
            self._drop(mid)

    def marks(self, tickets: Iterable[int]) -> list[Mark]:
        """What has to be remembered of messages over a restart, as far as they are still known."""
        mids = (self._mids.get(ticket) for ticket in tickets)
        return [(mid, self._by_mid[mid].checksum) for mid in mids if mid is not None]

    def restore(self, marks: Iterable[Mark]) -> None:
        """What former runs had dealt with, oldest first."""
        for mid, checksum in marks:
            self._drop(mid)
            self._by_mid[mid] = _Known(checksum, DONE_BEFORE)

    def _drop(self, mid: int) -> None:
        known = self._by_mid.pop(mid, None)
        if known is not None:
            self._mids.pop(known.ticket, None)


def checksum(topic: bytes, payload: bytes) -> int:
    """Of a message as it came."""
    return zlib.crc32(payload, zlib.crc32(topic))
