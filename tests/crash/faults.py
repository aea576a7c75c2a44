"""Where a daemon may be told to die or to stop: named calls of its own code, before, within or after the n-th of them.

Knows the names of those functions; the daemon does not know of it. Armed in the daemon's process, before it runs.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from streamd import app, recovery
from streamd.edge.connection import Connection
from streamd.edge.mqtt import Link
from streamd.engine.engine import Engine
from streamd.engine.learner import Learner
from streamd.store import tensors
from streamd.store.journal import Journal
from streamd.store.sqlite import Database

Moment: TypeAlias = Literal["before", "within", "after"]

TOLD = "fault struck:"


class Fault(msgspec.Struct, frozen=True):
    """One signal at one call."""

    point: str  # one of POINTS
    moment: Moment = "before"
    call: int = 1  # the n-th one that this process makes
    within_s: float = 0.0  # after the call's begin; another thread sends the signal then
    signal: int = int(signal.SIGKILL)


class _Strike:
    """Counts calls and sends the signal when its call comes."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._calls = 0

    def begin(self) -> bool:
        """A call that counts begins; whether it is the one."""
        self._calls += 1
        if self._calls != self._fault.call:
            return False
        if self._fault.moment == "before":
            self._send()
        elif self._fault.moment == "within":
            self._tell()
            threading.Thread(target=self._send_later, daemon=True).start()
        return True

    def end(self, struck: bool) -> None:
        """The call has ended; `struck`: it was the one."""
        if struck and self._fault.moment == "after":
            self._send()

    def _send(self) -> None:
        self._tell()
        os.kill(os.getpid(), self._fault.signal)

    def _send_later(self) -> None:
        time.sleep(self._fault.within_s)  # this thread's whole job
        os.kill(os.getpid(), self._fault.signal)

    def _tell(self) -> None:
        os.write(2, f"{TOLD} {self._fault.moment} {self._fault.point}\n".encode())


def arm(fault: Fault) -> None:
    """Wrap the function behind the fault's point in this process."""
    POINTS[fault.point](_Strike(fault))


def _wrap(owner: Any, name: str, strike: _Strike, counts: Callable[..., bool] = lambda *_: True) -> None:
    """Let the strike see every call of a function or method that counts."""
    original = getattr(owner, name)

    @wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if not counts(*arguments):
            return original(*arguments, **named)
        struck = strike.begin()
        result = original(*arguments, **named)
        strike.end(struck)
        return result

    setattr(owner, name, wrapped)


class _Watched:
    """A connection of the journal's whose COMMITs count."""

    def __init__(self, connection: Any, strike: _Strike) -> None:
        self._connection = connection
        self._strike = strike

    def execute(self, sql: str, *parameters: Any) -> Any:
        struck = sql == "COMMIT" and self._strike.begin()
        result = self._connection.execute(sql, *parameters)
        self._strike.end(struck)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _transaction(strike: _Strike) -> None:
    original = Database._open

    def opened(self: Database) -> Any:
        connection: Any = original(self)
        if self.path.name == "journal.sqlite":
            connection = self._connection = _Watched(connection, strike)
        return connection

    Database._open = opened  # type: ignore[method-assign]


def _replay(strike: _Strike) -> None:
    """A piece of the journal that is applied again."""
    replay = recovery.replay

    @wraps(replay)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        struck = strike.begin()
        result = await replay(*arguments, **named)
        strike.end(struck)
        return result

    recovery.replay = wrapped


def _replayed(strike: _Strike) -> None:
    """A batch that is applied again."""
    replay, recovering = recovery.replay, []

    @wraps(replay)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        recovering.append(True)
        result = await replay(*arguments, **named)
        recovering.clear()
        return result

    recovery.replay = wrapped
    _wrap(Engine, "apply", strike, lambda *_: bool(recovering))


POINTS: dict[str, Callable[[_Strike], None]] = {
    "apply": lambda strike: _wrap(Engine, "apply", strike),  # of a batch that is noted and not committed
    "transaction": _transaction,  # SQLite's COMMIT, of the journal's commit or truncation
    "commit": lambda strike: _wrap(Journal, "commit", strike),
    "acknowledge": lambda strike: _wrap(Connection, "acknowledge", strike),
    "publish": lambda strike: _wrap(Connection, "publish", strike),
    "train": lambda strike: _wrap(app, "train", strike),  # on its own thread
    "incident": lambda strike: _wrap(Link, "publish_message", strike, lambda _, message: message.kind == "incident"),
    "install": lambda strike: _wrap(Learner, "install", strike),  # of what was trained
    "write": lambda strike: _wrap(tensors, "write", strike),  # of a checkpoint's temporary file
    "rename": lambda strike: _wrap(Path, "replace", strike, lambda _, to: Path(to).name.startswith("checkpoint-")),
    "truncate": lambda strike: _wrap(Journal, "truncate", strike),
    "replay": _replay,
    "replayed": _replayed,
}
