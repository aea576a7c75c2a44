"""The page over HTTP: its files, its questions, its live events, and the commands that it may give.

Knows addresses, parameters and answers; what is in them comes from a `Desk`, as JSON. Reading is free to whoever gets
past the guard; a command takes the token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from aiohttp import hdrs, web

from streamd import metrics
from streamd.edge import assets
from streamd.edge.guard import Guard, refused
from streamd.edge.mailbox import Mailbox

MOST_LIVE: Final = 24  # browsers that follow at once
TICK_S: Final = 1.0  # between two looks at what is not an event of its own
STUCK_S: Final = 30.0  # a browser that takes nothing for so long is let go
LONGEST: Final = 300  # characters of a parameter
LONGEST_BODY: Final = 4096  # bytes

Table = Any  # what the desk remembers of what a browser has seen


class NotYetError(Exception):
    """The question can't be answered now; the text says why."""


class NotFoundError(Exception):
    """There is no such thing; the text says what was expected."""


class Desk(Protocol):
    """Answers the page's questions as JSON; raises NotYetError and NotFoundError."""

    def follow(
        self, mailbox: Mailbox, group: str | None = None, stream: str | None = None
    ) -> AbstractContextManager[None]:
        """Put events into a mailbox."""

    def about(self) -> bytes:
        """What is served."""

    def pulse(self) -> bytes:
        """How it is going; never raises."""

    def streams(self, before: Table | None, search: str) -> tuple[Table, bytes]:
        """All streams, as far as they are news to somebody who has seen a table before."""

    def stream(self, group: str, stream: str) -> bytes:
        """One stream."""

    async def incidents(self) -> bytes:
        """The newest."""

    async def incident(self, group: str, incident: str) -> bytes:
        """Why one was raised."""

    def model(self, group: str) -> bytes:
        """How a network learns."""

    def memory(self, group: str, stream: str, layer: int) -> bytes:
        """What it keeps of a stream."""

    def health(self) -> bytes:
        """The daemon itself."""

    async def command(self, verb: str, payload: bytes) -> tuple[bool, bytes]:
        """Whether a command was carried out, and the answer."""


class Site:
    """Adds the page to a server.

    Args:
        desk: answers.
        guard: says who may change anything.
    """

    def __init__(self, desk: Desk, guard: Guard) -> None:
        self._desk = desk
        self._guard = guard
        self._assets = assets.table()
        self._live: set[Mailbox] = set()
        self._closing = False

    def add_to(self, app: web.Application) -> None:
        """Register everything."""
        app.on_shutdown.append(self._let_go)
        app.router.add_get("/", self._index)
        app.router.add_get("/page/{name}", self._asset)
        app.router.add_get("/api/live", self._follow)
        questions: dict[str, Callable[[web.Request], Any]] = {
            "about": lambda _: self._desk.about(),
            "incidents": lambda _: self._desk.incidents(),
            "incident": lambda request: self._desk.incident(_text(request, "group"), _text(request, "id")),
            "stream": lambda request: self._desk.stream(_text(request, "group"), _text(request, "stream")),
            "model": lambda request: self._desk.model(_text(request, "group")),
            "memory": lambda request: self._desk.memory(
                _text(request, "group"), _text(request, "stream"), _number(request, "layer")
            ),
            "health": lambda _: self._desk.health(),
        }
        for name, ask in questions.items():
            app.router.add_get(f"/api/{name}", _answering(ask))
        app.router.add_get("/api/rights", self._rights)
        app.router.add_post("/api/command/{verb}", self._command)

    async def _index(self, _: web.Request) -> web.StreamResponse:
        return assets.respond(self._assets["index.html"])

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        path = self._assets.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound(text="no such file\n")
        return assets.respond(path)

    async def _rights(self, _: web.Request) -> web.Response:
        return web.json_response({"writable": self._guard.writable, "charts": assets.PLOTLY in self._assets})

    async def _command(self, request: web.Request) -> web.Response:
        self._guard.check_change(request)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            metrics.page_refused.labels("size").inc()
            raise
        try:
            done, answer = await self._desk.command(request.match_info["verb"], body)
        except (NotYetError, NotFoundError) as error:
            raise _said(error) from error
        return web.Response(body=answer, status=200 if done else 422, content_type="application/json")

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, until either end has enough."""
        view = _text(request, "view")
        group, stream = (_text(request, name) if view == "stream" else None for name in ("group", "stream"))
        search = request.query.get("search", "")[:LONGEST] if view == "streams" else ""
        if len(self._live) >= MOST_LIVE or self._closing:
            raise refused(web.HTTPServiceUnavailable, "clients", f"{MOST_LIVE} browsers follow already; close one")
        mailbox = Mailbox()
        self._live.add(mailbox)
        try:
            with self._desk.follow(mailbox, group, stream):
                return await self._stream(request, mailbox, view, group, stream, search)
        finally:
            self._live.discard(mailbox)

    async def _stream(
        self, request: web.Request, mailbox: Mailbox, view: str, group: str | None, stream: str | None, search: str
    ) -> web.StreamResponse:
        desk = self._desk
        seen: Table | None = None
        events: list[tuple[str, bytes]] = []
        if group is not None and stream is not None:
            events.append(("stream", _now(lambda: desk.stream(group, stream))))
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream", hdrs.CACHE_CONTROL: "no-store"})
        await response.prepare(request)
        due = 0.0
        clock = asyncio.get_running_loop().time
        while not mailbox.closed:
            if clock() >= due:
                due = clock() + TICK_S
                events.append(("pulse", desk.pulse()))
                if view == "streams":
                    try:
                        seen, rows = desk.streams(seen, search)
                        events.append(("streams", rows))
                    except NotYetError:
                        seen = None  # the pulse says why
            events += mailbox.take()
            try:
                async with asyncio.timeout(STUCK_S):
                    await response.write(b"".join(b"event: %s\ndata: %s\n\n" % (n.encode(), d) for n, d in events))
            except (TimeoutError, ConnectionError):
                break
            events = []
            await mailbox.wait(max(due - clock(), 0.0))
        return response

    async def _let_go(self, _: web.Application) -> None:
        self._closing = True
        for mailbox in self._live:
            mailbox.close()


def _answering(ask: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
    """A handler that gives what is asked for as JSON, or says why not."""

    async def handle(request: web.Request) -> web.Response:
        try:
            found = ask(request)
            body = found if isinstance(found, bytes) else await found
        except (NotYetError, NotFoundError) as error:
            raise _said(error) from error
        return web.Response(body=body, content_type="application/json", headers={hdrs.CACHE_CONTROL: "no-store"})

    return handle


def _now(ask: Callable[[], bytes]) -> bytes:
    try:
        return ask()
    except (NotYetError, NotFoundError) as error:
        raise _said(error) from error


def _said(error: NotYetError | NotFoundError) -> web.HTTPException:
    kind = web.HTTPServiceUnavailable if isinstance(error, NotYetError) else web.HTTPNotFound
    return kind(text=f"{error}\n")


def _text(request: web.Request, name: str) -> str:
    found = request.query.get(name, "")
    if not 0 < len(found) <= LONGEST:
        raise web.HTTPBadRequest(text=f"{name}: expected 1 to {LONGEST} characters\n")
    return found


def _number(request: web.Request, name: str) -> int:
    text = _text(request, name)
    if not (text.isascii() and text.isdecimal() and len(text) <= 4):
        raise web.HTTPBadRequest(text=f"{name}: expected a number\n")
    return int(text)
