from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest

from streamd.engine import novelty
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.engine.score import WARM_FRAMES
from streamd.records import Array, Batch, Freeze, Outcome, Record, Reset, Silent, Stretch, Thaw, Widen
from tests.engine import contract
from tests.engine.runs import SETTINGS, STREAMS, Plant, small_engine, with_training


def records() -> Iterator[Record]:
    """A life with everything in it that changes state; one stream has a period that is found."""
    plant, channels = Plant(4), 2
    for number in range(180):
        match number:
            case 50:
                yield Stretch(1.7)
            case 55:
                yield Silent(STREAMS[:3])
            case 60:
                yield Reset(STREAMS[1])
            case 80:
                yield Freeze()
            case 90:
                yield Thaw()
            case 100:
                yield Reset()
        batch = plant.batch(channels)
        more = {"beat": 20.0 + 3.0 * np.sin(number * (2 * np.pi / 9))}
        if number in (40, 120):
            more[f"new{number}"] = 0.0
        yield Batch(
            (*batch.streams, *more),
            np.append(batch.times, np.full(len(more), 60.0 * number)),
            np.concatenate([batch.values, np.repeat([[value] for value in more.values()], channels, axis=1)]),
        )


def long_life() -> Iterator[Record]:
    """And after it a stream that is warm and goes wrong for a while, twice."""
    yield from records()
    values = 20.0 + np.random.default_rng(5).normal(size=(WARM_FRAMES + 700, 2))
    for bad in (slice(-520, -500), slice(-60, -30)):
        values[bad] += 40.0
    for number, row in enumerate(values, 200):
        yield Batch(("beat",), np.array([3600.0 * number]), row[None])


@pytest.mark.parametrize("every", [1, 7, 90])
def test_an_engine_that_is_saved_and_loaded_goes_on_to_the_bit(every: int) -> None:
    contract.check(small_engine, records(), every)


def test_so_does_one_with_a_stream_that_goes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "ERA_FRAMES", 100)
    contract.check(small_engine, long_life(), 97)


def test_an_engine_of_an_auto_group_that_widens_keeps_to_it_too() -> None:
    def widening() -> Iterator[Record]:
        plant, channels = Plant(5), 0
        for number in range(90):
            if number % 30 == 0:
                channels += 1
                yield Widen((f"c{channels}",))
            yield plant.batch(channels)

    auto = msgspec.structs.replace(SETTINGS, channels="auto")
    contract.check(lambda: small_engine(auto), widening(), 5)


def test_the_walk_finds_the_parts_and_what_the_life_of_an_engine_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "ERA_FRAMES", 100)  # what was seen in the one before is kept apart
    engine, changed = small_engine(), set()
    before = contract.walk(engine, "engine")
    for number, record in enumerate(long_life()):
        if isinstance(record, Batch):
            engine.apply(record)
        else:
            engine.command(record)
        if number % 15 == 0:  # what is only so while something lasts is as before at the end
            after = contract.walk(engine, "engine")
            changed |= {path for path in after if before.get(path) != after[path]}
    arrays, _ = engine.state_dict()
    for name in arrays:
        if not name.startswith(("learner.", "feedback.")):
            assert {f"engine.{name}", f"engine.experts.{name}", f"engine.judge.{name}"} & changed, name
    for path in (
        "frames",
        "known",
        "resets",
        "learner.weights.w_head",
        "learner.stretch",
        "learner._random",
        "learner._optimizer.step",
        "learner.generation",
        "memory.added",
        "slots.names.0",
    ):
        assert f"engine.{path}" in changed, path


class Moody(Engine):
    """Keeps something that it does not save."""

    mood = 0

    def apply(self, batch: Batch) -> Outcome:
        self.mood += 1
        return super().apply(batch)


class ForgetsTail(Engine):
    """Saves all but one column, and loads what is left."""

    def load_state_dict(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        super().load_state_dict({**arrays, "tails.excess": np.full_like(arrays["tails.excess"], 1.5)}, meta)


class ForgetsChance(Engine):
    """Goes on with other random numbers."""

    def load_state_dict(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        chance = self.learner.generator.bit_generator.state
        super().load_state_dict(arrays, meta)
        self.learner.generator.bit_generator.state = chance


class ForgetsWindows(Engine):
    """Loads the replay memory without its count."""

    def load_state_dict(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        super().load_state_dict(arrays, meta)
        self.memory.added = 0


class ForgetsJob(Engine):
    """Lets the training job under way go."""

    def load_state_dict(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        super().load_state_dict(arrays, {**meta, "learner": {**meta["learner"], "job_batches": None}})


class Drifts(Engine):
    """Loads a number a little off."""

    def load_state_dict(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        super().load_state_dict({**arrays, "scale.mean": np.nextafter(arrays["scale.mean"], np.inf)}, meta)


@pytest.mark.parametrize(
    ("double", "path"),
    [
        (Moody, "mood"),
        (ForgetsTail, "tails.excess"),
        (ForgetsChance, "learner._random"),
        (ForgetsWindows, "memory.added"),
        (ForgetsJob, "learner._job"),
        (Drifts, "scale.mean"),
    ],
)
def test_an_engine_that_forgets_something_is_found_out(double: Callable[..., Engine], path: str) -> None:
    with pytest.raises(AssertionError, match=path):
        contract.check(lambda: double(SETTINGS, InlineTrainer()), records(), 45)


def test_a_difference_between_makes_is_found_even_if_nothing_is_forgotten() -> None:
    settings = iter([SETTINGS, *[with_training(learning_rate=0.1)] * 99])
    with pytest.raises(AssertionError, match="outcome"):
        contract.check(lambda: small_engine(next(settings)), records(), 45)
