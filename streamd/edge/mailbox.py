"""What waits to be sent to one browser: bounded, so that a slow one costs no memory and nobody else any time.

When it is full the oldest event goes, and the browser is told how many it missed: it then asks anew for what it shows.
Knows events as bytes; not what they tell, nor how they are sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from streamd import metrics

MOST: Final = 64  # events

Event = tuple[str, bytes]  # what it is called, and JSON


class Mailbox:
    """Of one browser."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._missed = 0
        self._wake = asyncio.Event()
        self.closed = False

    def put(self, name: str, data: bytes) -> None:
        """An event for the browser; never waits."""
        if len(self._events) >= MOST:
            metrics.page_missed.labels(self._events.popleft()[0]).inc()
            self._missed += 1
        self._events.append((name, data))
        self._wake.set()

    def close(self) -> None:
        """Let the browser go."""
        self.closed = True
        self._wake.set()

    async def wait(self, limit_s: float) -> None:
        """Until there is something to send, for so long at most."""
        try:
            async with asyncio.timeout(limit_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    def take(self) -> list[Event]:
        """What waits, in order, after how many were missed, if any were."""
        self._wake.clear()
        missed, self._missed = self._missed, 0
        events = list(self._events)
        self._events.clear()
        return [("missed", b"%d" % missed), *events] if missed else events
