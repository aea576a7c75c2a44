"""Puts the daemon on the stage: the real shell, with doubles for all that is outside of it.

Knows which names the daemon's modules have imported; does not know what the doubles do. A double takes the place of the
real thing in every module that has it, so that it does not matter who uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import streamd.app
from streamd import checkpointer, recovery
from streamd.edge import connection, dial, mqtt, training, web
from streamd.engine import engine
from streamd.store import lock, sqlite
from tests.simulation.broker import Broker, Connection, dialer
from tests.simulation.clock import Clock
from tests.simulation.database import Database
from tests.simulation.disk import Disk
from tests.simulation.machine import SimulatedTraining
from tests.simulation.paths import Os, SimPath

RECORDS_PER_TURN = 10  # so that a signal comes in the middle of a recovery


@contextlib.contextmanager
def installed(
    clock: Clock,
    disk: Disk,
    broker: Broker,
    random: Random,
    *,
    make_engine: Callable[..., Any],
    train: Callable[[Any], Any],
    journal_bytes: int,
    look_s: float,
) -> Iterator[None]:
    """As long as it lasts, a daemon that is started lives in this world.

    Args:
        random: of the link's jitter, and of how long training takes.
        make_engine: the engine of a group, from its settings and its trainer.
        train: makes a candidate of a job.
        journal_bytes: of a journal that is worth a checkpoint.
        look_s: between two looks at that.
    """
    system = Os(disk)
    log = logging.getLogger("streamd")
    with contextlib.ExitStack() as stack:

        def put(owner: Any, name: str, value: Any) -> None:
            stack.enter_context(_attribute(owner, name, value))

        stack.enter_context(clock.installed("streamd"))
        for real, double in (
            (engine.Engine, make_engine),
            (training.TrainingThread, _Trainings(clock, random, train)),
            (web.Web, _Web),
            (lock.hold, contextlib.nullcontext),
            (connection.Connection, Connection),
            (dial.dial, dialer(broker)),
            (sqlite.Database, type("Bound", (Database,), {"disk": disk})),
        ):
            stack.enter_context(_in_place_of(real, double))
        for name in ("checkpoint", "tensors", "folders"):
            module = sys.modules[f"streamd.store.{name}"]
            put(module, "os", system)
            put(module, "open", system.open_file)
        for module in (streamd.app, recovery):
            put(module, "Path", lambda path: SimPath(disk, path))
        put(mqtt, "Random", lambda: random)
        put(checkpointer, "LEAST_BYTES", journal_bytes)
        put(checkpointer, "LOOK_S", look_s)
        put(recovery, "RECORDS_PER_TURN", RECORDS_PER_TURN)
        stack.callback(log.setLevel, log.level)
        log.setLevel(log.level or logging.CRITICAL)
        yield


@contextlib.contextmanager
def _attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    missing = object()
    before = vars(owner).get(name, missing)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


@contextlib.contextmanager
def _in_place_of(real: Any, double: Any) -> Iterator[None]:
    """Every module of the daemon that has the one gets the other."""
    with contextlib.ExitStack() as stack:
        for module in [module for name, module in sys.modules.items() if name.startswith("streamd.")]:
            for name in [name for name, value in vars(module).items() if value is real]:
                stack.enter_context(_attribute(module, name, double))
        yield


class _Trainings:
    """Takes the place of the class `TrainingThread`: one for each life."""

    def __init__(self, clock: Clock, random: Random, train: Callable[[Any], Any]) -> None:
        self._given = clock, random, train

    def __getitem__(self, _: Any) -> Callable[..., SimulatedTraining]:
        return lambda _train, on_cpu: SimulatedTraining(*self._given, on_cpu)


class _Web:
    """Takes the place of the HTTP server: nobody asks."""

    port = 0

    def __init__(self, *_: Any) -> None:
        """Nothing listens."""

    async def __aenter__(self) -> _Web:
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
