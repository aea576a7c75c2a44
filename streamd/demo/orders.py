"""Faults on demand: a line that somebody types, as a fault to be done to the plant.

A line names a machine, a kind and a channel in any order, and may leave out any of them, or all. Knows words; not how a
fault is done.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from streamd.demo.plant import CHANNELS, LENGTH, MACHINES, FaultKind

CHUNK = 4096  # bytes


class OrderError(ValueError):
    """The line can't be understood; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Order:
    """A fault that is to begin with a machine's next reading."""

    kind: FaultKind
    machine: str
    channel: str


def parse(line: str, number: int) -> Order:
    """What a line asks for; what it leaves out is a spike in the vibration, of one machine after the other.

    Args:
        number: of lines before it.

    Raises:
        OrderError: a word is no machine, kind or channel.

    >>> parse("stuck pump-2", 0)
    Order(kind='stuck', machine='pump-2', channel='vibration')
    """
    kinds = {kind.split()[0]: kind for kind in LENGTH}  # "lost" is enough for "lost coupling"
    machines = list(MACHINES)
    kind: FaultKind = "spike"
    machine, channel = machines[number % len(machines)], "vibration"
    for word in line.lower().split():
        if word in kinds:
            kind = kinds[word]
        elif word in MACHINES:
            machine = word
        elif word in CHANNELS:
            channel = word
        elif not any(word in known.split() for known in LENGTH):
            expected = f"{', '.join(MACHINES)}; {', '.join(kinds)}; {', '.join(CHANNELS)}"
            raise OrderError(f"{word!r} is none of {expected}")
    return Order(kind, machine, channel)


def listen(descriptor: int, take: Callable[[str], None]) -> None:
    """Have each line that can be read from a descriptor handed over on the running loop, until it ends."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        rest = b""
        # not through sys.stdin, whose lock this thread would hold when the process ends
        while data := os.read(descriptor, CHUNK):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                try:
                    loop.call_soon_threadsafe(take, line.decode(errors="replace"))
                except RuntimeError:  # the loop is gone
                    return

    threading.Thread(target=read, name="orders", daemon=True).start()
