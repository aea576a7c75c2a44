"""Small engines, seeded records for them, and what it means that two runs are the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import torch

from streamd.config import Channel, Group, Network, Training
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Array, Batch, Freeze, Outcome, Reset, Stretch, Thaw, Widen

CHANNELS = ("a", "b")
SHARED = ("memory.", "learner.", "pool.", "common.", "feedback.")  # arrays without a row per stream
STREAMS = tuple(f"s{i}" for i in range(6))
# rings of 10 frames, a replay memory that is full after a few dozen, a job every few batches
SETTINGS = Group(
    channels=CHANNELS,
    horizon_steps=3,
    coverage=(0.9, 0.5),
    paths=4,
    network=Network(hidden=4, layers=2),
    training=Training(
        every_frames=3,
        lag_frames=2,
        windows=3,
        steps=2,
        burn_in_frames=2,
        train_frames=4,
        memory_windows=12,
        learning_rate=0.05,
    ),
)


def small_engine(settings: Group = SETTINGS) -> Engine:
    return Engine(settings, InlineTrainer())


def with_training(**changes: Any) -> Group:
    """The usual small settings with another training."""
    return msgspec.structs.replace(SETTINGS, training=msgspec.structs.replace(SETTINGS.training, **changes))


class Plant:
    """Batches without end: some of the streams, each a noisy sine, some values missing; the same for the same seed."""

    def __init__(self, seed: int, streams: tuple[str, ...] = STREAMS) -> None:
        self._random = np.random.default_rng(seed)
        self._streams = streams
        self._tick = 0

    def batch(self, channels: int = len(CHANNELS)) -> Batch:
        self._tick += 1
        count = int(self._random.integers(1, len(self._streams) + 1))
        chosen = self._random.permutation(len(self._streams))[:count]
        phase = self._tick / 5 + chosen[:, None] + np.arange(channels)
        values = 20 + 3 * np.sin(phase) + 0.3 * self._random.normal(size=(count, channels))
        values[self._random.random(values.shape) < 0.1] = np.nan
        return Batch(tuple(self._streams[i] for i in chosen), np.full(count, 60.0 * self._tick), values)

    def batches(self, count: int) -> Iterator[Batch]:
        return (self.batch() for _ in range(count))


def state(engine: Engine) -> tuple[dict[str, Array], dict[str, Any]]:
    """A copy of all state that shares nothing with the engine; meta has been through JSON."""
    arrays, meta = engine.state_dict()
    return {name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(meta))


def bits(arrays: Mapping[str, Array]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Arrays as something that is equal only where every bit is."""
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}


def outcome_bits(outcome: Outcome) -> dict[str, Any]:
    fields = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    return {name: value.tobytes() if isinstance(value, np.ndarray) else repr(value) for name, value in fields.items()}


def by_stream(engine: Engine) -> dict[str, Any]:
    """All state, the rows of streams by their name: equal where nothing but the numbering of the slots differs."""
    arrays, meta = engine.state_dict()
    names = meta.pop("streams")
    shared = {name: array for name, array in arrays.items() if name.startswith(SHARED)}
    rows = {
        stream: bits({name: array[slot] for name, array in arrays.items() if name not in shared})
        for slot, stream in enumerate(names)
    }
    return {"meta": meta, "shared": bits(shared), "streams": rows}


WITHOUT_TRAINING = with_training(enabled=False)


FORECAST = ("mean", "lower", "upper")


def with_settings(settings=WITHOUT_TRAINING, **changes):
    return msgspec.structs.replace(settings, **changes)


def one_stream(engine, values, start=0, every=60.0):
    """Outcomes of one stream's rows [N, C], a frame every so many seconds."""
    values = np.asarray(values, float)
    return [engine.apply(Batch(("s",), np.array([every * (start + n)]), row[None])) for n, row in enumerate(values)]


def noise(count, channels=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, channels))


def give_it_something_to_say(engine, seed=0):
    """A head and a skip that are not zero, as after learning, so that hidden states show in forecasts."""
    shape = engine.learner.shape
    generator = torch.Generator().manual_seed(seed)
    weights = dict(engine.learner.weights)
    weights["w_head"] = 0.3 * torch.randn(shape.outputs, shape.hidden, generator=generator)
    weights["w_skip"] = 0.1 * torch.randn(shape.horizon, shape.planes, shape.channels, generator=generator)
    engine.learner.weights = weights


def stacked(outcomes: Iterable[Outcome], name):
    return np.concatenate([getattr(outcome, name) for outcome in outcomes])


def commands(number):
    """A command now and then, the same in every run."""
    return {
        25: Reset("s1"),
        40: Stretch(1.5),
        55: Freeze(),
        70: Thaw(),
        90: Widen(("new",)),
        110: Reset(),
    }.get(number)


AUTO = msgspec.structs.replace(SETTINGS, channels="auto")


LENGTH = 130


def records():
    """Batches and commands of a long run with all there is."""
    plant, channels = Plant(11), 2
    yield Widen(("a", "b"))
    for number in range(LENGTH):
        command = commands(number)
        if command is not None:
            yield command
            channels += isinstance(command, Widen)
        yield plant.batch(channels)


def play(engine, some):
    found = []
    for record in some:
        if isinstance(record, Batch):
            found.append(outcome_bits(engine.apply(record)))
        else:
            engine.command(record)
    return found


def told_of(outcomes):
    return [told for outcome in outcomes for told in outcome.incidents]


def event_of_the_plant():
    """Batches of six streams, four of which leave their range for a while, one after the other."""
    for n in range(60):
        values = 20.0 + noise(len(STREAMS), seed=n)
        for i in range(4):
            values[i, 0] += 100.0 * (30 + i <= n < 38)
        half = slice(0, 3) if n % 2 else slice(3, 6)
        for part in (slice(0, 3), slice(3, 6)) if n > 20 else (half,):
            yield Batch(STREAMS[part], np.full(3, 60.0 * n), values[part])


PLANT = with_settings(channel={"a": Channel(high=50.0)})


def states(outcomes):
    return [(one.id, one.state) for outcome in outcomes for one in outcome.incidents]
