"""A stream with disturbances through a small engine, and the archive that it leaves."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
import numpy as np

from streamd.archivist import concerns, items
from streamd.config import Alarm
from streamd.engine.engine import Engine
from streamd.engine.score import WARM_FRAMES
from streamd.records import Batch, Command, Effect, Outcome, Teach
from streamd.store import folders
from streamd.store.archive import Archive, Item
from tests.engine.runs import small_engine, with_training

GROUP = "pumps"
# few false alarms, and no disturbance belongs to the one before
SETTINGS = msgspec.structs.replace(with_training(enabled=False), alarm=Alarm(per_week=0.05, refractory_s=1.0))
WARM = WARM_FRAMES + 300  # until first alarms after the warm-up are over too
EVERY = 100  # frames between two disturbances: until the levels have come back, and all is calm
BEGIN = 1_700_000_000.0  # s since the epoch
TAUGHT = 3  # spikes
SPIKE, OTHER, BIGGER, DOWN = (40.0, 0.0), (0.0, 40.0), (200.0, 0.0), (-40.0, 0.0)


class Scene:
    """A stream of noise without a tail, with a disturbance at some frames."""

    def __init__(self, engine: Engine, seed: int = 1) -> None:
        self.engine = engine
        self._random = np.random.default_rng(seed)
        self.frame = 0
        self.records: list[Batch | Command] = []
        self.given: list[tuple[str, Outcome | Effect | Command]] = []

    def give(self, more: tuple[float, float] = (0.0, 0.0), stream: str = "s") -> Outcome:
        """One frame's outcome."""
        self.frame += 1
        values = 20.0 + self._random.uniform(-1.5, 1.5, size=2) + more
        batch = Batch((stream,), np.array([BEGIN + 60.0 * self.frame]), values[None])
        self.records.append(batch)
        outcome = self.engine.apply(batch)
        self.given.append((GROUP, outcome))
        return outcome

    def command(self, command: Command) -> Effect:
        self.records.append(command)
        effect = self.engine.command(command)
        self.given.append((GROUP, effect if effect.incidents else command))
        return effect

    def calm(self, frames: int = EVERY) -> list[Outcome]:
        return [self.give() for _ in range(frames)]

    def disturbed(self, more: tuple[float, float]) -> tuple[list[str], list[Outcome]]:
        """Ids of the incidents that a disturbance of one frame raises, and the outcomes until all is calm."""
        outcomes = [self.give(more), *self.calm()]
        ids = [one.id for outcome in outcomes for one in outcome.incidents if one.state == "raised"]
        return ids, outcomes

    def rows(self) -> list[Item]:
        """What is archived of it."""
        return items([(group, one) for group, one in self.given if concerns(one)])


def teach(scene: Scene) -> Scene:
    """Spikes are called false."""
    scene.calm(WARM)
    for _ in range(TAUGHT):
        ids, _ = scene.disturbed(SPIKE)
        assert scene.engine.refusal(Teach(ids[0], "false")) == ""
        scene.command(Teach(ids[0], "false"))
    return scene


@functools.cache
def history() -> tuple[tuple[Item, ...], str]:
    """What is archived of three spikes that were called false and another fault after them, and that one's id."""
    scene = teach(Scene(small_engine(SETTINGS)))
    ids, _ = scene.disturbed(OTHER)
    return tuple(scene.rows()), ids[0]


def state_folder(folder: Path) -> str:
    """Writes the archive of that into a folder; gives the last incident's id."""
    rows, last = history()
    archive = Archive.open(folder / folders.ARCHIVE)
    archive.put(rows)
    archive.close()
    return last
