"""The order of acknowledgement: which received messages may be acknowledged now.

Knows tickets and packet ids; does not know the messages, nor how an acknowledgement is sent.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Due(NamedTuple):
    """An acknowledgement that may go out on the connection that is up."""

    mid: int  # packet id, as the broker chose it
    qos: int  # 1 or 2


class Ledger:
    """Hands out a ticket per received message and gives acknowledgements back in the order received.

    A broker sends what is unacknowledged again, in order. So a message is acknowledged only when it and everything
    before it are done; otherwise what is sent again could arrive behind what came later.

    >>> ledger = Ledger()
    >>> first, second = ledger.take(7, 1), ledger.take(8, 1)
    >>> ledger.done(second)
    []
    >>> ledger.done(first)
    [Due(mid=7, qos=1), Due(mid=8, qos=1)]
    """

    def __init__(self) -> None:
        self._entries: deque[Due] = deque()  # of the tickets from _first on, without a gap
        self._first = 1
        self._done: set[int] = set()  # behind a message that is not done
        self._live = 1  # tickets below belong to connections that are gone

    def __len__(self) -> int:
        """Messages received and not let go, whichever connection they came over."""
        return len(self._entries)

    def take(self, mid: int, qos: int) -> int:
        """A ticket for a message that was received now; tickets are never used twice."""
        self._entries.append(Due(mid, qos))
        return self._first + len(self._entries) - 1

    def done(self, ticket: int) -> list[Due]:
        """The message is dealt with for good; gives what is to be acknowledged now, in order.

        A ticket that is done already changes nothing.
        """
        if ticket < self._first:
            return []
        self._done.add(ticket)
        due = []
        while self._first in self._done:
            self._done.remove(self._first)
            entry = self._entries.popleft()
            # A packet id names another message on the next connection, and the broker sends this one again anyway.
            if entry.qos and self._first >= self._live:
                due.append(entry)
            self._first += 1
        return due

    def is_done(self, ticket: int) -> bool:
        """Whether a message is dealt with."""
        return ticket < self._first or ticket in self._done

    def connection_lost(self) -> None:
        """Nothing received so far may be acknowledged any more; it still counts until it is done."""
        self._live = self._first + len(self._entries)
