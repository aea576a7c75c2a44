from __future__ import annotations

import numpy as np
import pytest

from streamd.differences import Difference, of_group, of_streams
from streamd.engine.engine import Engine
from streamd.records import Widen
from tests.engine.runs import SETTINGS, STREAMS, Plant, small_engine, with_training


def grown(seed: int = 1, batches: int = 30) -> Engine:
    engine = small_engine()
    for batch in Plant(seed).batches(batches):
        engine.apply(batch)
    return engine


def between(one: Engine, other: Engine) -> list[Difference]:
    return [*of_group(one, other), *of_streams(STREAMS, one, other)]


def test_the_same_records_give_no_difference() -> None:
    assert between(grown(), grown()) == []


def test_streams_are_the_same_whatever_row_they_have() -> None:
    one, other = grown(), grown()
    other.restore(other.spill(3))
    assert one.slots.names != other.slots.names
    assert between(one, other) == []


def test_a_value_of_a_stream_is_found_with_its_place() -> None:
    one, other = grown(), grown()
    slot = other.slots.get("s4")
    was = float(one.scale.mean[slot, 1])
    other.scale.mean[slot, 1] = np.nextafter(was, np.inf)
    (found,) = between(one, other)
    assert (found.name, found.stream, found.index, found.count) == ("scale.mean", "s4", (1,), 1)
    assert float(found.replayed) == was
    assert float(found.kept) == np.nextafter(was, np.inf)


def test_all_values_of_an_array_that_differ_are_counted() -> None:
    one, other = grown(), grown()
    other.hidden.h[:] += 1.0
    (found,) = between(one, other)
    assert (found.name, found.stream, found.index) == ("hidden.h", STREAMS[0], (0, 0))
    assert found.count == one.hidden.h[: len(one.slots)].size


def test_numbers_that_are_equal_but_not_the_same_differ() -> None:
    one, other = grown(), grown()
    slot = other.slots.get("s0")
    one.scale.mean[slot], other.scale.mean[slot] = 0.0, -0.0
    (found,) = between(one, other)
    assert (found.replayed, found.kept) == ("0.0", "-0.0")
    one.scale.mean[slot], other.scale.mean[slot] = np.nan, np.nan
    assert between(one, other) == []
    other.scale.mean.view(np.uint64)[slot, 0] ^= 1
    (found,) = between(one, other)
    assert found.replayed != found.kept


def test_weights_and_numbers_are_the_groups() -> None:
    one, other = grown(), grown()
    other.learner.weights["w_ih_0"][0, 1] += 1.0
    other.state.frames += 1
    other.pool.weight = other.pool.weight + 1.0
    found = {difference.name: difference for difference in between(one, other)}
    frames, weights = found["frames"], found["learner.weights.w_ih_0"]
    assert (frames.stream, frames.index) == (None, ())
    assert (int(frames.replayed), int(frames.kept)) == (one.frames, one.frames + 1)
    assert (weights.stream, weights.index, weights.count) == (None, (0, 1), 1)
    assert (found["pool.weight"].stream, found["pool.weight"].index) == (None, (0, 0, 0))


def test_another_draw_of_chance_is_a_difference() -> None:
    one, other = grown(), grown()
    other.learner.generator.random()
    assert [found.name for found in between(one, other)] == ["learner.random.state.state"]


def test_a_stream_that_only_one_side_has_is_missing() -> None:
    one, other = grown(), grown()
    other.spill(1)
    (found,) = between(one, other)
    assert found.name == "streams"
    assert found.stream not in other.slots
    assert (found.replayed, found.kept) == ("there", "missing")


def test_arrays_of_another_shape_are_told_by_their_shapes() -> None:
    one, other = small_engine(with_training(enabled=False)), small_engine(with_training(enabled=False))
    other.command(Widen(("c",)))
    batch = Plant(1, STREAMS[:1]).batch()
    one.apply(batch)
    other.apply(Plant(1, STREAMS[:1]).batch(channels=3))
    found = {difference.name: difference for difference in between(one, other)}
    assert (found["scale.mean"].replayed, found["scale.mean"].kept) == ("float64[1, 2]", "float64[1, 3]")
    assert found["channels"].stream is None


def test_no_streams_are_no_difference() -> None:
    assert list(of_streams([], grown(), small_engine())) == []
    assert list(of_streams(["never seen"], grown(), grown(seed=2))) == []


@pytest.mark.parametrize("name", ["s0", "s5"])
def test_asking_changes_nothing(name: str) -> None:
    one, other = grown(), grown()
    other.scale.mean[other.slots.get(name)] = 1.0
    first = between(one, other)
    assert between(one, other) == first
    assert one.settings == SETTINGS
