"""What an engine keeps: saved, reset, widened and loaded, it goes on as if nothing had been."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
import torch

from streamd.config import Network
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.engine.score import WARM_FRAMES
from streamd.records import Batch, Reset, Widen
from tests.engine.runs import (
    AUTO,
    FORECAST,
    PLANT,
    SETTINGS,
    WITHOUT_TRAINING,
    Plant,
    bits,
    event_of_the_plant,
    give_it_something_to_say,
    noise,
    one_stream,
    play,
    records,
    small_engine,
    stacked,
    state,
    with_settings,
    with_training,
)


def test_a_restart_at_any_frame_is_invisible():
    everything = list(records())
    straight, saved = small_engine(AUTO), []
    expected = []
    for number, record in enumerate(everything):
        saved.append((number, len(expected), state(straight)))
        expected += play(straight, [record])
    last = bits(state(straight)[0]), state(straight)[1]
    under_way = 0
    for number, seen, (arrays, meta) in saved[::6]:
        resumed = small_engine(AUTO)
        resumed.load_state_dict(arrays, meta)
        under_way += meta["learner"]["job_batches"] is not None
        assert play(resumed, everything[number:]) == expected[seen:], number
        assert (bits(state(resumed)[0]), state(resumed)[1]) == last, number
    assert under_way > 5, "some of the states had a job under way"


def test_a_saved_state_is_of_its_moment_although_its_arrays_are_not_copies():
    engine = small_engine()
    for batch in Plant(1).batches(30):
        engine.apply(batch)
    _, meta = engine.state_dict()
    before = json.dumps(meta)
    for batch in Plant(2, streams=("other",)).batches(30):
        engine.apply(Batch(batch.streams, batch.times + 1e6, batch.values))
    assert json.dumps(meta) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"horizon_steps": 4}, r"is not|horizon"),
        ({"network": Network(hidden=5, layers=2)}, "is not"),
        ({"network": Network(hidden=4, layers=1)}, "is not"),
        ({"channels": ("a", "c")}, "channels: a, b are not a, c"),
        ({"channels": ("b", "a")}, "channels: a, b are not b, a"),
        ({"channels": ("a",)}, "channels: a, b are not a"),
        ({"training": with_training(burn_in_frames=20).training}, "is not"),
        ({"training": with_training(memory_windows=20).training}, "memory_windows: 12 is not 20"),
    ],
)
def test_a_state_of_other_settings_is_refused_and_the_text_says_where(change, says):
    engine = small_engine()
    for batch in Plant(1).batches(20):
        engine.apply(batch)
    with pytest.raises(ValueError, match=says):
        small_engine(msgspec.structs.replace(SETTINGS, **change)).load_state_dict(*state(engine))


def test_a_state_with_something_missing_is_refused_and_the_text_says_where():
    engine = small_engine()
    for batch in Plant(1).batches(40):
        engine.apply(batch)
    whole, meta = state(engine)
    for name in [name for name in whole if not name.startswith("learner.job")]:
        arrays = {key: array for key, array in whole.items() if key != name}
        with pytest.raises(ValueError, match=name.rpartition(".")[2]):
            small_engine().load_state_dict(arrays, meta)
        if not name.startswith("learner.") and len(whole[name]):
            with pytest.raises(ValueError, match=r"rows are not|is not"):
                small_engine().load_state_dict({**whole, name: whole[name][:-1]}, meta)
    for part in ("scale.", "memory."):
        fewer = {name: array[:-1] if name.startswith(part) else array for name, array in whole.items()}
        with pytest.raises(ValueError, match=f"{part[:-1]}: [0-9]+ rows are not [0-9]+"):
            small_engine().load_state_dict(fewer, meta)


def test_seq_has_no_gap_over_resets_and_old_readings_stay_old():
    engine = small_engine()
    seqs = []
    for number in range(30):
        if number == 10:
            engine.command(Reset("s"))
        if number == 20:
            engine.command(Reset())
            assert engine.last_time("s") == 60.0 * 19
        (outcome,) = one_stream(engine, noise(1, seed=number), number)
        seqs.append(int(outcome.seq[0]))
    assert seqs == list(range(30))


def test_what_goes_on_from_a_state_leaves_the_engine_alone_that_it_was_taken_from():
    engine, other = small_engine(WITHOUT_TRAINING), small_engine(WITHOUT_TRAINING)
    one_stream(engine, noise(60))
    kept = bits(engine.state_dict()[0])
    other.load_state_dict(*engine.state_dict())
    one_stream(other, noise(60, seed=2), 60)
    assert bits(engine.state_dict()[0]) == kept
    assert other.pool.weight.any()


@pytest.mark.parametrize("command", [Reset("s"), Reset()])
def test_a_reset_stream_is_as_new_but_for_what_the_group_has_learnt(command):
    engine, fresh = small_engine(WITHOUT_TRAINING), small_engine(WITHOUT_TRAINING)
    for each in (engine, fresh):
        give_it_something_to_say(each)
    one_stream(engine, 50 + 9 * noise(40))
    engine.command(command)
    assert engine.pool.weight.any()
    fresh.pool.load_state_dict(engine.pool.state_dict())
    again, new = one_stream(engine, noise(20, seed=2), 40), one_stream(fresh, noise(20, seed=2), 40)
    for name in (*FORECAST, "score", "warming"):
        # the first step is known to be a minute from the frame before the reset
        np.testing.assert_allclose(stacked(again, name), stacked(new, name), rtol=1e-6, err_msg=name)
    assert all(torch.equal(engine.learner.weights[name], fresh.learner.weights[name]) for name in fresh.learner.weights)


def test_a_reset_of_one_stream_leaves_the_others_alone():
    one, other = small_engine(WITHOUT_TRAINING), small_engine(WITHOUT_TRAINING)
    plant, twin = Plant(5), Plant(5)
    play(one, plant.batches(30)), play(other, twin.batches(30))
    one.command(Reset("s2"))
    one.command(Reset("never seen"))
    for batch, same in zip(plant.batches(20), twin.batches(20), strict=True):
        here, there = one.apply(batch), other.apply(same)
        rest = [i for i, stream in enumerate(batch.streams) if stream != "s2"]
        for name in (*FORECAST, "score"):
            np.testing.assert_array_equal(getattr(here, name)[rest], getattr(there, name)[rest])


def test_an_open_incident_goes_on_over_a_reset():
    engine = small_engine(WITHOUT_TRAINING)
    one_stream(engine, noise(WARM_FRAMES + 20))
    (outcome,) = one_stream(engine, [[99.0, 0.0]], WARM_FRAMES + 20)
    (raised,) = outcome.incidents
    engine.command(Reset("s"))
    told = [told for out in one_stream(engine, noise(30, seed=1), WARM_FRAMES + 21) for told in out.incidents]
    assert [(each.id, each.state) for each in told] == [(raised.id, "cleared")]


def test_a_new_channel_changes_nothing_of_the_old_ones_and_loses_no_hidden_state():
    narrow = small_engine(with_settings(AUTO, training=WITHOUT_TRAINING.training))
    narrow.command(Widen(("a", "b")))
    give_it_something_to_say(narrow)
    play(narrow, Plant(9).batches(50))
    wide = Engine(narrow.settings, InlineTrainer())
    wide.load_state_dict(*state(narrow))
    wide.command(Widen(("c",)))
    assert wide.channels == ("a", "b", "c")
    np.testing.assert_array_equal(wide.hidden.h[:6], narrow.hidden.h[:6])
    assert wide.hidden.h.any()
    spoken = set()
    for number, batch in enumerate(Plant(10).batches(30)):
        times = batch.times + 1e6
        extra = 5.0 + noise(len(batch), 1, seed=number)
        here = narrow.apply(Batch(batch.streams, times, batch.values))
        there = wide.apply(Batch(batch.streams, times, np.concatenate([batch.values, extra], axis=1)))
        for name in FORECAST:
            np.testing.assert_allclose(getattr(there, name)[..., :2], getattr(here, name), rtol=1e-5)
        # persistence until something is learned
        first = [row for row, stream in enumerate(batch.streams) if stream not in spoken]
        np.testing.assert_allclose(there.mean[first, :, 2], np.repeat(extra[first], 3, axis=1))
        spoken |= {*batch.streams}
        np.testing.assert_array_equal(there.seq, here.seq)


def test_discovered_channels_give_what_named_ones_give():
    named, found = small_engine(), small_engine(AUTO)
    found.command(Widen(("a", "b")))
    assert play(named, Plant(1).batches(60)) == play(found, Plant(1).batches(60))


def test_training_goes_on_after_a_channel_came():
    engine = small_engine(AUTO)
    plant, reports = Plant(1), []
    engine.command(Widen(("a", "b")))
    play(engine, plant.batches(60))
    engine.command(Widen(("x",)))
    for _ in range(60):
        reports += engine.apply(plant.batch(3)).reports
    assert {report.reason for report in reports} <= {"better", "worse"}
    assert reports


def test_a_group_without_any_channel_yet_takes_frames():
    engine = small_engine(AUTO)
    for n in range(30):
        outcome = engine.apply(Batch(("s", "t"), np.full(2, 60.0 * n), np.empty((2, 0))))
        assert outcome.mean.shape == (2, 3, 0)
        assert outcome.score.tolist() == [0.0, 0.0]


def test_a_state_that_knows_nothing_of_events_is_taken_and_begins_to():
    engine, other = small_engine(PLANT), small_engine(PLANT)
    batches = list(event_of_the_plant())
    play(engine, batches[:40])
    arrays, meta = state(engine)
    del meta["together"], meta["rate"]
    other.load_state_dict(arrays, meta)
    told = [one for batch in batches[40:] for one in other.apply(batch).incidents if one.streams]
    assert [one.state for one in told] == ["raised", "cleared"]
