"""Small engines, seeded records for them, and what it means that two runs are the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from streamd.config import Group, Network, Training
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Array, Batch, Outcome

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
