import msgspec
import numpy as np
import pytest

from streamd.page import keeping
from streamd.records import Batch, Reset
from tests.engine.runs import Plant, bits, small_engine, state, with_training
from tests.page.runs import engine_after


def test_running_the_frames_again_ends_where_the_stream_is():
    engine = small_engine(with_training(enabled=False))  # the weights that made the state are those in use
    for batch in Plant(1).batches(60):
        engine.apply(batch)
    for stream in engine.streams:
        slot = engine.slots.get(stream)
        frames, found = keeping._run_again(engine, slot, int(engine.timing.age[slot]) - 1)
        np.testing.assert_allclose(found.hidden[-1], engine.hidden.h[slot], atol=1e-6)
        np.testing.assert_allclose(found.cell[-1], engine.hidden.c[slot], atol=1e-6)
        assert engine.recent.sizes["R"] - engine.recent.stride < len(frames) <= engine.recent.sizes["R"]


def test_cells_are_in_the_order_of_how_much_they_keep():
    engine, _ = engine_after()
    for layer in range(2):
        found = keeping.look("g", engine, "s1", layer)
        assert found is not None
        mean = np.array(found.kept).mean(axis=1)
        assert (np.diff(mean) <= 1e-3).all()
        assert sorted(found.cells) == list(range(4))
        np.testing.assert_allclose(found.half_life, np.log(0.5) / np.log(mean), rtol=0.05)
        assert found.seq + len(found.time) == engine.timing.seq[engine.slots.get("s1")]
        assert found.time == sorted(found.time)
        for gate in (found.kept, found.taken, found.shown):
            assert np.array(gate).shape == (4, len(found.time))
            assert ((np.array(gate) >= 0) & (np.array(gate) <= 1)).all()
        msgspec.json.encode(found)


def test_a_young_stream_has_as_many_frames_as_came():
    engine = small_engine()
    for n in range(3):
        engine.apply(Batch(("s",), np.array([60.0 * n]), np.ones((1, 2))))
        found = keeping.look("g", engine, "s", 0)
        assert found is not None
        assert (found.seq, len(found.time)) == (0, n + 1)


def test_what_is_not_there_is_not_shown():
    engine, _ = engine_after()
    assert keeping.look("g", engine, "nobody", 0) is None
    engine.command(Reset("s1"))
    assert keeping.look("g", engine, "s1", 0) is None
    with pytest.raises(ValueError, match="layer: expected 0 to 1, got 2"):
        keeping.look("g", engine, "s1", 2)


def test_looking_changes_nothing():
    engine, _ = engine_after()
    before = state(engine)
    keeping.look("g", engine, "s1", 1)
    assert bits(state(engine)[0]) == bits(before[0])
