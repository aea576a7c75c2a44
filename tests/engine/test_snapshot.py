from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.config import Group
from streamd.engine.engine import Engine
from streamd.engine.snapshot import RowCopy
from streamd.records import Freeze, Reset, Stretch, Thaw, Widen
from tests.engine.runs import SETTINGS, STREAMS, Plant, bits, outcome_bits, small_engine, state

AUTO = Group(horizon_steps=3, network=SETTINGS.network, training=SETTINGS.training)


def seasoned() -> Engine:
    """An engine whose rings and replay memory are full and that has trained."""
    engine = small_engine(AUTO)
    engine.command(Widen(("a", "b")))
    for batch in Plant(1).batches(60):
        engine.apply(batch)
    assert engine.memory.added > engine.memory.slots
    assert state(engine)[1]["learner"]["optimizer_step"]
    return engine


SEASONED = state(seasoned())
OPERATIONS = st.one_of(
    st.sampled_from(["apply", "apply", "apply", "apply new", "reset all", "reset one", "widen", "freeze", "thaw"]),
    st.sampled_from(["stretch", "spill", "restore"]),
    st.integers(1, 9),  # rows to copy
)


def carry_out(engine: Engine, what: str, plant: Plant, store: dict[str, bytes]) -> Any:
    match what:
        case "apply" | "apply new":
            batch = plant.batch(len(engine.channels))
            if what == "apply new":
                batch = type(batch)((f"new{engine.frames}", *batch.streams[1:]), batch.times, batch.values)
            engine.restore([(name, store.pop(name)) for name in engine.absent(batch.streams) if name in store])
            return outcome_bits(engine.apply(batch))
        case "reset all":
            engine.command(Reset())
        case "reset one":
            engine.command(Reset(STREAMS[2]))
        case "widen":
            engine.command(Widen((f"c{len(engine.channels)}",)))
        case "freeze":
            engine.command(Freeze())
        case "thaw":
            engine.command(Thaw())
        case "stretch":
            engine.command(Stretch(1.5))
        case "spill":
            store |= dict(engine.spill(2))
        case "restore":
            engine.restore([(name, store.pop(name)) for name in list(store)[:1]])
    return None


@settings(max_examples=50, deadline=None)
@given(st.lists(OPERATIONS, max_size=25), st.integers(0, 1000))
def test_a_snapshot_is_the_state_at_its_marking_whatever_happens_while_it_is_copied(
    operations: list[str | int], seed: int
) -> None:
    engine, twin = small_engine(AUTO), small_engine(AUTO)
    engine.load_state_dict(*copy.deepcopy(SEASONED))
    twin.load_state_dict(*copy.deepcopy(SEASONED))
    plant, twins_plant = Plant(seed), Plant(seed)
    store: dict[str, bytes] = {}
    twins_store: dict[str, bytes] = {}

    expected = state(engine)
    snapshot = engine.snapshot()
    for operation in operations:
        if isinstance(operation, int):
            snapshot.copy(operation)
        else:
            outcome = carry_out(engine, operation, plant, store)
            assert outcome == carry_out(twin, operation, twins_plant, twins_store)
    while not snapshot.copy(2):
        pass
    for batch in Plant(seed + 1).batches(3):  # what is copied must not be what lives on
        values = np.zeros((len(batch), len(engine.channels)))
        engine.apply(type(batch)(batch.streams, batch.times + 1e6, values))

    assert bits(snapshot.arrays) == bits(expected[0])
    assert snapshot.meta == expected[1]


def test_an_engine_goes_on_from_a_snapshot_as_the_one_that_it_was_taken_from() -> None:
    engine, plant, later = seasoned(), Plant(5), Plant(6)
    snapshot = engine.snapshot()
    while not snapshot.copy(1):
        engine.apply(plant.batch())
    plant = Plant(5)
    other = small_engine(AUTO)
    other.load_state_dict(snapshot.arrays, snapshot.meta)
    for _ in range(20):
        if other.frames == engine.frames:
            break
        other.apply(plant.batch())
    for batch in later.batches(20):
        batch = type(batch)(batch.streams, batch.times + 1e6, batch.values)
        assert outcome_bits(engine.apply(batch)) == outcome_bits(other.apply(batch))
    assert bits(engine.state_dict()[0]) == bits(other.state_dict()[0])


def test_only_used_rows_of_the_replay_memory_are_saved() -> None:
    engine = small_engine()
    assert len(engine.state_dict()[0]["memory.level"]) == 0
    added = []
    for batch in Plant(3).batches(40):
        engine.apply(batch)
        added.append(engine.memory.added)
        assert len(engine.state_dict()[0]["memory.level"]) == min(engine.memory.added, engine.memory.slots)
    assert any(0 < count < engine.memory.slots for count in added)


def test_a_slice_copies_no_more_than_it_was_asked_for() -> None:
    rows = np.arange(20.0).reshape(10, 2)
    copied = RowCopy({"rows": rows})
    assert copied.copy(3) == 3
    assert copied.left == 7
    copied.keep(np.array([1, 4, 4, 12]))
    assert copied.left == 6
    assert copied.copy(100) == 6
    assert copied.copy(1) == 0
    assert (copied.arrays["rows"] == np.arange(20.0).reshape(10, 2)).all()


def test_a_second_snapshot_takes_the_place_of_the_first() -> None:
    engine = seasoned()
    first = engine.snapshot()
    first.copy(1)
    expected = state(engine)
    second = engine.snapshot()
    with pytest.raises(RuntimeError, match="abandoned"):
        first.copy(1)
    with pytest.raises(RuntimeError, match="not complete"):
        _ = second.arrays
    engine.apply(Plant(9).batch())
    while not second.copy(1):
        pass
    assert bits(second.arrays) == bits(expected[0])


def test_a_slice_is_a_few_megabytes() -> None:
    engine = seasoned()
    snapshot = engine.snapshot()
    size = snapshot.slice_rows * max(snapshot.streams.row_bytes, snapshot.windows.row_bytes)
    assert 1 << 20 < size <= 2 << 20
