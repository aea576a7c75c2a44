"""A desk that gives back what it was asked, for tests of the server alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from streamd.edge.mailbox import Mailbox
from streamd.edge.site import NotFoundError, NotYetError


class Echo:
    """Answers with the question; `away`: nothing can be answered yet."""

    def __init__(self) -> None:
        self.away = False
        self.commands: list[tuple[str, bytes]] = []
        self.following: list[tuple[Mailbox, str | None, str | None]] = []

    @contextmanager
    def follow(self, mailbox: Mailbox, group: str | None = None, stream: str | None = None) -> Iterator[None]:
        self.following.append((mailbox, group, stream))
        try:
            yield
        finally:
            self.following.remove((mailbox, group, stream))

    def about(self) -> bytes:
        return self._answer("about")

    def pulse(self) -> bytes:
        return b'{"pulse": true}'

    def streams(self, before: int | None, search: str) -> tuple[int, bytes]:
        number = 0 if before is None else before + 1
        return number, self._answer(number, search)

    def stream(self, group: str, stream: str) -> bytes:
        if stream == "nobody":
            raise NotFoundError("no such stream is in memory")
        return self._answer("stream", group, stream)

    async def incidents(self) -> bytes:
        return self._answer("incidents")

    async def incident(self, group: str, incident: str) -> bytes:
        return self._answer("incident", group, incident)

    def model(self, group: str) -> bytes:
        return self._answer("model", group)

    def memory(self, group: str, stream: str, layer: int) -> bytes:
        return self._answer("memory", group, stream, layer)

    def health(self) -> bytes:
        return self._answer("health")

    async def command(self, verb: str, payload: bytes) -> tuple[bool, bytes]:
        self.commands.append((verb, payload))
        return verb != "refuse", self._answer(verb)

    def _answer(self, *asked: object) -> bytes:
        if self.away:
            raise NotYetError("recovering")
        return json.dumps(asked).encode()
