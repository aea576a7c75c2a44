"""What a frame does, from the engine's outside: forecasts, scores and incidents of whole streams."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from streamd.config import Alarm, Channel, Network
from streamd.engine.engine import Engine
from streamd.engine.experts import CORRECTED
from streamd.engine.hidden import REPLAYED, TURNS
from streamd.engine.learner import InlineTrainer
from streamd.engine.score import TERMS, WARM_FRAMES
from streamd.model import network
from streamd.records import Batch, Widen
from tests.engine.runs import (
    AUTO,
    FORECAST,
    STREAMS,
    WITHOUT_TRAINING,
    Plant,
    give_it_something_to_say,
    noise,
    one_stream,
    outcome_bits,
    small_engine,
    stacked,
    state,
    told_of,
    with_settings,
    with_training,
)


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
    found = engine.scale.last[0] + engine.experts.pending.offsets[0, (frames - 1) % 3, CORRECTED]
    np.testing.assert_allclose(found, corrected, atol=1e-4)
    share = outcome.weights[0, -1]
    np.testing.assert_allclose(outcome.mean[0], (1 - share) * mixed + share * corrected, atol=1e-4)


@pytest.mark.parametrize("frames", [5, 32, 48])
def test_a_state_made_by_older_weights_is_made_anew_from_the_frames_at_hand(frames):
    """What it comes to is what the new weights make of the last frames, from a state that was kept before them."""
    engine = small_engine(WITHOUT_TRAINING)
    one_stream(engine, noise(frames))
    give_it_something_to_say(engine)
    learner, recent = engine.learner, engine.recent
    learner.weights = {name: tensor + 0.1 for name, tensor in learner.weights.items()}
    learner.generation += 1
    engine.timing.number[0] = -frames % TURNS  # its turn is now
    stride = recent.stride
    begin = max((frames - REPLAYED) // stride, 0) * stride
    numbers = np.arange(begin, frames)
    x = recent.inputs(np.zeros(len(numbers), np.int64), numbers % recent.sizes["R"])
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
    (mine,), (expected,) = one_stream(engine, noise(1, seed=5), frames), one_stream(twin, noise(1, seed=5), frames)
    np.testing.assert_allclose(mine.mean, expected.mean, atol=1e-4)
    np.testing.assert_allclose(engine.hidden.c[0], twin.hidden.c[0], atol=1e-5)
    assert engine.hidden.generation[0] == learner.generation
    for number in (number for number in states if number % stride == 0):  # windows begin with these
        start = recent.start_c[0, number // stride % recent.sizes["S"]]
        np.testing.assert_allclose(start, states[number][:, 0].numpy(), atol=1e-5)


def test_a_state_made_by_older_weights_waits_for_its_turn():
    engine = small_engine(WITHOUT_TRAINING)
    one_stream(engine, noise(20))
    engine.learner.generation += 1
    generations = []
    for frame in range(20, 20 + TURNS):
        one_stream(engine, noise(1, seed=frame), frame)
        generations.append(int(engine.hidden.generation[0]))
    assert generations == [0] * 12 + [1] * 4, "its number is 0: at frame 32"


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


def test_a_channel_that_sticks_raises_an_incident_that_blames_it_until_it_moves():
    values = noise(900)
    values[500:600, 1] = values[499, 1]
    outcomes = one_stream(small_engine(WITHOUT_TRAINING), values)
    told = [(one, n) for n, outcome in enumerate(outcomes) for one in outcome.incidents if one.state != "updated"]
    ((cleared, ended),) = [(one, n) for one, n in told if one.state == "cleared" and 500 <= one.peak / 60.0 < 600]
    began = 500 + int(np.argmax(stacked(outcomes, "score")[500:] >= 1.0))
    assert 510 <= began <= 520
    assert 600 <= ended <= 610
    assert cleared.channels["b"] > 0.7
