"""A compact state keeps less of a stream; everything else about an engine holds for it as well."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest

from streamd.config import Channel, Group
from streamd.engine import horizons, layout, profile
from streamd.engine.mix import EXPERTS
from streamd.records import Batch, Configure
from tests.engine.runs import SETTINGS, Plant, bits, outcome_bits, play, records, small_engine, stacked, state

COMPACT = msgspec.structs.replace(SETTINGS, horizon_steps=12, profile="compact")


def outcomes(engine, count, seed=3):
    return [engine.apply(batch) for batch in Plant(seed).batches(count)]


def test_a_stream_takes_less_than_half_of_what_it_takes_in_full():
    channels = tuple("abcdef")
    full, compact = (Group(channels=channels, profile=one) for one in ("full", "compact"))
    assert layout.row_bytes(compact, 6) <= 100_000
    assert layout.row_bytes(compact, 6) < 0.5 * layout.row_bytes(full, 6)
    engine = small_engine(compact)
    rows = (array[:1] for part in engine.state.parts().values() for array in part.state_dict().values())
    assert sum(array.nbytes for array in rows) == layout.row_bytes(compact, 6)
    assert profile.COMPACT.keys() == profile.FULL.keys()


def test_auto_is_full_until_somebody_decides():
    auto, full = (layout.axes(Group(profile=one), 6) for one in ("auto", "full"))
    assert auto == full


def test_all_steps_are_published_and_bounds_hold_each_other():
    some = outcomes(small_engine(COMPACT), 150)
    levels, mean = stacked(some, "levels")[20:], stacked(some, "mean")[20:]
    assert mean.shape[1:] == (12, 2)
    assert levels.shape[1:] == (2, 2, 12, 2)
    assert stacked(some, "weights").shape[1:] == (len(EXPERTS) + 1, 12, 2)
    assert stacked(some, "paths").shape[1:] == (4, 12, 2)
    narrow, wide = levels[:, 0], levels[:, 1]
    known = np.isfinite(mean) & np.isfinite(levels).all(axis=(1, 2))
    assert known.mean() > 0.9
    in_order = (wide[:, 0], narrow[:, 0], mean, narrow[:, 1], wide[:, 1])
    for below, above in pairwise(in_order):
        assert (below[known] <= above[known]).all()


def test_the_mean_is_what_the_experts_say_by_their_weights_also_between_judged_steps():
    engine = small_engine(
        msgspec.structs.replace(COMPACT, training=msgspec.structs.replace(COMPACT.training, enabled=False))
    )
    some = outcomes(engine, 150)
    experts, weights = stacked(some, "experts")[100:], stacked(some, "weights")[100:]
    assert np.isnan(experts[:, EXPERTS.index("adaptive")]).all(), "it is not there"
    assert not weights[:, EXPERTS.index("adaptive")].any()
    np.testing.assert_allclose(weights[:, : len(EXPERTS)].sum(axis=1), 1.0)
    mixed = np.nansum(experts * weights[:, : len(EXPERTS)], axis=1)
    np.testing.assert_allclose(stacked(some, "mean")[100:], mixed, rtol=1e-9)


def test_what_was_published_is_what_is_judged():
    engine = small_engine(msgspec.structs.replace(COMPACT, paths=0))
    outcome = outcomes(engine, 90)[-1]
    steps = horizons.of(engine.recent.sizes)
    for row, stream in enumerate(outcome.streams):
        slot = engine.slots.get(stream)
        kept = engine.experts.pending.offsets[slot, (engine.timing.age[slot] - 1) % 12, -1]
        np.testing.assert_allclose(outcome.mean[row, steps - 1], engine.scale.last[slot] + kept, rtol=1e-5)


def test_angles_turn_between_judged_steps_too():
    group = msgspec.structs.replace(COMPACT, channel={"a": Channel(wrap=360.0)}, paths=0)
    engine = small_engine(group)
    for n in range(300):
        values = np.array([[(20.0 * n) % 360.0, 1.0]])
        outcome = engine.apply(Batch(("s",), np.array([60.0 * n]), values))
    ahead = (20.0 * (299 + np.arange(1, 13))) % 360.0
    off = (outcome.mean[0, :, 0] - ahead + 180.0) % 360.0 - 180.0
    assert np.abs(off).max() < 20.0, "through the middle of the circle it would be off by up to 180"


@pytest.mark.parametrize("cut", [1, 60, 130])
def test_saved_and_loaded_it_goes_on_to_the_bit(cut):
    group = msgspec.structs.replace(COMPACT, channels="auto")
    whole, first = small_engine(group), small_engine(group)
    some = list(records())
    expected = play(whole, some)
    before = play(first, some[:cut])
    second = small_engine(group)
    second.load_state_dict(*state(first))
    assert before + play(second, some[cut:]) == expected
    assert bits(state(second)[0]) == bits(state(whole)[0])


def test_streams_that_left_memory_come_back_unchanged():
    engine, other = small_engine(COMPACT), small_engine(COMPACT)
    for each in (engine, other):
        outcomes(each, 60)
    other.restore(other.spill(4))
    for batch in Plant(9).batches(20):
        batch = Batch(batch.streams, batch.times + 1e6, batch.values)
        assert outcome_bits(engine.apply(batch)) == outcome_bits(other.apply(batch))


def test_settings_that_leave_the_profile_to_us_leave_it_as_it_is():
    engine = small_engine(COMPACT)
    auto = msgspec.structs.replace(COMPACT, profile="auto", max_batch=7)
    assert engine.refusal(Configure(msgspec.to_builtins(auto))) == ""
    engine.command(Configure(msgspec.to_builtins(auto)))
    assert engine.settings == msgspec.structs.replace(COMPACT, max_batch=7)
    full = msgspec.structs.replace(COMPACT, profile="full")
    assert engine.refusal(Configure(msgspec.to_builtins(full))) == "profile can't be changed while it runs"
