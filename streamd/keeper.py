"""What is acknowledged is on disk: numbers the records, commits them in groups, and only then lets messages go.

Forecasts and scores do not wait for a commit; incidents, on which people act, do. Knows the journal and the order of
things; not what a record means. While the disk fails it goes on, acknowledges nothing, and tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from streamd import metrics
from streamd.edge.recall import Mark
from streamd.pace import Pace
from streamd.records import Batch, Marks, Record
from streamd.store import codec
from streamd.store.journal import Entry, JournalError
from streamd.wire.messages import Message

log = logging.getLogger("streamd.keeper")

TOLD_S = 0.02  # between two looks whether all outcomes have gone out
RETRY_S = (0.5, 30.0)  # after a failed commit: at first, and at most
MARKS = (
    4000  # of messages without a time, the newest: twice the largest window of a broker that is set up as we ship it
)


class Journal(Protocol):
    """Where committed records are; see `store.journal`. Used through `Disk` only."""

    def commit(self, entries: list[Entry], published: int) -> None: ...


class Disk(Protocol):
    """Runs a blocking call elsewhere, one after the other."""

    async def __call__(self, work: Callable[[], None]) -> None: ...


class Link(Protocol):
    """What of the broker link matters here."""

    @property
    def dry(self) -> bool:
        """Nothing that arrived waits to be fetched."""

    @property
    def held(self) -> int:
        """Messages that are not acknowledged."""

    @property
    def connected(self) -> bool:
        """The broker has taken us in."""

    @property
    def fenced(self) -> bool:
        """The call of a `fence` may still come."""

    def fence(self, passed: Callable[[], None]) -> None:
        """Have a call made when the broker has received all that was published so far; one at a time."""

    def done(self, ticket: int) -> None:
        """A message may be acknowledged."""

    def marks(self, tickets: Iterable[int]) -> list[Mark]:
        """What has to be remembered of messages, so that a later run knows them again."""

    def publish_message(self, message: Message) -> None:
        """Queue a message."""

    async def room(self, limit_s: float) -> None:
        """Wait while more is published than the broker takes."""


@dataclass(slots=True)
class _Waiting:
    """What happens when the journal holds everything up to a position."""

    position: int
    tickets: list[int]
    timeless: list[int]  # of the tickets, those whose readings can't be known again by their time
    messages: list[Message]
    calls: list[Callable[[], None]]  # also if the disk refuses


class Keeper:
    """Between the engine and the broker's acknowledgements.

    Args:
        journal: None: nothing is journaled, and messages are let go when they are applied.
        disk: runs the journal's calls.
        link: to the broker.
        pace: when to commit.
        position: of the last record that is in the state already.
        published: position up to which all outcomes are known to have gone out.
        marks: of the newest messages without a time that former runs dealt with.
    """

    def __init__(
        self,
        journal: Journal | None,
        disk: Disk,
        link: Link,
        pace: Pace,
        *,
        position: int,
        published: int,
        marks: Iterable[Mark] = (),
    ) -> None:
        self._journal = journal
        self._disk = disk
        self._link = link
        self._pace = pace
        self.position = position  # of the last record noted
        self.committed = position  # of the last record on disk
        self.published = published
        self._may_ask = False  # what former runs may not have got out is published
        self.noted_bytes = 0  # of all records since the start, as they are journaled
        self.failing = ""  # why commits fail; empty when they don't
        self.marks = deque(marks, maxlen=MARKS)
        self._entries: deque[Entry] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._inside: set[str] = set()  # groups that have applied a part of a message that can't be known again
        self._changed = asyncio.Event()
        self._committed = asyncio.Event()
        self._ended = False
        self._urgent = False
        self._stopping = False
        self._told_window = False

    def note(self, group: str, record: Record) -> int:
        """Number a record that is about to be applied; gives its position."""
        self.position += 1
        if self._journal is None:
            self.committed = self.position
        else:
            self._append(group, record)
            self._pace.noted(len(record) if isinstance(record, Batch) else 1, self._now())
            self._changed.set()
            metrics.queue_length.labels("journal").set(len(self._entries))
        return self.position

    def inside(self, group: str, inside: bool) -> None:
        """While a message whose readings carry no time is applied in part, nothing is committed.

        It would come again as a whole, and nothing tells which of its readings are in the state.
        """
        if inside:
            self._inside.add(group)
        elif group in self._inside:
            self._inside.remove(group)
            self._changed.set()

    def done(self, ticket: int, *, timeless: bool = False) -> None:
        """Let a message go when everything noted so far is on disk.

        Args:
            timeless: its readings carry no time, so that only the message itself can be known again.
        """
        if self.committed == self.position:
            self._link.done(ticket)
        else:
            waiting = self._last_waiting()
            waiting.tickets.append(ticket)
            if timeless:
                waiting.timeless.append(ticket)

    def publish(self, message: Message) -> None:
        """Publish; an incident when everything noted so far is on disk, anything else at once."""
        if message.kind != "incident" or self.committed == self.position:
            self._link.publish_message(message)
        else:
            self._last_waiting().messages.append(message)
            self._urgent = True  # somebody is to act on it
            self._changed.set()

    async def room(self, limit_s: float) -> None:
        """Wait while more is published than the broker takes; no longer than so."""
        await self._link.room(limit_s)

    def session_lost(self, written_down: Callable[[], None]) -> None:
        """The broker has forgotten the session: no message comes again by an id that is remembered.

        Args:
            written_down: called when that is on disk, or the disk refuses: to wait for it to heal would lose more.
        """
        if self._journal is None or not self.marks:
            self.marks.clear()
            written_down()
            return
        self.marks.clear()
        self.position += 1
        self._append("", Marks(()))
        self._last_waiting().calls.append(written_down)
        self._urgent = True
        self._changed.set()

    @property
    def deaf(self) -> bool:
        """Nothing can be heard: there is no connection, or no message is let go, so that no other comes."""
        return not self._link.connected or bool(self.failing)

    @property
    def behind(self) -> bool:
        """There is more that was sent, here or at the broker, than was handed out."""
        return not self._link.dry or self._link.held >= self._pace.window

    def ask(self, answered: Callable[[], None]) -> None:
        """Have a call made when the broker has answered, behind all that it had sent: what is heard then is all.

        No call is made where the connection ends before, or is busy with another question: ask again.
        """
        if not self._link.fenced:
            self._link.fence(answered)

    def unpublished(self) -> list[Message]:
        """Incidents that wait for their commit."""
        return [message for waiting in self._waiting for message in waiting.messages]

    def arrived(self) -> None:
        """Messages came in."""
        self._pace.arrived(self._now(), self._link.held)
        self._changed.set()

    async def flush(self) -> bool:
        """Commit now all that was noted so far; true when it is on disk, false when the disk refuses or `run` ended."""
        position = self.position
        while self.committed < position and not self._ended and not self.failing:
            self._urgent = True
            self._changed.set()
            self._committed.clear()
            await self._committed.wait()
        return self.committed >= position

    def resent(self) -> None:
        """What former runs may not have got out is published: from now on the broker is asked what it has."""
        self._may_ask = True

    async def told(self, position: int, limit_s: float) -> None:
        """Wait until the broker has all outcomes up to a position; no longer than so, nor when it is away.

        Also after `run` has ended: the last checkpoint of a life is like any other.
        """
        try:
            async with asyncio.timeout(limit_s):
                while self.published < position and self._link.connected:
                    self._ask_whether_told()
                    await asyncio.sleep(TOLD_S)
        except TimeoutError:
            log.warning("action=outcomes_wait position=%d published=%d", position, self.published)

    def stop(self) -> None:
        """Let `run` end when everything is on disk, or the disk refuses."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Commit whenever it is due, until `stop`."""
        try:
            await self._run()
        finally:
            self._ended = True
            self._committed.set()

    async def _run(self) -> None:
        pause_s = 0.0
        while True:
            if pause_s:
                await self._until_changed(pause_s, only_stop=True)
            elif not await self._until_due():
                return
            if await self._commit():
                pause_s = 0.0
            elif self._stopping:
                return  # what is not on disk is not acknowledged either: the broker sends it again
            else:
                pause_s = min(max(2 * pause_s, RETRY_S[0]), RETRY_S[1])

    async def _until_due(self) -> bool:
        """Wait until a commit is due; false when there will be none any more."""
        while True:
            self._changed.clear()
            if self._entries and not self._inside and (self._urgent or self._stopping):
                return True
            if self._stopping:
                return False
            due_s = None if self._inside else self._pace.due_s(self._now(), self._link.held, self._link.dry)
            if due_s == 0.0:
                return True
            await self._until_changed(due_s)

    async def _until_changed(self, limit_s: float | None, *, only_stop: bool = False) -> None:
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    await self._changed.wait()
                    if not only_stop or self._stopping:
                        return
                    self._changed.clear()
        except TimeoutError:
            pass

    async def _commit(self) -> bool:
        """Write what waits, if it may be written now; false when the disk refused."""
        if self._journal is None or not self._entries or self._inside:
            return True
        self._note_marks()
        entries = list(self._entries)
        self._ask_whether_told()
        journal, published = self._journal, self.published
        begun = self._now()
        self._pace.begin()
        try:
            await self._disk(lambda: journal.commit(entries, published))
        except JournalError as error:
            self._pace.failed()
            metrics.commits.labels("failed").inc()
            if not self.failing:
                log.error("action=commit_failed waiting=%d reason=%r", len(self._entries), str(error))
            self.failing = str(error)
            self._committed.set()  # whoever waits for it has to know
            for waiting in self._waiting:
                self._call_back(waiting)
            return False
        if self.failing:
            log.warning("action=commit_healed waiting=%d", len(self._entries))
            self.failing = ""
        metrics.commits.labels("written").inc()
        metrics.commit_seconds.observe(self._now() - begun)
        self.committed = entries[-1].position
        self._committed.set()
        for _ in entries:
            self._entries.popleft()
        if not self._entries:
            self._urgent = False
        metrics.queue_length.labels("journal").set(len(self._entries))
        self._pace.committed(self._now(), self._link.held)
        self._watch_window()
        await self._release()
        return True

    def _ask_whether_told(self) -> None:
        """Let the broker say that it has all outcomes so far: what is only on its way may end with the process."""
        position = self.position
        if self._may_ask and position > self.published and not self._link.fenced and not self.unpublished():
            self._link.fence(lambda: self._told(position))

    def _told(self, position: int) -> None:
        self.published = max(self.published, position)

    def _append(self, group: str, record: Record) -> None:
        encoded = codec.encode(record)
        self.noted_bytes += len(encoded)
        self._entries.append(Entry(self.position, group, encoded))

    def _note_marks(self) -> None:
        """Write down which messages this commit deals with, where their readings don't tell."""
        timeless = [ticket for waiting in self._waiting for ticket in waiting.timeless]
        marks = self._link.marks(timeless)
        if marks:
            for waiting in self._waiting:
                waiting.timeless.clear()
            self.position += 1
            self._append("", Marks(tuple(marks)))
            self.marks.extend(marks)

    async def _release(self) -> None:
        while self._waiting and self._waiting[0].position <= self.committed:
            waiting = self._waiting.popleft()
            for message in waiting.messages:
                self._link.publish_message(message)
            for ticket in waiting.tickets:
                self._link.done(ticket)
            self._call_back(waiting)
            await asyncio.sleep(0)  # a second's worth of answers would hold up forecasts by tens of milliseconds

    def _call_back(self, waiting: _Waiting) -> None:
        calls, waiting.calls = waiting.calls, []
        for call in calls:
            call()

    def _last_waiting(self) -> _Waiting:
        if not self._waiting or self._waiting[-1].position != self.position:
            self._waiting.append(_Waiting(self.position, [], [], [], []))
        return self._waiting[-1]

    def _watch_window(self) -> None:
        metrics.broker_window.set(self._pace.window)
        if self._pace.sure and not self._told_window:
            self._told_window = True
            log.warning(
                "action=window_limits messages=%d reason=%r",
                self._pace.window,
                "the broker sends no more ahead of acknowledgements; raise its max_inflight_messages",
            )
        metrics.window_commits.set(self._pace.held_back)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
