from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch

from streamd.config import Alarm, Channel, Group, Network
from streamd.engine.score import WARM_FRAMES
from streamd.records import Configure, Freeze, Silent, Stretch, Thaw
from tests.engine.runs import (
    AUTO,
    LENGTH,
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
    with_training,
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


def configured(settings=SETTINGS, **changes):
    return Configure(msgspec.to_builtins(with_settings(settings, **changes)))


def reconfigured():
    """Records among which all that can be changed while it runs is changed, some of it twice."""
    plant = Plant(11)
    strict = Alarm(per_week=50.0, accept_s=1e4, refractory_s=60.0)
    training = with_training(
        learning_rate=0.01, clip_norm=0.1, windows=2, steps=1, every_frames=5, lag_frames=1
    ).training
    rules = {"a": Channel(low=0.0, high=22.0), "b": Channel(least=1.0, direction="up")}
    for number in range(LENGTH):
        match number:
            case 31:
                yield configured(alarm=strict)
            case 50:
                yield configured(alarm=strict, training=training)
            case 77:
                yield configured(alarm=strict, training=training, channel=rules, max_batch=3)
            case 100:
                yield configured(with_training(enabled=False))
        yield plant.batch()


def test_other_settings_are_a_record_like_any_other_and_a_restart_at_any_frame_is_invisible():
    everything = list(reconfigured())
    straight, saved = small_engine(), []
    expected = []
    for number, record in enumerate(everything):
        saved.append((number, len(expected), straight.settings, state(straight)))
        expected += play(straight, [record])
    assert straight.settings == with_training(enabled=False)
    last = bits(state(straight)[0]), state(straight)[1]
    for number, seen, settings, (arrays, meta) in saved[::4]:
        resumed = small_engine(settings)
        resumed.load_state_dict(arrays, meta)
        assert play(resumed, everything[number:]) == expected[seen:], number
        assert (bits(state(resumed)[0]), state(resumed)[1]) == last, number
    assert sum(one[2] != other[2] for one, other in pairwise(saved)) == 4


def test_other_settings_hold_from_the_next_frame_on_and_as_if_they_had_always_been_there():
    calm = noise(WARM_FRAMES + 100) + 20.0
    calm[-1] = 60.0
    engine, from_the_start = (
        small_engine(WITHOUT_TRAINING),
        small_engine(with_settings(channel={"a": Channel(direction="down"), "b": Channel(direction="down")})),
    )
    one_stream(engine, calm[:-1])
    engine.command(configured(from_the_start.settings))
    (last,) = one_stream(engine, calm[-1:], start=len(calm) - 1)
    assert last.score[0] < 1.0, "up does not matter any more"
    plain = small_engine(WITHOUT_TRAINING)
    assert one_stream(plain, calm)[-1].score[0] >= 1.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"horizon_steps": 4}, "horizon_steps"),
        ({"coverage": 0.8}, "coverage"),
        ({"channels": "auto", "paths": 0}, "channels, paths"),
        ({"network": Network(hidden=5, layers=2)}, "network.hidden"),
        ({"training": with_training(memory_windows=20, steps=1).training}, "training.memory_windows"),
    ],
)
def test_settings_that_the_arrays_follow_from_are_refused_and_nothing_changes(change, says):
    engine = small_engine()
    play(engine, Plant(1).batches(20))
    before = bits(state(engine)[0]), state(engine)[1], engine.settings
    command = configured(**change)
    assert engine.refusal(command) == f"{says} can't be changed while it runs"
    engine.command(command)
    assert (bits(state(engine)[0]), state(engine)[1], engine.settings) == before
    assert engine.settings == SETTINGS != msgspec.convert(command.settings, Group)
