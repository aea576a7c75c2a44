"""What is to be published and was not handed to the socket yet, in order and bounded.

Knows topics and which messages may be dropped; does not know the connection, nor what a payload means.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

import msgspec

Kind: TypeAlias = Literal["forecast", "score", "incident", "status", "reply"]


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One message to publish."""

    topic: str
    payload: bytes
    qos: int  # 0 or 1
    retain: bool
    droppable: bool
    kind: Kind
    correlation: bytes | None = None  # of the request that this replies to (MQTT 5)


class Dropped(NamedTuple):
    """How many messages had to go, by reason."""

    coalesced: int = 0  # a newer one of the same topic took their place
    full: int = 0  # the oldest that may be dropped, for lack of room
    overflow: int = 0  # the oldest that may not be dropped, as nothing else was left


NOTHING = Dropped()


class Outbox:
    """Two lanes: what may not be dropped goes first, then what may, each in order.

    When full the newest droppable message takes the place of all older ones of its topic; where there is none, the
    oldest droppable message goes. Only an outbox full of messages that may not be dropped drops the oldest of those.

    Args:
        limit: messages in both lanes together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._firm: deque[Outgoing] = deque()
        self._droppable: OrderedDict[int, Outgoing] = OrderedDict()  # serial -> message
        self._serials: dict[str, deque[int]] = {}  # topic -> serials of its droppable messages
        self._next = 0

    def __len__(self) -> int:
        return len(self._firm) + len(self._droppable)

    def put(self, message: Outgoing, *, coalesce: bool) -> Dropped:
        """Queue a message; `coalesce` says that only the newest droppable message of a topic is worth keeping."""
        if not message.droppable:
            dropped = self._make_room()
            self._firm.append(message)
            return dropped
        older = self._serials.get(message.topic)
        if older and (coalesce or len(self) >= self._limit):
            # In the place of the oldest: a busy topic would else never get to the front.
            place, *rest = older
            self._droppable[place] = message
            for serial in rest:
                del self._droppable[serial]
            self._serials[message.topic] = deque([place])
            return Dropped(coalesced=len(older))
        if len(self._firm) >= self._limit:
            return Dropped(full=1)
        dropped = self._make_room()
        self._droppable[self._next] = message
        self._serials.setdefault(message.topic, deque()).append(self._next)
        self._next += 1
        return dropped

    def put_back(self, messages: Iterable[Outgoing]) -> None:
        """Messages that were taken and perhaps not received, to be taken again first, in the order given.

        Never drops one of them: as few are on their way at once, the limit may be exceeded by as many.
        """
        self._firm.extendleft(reversed(list(messages)))

    def take(self, *, window_open: bool) -> Outgoing | None:
        """The next message; none if nothing waits, or only what the broker's window for QoS 1 has no room for."""
        if self._firm and (window_open or self._firm[0].qos == 0):
            return self._firm.popleft()
        if not self._droppable:
            return None
        if not window_open and next(iter(self._droppable.values())).qos:
            return None
        return self._pop_droppable()

    def mark(self) -> int:
        """A mark behind all that was put so far."""
        return self._next

    def is_past(self, mark: int) -> bool:
        """Whether everything that was put before the mark has been taken, or had to go."""
        return not self._firm and next(iter(self._droppable), mark) >= mark

    def firm(self) -> list[Outgoing]:
        """What waits and may not be dropped, in order."""
        return list(self._firm)

    def clear(self) -> int:
        """Give up everything; how many that were."""
        count = len(self)
        self._firm.clear()
        self._droppable.clear()
        self._serials.clear()
        return count

    def _make_room(self) -> Dropped:
        if len(self) < self._limit:
            return NOTHING
        if self._droppable:
            self._pop_droppable()
            return Dropped(full=1)
        self._firm.popleft()
        return Dropped(overflow=1)

    def _pop_droppable(self) -> Outgoing:
        _, message = self._droppable.popitem(last=False)
        serials = self._serials[message.topic]
        serials.popleft()
        if not serials:
            del self._serials[message.topic]
        return message
