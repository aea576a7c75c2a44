"""How a group's network learns: what became of each training job, and where the schedule stands.

Remembers the newest reports since the start of the process. Knows reports and the learner's numbers; not the weights.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from streamd.engine.engine import Engine
from streamd.records import Report

MOST: Final = 1000  # jobs


class Job(msgspec.Struct, frozen=True, array_like=True):
    """What became of one."""

    time: float  # s since the epoch, by our clock, when its candidate was judged
    frames: int  # of the group by then
    accepted: bool
    reason: str
    loss: float
    before: float  # on held-back windows, with the weights that were in use
    after: float  # ... with the candidate
    steps: int


class Learning(msgspec.Struct, frozen=True):
    """A group's network as it is now."""

    group: str
    enabled: bool
    frozen: bool
    channels: int
    hidden: int
    layers: int
    weights: int  # numbers that are learnt
    frames: int  # of the group so far
    due_at: int  # frames at which the next job falls due
    stretch: float
    generation: int  # so many times the weights moved so far that the streams' states were made anew
    windows: int  # in the replay memory
    most_windows: int
    jobs: Sequence[Job]


class Reports:
    """Of one group."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque(maxlen=MOST)

    def hear(self, time: float, frames: int, reports: Sequence[Report]) -> None:
        """Take in what an outcome says of training."""
        for one in reports:
            losses = one.loss, one.held_back_before, one.held_back_after
            self._jobs.append(Job(time, frames, one.accepted, one.reason, *losses, one.steps))

    def look(self, group: str, engine: Engine) -> Learning:
        """All there is to say."""
        learner, settings = engine.learner, engine.settings
        return Learning(
            group=group,
            enabled=settings.training.enabled,
            frozen=learner.frozen,
            channels=len(engine.channels),
            hidden=settings.network.hidden,
            layers=settings.network.layers,
            weights=sum(int(tensor.numel()) for tensor in learner.weights.values()),
            frames=engine.frames,
            due_at=learner.due_at,
            stretch=learner.stretch,
            generation=learner.generation,
            windows=engine.memory.used,
            most_windows=engine.memory.slots,
            jobs=tuple(self._jobs),
        )
