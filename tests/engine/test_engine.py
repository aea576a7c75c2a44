"""The engine as a whole: alone or in a batch, at once or with a restart in the middle, it comes to the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch

from streamd.config import Alarm, Channel, Group, Network
from streamd.engine.engine import Engine
from streamd.engine.experts import CORRECTED
from streamd.engine.learner import InlineTrainer
from streamd.engine.score import TERMS, WARM_FRAMES
from streamd.model import network
from streamd.records import Batch, Configure, Freeze, Outcome, Reset, Silent, Stretch, Thaw, Widen
from tests.engine.runs import SETTINGS, STREAMS, Plant, bits, outcome_bits, small_engine, state, with_training

WITHOUT_TRAINING = with_training(enabled=False)
FORECAST = ("mean", "lower", "upper")


def with_settings(settings=WITHOUT_TRAINING, **changes):
    return msgspec.structs.replace(settings, **changes)


def one_stream(engine, values, start=0, every=60.0):
    """Outcomes of one stream's rows [N, C], a frame every so many seconds."""
    values = np.asarray(values, float)
    return [engine.apply(Batch(("s",), np.array([every * (start + n)]), row[None])) for n, row in enumerate(values)]


def noise(count, channels=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, channels))


def give_it_something_to_say(engine, seed=0):
    """A head and a skip that are not zero, as after learning, so that hidden states show in forecasts."""
    shape = engine.learner.shape
    generator = torch.Generator().manual_seed(seed)
    weights = dict(engine.learner.weights)
    weights["w_head"] = 0.3 * torch.randn(shape.outputs, shape.hidden, generator=generator)
    weights["w_skip"] = 0.1 * torch.randn(shape.horizon, shape.planes, shape.channels, generator=generator)
    engine.learner.weights = weights


def stacked(outcomes: Iterable[Outcome], name):
    return np.concatenate([getattr(outcome, name) for outcome in outcomes])


# --- one at a time and together ---


def test_hundreds_of_streams_in_batches_equal_each_stream_alone():
    """Without training: the schedule counts the frames of the group, so a stream alone would be trained otherwise."""
    streams, frames = 300, 12
    names = tuple(f"stream-{i}" for i in range(streams))
    generator = np.random.default_rng(0)
    units = 10.0 ** generator.integers(-6, 7, size=(streams, 1, 2))
    values = units * (20 + generator.normal(size=(streams, frames, 2)).cumsum(axis=1))
    values[generator.random(values.shape) < 0.1] = np.nan
    times = generator.uniform(0.5, 1.5, size=(streams, frames)).cumsum(axis=1)
    together, alone = small_engine(WITHOUT_TRAINING), small_engine(WITHOUT_TRAINING)
    for engine in (together, alone):
        give_it_something_to_say(engine)
    whole, single = [], []  # outcomes in the order of streams, frame by frame
    for frame in range(frames):
        for at in range(0, streams, 75):
            part = slice(at, at + 75)
            whole.append(together.apply(Batch(names[part], times[part, frame], values[part, frame])))
        for i in range(streams):
            part = slice(i, i + 1)
            single.append(alone.apply(Batch(names[part], times[part, frame], values[part, frame])))
    for name in FORECAST:
        here, there = (stacked(outcomes, name).reshape(frames, streams, 3, 2) for outcomes in (whole, single))
        np.testing.assert_array_equal(np.isnan(here), np.isnan(there))
        assert np.nanmax(np.abs(here - there) / units) < 1e-4
    for name in ("seq", "warming", "interval", "score", "channel_score", "weights"):
        np.testing.assert_allclose(stacked(whole, name), stacked(single, name), rtol=1e-4, atol=1e-4)
    assert stacked(whole, "seq").tolist() == np.repeat(np.arange(frames), streams).tolist()
    np.testing.assert_allclose(together.hidden.h[:streams], alone.hidden.h[:streams], atol=1e-5)
    np.testing.assert_allclose(together.hidden.c[:streams], alone.hidden.c[:streams], atol=1e-5)


def test_streams_of_a_batch_do_not_depend_on_their_order():
    """But for new ones, which are numbered in the order that they come in."""
    one, other = (small_engine(WITHOUT_TRAINING) for _ in range(2))
    for engine in (one, other):
        give_it_something_to_say(engine)
        engine.apply(Batch(STREAMS, np.zeros(len(STREAMS)), np.full((len(STREAMS), 2), 20.0)))
    for batch in Plant(3).batches(40):
        turned = Batch(batch.streams[::-1], batch.times[::-1], batch.values[::-1])
        here, there = one.apply(batch), other.apply(turned)
        for name in FORECAST:
            np.testing.assert_allclose(getattr(here, name), getattr(there, name)[::-1], rtol=1e-5)
        np.testing.assert_allclose(here.score, there.score[::-1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 15, 120])
def test_the_hidden_state_equals_that_of_the_whole_sequence_at_once(frames):
    engine = small_engine(with_training(enabled=False, burn_in_frames=120))
    give_it_something_to_say(engine)
    values = noise(frames).cumsum(axis=0)
    values[np.random.default_rng(1).random(values.shape) < 0.1] = np.nan
    outcomes = one_stream(engine, values)
    shape, weights = engine.learner.shape, engine.learner.weights
    x = torch.from_numpy(engine.recent.inputs(np.zeros(frames, np.int64), np.arange(frames))[None])
    zeros = torch.zeros(shape.layers, 1, shape.hidden)
    with torch.inference_mode():
        top, h, c = network.unroll(weights, shape, x, zeros, zeros)
        corrections = network.head(weights, shape, top, x)[0].numpy()
    np.testing.assert_allclose(engine.hidden.h[0], h[:, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(engine.hidden.c[0], c[:, 0].numpy(), atol=1e-5)
    at, outcome = np.array([0]), outcomes[-1]
    own = outcome.weights[0, :-1]
    mixed = (own * outcome.experts[0]).sum(axis=0)
    corrected = mixed + corrections[-1] * (engine.experts.gate.usual(at) * engine.scale.step_spread(at))[0]
    found = engine.scale.last[0] + engine.experts.pending.offsets[0, (frames - 1) % 3, CORRECTED - 1]
    np.testing.assert_allclose(found, corrected, atol=1e-4)
    share = outcome.weights[0, -1]
    np.testing.assert_allclose(outcome.mean[0], (1 - share) * mixed + share * corrected, atol=1e-4)


def test_a_state_made_by_older_weights_is_made_anew_from_the_frames_at_hand():
    """What it comes to is what the new weights make of the ring's frames, from the state kept at its beginning."""
    engine = small_engine(WITHOUT_TRAINING)
    values = noise(37)
    one_stream(engine, values)
    give_it_something_to_say(engine)
    learner, recent = engine.learner, engine.recent
    learner.weights = {name: tensor + 0.1 for name, tensor in learner.weights.items()}
    learner.generation += 1
    R, stride = recent.sizes["R"], recent.stride
    begin = -(-(37 - R) // stride) * stride
    numbers = np.arange(begin, 37)
    x = recent.inputs(np.zeros(len(numbers), np.int64), numbers % R)
    starts = (getattr(recent, name)[0, begin // stride % recent.sizes["S"]] for name in ("start_h", "start_c"))
    h, c = (torch.from_numpy(start[:, None].copy()) for start in starts)
    states = {}  # before each frame
    for number, row in zip(numbers.tolist(), torch.from_numpy(x), strict=True):
        states[number] = c
        with torch.inference_mode():
            _, h, c = network.unroll(learner.weights, learner.shape, row[None, None], h, c)
    twin = Engine(engine.settings, InlineTrainer())
    twin.load_state_dict(*state(engine))
    twin.hidden.h[0], twin.hidden.c[0] = h[:, 0].numpy(), c[:, 0].numpy()
    twin.hidden.generation[0] = learner.generation
    (mine,), (expected,) = one_stream(engine, noise(1, seed=5), 37), one_stream(twin, noise(1, seed=5), 37)
    np.testing.assert_allclose(mine.mean, expected.mean, atol=1e-4)
    np.testing.assert_allclose(engine.hidden.c[0], twin.hidden.c[0], atol=1e-5)
    assert engine.hidden.generation[0] == learner.generation
    kept = [number for number in states if number % stride == 0]
    assert len(kept) > 2
    for number in kept:  # the states that windows begin with are of these weights too
        start = recent.start_c[0, number // stride % recent.sizes["S"]]
        np.testing.assert_allclose(start, states[number][:, 0].numpy(), atol=1e-5)


# --- deterministic, also over a restart ---


def commands(number):
    """A command now and then, the same in every run."""
    return {
        25: Reset("s1"),
        40: Stretch(1.5),
        55: Freeze(),
        70: Thaw(),
        90: Widen(("new",)),
        110: Reset(),
    }.get(number)


AUTO = msgspec.structs.replace(SETTINGS, channels="auto")
LENGTH = 130


def records():
    """Batches and commands of a long run with all there is."""
    plant, channels = Plant(11), 2
    yield Widen(("a", "b"))
    for number in range(LENGTH):
        command = commands(number)
        if command is not None:
            yield command
            channels += isinstance(command, Widen)
        yield plant.batch(channels)


def play(engine, some):
    found = []
    for record in some:
        if isinstance(record, Batch):
            found.append(outcome_bits(engine.apply(record)))
        else:
            engine.command(record)
    return found


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


# --- commands ---


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


# --- channels ---


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


# --- missing values ---


def test_missing_values_are_masked_and_never_filled():
    engine = small_engine(WITHOUT_TRAINING)
    values = noise(8)
    values[3:6, 1] = np.nan
    outcomes = one_stream(engine, values)
    np.testing.assert_array_equal(engine.recent.base[0, 3:6, 1], values[2, 1])
    np.testing.assert_array_equal(engine.recent.seen[0, :8], np.isfinite(values))
    for name in ("level", "change", "error"):
        assert not getattr(engine.recent, name)[0, 3:6, 1].any()
    assert np.isnan(engine.recent.residual[0, 3:6, :, 1]).all()
    np.testing.assert_array_equal(outcomes[5].experts[0, 0, :, 1], np.full(3, values[2, 1]))
    assert outcomes[4].channel_score[0, 1] < 0.01, "what is not there for a moment is hardly strange"
    assert engine.scale.seen[0].tolist() == [8, 5]


def test_a_frame_with_no_value_at_all_moves_the_state_and_judges_nothing():
    engine = small_engine(WITHOUT_TRAINING)
    one_stream(engine, noise(20))
    learned = (
        engine.intervals.error_square,
        engine.judge.score.seen,
        engine.experts.mix.loss,
        engine.experts.gate.judged,
    )
    kept, hidden = [array.copy() for array in learned], engine.hidden.h.copy()
    (outcome,) = one_stream(engine, [[np.nan, np.nan]], 20)
    assert outcome.score[0] < 0.01  # that nothing is there for a moment is hardly strange
    assert np.isfinite(outcome.mean).all()
    for array, before in zip(learned, kept, strict=True):
        np.testing.assert_array_equal(array, before)
    assert not np.array_equal(engine.hidden.h, hidden), "time has passed"


def test_a_channel_never_seen_has_no_forecast_until_it_speaks():
    engine = small_engine()
    values = noise(60)
    values[:, 1] = np.nan
    outcomes = one_stream(engine, values)
    assert np.isnan(stacked(outcomes, "mean")[..., 1]).all()
    assert np.isfinite(stacked(outcomes, "mean")[..., 0]).all()
    assert np.isfinite(stacked(outcomes, "score")).all()
    later = one_stream(engine, noise(3), 60)
    assert np.isfinite(stacked(later, "mean")).all()


def test_a_channel_that_comes_late_is_forecast_as_well_as_one_that_was_there_from_the_beginning():
    values = 300.0 + noise(400)
    values[:200, 1] = np.nan
    values[200:, 1] = 300.0 + noise(400)[:200, 0]
    mean = stacked(one_stream(small_engine(WITHOUT_TRAINING), values), "mean")
    early = np.abs(mean[10:120, :, 0] - 300.0).mean(axis=0)
    late = np.abs(mean[210:320, :, 1] - 300.0).mean(axis=0)
    assert (late < 1.5 * early).all(), late / early


def test_a_channel_that_comes_late_has_a_warm_up_of_its_own_and_is_ordinary_after_it():
    engine = small_engine(AUTO)
    engine.command(Widen(("a",)))
    rows = noise(2 * WARM_FRAMES + 500)
    rows[:, 1] += 300.0
    one_stream(engine, rows[:WARM_FRAMES, :1])
    engine.command(Widen(("b",)))
    outcomes = one_stream(engine, rows[WARM_FRAMES:], WARM_FRAMES)
    parts = stacked(outcomes, "channel_score")[:, 1]
    assert parts[:WARM_FRAMES].max() < 1.0
    assert (parts[WARM_FRAMES:] >= 1.0).mean() < 0.02
    assert stacked(one_stream(engine, [[0.0, 320.0]], len(rows)), "channel_score")[0, 1] >= 1.0


# --- no look at the future ---


def test_what_comes_later_changes_nothing_that_was_said_before():
    values = noise(120).cumsum(axis=0)
    outcomes = [outcome_bits(outcome) for outcome in one_stream(small_engine(), values)]
    for row in (0, 1, 40, 80, 119):
        other = values.copy()
        other[row:] = 7 - 3 * other[row:]
        changed = [outcome_bits(outcome) for outcome in one_stream(small_engine(), other)]
        assert changed[:row] == outcomes[:row]
        assert changed[row] != outcomes[row]


def test_the_forecast_of_a_frame_knows_its_own_value_and_its_score_only_the_forecasts_before(monkeypatch):
    values = noise(WARM_FRAMES + 60)
    engine, twin = small_engine(WITHOUT_TRAINING), small_engine(WITHOUT_TRAINING)
    before, same = one_stream(engine, values), one_stream(twin, values)
    looks = []
    for each in (engine, twin):
        monkeypatch.setattr(each.judge, "look", overhear(each.judge.look, looks))
    (plain,), (moved,) = one_stream(engine, [[0.5, 0.0]], len(values)), one_stream(twin, [[5.5, 0.0]], len(values))
    assert outcome_bits(before[-1]) == outcome_bits(same[-1])
    assert plain.mean[0, 0, 0] != moved.mean[0, 0, 0]
    np.testing.assert_array_equal(plain.experts[0, 0, :, 0], 0.5)
    np.testing.assert_array_equal(moved.experts[0, 0, :, 0], 5.5)
    for look, value in zip(looks, (0.5, 5.5), strict=True):
        np.testing.assert_allclose(look.expected[0], before[-1].mean[0, 0], rtol=1e-6, atol=1e-9)
        ahead = [value - outcome.mean[0, h, 0] for h, outcome in enumerate(before[:-4:-1])]
        np.testing.assert_allclose(look.errors[0, :, 0], ahead, rtol=1e-6, atol=1e-9)
    surprise = TERMS.index("surprise")
    assert moved.terms[0, surprise] > 2 * plain.terms[0, surprise]
    assert moved.channel_score[0].argmax() == 0


def overhear(judge, heard):
    """The same judge; what it is given is kept."""

    def listen(look, rules):
        heard.append(look)
        return judge(look, rules)

    return listen


def test_each_step_of_a_forecast_is_judged_by_the_value_it_was_made_for(monkeypatch):
    engine = small_engine(WITHOUT_TRAINING)
    give_it_something_to_say(engine)
    judge, judged = engine.intervals.learn, []

    def overhear(slots, n, errors, *rest):
        judged.append(errors[0].copy())
        judge(slots, n, errors, *rest)

    monkeypatch.setattr(engine.intervals, "learn", overhear)
    values = noise(30)
    outcomes = one_stream(engine, values)
    for n, errors in enumerate(judged):
        for h in range(3):
            expected = values[n] - outcomes[n - 1 - h].mean[0, h] if h < n else np.full(2, np.nan)
            np.testing.assert_allclose(errors[h], expected, atol=1e-5)
    assert (outcomes[-1].mean[0, 0] != outcomes[-1].mean[0, 1]).all()


def test_the_usual_error_of_a_step_is_that_of_forecasts_so_far_ahead():
    engine, values = small_engine(WITHOUT_TRAINING), noise(400).cumsum(axis=0)
    mean = stacked(one_stream(engine, values), "mean")
    spread = engine.intervals.spread(np.array([0]))[0]
    n = np.arange(330, 396)
    errors = [values[n + h + 1] - mean[n, h] for h in range(3)]
    np.testing.assert_allclose(spread, np.sqrt(np.mean(np.square(errors), axis=1)), rtol=0.4)
    assert (np.diff(spread, axis=0) > 0.2).all(), "of a walk, it grows with the distance"


# --- what it is worth ---


def sine(count, noisy=0.05):
    n = np.arange(count)
    return np.stack([np.sin(n / 3), 5 + np.cos(n / 4)], axis=1) + noisy * noise(count)


def test_learning_beats_persistence_on_what_can_be_learned():
    values = sine(1000)
    settings = with_settings(with_training(learning_rate=0.01, windows=4), network=Network(hidden=12, layers=1))
    outcomes = one_stream(small_engine(settings), values)
    n = np.arange(700, 996)
    for h in range(3):
        mine = np.abs(stacked(outcomes, "mean")[n, h] - values[n + h + 1]).mean(axis=0)
        persistence = np.abs(values[n] - values[n + h + 1]).mean(axis=0)
        assert (mine < 0.6 * persistence).all(), (h, mine / persistence)


def test_nine_of_ten_values_come_to_lie_inside_their_interval():
    values = noise(2500).cumsum(axis=0)
    outcomes = one_stream(small_engine(WITHOUT_TRAINING), values)
    lower, upper = stacked(outcomes, "lower"), stacked(outcomes, "upper")
    n = np.arange(200, 2490)
    for h in range(3):
        inside = (lower[n, h] <= values[n + h + 1]) & (values[n + h + 1] <= upper[n, h])
        assert (np.abs(inside.mean(axis=0) - 0.9) < 0.025).all()


def test_a_spike_is_over_the_line_after_the_warm_up_and_below_it_before():
    values = noise(WARM_FRAMES + 100)
    # what came in the warm-up is known to come, so the one after it has to be larger
    values[100, 0], values[WARM_FRAMES + 50, 0] = 40.0, 90.0
    outcomes = one_stream(small_engine(WITHOUT_TRAINING), values)
    scores = stacked(outcomes, "score")
    assert scores[: WARM_FRAMES + 1].max() < 1.0
    assert scores[100] > 0.9, "but high"
    assert scores[WARM_FRAMES + 50] >= 1.0
    over = np.flatnonzero(scores >= 1.0)
    assert over[0] == WARM_FRAMES + 50
    assert over[-1] < WARM_FRAMES + 100, "the spike and the way back from it"
    warming = stacked(outcomes, "warming")
    assert warming[0] == pytest.approx(1 / WARM_FRAMES)
    assert warming[-1] == 1.0
    assert warming[100] == pytest.approx(101 / WARM_FRAMES)
    (raised,) = [told for outcome in outcomes for told in outcome.incidents if told.state == "raised"]
    assert raised.channels["a"] > 0.75
    assert WARM_FRAMES + 45 <= raised.start / 60.0 <= WARM_FRAMES + 50  # what was restless before it belongs to it
    np.testing.assert_array_equal(scores, stacked(outcomes, "terms").max(axis=1))
    np.testing.assert_array_equal(scores, stacked(outcomes, "channel_score").max(axis=1))


def test_what_is_strange_teaches_little():
    """The same large errors, once as an anomaly and once, in the warm-up, as all there is to know."""
    calm = noise(WARM_FRAMES + 200)
    wild = calm.copy()
    wild[-100::24] += 60.0
    quiet, gated = small_engine(WITHOUT_TRAINING), small_engine(WITHOUT_TRAINING)
    one_stream(quiet, calm)
    scores = stacked(one_stream(gated, wild), "score")
    assert (scores[-100::24] >= 1.0).all()
    at = np.array([0])
    assert gated.scale.spread(at)[0, 0] < 1.15 * quiet.scale.spread(at)[0, 0]
    wide, usual = (np.diagonal(each.judge.whitener.covariance[0], axis1=1, axis2=2) for each in (gated, quiet))
    assert (wide < 3.0 * usual).all()  # they would be forty times as wide
    told, first = (one_stream(each, [[60.0, 0.0]], len(calm))[0].score[0] for each in (gated, quiet))
    assert told > 0.7 * first > 1.0
    assert (gated.recent.trust[0] < 1).any()


def test_a_quiet_hour_is_told_and_does_not_make_the_next_ordinary_change_strange():
    values = noise(900)
    values[400:800] = values[399]
    outcomes = one_stream(small_engine(WITHOUT_TRAINING), values)
    terms = stacked(outcomes, "terms")
    assert terms[500:800, TERMS.index("silence")].min() > 1.0
    assert terms[800:, TERMS.index("surprise")].max() < 1.0
    told = {one.state: n for n, outcome in enumerate(outcomes[:850]) for one in outcome.incidents}
    assert told["raised"] < 450
    assert 800 < told["cleared"] < 830


# --- bad weather ---


def assert_sane(outcomes, seen=(0, 1)):
    """Finite, or NaN where the rules say so: intervals before anything was judged."""
    for outcome in outcomes:
        for name in ("score", "channel_score", "terms", "warming", "times", "seq"):
            assert np.isfinite(getattr(outcome, name)).all(), name
    mean, half = stacked(outcomes, "mean")[..., seen], stacked(outcomes, "upper")[..., seen]
    assert np.isfinite(mean).all()
    assert np.isfinite(half[4:]).all()
    assert (stacked(outcomes, "lower")[..., seen][4:] <= half[4:]).all()


def test_a_constant_channel_is_forecast_as_it_is_and_alarms_when_it_moves():
    engine = small_engine()
    values = np.column_stack([np.full(WARM_FRAMES + 60, 21.5), noise(WARM_FRAMES + 60)[:, 0]])
    outcomes = one_stream(engine, values)
    assert_sane(outcomes)
    np.testing.assert_allclose(stacked(outcomes, "mean")[..., 0], 21.5, rtol=1e-9)
    assert stacked(outcomes, "channel_score")[:, 0].max() == 0.0
    (moved,) = one_stream(engine, [[22.5, 0.0]], len(values))
    assert moved.score[0] >= 1.0
    assert moved.channel_score[0].argmax() == 0


def test_a_constant_channel_that_begins_to_move_for_good_is_strange_until_it_is_accepted_and_ordinary_from_then_on():
    values = noise(1600)
    values[:1000, 0] = 5.0
    engine = small_engine(with_settings(alarm=Alarm(accept_s=300 * 60.0)))
    outcomes = one_stream(engine, values)
    assert_sane(outcomes)
    scores = stacked(outcomes, "score")
    assert (scores[1000:1290] >= 1.0).all()
    assert (scores[1350:] >= 1.0).mean() < 0.1
    assert np.median(scores[1350:]) < 0.7
    (accepted,) = [one for one in told_of(outcomes) if one.reason == "accepted"]
    assert 1300 <= accepted.end / 60.0 < 1350
    # forecasts do not wait for that
    inside = (stacked(outcomes, "lower")[1199:-1, 0, 0] <= values[1200:, 0]) & (
        values[1200:, 0] <= stacked(outcomes, "upper")[1199:-1, 0, 0]
    )
    assert inside.mean() > 0.75


@pytest.mark.parametrize("unit", [1e30, 1e-30, 1e90, 1e-300])
def test_channels_of_any_size_are_taken(unit):
    engine = small_engine()
    outcomes = one_stream(engine, unit * noise(80))
    assert_sane(outcomes)
    assert np.abs(stacked(outcomes, "mean")).max() <= 100 * max(unit, 1e-10)


@pytest.mark.parametrize("spike", [1e30, -1e99, 1e300, -1e-300])
def test_one_reading_out_of_this_world_is_gone_from_the_forecasts_after_it(spike):
    values, calm = noise(500), noise(500)
    values[400, 0] = spike
    engine, twin = small_engine(WITHOUT_TRAINING), small_engine(WITHOUT_TRAINING)
    for each in (engine, twin):
        give_it_something_to_say(each)
    outcomes, undisturbed = one_stream(engine, values), one_stream(twin, calm)
    assert_sane(outcomes)
    off = stacked(outcomes, "mean")[450:] - stacked(undisturbed, "mean")[450:]
    assert np.abs(off).max() < 0.8, "of the noise's deviation"
    assert np.sqrt((off**2).mean()) < 0.25
    for name in ("lower", "upper"):
        np.testing.assert_allclose(stacked(outcomes, name)[490:], stacked(undisturbed, name)[490:], atol=1.0)


def test_a_value_that_no_number_can_be_squared_of_counts_as_missing():
    engine = small_engine(WITHOUT_TRAINING)
    one_stream(engine, noise(20))
    (outcome,) = one_stream(engine, [[1e101, np.inf]], 20)
    row = 20 % engine.recent.sizes["R"]
    assert not engine.recent.seen[0, row].any()
    np.testing.assert_array_equal(engine.recent.base[0, row], noise(20)[-1])
    assert outcome.score[0] < 0.01


def test_frames_that_are_years_or_microseconds_apart_leave_finite_numbers():
    engine = small_engine()
    gaps = np.resize([1.0, 1e-6, 3e8, 60.0, 1e-3], 60)
    times = 1.7e9 + gaps.cumsum()
    outcomes = [engine.apply(Batch(("s",), times[n : n + 1], row[None])) for n, row in enumerate(noise(60))]
    assert_sane(outcomes)
    assert (stacked(outcomes, "interval")[1:] > 0).all()


def test_outcomes_share_no_memory_with_the_state():
    engine = small_engine()
    batches = list(Plant(1).batches(40))
    for batch in batches[:-1]:
        engine.apply(batch)
    outcome = engine.apply(batches[-1])
    held = [value for value in dataclasses.astuple(outcome) if isinstance(value, np.ndarray)]
    arrays, _ = engine.state_dict()
    for array in arrays.values():
        assert not any(np.shares_memory(array, value) for value in held)


# --- incidents ---


def told_of(outcomes):
    return [told for outcome in outcomes for told in outcome.incidents]


@pytest.mark.parametrize("horizon", [1, 3])
def test_an_incident_shows_what_was_forecast_for_its_frame_one_step_before(horizon):
    values = noise(WARM_FRAMES + 20)
    values[-1] = [50.0, np.nan]
    outcomes = one_stream(small_engine(with_settings(horizon_steps=horizon, coverage=(0.5, 0.9))), values)
    before, now = outcomes[-2:]
    (raised,) = now.incidents
    a, b = raised.expected["a"], raised.expected["b"]
    assert a.value == 50.0
    assert a.expected == pytest.approx(before.mean[0, 0, 0], rel=1e-5)
    assert (a.lower, a.upper) == pytest.approx((before.lower[0, 0, 0], before.upper[0, 0, 0]), rel=1e-5)
    assert np.isnan(b.value)
    assert b.expected == pytest.approx(before.mean[0, 0, 1], rel=1e-5)
    assert raised.terms == dict(zip(TERMS, now.terms[0].tolist(), strict=True))
    assert max(raised.terms.values()) == now.score[0]


def test_what_was_expected_of_an_angle_lies_on_the_turn_that_is_shown():
    turning = (350.0 + 0.2 * np.arange(WARM_FRAMES + 60)[:, None] + noise(WARM_FRAMES + 60, 1)) % 360.0
    turning[-1] = (turning[-1] + 90.0) % 360.0
    settings = with_settings(channels=("a",), channel={"a": Channel(wrap=360.0)})
    (raised,) = one_stream(small_engine(settings), turning)[-1].incidents
    assert raised.expected["a"].value == turning[-1, 0]
    assert 0.0 <= raised.expected["a"].expected < 360.0
    away = (raised.expected["a"].value - raised.expected["a"].expected) % 360.0
    assert away == pytest.approx(90.0, abs=5.0)


@pytest.mark.parametrize(
    ("rule", "spike", "raised"),
    [
        (Channel(), 30.0, True),
        (Channel(direction="up"), 30.0, True),
        (Channel(direction="down"), 30.0, False),
        (Channel(direction="down"), -30.0, True),
        (Channel(least=20.0), 30.0, True),
        (Channel(least=40.0), 30.0, False),
    ],
)
def test_a_deviation_raises_only_where_the_channels_rule_says_that_it_matters(rule, spike, raised):
    values = noise(WARM_FRAMES + 50)
    values[-1, 0] = spike
    engine = small_engine(with_settings(channel={"a": rule}))
    (last,) = one_stream(engine, values)[-1:]
    assert [(told.state, told.channels["a"] > 0.7) for told in last.incidents] == [("raised", True)] * raised
    # and it teaches as little as one that does
    free = small_engine(WITHOUT_TRAINING)
    one_stream(free, values)
    np.testing.assert_array_equal(engine.scale.mean[0], free.scale.mean[0])


def test_a_value_outside_its_declared_range_is_an_alarm_before_the_warm_up_is_over():
    values = noise(20)
    values[10, 1] = 6.0
    engine = small_engine(with_settings(channel={"b": Channel(high=5.0)}))
    outcomes = one_stream(engine, values)
    (raised,) = outcomes[10].incidents
    assert raised.channels["b"] > 0.6
    assert outcomes[10].score[0] >= 1.0
    assert stacked(outcomes[:10], "score").max() < 1.0


def test_rules_hold_for_channels_that_come_later():
    engine = small_engine(with_settings(channels="auto", channel={"b": Channel(low=0.0)}))
    for name in ("a", "b"):
        engine.command(Widen((name,)))
    (outcome,) = one_stream(engine, [[-1.0, -1.0]])
    assert outcome.channel_score[0].tolist() == [0.0, 2.0]


def test_a_stream_that_keeps_outside_without_moving_is_accepted_after_the_time_in_the_config():
    settings = with_settings(channel={"a": Channel(high=5.0)}, alarm=Alarm(accept_s=3600.0))
    told = told_of(one_stream(small_engine(settings), [[0.0, 0.0]] * 30 + [[9.0, 0.0]] * 100))
    assert [(one.state, one.reason) for one in told[:2]] == [("raised", None), ("cleared", "accepted")]
    assert told[1].end - told[1].start == 3600.0


def event_of_the_plant():
    """Batches of six streams, four of which leave their range for a while, one after the other."""
    for n in range(60):
        values = 20.0 + noise(len(STREAMS), seed=n)
        for i in range(4):
            values[i, 0] += 100.0 * (30 + i <= n < 38)
        half = slice(0, 3) if n % 2 else slice(3, 6)
        for part in (slice(0, 3), slice(3, 6)) if n > 20 else (half,):
            yield Batch(STREAMS[part], np.full(3, 60.0 * n), values[part])


PLANT = with_settings(channel={"a": Channel(high=50.0)})


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
    assert kept.together.state_dict() == spilling.together.state_dict()


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


def test_a_state_that_knows_nothing_of_events_is_taken_and_begins_to():
    engine, other = small_engine(PLANT), small_engine(PLANT)
    batches = list(event_of_the_plant())
    play(engine, batches[:40])
    arrays, meta = state(engine)
    del meta["together"], meta["rate"]
    other.load_state_dict(arrays, meta)
    told = [one for batch in batches[40:] for one in other.apply(batch).incidents if one.streams]
    assert [one.state for one in told] == ["raised", "cleared"]


# --- silence ---


def states(outcomes):
    return [(one.id, one.state) for outcome in outcomes for one in outcome.incidents]


def test_a_channel_that_sticks_raises_an_incident_that_blames_it_until_it_moves():
    values = noise(900)
    values[500:600, 1] = values[499, 1]
    outcomes = one_stream(small_engine(WITHOUT_TRAINING), values)
    told = [(one, n) for n, outcome in enumerate(outcomes) for one in outcome.incidents if one.state != "updated"]
    ((cleared, ended),) = [(one, n) for one, n in told if one.state == "cleared" and 500 <= one.peak / 60.0 < 600]
    began = 500 + int(np.argmax(stacked(outcomes, "score")[500:] >= 1.0))
    assert 510 <= began <= 520
    assert 600 <= ended <= 610
    assert cleared.channels["b"] > 0.8


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
