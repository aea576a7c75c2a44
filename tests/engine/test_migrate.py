from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.config import Group, Network
from streamd.engine import horizons, layout
from streamd.engine.engine import Engine
from streamd.engine.hidden import TURNS
from streamd.engine.migrate import migrate
from streamd.engine.mix import Mix
from streamd.engine.score import TERMS, WARM_FRAMES
from streamd.records import Batch, Bool, Widen
from tests.engine.runs import (
    SETTINGS,
    STREAMS,
    Plant,
    bits,
    outcome_bits,
    small_engine,
    state,
    with_settings,
    with_training,
)

STATES = Path(__file__).parent / "states"


def seasoned(channels: tuple[str, ...] = ("a", "b"), batches: int = 60) -> Engine:
    engine = small_engine(changed(channels=channels))
    plant = Plant(1)
    for _ in range(batches):
        engine.apply(plant.batch(len(channels)))
    return engine


def changed(**changes: Any) -> Group:
    """The usual small settings, changed; those of training by their own names."""
    training = {name: changes.pop(name) for name in list(changes) if hasattr(SETTINGS.training, name)}
    return msgspec.structs.replace(with_training(**training), **changes)


def moved(engine: Engine, now: Group) -> tuple[Engine, list[str]]:
    """An engine of other settings that took the state over."""
    arrays, meta, notes = migrate(*state(engine), now)
    other = small_engine(now)
    other.load_state_dict(arrays, json.loads(json.dumps(meta)))
    return other, notes


def same_frame(channels: int, time: float = 1e6) -> Batch:
    return Batch(STREAMS, np.full(6, time), 20 + np.arange(6.0 * channels).reshape(6, channels) / 7)


def up_to_date(engine: Engine) -> Bool:
    """Streams whose hidden state does not have to be made anew, from a ring that may have another length, [6]."""
    assert not engine.waits
    slots = engine.slots.open(STREAMS)
    current: Bool = engine.hidden.generation[slots] == engine.learner.generation
    assert current.sum() >= 3
    return current


def test_a_state_that_fits_is_taken_as_it_is() -> None:
    engine = seasoned()
    for now in (SETTINGS, changed(channels="auto", coverage=(0.5, 0.8), every_frames=99, windows=1, learning_rate=0.1)):
        arrays, meta = engine.state_dict()
        same, same_meta, notes = migrate(arrays, meta, now)
        assert notes == []
        assert same_meta == meta
        assert all(same[name] is arrays[name] for name in arrays)
    other, _ = moved(engine, SETTINGS)
    for batch in Plant(7).batches(20):
        late = Batch(batch.streams, batch.times + 1e6, batch.values)
        assert outcome_bits(engine.apply(late)) == outcome_bits(other.apply(late))


def test_more_channels_give_what_widening_gives_but_for_the_job_under_way() -> None:
    engine = seasoned()
    other, notes = moved(engine, changed(channels=("a", "b", "c")))
    engine.command(Widen(("c",)))
    assert notes[0] == "new in the config, so fresh: channels c"
    assert bits(state(engine)[0]) == bits(state(other)[0])
    assert state(engine)[1] == state(other)[1]
    # and the next one is trained alike
    for time in range(30):
        batch = same_frame(3, 1e6 + 60 * time)
        assert outcome_bits(engine.apply(batch)) == outcome_bits(other.apply(batch))


def test_channels_in_another_order_are_forecast_as_before() -> None:
    engine = seasoned(("a", "b", "c"))
    other, notes = moved(engine, changed(channels=("c", "a", "b")))
    assert notes[0] == "the channels stand in another order now: what was learnt moved along"
    assert np.abs(engine.learner.weights["w_head"].numpy()).max() > 0.01
    one, two = same_frame(3), same_frame(3, 1e6 + 60)
    for batch in (one, two):
        turned = Batch(batch.streams, batch.times, batch.values[:, [2, 0, 1]])
        before, after = engine.apply(batch), other.apply(turned)
        np.testing.assert_allclose(after.mean, before.mean[..., [2, 0, 1]], rtol=1e-5)
        np.testing.assert_allclose(after.upper, before.upper[..., [2, 0, 1]], rtol=1e-5)
        np.testing.assert_allclose(after.score, before.score, rtol=1e-5)


def test_a_channel_that_is_gone_leaves_the_others_what_they_learnt() -> None:
    engine = seasoned(("a", "b", "c"))
    other, notes = moved(engine, changed(channels=("c", "a")))
    assert notes[0] == "no longer in the config, so what was learnt of them was dropped: channels b"
    np.testing.assert_array_equal(other.scale.mean[:6], engine.scale.mean[:6][:, [2, 0]])
    head = engine.learner.weights["w_head"].view(3, 3, 4)  # [H, C, K]
    assert (other.learner.weights["w_head"].view(3, 2, 4) == head[:, [2, 0]]).all()
    # a state that was made with the channel's inputs is made anew from the frames at hand
    assert (made := other.learner.generation) == engine.learner.generation + 1
    for turn in range(TURNS):
        outcome = other.apply(Batch(STREAMS, np.full(6, 1e6 + turn), same_frame(3).values[:, [2, 0]]))
        assert np.isfinite(outcome.mean).all()
    assert (other.hidden.generation[:6] >= made).all()


def test_nothing_but_numbers_and_times_is_left_of_foreign_channels_and_a_note_says_so() -> None:
    engine = seasoned()
    other, notes = moved(engine, changed(channels=("x", "y"), memory_windows=20))
    assert "none of the channels a, b" in notes[0]
    assert "start afresh" in notes[0]
    fresh = small_engine(changed(channels=("x", "y")))
    assert bits({name: tensor.numpy() for name, tensor in other.learner.weights.items()}) == bits(
        {name: tensor.numpy() for name, tensor in fresh.learner.weights.items()}
    )
    assert other.memory.added == 0
    outcome = other.apply(same_frame(2))
    expected = engine.apply(same_frame(2))
    assert outcome.seq.tolist() == expected.seq.tolist()
    np.testing.assert_array_equal(outcome.warming, fresh.apply(same_frame(2)).warming)
    assert (outcome.warming < expected.warming).all()


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_another_horizon_keeps_the_first_steps(horizon: int) -> None:
    engine = seasoned()
    other, notes = moved(engine, changed(horizon_steps=horizon))
    kept = min(horizon, 3)
    assert notes[0].startswith(f"the horizon was 3 steps and is {horizon}: what was learnt of the first {kept} was")
    before, after = engine.apply(same_frame(2)), other.apply(same_frame(2))
    assert after.mean.shape == (6, horizon, 2)
    np.testing.assert_allclose(after.experts[:, :, :kept], before.experts[:, :, :kept], rtol=1e-6)
    # weights follow from all horizons' errors together, so they change; what they follow from does not
    for name in Mix.columns:
        here, there = (getattr(each.experts.mix, name)[..., :kept, :] for each in (engine, other))
        np.testing.assert_array_equal(there[:6], here[:6])
    # the network sees the horizon's end, which is another, and what was forecast for this frame, which was dropped
    assert np.isfinite(after.mean).all()
    # of a step that is new nothing is known but what recurs, until it has learnt
    seasonal, *others = (after.experts[:, expert, kept:] for expert in (1, 2, 3))
    for regression in others:
        np.testing.assert_array_equal(regression, seasonal)
    assert not after.weights[:, -1, kept:].any()


def test_another_network_starts_afresh_and_its_states_come_from_the_frames_at_hand() -> None:
    engine = seasoned()
    now = changed(network=Network(hidden=6, layers=1))
    other, notes = moved(engine, now)
    assert "the network had 2 layers of 4 cells and has 1 of 6" in notes[0]
    fresh = small_engine(now)
    weights = {name: tensor.numpy() for name, tensor in other.learner.weights.items()}
    assert bits(weights) == bits({name: tensor.numpy() for name, tensor in fresh.learner.weights.items()})
    assert state(other)[1]["learner"]["optimizer_step"] == 0
    assert not other.hidden.h.any()
    assert (made := other.learner.generation) > engine.learner.generation
    outcome, expected = other.apply(same_frame(2)), engine.apply(same_frame(2))
    np.testing.assert_allclose(outcome.upper - outcome.mean, expected.upper - expected.mean, rtol=1e-9)
    np.testing.assert_array_equal(outcome.score, expected.score)
    for turn in range(TURNS):
        other.apply(same_frame(2, 1e6 + 60 + turn))
    assert (other.hidden.generation[:6] >= made).all()
    assert other.recent.start_h[:6].any(axis=(1, 2, 3)).all()  # the frames were gone through again


@pytest.mark.parametrize("training", [{"burn_in_frames": 9}, {"train_frames": 2, "burn_in_frames": 1}])
def test_other_training_windows_leave_forecasts_alone(training: dict[str, int]) -> None:
    engine = seasoned()
    other, notes = moved(engine, changed(**training))
    assert "training windows had 10 frames and have" in notes[0]
    current = up_to_date(engine)
    before, after = engine.apply(same_frame(2)), other.apply(same_frame(2))
    np.testing.assert_array_equal(after.mean[current], before.mean[current])
    np.testing.assert_array_equal(after.score, before.score)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(10, 30), st.integers(10, 30))
def test_a_replay_memory_of_another_size_keeps_the_newest_windows(added: int, had: int, has: int) -> None:
    engine = small_engine(changed(memory_windows=had))
    memory = engine.memory
    for number in range(added):
        row = memory._make_room(engine.learner.generator, None)
        memory.h[row] = number
    other, notes = moved(engine, changed(memory_windows=has))
    assert bool(notes) == (had != has)

    def rings(of: Engine) -> tuple[list[int], set[int]]:
        numbers = of.memory.h[:, 0, 0].astype(int).tolist()
        ring = of.memory.slots // 2
        newest = [numbers[(of.memory.added - 1 - back) % ring] for back in range(min(of.memory.added, ring))]
        return newest, set(numbers[ring : of.memory.used])

    old_ring, old_reservoir = rings(engine)
    ring, reservoir = rings(other)
    ordered = list(range(added - 1, -1, -1))
    assert ring[: len(old_ring)] == ordered[: min(len(old_ring), has // 2)]
    kept = {*ring, *reservoir}
    assert len(kept) == len(ring) + len(reservoir) == min(len(old_ring) + len(old_reservoir), has)
    assert kept <= {*old_ring, *old_reservoir}
    if added > 4:  # all that can be drawn is there
        rows = other.memory.sample(200, np.random.default_rng(0), favour=0.0)
        assert {int(other.memory.h[row, 0, 0]) for row in rows} <= kept
        assert rows.max() < other.memory.used
    for number in range(added, added + 40):  # and it goes on as a ring
        row = other.memory._make_room(other.learner.generator, None)
        other.memory.h[row] = number
        assert rings(other)[0][0] == number


SOME = st.builds(
    changed,
    channels=st.permutations(["a", "b", "c", "d"]).flatmap(
        lambda names: st.integers(1, 4).map(lambda count: tuple(names[:count]))
    ),
    horizon_steps=st.integers(1, 5),
    network=st.builds(Network, hidden=st.sampled_from([4, 6]), layers=st.integers(1, 2)),
    burn_in_frames=st.sampled_from([1, 4]),
    train_frames=st.sampled_from([2, 4, 5]),
    memory_windows=st.sampled_from([10, 12, 30]),
)


@settings(max_examples=25, deadline=None)
@given(SOME, SOME, st.integers(0, 40))
def test_from_any_settings_to_any_others_the_streams_go_on(before: Group, after: Group, batches: int) -> None:
    engine, plant = small_engine(before), Plant(2)
    for _ in range(batches):
        engine.apply(plant.batch(len(engine.channels)))
    rows = engine.spill(1) if batches else []
    arrays, meta = state(engine)
    untouched = bits(arrays)
    fitted, fitted_meta, notes = migrate(arrays, meta, after)
    assert bits(arrays) == untouched
    assert meta == state(engine)[1]
    other = small_engine(after)
    other.load_state_dict(fitted, json.loads(json.dumps(fitted_meta)))
    other.restore(rows)
    sizes = {axis: layout.axes(group, 0)[axis] for group in (before, after) for axis in "HRSLK"}
    fits = all(layout.axes(before, 0)[axis] == length for axis, length in sizes.items())
    same_memory = before.training.memory_windows == after.training.memory_windows
    assert (notes == []) == (fits and same_memory and before.channels == after.channels)
    seq = {name: int(other.timing.seq[slot]) for slot, name in enumerate(other.slots.names)}
    for step in range(15):
        outcome = other.apply(same_frame(len(other.channels), 1e6 + 60 * step))
        assert np.isfinite(outcome.mean).all()
        assert outcome.seq.tolist() == [seq.get(stream, 0) + step for stream in STREAMS]
        assert all(report.reason != "not_finite" for report in outcome.reports)
    # fitting what fits is nothing
    assert migrate(*state(other), after)[2] == []


def test_arrays_that_this_layout_does_not_know_are_dropped_and_new_ones_begin_fresh_and_both_are_told() -> None:
    arrays, meta = state(seasoned())
    del arrays["score.since"], arrays["common.excess"]
    arrays["scale.forgotten"] = np.ones(6)
    fitted, fitted_meta, notes = migrate(arrays, meta, SETTINGS)
    assert notes[:2] == [
        "no longer kept by this version, so dropped: scale.forgotten",
        "new in this version, so fresh: common.excess, score.since",
    ]
    other = small_engine()
    other.load_state_dict(fitted, fitted_meta)
    assert np.isnan(other.judge.score.since[:6]).all()
    assert not other.judge.common.excess.any()


def test_without_migration_the_engine_refuses_what_does_not_fit() -> None:
    arrays, meta = state(seasoned())
    for now in (
        changed(channels=("b", "a")),
        changed(horizon_steps=4),
        changed(network=Network(hidden=5, layers=2)),
        changed(burn_in_frames=9),
        changed(memory_windows=20),
    ):
        with pytest.raises(ValueError, match=r"channels|is not"):
            small_engine(now).load_state_dict(arrays, meta)


def test_a_state_of_a_newer_layout_is_refused() -> None:
    arrays, meta = state(seasoned())
    newer = layout.LAYOUT + 1
    with pytest.raises(ValueError, match=f"layout {newer}: this streamd reads up to {layout.LAYOUT}"):
        migrate(arrays, {**meta, "layout": newer}, SETTINGS)


@pytest.mark.parametrize("path", sorted(STATES.glob("layout_*.npz")), ids=lambda path: path.stem)
def test_a_state_that_an_older_streamd_recorded_is_read_and_goes_on(path: Path) -> None:
    assert path.stat().st_size < 250_000
    with np.load(path, allow_pickle=False) as file:
        recorded = {name: file[name] for name in file.files}
    meta = json.loads(recorded.pop("meta").tobytes())
    row = recorded.pop("row").tobytes()
    arrays = {name.removeprefix("state."): array for name, array in recorded.items()}
    now = SETTINGS if meta["layout"] > 1 else changed(coverage=0.9, paths=0)  # as it was recorded
    fitted, fitted_meta, notes = migrate(arrays, meta, now)
    engine = small_engine(now)
    engine.load_state_dict(fitted, fitted_meta)
    engine.restore([(meta["spilled"], row)])
    assert engine.resident == engine.known == 6
    kept = engine.state_dict()[0]
    lasting = ("timing.", "scale.", "incidents.", "intervals.judged", "intervals.error_square")
    for name in filter(lambda name: name.startswith(lasting), arrays):
        np.testing.assert_array_equal(kept[name][: len(arrays[name])], arrays[name])
    assert any("no longer kept" in note and "score.rare" in note for note in notes)
    if meta["layout"] > 1:
        for name in ("learner.weights.w_head", "memory.level", "regression.inputs", "intervals.multiplier"):
            np.testing.assert_array_equal(kept[name][: len(arrays[name])], arrays[name])
    else:
        assert any("this version's network takes other inputs" in note for note in notes)
        weights = {name: array for name, array in kept.items() if name.startswith("learner.weights.")}
        fresh = state(small_engine(now))[0]
        assert bits(weights) == bits({name: fresh[name] for name in weights})
        assert engine.memory.added == 0
        for side in (0, 1):
            np.testing.assert_array_equal(kept["intervals.multiplier"][:5, 0, side], arrays["intervals.multiplier"])
    seq = {name: int(engine.timing.seq[slot]) for slot, name in enumerate(engine.slots.names)}
    for step in range(20):
        outcome = engine.apply(same_frame(2, 1e9 + 60 * step))
        assert np.isfinite(outcome.mean).all()
        assert outcome.seq.tolist() == [seq[stream] + step for stream in STREAMS]
        # old as the streams are, their lines are not: what makes the score now has seen nothing yet
        np.testing.assert_allclose(outcome.warming, (step + 1) / WARM_FRAMES)
        assert outcome.terms[:, TERMS.index("deviation")].max() < 1.0


def test_a_state_of_the_present_layout_is_recorded() -> None:
    assert (STATES / f"layout_{layout.LAYOUT}.npz").exists()


FULL = with_settings(SETTINGS, horizon_steps=12)
COMPACT = with_settings(FULL, profile="compact")


@pytest.mark.parametrize(("before", "now"), [(FULL, COMPACT), (COMPACT, FULL)])
def test_a_state_of_the_other_profile_goes_on_with_the_steps_that_both_judge(before, now):
    engine, plant = small_engine(before), Plant(4)
    for batch in plant.batches(80):
        engine.apply(batch)
    arrays, meta, notes = migrate(*state(engine), now)
    assert any("the profile was" in note and "1, " in note for note in notes)
    other = small_engine(now)
    other.load_state_dict(arrays, meta)
    old, new = horizons.of(engine.recent.sizes).tolist(), horizons.of(other.recent.sizes).tolist()
    assert len(old) != len(new)
    both = sorted({*old} & {*new})
    was, is_ = [old.index(step) for step in both], [new.index(step) for step in both]
    used = len(engine.slots)
    for name in ("steps", "step_square"):
        kept = getattr(other.scale, name)[:used, is_]
        np.testing.assert_array_equal(kept, getattr(engine.scale, name)[:used, was])
        assert kept.any()
    ours, theirs = other.experts.pending.offsets[:used], engine.experts.pending.offsets[:used]
    np.testing.assert_array_equal(ours[:, :, 0][:, :, is_], theirs[:, :, 0][:, :, was])  # the seasons'
    np.testing.assert_array_equal(ours[:, :, -3:][:, :, :, is_], theirs[:, :, -3:][:, :, :, was])
    head, before_it = (each.learner.weights["w_skip"].numpy() for each in (other, engine))
    np.testing.assert_array_equal(head[is_], before_it[was])
    assert not other.experts.regression.inputs.any(), "sums over other features are none over these"
    for batch in plant.batches(60):
        outcome = other.apply(batch)
    assert outcome.mean.shape[1] == 12
    assert np.isfinite(outcome.mean).all()


def test_the_way_there_and_back_leaves_what_does_not_depend_on_the_profile():
    engine = small_engine(FULL)
    for batch in Plant(5).batches(80):
        engine.apply(batch)
    there = migrate(*state(engine), COMPACT)
    back = migrate(*there[:2], FULL)
    again = small_engine(FULL)
    again.load_state_dict(*back[:2])
    kept = ("scale.mean", "seasons.knots", "novelty.recent", "whitener.mean", "timing.age", "tails.top")
    arrays, first = state(again)[0], state(engine)[0]
    assert bits({name: arrays[name] for name in kept}) == bits({name: first[name] for name in kept})
