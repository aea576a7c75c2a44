"""What happens to a daemon in some hours, drawn from a seed: readings, and the weather that they fall in.

Knows times and kinds of event; does not know how they are carried out. The script is drawn before the world begins, so
that it does not depend on what the daemon does. Each seed leaves some kinds of bad weather out: their combinations
differ more than if all of them came each time.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "readings",  # a burst of messages
    "command",  # a reset, which is journaled
    "checkpoint",  # a command for one
    "kill",  # between any two callbacks
    "kill_inside",  # while a call changes the disk
    "power",  # the same, and what is unsynced is gone
    "stop",  # SIGTERM
    "cut",  # the connection breaks
    "stall",  # nothing gets through for a while
    "unreachable",  # for longer
    "broker_restart",  # with its persistence
    "session_lost",  # without
    "disk_fault",  # nothing can be written for a while
    "slow_disk",  # a sync takes 2 s
    "clock_step",  # of the daemon's
]

WEATHER: tuple[Kind, ...] = (
    "kill",
    "kill_inside",
    "power",
    "stop",
    "cut",
    "stall",
    "unreachable",
    "broker_restart",
    "session_lost",
    "disk_fault",
    "slow_disk",
    "clock_step",
    "command",
    "checkpoint",
)
FAULTS = (errno.ENOSPC, errno.EIO, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens."""

    time: float  # s since the world began
    kind: Kind
    amount: int = 0  # messages, or callbacks until the kill
    lasts_s: float = 0.0  # or how far the clock is stepped
    number: int = 0  # errno


@dataclass(frozen=True, slots=True)
class Conditions:
    """What stays the same all the time."""

    lasts_s: float
    window: int  # of the broker
    broken_window: bool
    latency_s: float
    inbox: int
    commit_ms: float
    commit_frames: int
    residents: int  # streams of a group in memory
    max_batch: int
    journal_bytes: int  # that are worth a checkpoint
    look_s: float  # between two looks at the costs of a checkpoint


def conditions(random: Random, hours: float) -> Conditions:
    """The conditions of a world."""
    return Conditions(
        lasts_s=3600.0 * hours,
        window=random.choice((1, 3, 20, 20, 200)),
        broken_window=random.random() < 0.3,
        latency_s=random.choice((0.002, 0.05, 0.5)),
        inbox=random.choice((2, 10, 50, 2000)),
        commit_ms=random.choice((1.0, 200.0, 1000.0, 1000.0, 5000.0)),
        commit_frames=random.choice((1, 10, 5000)),
        residents=random.choice((1, 3, 1000)),
        max_batch=random.choice((1, 4, 256)),
        journal_bytes=random.choice((500, 2000, 8000)),
        look_s=random.choice((10.0, 60.0, 60.0, 300.0)),
    )


def script(random: Random, lasts_s: float) -> list[Event]:
    """The events of a world, in order."""
    events: list[Event] = []
    kinds = [kind for kind in WEATHER if random.random() < 0.6]
    pause_s = lasts_s / random.choice((10.0, 25.0, 60.0))
    time = 60.0
    while (time := time + random.expovariate(1.0 / pause_s)) < lasts_s:
        lasts = random.choice((0.01, 1.0, 20.0, 120.0))
        events.append(Event(time, "readings", random.choice((1, 3, 10, 30)), lasts))
        for _ in range(random.choice((0, 1, 1, 2, 4)) if kinds else 0):
            # most of it while readings are on their way, some of it at any time
            delay = random.uniform(0.0, lasts + 1.0) if random.random() < 0.8 else random.uniform(0.0, pause_s)
            kind = random.choice(kinds)
            events.append(_DRAW.get(kind, _plain)(random, kind, time + delay))
    return sorted((event for event in events if event.time < lasts_s), key=lambda event: event.time)


def _plain(_: Random, kind: Kind, time: float) -> Event:
    return Event(time, kind)


def _lasting(*choices: float) -> Callable[[Random, Kind, float], Event]:
    return lambda random, kind, time: Event(time, kind, lasts_s=random.choice(choices) * random.uniform(0.5, 1.5))


_DRAW: dict[Kind, Callable[[Random, Kind, float], Event]] = {
    "kill": lambda random, kind, time: Event(time, kind, int(random.expovariate(1 / 30.0))),
    "stall": _lasting(0.5, 10.0),
    "unreachable": _lasting(2.0, 60.0, 3600.0),
    "broker_restart": _lasting(1.0, 120.0),
    "session_lost": _lasting(1.0, 120.0),
    "slow_disk": _lasting(10.0, 600.0),
    "disk_fault": lambda random, kind, time: Event(
        time, kind, random.randrange(1, 8), random.choice((1.0, 60.0, 1800.0)), random.choice(FAULTS)
    ),
    "clock_step": lambda random, kind, time: Event(
        time, kind, lasts_s=random.choice((-1.0, 1.0)) * random.choice((0.5, 60.0, 20_000.0))
    ),
}
