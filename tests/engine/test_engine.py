from __future__ import annotations

import numpy as np
import pytest
import torch

from streamd.config import Channel
from streamd.engine.score import WARM_FRAMES
from streamd.records import Freeze, Silent, Stretch, Thaw
from tests.engine.runs import (
    AUTO,
    PLANT,
    SETTINGS,
    WITHOUT_TRAINING,
    Plant,
    bits,
    event_of_the_plant,
    noise,
    one_stream,
    outcome_bits,
    play,
    records,
    small_engine,
    state,
    states,
    told_of,
    with_settings,
)


def test_the_same_records_give_the_same_bits():
    one, other = small_engine(AUTO), small_engine(AUTO)
    assert play(one, records()) == play(other, records())
    (arrays, meta), (arrays_too, meta_too) = state(one), state(other)
    assert bits(arrays) == bits(arrays_too)
    assert meta == meta_too
    assert meta["learner"]["generation"] > 0, "training took part"
    assert meta["memory_added"] > SETTINGS.training.memory_windows, "and replay"


def test_another_seed_gives_other_bits():
    one, other = small_engine(AUTO), small_engine(with_settings(AUTO, seed=1))
    assert play(one, records()) != play(other, records())


def test_freezing_stops_training_and_nothing_else_and_thawing_starts_it_again():
    engine = small_engine()
    plant = Plant(6)
    play(engine, plant.batches(40))
    engine.command(Freeze())
    before = {name: tensor.clone() for name, tensor in engine.learner.weights.items()}
    frozen = [engine.apply(batch) for batch in plant.batches(40)]
    assert not any(outcome.reports for outcome in frozen)
    assert all(torch.equal(engine.learner.weights[name], before[name]) for name in before)
    assert not np.array_equal(frozen[-1].mean, frozen[-2].mean), "forecasts go on"
    engine.command(Thaw())
    assert any(engine.apply(batch).reports for batch in plant.batches(40))


def test_a_stretched_schedule_trains_less():
    def jobs(factor):
        engine = small_engine()
        engine.command(Stretch(factor))
        return sum(len(engine.apply(batch).reports) for batch in Plant(7).batches(200))

    assert jobs(4.0) == pytest.approx(jobs(1.0) / 4, abs=2)


def test_the_engine_waits_exactly_when_a_candidate_is_to_be_installed():
    engine, reports = small_engine(), 0
    for batch in Plant(8).batches(80):
        waits = engine.waits
        outcome = engine.apply(batch)
        assert len(outcome.reports) == waits
        reports += waits
    assert reports > 5


def test_many_streams_that_go_at_once_are_one_event_and_an_engine_that_is_restarted_or_spills_says_the_same():
    kept, restarted, spilling, store = small_engine(PLANT), small_engine(PLANT), small_engine(PLANT), {}
    told = []
    for batch in event_of_the_plant():
        wanted = kept.apply(batch)
        arrays, meta = state(restarted)
        restarted = small_engine(PLANT)
        restarted.load_state_dict(arrays, meta)
        assert outcome_bits(restarted.apply(batch)) == outcome_bits(wanted)
        spilling.restore([(name, store.pop(name)) for name in batch.streams if name in store])
        assert outcome_bits(spilling.apply(batch)) == outcome_bits(wanted)
        store |= spilling.spill(spilling.resident - 2)
        told += wanted.incidents
    events = [one for one in told if one.streams]
    assert [one.state for one in events] == ["raised", "cleared"]
    assert [one.streams for one in events] == [("s0", "s1", "s2"), ("s0", "s1", "s2", "s3")]
    assert events[0].channels["a"] > 0.5
    assert events[0].start == 60.0 * 30
    parts = {one.id: one.part_of for one in told if one.state == "cleared" and not one.streams}
    assert list(parts.values()) == [events[0].id] * 4
    assert kept.state.together.state_dict() == spilling.state.together.state_dict()


def test_the_alarms_of_streams_that_are_warm_are_held_against_the_budget():
    values = noise(WARM_FRAMES + 200)
    values[50, 0] = values[WARM_FRAMES + 100, 0] = 60.0
    outcomes = one_stream(small_engine(with_settings(channel={"a": Channel(high=50.0)})), values, every=3600.0)
    raised = [one.start for one in told_of(outcomes) if one.state == "raised"]
    assert raised[0] == 50 * 3600.0
    warm = sum(start > WARM_FRAMES * 3600.0 for start in raised)
    assert 1 <= warm == len(raised) - 1
    assert np.isnan(outcomes[WARM_FRAMES - 10].alarm_rate)
    weeks = 199 * 3600.0 / (7 * 86_400.0)
    assert outcomes[-1].alarm_rate == pytest.approx(warm / weeks, rel=0.05)  # what was fades a little


def test_a_silent_stream_has_an_incident_from_when_its_frame_was_due_to_its_next_frame():
    engine = small_engine(WITHOUT_TRAINING)
    one_stream(engine, noise(100))
    (raised,) = engine.command(Silent(("s", "nobody"))).incidents
    assert (raised.id, raised.state, raised.start, raised.end) == ("s-100", "raised", 6000.0, None)
    assert raised.channels == {"a": 0.5, "b": 0.5}
    assert engine.silent() == ["s"]
    assert engine.command(Silent(("s",))).incidents == ()  # once is enough
    outcomes = one_stream(engine, noise(40), start=150)
    assert states(outcomes) == [("s-100", "cleared")]
    assert outcomes[0].incidents[0].end == 150 * 60.0
    assert outcomes[0].score[0] >= 1.0  # as in a backtest, where nobody has told of the gap before
    assert engine.silent() == []


def test_a_gap_of_which_nobody_has_told_raises_an_incident_at_its_end():
    engine = small_engine(WITHOUT_TRAINING)
    outcomes = one_stream(engine, noise(100)) + one_stream(engine, noise(40), start=150)
    assert states(outcomes) == [("s-100", "raised"), ("s-100", "cleared")]


def test_a_disturbed_stream_that_falls_silent_keeps_its_incident():
    engine = small_engine(WITHOUT_TRAINING)
    values = noise(600)
    values[590:] = 500.0
    outcomes = one_stream(engine, values)
    assert engine.incidents.open[0]
    assert engine.command(Silent(("s",))).incidents == ()
    assert engine.silent() == ["s"]
    (last,) = told_of(outcomes)[-1:]
    assert last.peak >= 590 * 60.0
    again = one_stream(engine, noise(200, seed=2), start=600)
    assert (last.id, "cleared") in states(again)
    assert not any(state == "raised" for _, state in states(again[:50]))


def test_patience_is_asked_by_name_and_without_end_for_a_stranger():
    engine = small_engine(WITHOUT_TRAINING)
    one_stream(engine, noise(100))
    patience = engine.patience(["nobody", "s"])
    assert patience[0] == np.inf
    assert 10 * 60.0 < patience[1] < 20 * 60.0
