"""Where the page's questions are answered: hears what is applied, and tells those who look.

While nobody looks it keeps references to the last batches, incidents and training reports, and reads nothing. Knows the
engines and who watches which stream; not HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from streamd import __version__, metrics
from streamd.config import Config
from streamd.edge.mailbox import Mailbox
from streamd.edge.site import NotFoundError, NotYetError
from streamd.engine.engine import Engine
from streamd.engine.score import TERMS
from streamd.page import book, closeup, health, keeping, learning, overview, why
from streamd.page.book import Book, Entry
from streamd.page.lately import Lately
from streamd.records import Command, Effect, Outcome
from streamd.store.archive import Archive
from streamd.store.sqlite import DamagedError, StoreError
from streamd.wire import commands

ALLOWED = ("feedback", "withdraw", "freeze", "thaw")  # commands that the page may give
TABLE_S = 0.5  # a table is made anew no more often, for however many browsers

_encode = msgspec.json.Encoder().encode


class Disk(Protocol):
    """Runs a blocking call elsewhere, one after the other."""

    async def __call__(self, work: Callable[[], Any]) -> Any: ...


class _Group(msgspec.Struct, frozen=True):
    name: str
    channels: tuple[str, ...]
    horizon: int
    coverage: float
    frozen: bool


class _About(msgspec.Struct, frozen=True):
    version: str
    prefix: str
    groups: list[_Group]
    states: tuple[str, ...]
    terms: tuple[str, ...]


class _Pulse(msgspec.Struct, frozen=True):
    """What every view shows, once a second."""

    time: float  # s since the epoch
    reasons: list[str]  # why the daemon is not ready
    known: int  # streams
    open: int  # incidents of streams in memory
    frozen: list[str]  # groups whose network does not learn


class Desk:
    """Of one daemon.

    Args:
        config: whose groups and prefix are told.
        unready: why the daemon is not ready to be relied on.
        carry_out: does what a command asks, and gives the answer; raises CommandError.
    """

    def __init__(
        self,
        config: Config,
        unready: Callable[[], list[str]],
        carry_out: Callable[[commands.Request], Awaitable[bytes]],
    ) -> None:
        self._prefix = config.mqtt.prefix
        self._folder = Path(config.state.folder)
        self._unready = unready
        self._carry_out = carry_out
        self._since = time.time()
        self._engines: Mapping[str, Engine] = {}
        self._archive: Archive | None = None
        self._closed = False
        self._filled = False
        self._book = Book()
        self._lately: dict[str, Lately] = {}
        self._reports: dict[str, learning.Reports] = {}
        self._mailboxes: set[Mailbox] = set()
        self._watched: dict[tuple[str, str], set[Mailbox]] = {}
        self._table: tuple[float, str, overview.Table] | None = None

    def begin(
        self,
        engines: Mapping[str, Engine],
        archive: Archive,
        disk: Disk,
        unarchived: Iterable[tuple[str, Outcome | Effect | Command]] = (),
    ) -> None:
        """The state is recovered: answer from now on.

        Args:
            engines: by group.
            archive: of incidents, used through `disk` only.
            unarchived: what concerns incidents, and is not in the archive yet.
        """
        for group, one in unarchived:
            self._book.hear(group, one)
        self._lately = {name: Lately() for name in engines}
        self._reports = {name: learning.Reports() for name in engines}
        self._archive, self._disk = archive, disk
        self._engines = engines

    def close(self) -> None:
        """The daemon stops: take no command any more, and leave the archive alone."""
        self._closed = True

    def hear(self, group: str, one: Outcome | Effect | Command) -> None:
        """Take note of what was just applied; called for each batch, before the next one."""
        for entry in self._book.hear(group, one):
            self._tell_all(entry)
        if not isinstance(one, Outcome):
            return
        self._lately[group].hear(one)
        if one.reports:
            self._reports[group].hear(time.time(), self._engines[group].frames, one.reports)
        if self._watched:
            self._show(group, one)

    @contextmanager
    def follow(self, mailbox: Mailbox, group: str | None = None, stream: str | None = None) -> Iterator[None]:
        """Put incidents into a mailbox and, where one is named, each frame of a stream."""
        self._mailboxes.add(mailbox)
        metrics.page_clients.set(len(self._mailboxes))
        key = None if group is None or stream is None else (group, stream)
        if key is not None:
            self._watched.setdefault(key, set()).add(mailbox)
        try:
            yield
        finally:
            self._mailboxes.discard(mailbox)
            metrics.page_clients.set(len(self._mailboxes))
            if key is not None:
                self._watched[key].discard(mailbox)
                if not self._watched[key]:
                    del self._watched[key]

    def about(self) -> bytes:
        """What does not change while the daemon runs, but for its groups' channels."""
        groups = [
            _Group(
                name, engine.channels, engine.settings.horizon_steps, engine.settings.main_coverage, self._frozen(name)
            )
            for name, engine in self._ready().items()
        ]
        return _encode(_About(__version__, self._prefix, groups, overview.STATES, TERMS))

    def pulse(self) -> bytes:
        """How it is going; also while the state is recovered."""
        engines = self._engines
        known = sum(engine.known for engine in engines.values())
        is_open = sum(int(engine.incidents.open.sum()) for engine in engines.values())
        frozen = [name for name in engines if self._frozen(name)]
        return _encode(_Pulse(time.time(), self._unready(), known, is_open, frozen))

    def streams(self, before: overview.Table | None, search: str) -> tuple[overview.Table, bytes]:
        """All streams, or those that match, and what of it is new to somebody who has seen a table before."""
        now = time.monotonic()
        kept = self._table
        if kept is None or now - kept[0] >= TABLE_S or kept[1] != search:
            kept = self._table = now, search, overview.look(self._ready(), search)
        return kept[2], overview.changes(before, kept[2])

    def stream(self, group: str, stream: str) -> bytes:
        """One stream's last frames, and what is expected of it."""
        engine = self._engine(group)
        found = closeup.begin(group, engine, stream, self._lately[group].last(stream))
        if found is None:
            raise NotFoundError("no such stream is in memory")
        return found

    async def incidents(self) -> bytes:
        """The newest, open and past."""
        self._ready()
        if not self._filled:
            kept = await self._read(lambda archive: archive.latest(book.MOST))
            self._book.fill(kept)
            self._filled = True
        return _encode(self._book.latest())

    async def incident(self, group: str, incident: str) -> bytes:
        """Why one was raised; null: the archive does not have it, or not yet."""
        self._engine(group)
        found = await why.explain(self._read, group, incident)
        return _encode(found)

    def model(self, group: str) -> bytes:
        """How a group's network learns."""
        engine = self._engine(group)
        return _encode(self._reports[group].look(group, engine))

    def memory(self, group: str, stream: str, layer: int) -> bytes:
        """What the network's memory of a stream keeps."""
        try:
            found = keeping.look(group, self._engine(group), stream, layer)
        except ValueError as error:
            raise NotFoundError(str(error)) from error
        if found is None:
            raise NotFoundError("no such stream is in memory, or it has not spoken since it was reset")
        return _encode(found)

    def health(self) -> bytes:
        """The daemon itself."""
        return _encode(health.look(self._unready(), __version__, time.time(), self._since))

    async def command(self, verb: str, payload: bytes) -> tuple[bool, bytes]:
        """Whether a command was carried out, and the answer to it."""
        if verb not in ALLOWED:
            raise NotFoundError(f"expected one of {', '.join(ALLOWED)}")
        self._ready()
        if self._closed:
            raise NotYetError("stopping")
        request = None
        try:
            request = commands.decode(self._prefix, f"{self._prefix}/command/{verb}", payload)
            answer = await self._carry_out(request)
        except commands.CommandError as error:
            return False, commands.reply(False, str(error), request)
        metrics.commands.labels(request.verb).inc()
        return True, answer

    def _ready(self) -> Mapping[str, Engine]:
        if not self._engines:
            raise NotYetError("recovering")
        return self._engines

    async def _read(self, work: Callable[[Archive], Any]) -> Any:
        """What the archive gives."""
        archive = self._archive
        if archive is None or self._closed:
            raise NotYetError("stopping" if self._closed else "recovering")
        try:
            return await self._disk(lambda: work(archive))
        except (StoreError, DamagedError) as error:
            raise NotYetError(f"the archive of incidents can't be read: {error}") from error

    def _engine(self, group: str) -> Engine:
        engine = self._ready().get(group)
        if engine is None:
            raise NotFoundError("no such group")
        return engine

    def _frozen(self, group: str) -> bool:
        return self._engines[group].learner.frozen

    def _tell_all(self, entry: Entry) -> None:
        if self._mailboxes:
            data = _encode(entry)
            for mailbox in self._mailboxes:
                mailbox.put("incident", data)

    def _show(self, group: str, outcome: Outcome) -> None:
        for (of_group, stream), mailboxes in self._watched.items():
            if of_group == group and stream in outcome.streams:
                data = closeup.go_on(self._engines[group], outcome, outcome.streams.index(stream))
                for mailbox in mailboxes:
                    mailbox.put("frame", data)
