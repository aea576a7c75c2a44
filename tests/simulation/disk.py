"""A disk and the threads that work on it, in memory: calls take time, fail, are cut short, lose what is unsynced.

Knows files, names and what a sync promises; does not know what is kept. The store's own code runs on it: for
checkpoints down to each write, sync and rename (`paths`), for databases down to the transaction (`database`).

A call is carried out at once and its operations land one by one as time goes on. What has not landed when the process
dies is undone; what landed and was not synced is lost, torn or kept when the power goes.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Protocol

from tests.simulation.clock import Clock, Killed, Loop

Place = Literal["journal", "spill", "files"]
TAKES_S = {"write": 1e-3, "name": 1e-4, "sync": 8e-3, "commit": 8e-3}


@dataclass(slots=True)
class Operation:
    """One step of a call that changes something."""

    kind: str
    place: Place
    undo: Callable[[], None]
    lands: Callable[[], None] = lambda: None


@dataclass(slots=True)
class File:
    """Bytes under one name or several."""

    data: bytes = b""
    safe: bytes = b""  # as of the last sync


class Mortal(Protocol):
    """What is kept as a whole by somebody else."""

    def process_died(self) -> None:
        """What was not finished is lost, or not."""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """What a question gives."""
        ...


@dataclass(slots=True)
class _Call:
    future: asyncio.Future[Any]
    work: Callable[[], Any]
    operations: list[Operation] = field(default_factory=list)
    landed: int = 0


class Disk:
    """What survives the process, and perhaps the power.

    Args:
        clock: on which calls take their time.
        random: what becomes of what is unsynced, and how long things take.
    """

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self.random = random
        self.faults: dict[Place, int] = {}  # place -> errno of everything that is to change there
        self.sync_s = 0.0  # that a sync takes longer than usual
        self.names: dict[str, File] = {}
        self._safe_names: dict[str, File] = {}
        self.databases: dict[str, Mortal] = {}
        self.kill_inside = False  # strike the process down inside the next call that changes something
        self.on_commit: Callable[[Place], None] = lambda place: None  # a transaction has landed
        self.quarantined: list[str] = []  # files that the daemon found damaged
        self._operations: list[Operation] | None = None  # of the call that is carried out right now
        self.descriptors: dict[int, File | None] = {}  # of open files; None: a folder
        self._next_descriptor = 1000
        self._calls: dict[Executor | None, deque[_Call]] = {}

    # --- threads ---

    def run(self, loop: Loop, executor: Executor | None, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Begin a call, after those that the same executor has before it."""
        call = _Call(loop.create_future(), work)
        line = self._calls.setdefault(executor, deque())
        line.append(call)
        if len(line) == 1:
            self._begin(loop, line)
        return call.future

    def _begin(self, loop: Loop, line: deque[_Call]) -> None:
        call = line[0]
        self._operations = call.operations
        result: Any = None
        error: Exception | None = None
        try:
            result = call.work()
        except Exception as raised:  # the caller's: it gets it when the time has come
            error = raised
        finally:
            self._operations = None
        strike = -1
        if call.operations and self.kill_inside:
            self.kill_inside = False
            strike = self.random.randrange(len(call.operations) + 1)

        def land(at: int) -> None:
            operation = call.operations[at]
            call.landed += 1
            operation.lands()
            if call.landed == strike:
                raise Killed

        def end() -> None:
            line.popleft()
            if not call.future.cancelled():
                if error is None:
                    call.future.set_result(result)
                else:
                    call.future.set_exception(error)
            if line:
                self._begin(loop, line)

        if strike == 0:
            loop.kill_after(0)
        after_s = 2e-4
        for at, operation in enumerate(call.operations):
            after_s += self._takes_s(operation.kind)
            loop.call_later(after_s, land, at)
        loop.call_later(after_s + 1e-6, end)

    def _takes_s(self, kind: str) -> float:
        usual = TAKES_S[kind] * self.random.uniform(0.5, 4.0)
        return usual + (self.sync_s if kind in ("sync", "commit") else 0.0)

    def operation(
        self, kind: str, place: Place, undo: Callable[[], None], lands: Callable[[], None] = lambda: None
    ) -> None:
        """Something was changed, by the call under way or, outside of any, at once and for good."""
        if self._operations is None:
            lands()
        else:
            self._operations.append(Operation(kind, place, undo, lands))

    def check(self, place: Place) -> None:
        """Raises OSError if nothing can be changed there now."""
        if (number := self.faults.get(place)) is not None:
            raise OSError(number, os.strerror(number))

    # --- the ends of a process ---

    def process_died(self) -> None:
        """Undo what has not landed; of what was just under way, either may be found."""
        for line in self._calls.values():
            call = line[0] if line else None
            if call is None:
                continue
            pending = call.operations[call.landed :]
            if pending and self.random.random() < 0.5:
                pending.pop(0).lands()
            for operation in reversed(pending):
                operation.undo()
        self._calls.clear()
        for database in self.databases.values():
            database.process_died()

    def power_failed(self) -> None:
        """And then forget what was not synced: names, or bytes, or both."""
        keep_names = self.random.random() < 0.5
        names = self.names if keep_names else self._safe_names
        for file in {id(file): file for file in names.values()}.values():
            if file.data != file.safe:
                kept = self.random.randrange(len(file.data) + 1)
                file.data = self.random.choice((file.safe, file.data[:kept], bytes(len(file.data))))
            file.safe = file.data
        self.names, self._safe_names = dict(names), dict(names)

    # --- files ---

    def renamed(self, old: str | None, new: str | None, file: File) -> None:
        """A name is made, dropped or changed."""
        self.check("files")
        before = dict(self.names)
        if old is not None:
            del self.names[old]
        if new is not None:
            self.names[new] = file
        self.operation("name", "files", lambda: self._set_names(before))

    def _set_names(self, names: dict[str, File]) -> None:
        self.names = names

    def written(self, file: File, data: bytes) -> None:
        self.check("files")
        before = file.data

        def undo() -> None:
            file.data = before

        file.data = data
        self.operation("write", "files", undo)

    def sync_file(self, file: File) -> None:
        self.check("files")
        data = file.data

        def land() -> None:
            file.safe = data

        self.operation("sync", "files", lambda: None, land)

    def sync_folder(self) -> None:
        self.check("files")
        names = dict(self.names)

        def land() -> None:
            self._safe_names = names

        self.operation("sync", "files", lambda: None, land)

    def descriptor(self, file: File | None) -> int:
        """A number for an open file, or for a folder."""
        self._next_descriptor += 1
        self.descriptors[self._next_descriptor] = file
        return self._next_descriptor
