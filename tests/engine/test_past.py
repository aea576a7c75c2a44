"""What is told of the frames around an incident is what came and what was published for it; nothing twice."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from streamd.config import Channel
from streamd.engine.past import MOST
from streamd.engine.score import WARM_FRAMES
from streamd.records import Batch, Reset
from tests.engine.runs import bits, outcome_bits, small_engine, state
from tests.incidents import SETTINGS, SPIKE, Scene

LONG = msgspec.structs.replace(SETTINGS, training=msgspec.structs.replace(SETTINGS.training, burn_in_frames=40))


def lasting(scene, frames):
    """Outcomes of a disturbance that comes anew in every frame."""
    return [scene.give((40.0 * (n % 3), 0.0)) for n in range(frames)]


def warm(settings=LONG):
    scene = Scene(small_engine(settings))
    scene.calm(WARM_FRAMES + 20)
    return scene


def excerpts(outcomes):
    return [one for outcome in outcomes for one in outcome.excerpts]


def test_an_incident_brings_the_frames_before_it_and_then_pieces_until_its_end_without_a_gap():
    scene = warm()
    ids, outcomes = scene.disturbed(SPIKE)
    told = [one for one in excerpts(outcomes) if one.incident == ids[0]]
    first = told[0]
    raised = outcomes[0].incidents[0]
    assert first.times[-1] == raised.start
    assert len(first.times) == scene.engine.past.sizes["R"] - 1
    seq = np.concatenate([one.seq + np.arange(len(one.times)) for one in told])
    assert seq.tolist() == list(range(first.seq, first.seq + len(seq)))
    cleared = next(outcome.times[0] for outcome in outcomes if any(one.end is not None for one in outcome.incidents))
    assert told[-1].times[-1] == cleared


def test_each_frame_is_told_with_its_values_its_score_and_what_was_published_for_it_one_step_before():
    scene = warm()
    before = [outcome for _, outcome in scene.given]
    _, outcomes = scene.disturbed(SPIKE)
    every = {int(outcome.seq[0]): outcome for outcome in [*before, *outcomes]}
    values = [batch.values[0] for batch in scene.records]
    for one in excerpts(outcomes):
        for at in range(len(one.times)):
            seq = one.seq + at
            assert one.times[at] == every[seq].times[0]
            np.testing.assert_array_equal(one.values[at], values[seq])
            assert one.score[at] == np.float32(every[seq].score[0])
            np.testing.assert_array_equal(one.terms[at], every[seq].terms[0].astype(np.float32))
            for name in ("mean", "lower", "upper"):
                published = getattr(every[seq - 1], name)[0, 0]
                np.testing.assert_allclose(getattr(one, name)[at], published, rtol=1e-6)


def test_a_calm_stream_tells_nothing_and_a_long_incident_no_more_than_a_bounded_number_of_frames():
    scene = warm()
    assert not excerpts([outcome for _, outcome in scene.given])
    outcomes = lasting(scene, 2 * MOST)
    of_first = [one for one in excerpts(outcomes) if one.incident == excerpts(outcomes)[0].incident]
    assert sum(len(one.times) for one in of_first) <= MOST
    assert all(len(one.times) <= scene.engine.past.sizes["R"] for one in of_first)


def test_patterns_of_the_incident_ride_along():
    scene = warm()
    _, outcomes = scene.disturbed(SPIKE)
    assert len(excerpts(outcomes)[0].patterns) >= 1


def test_a_missing_value_is_told_as_missing_and_an_angle_within_its_turn():
    scene = warm(msgspec.structs.replace(LONG, channel={"b": Channel(low=0.0, wrap=15.0)}))
    scene.frame += 1
    time = scene.records[-1].times + 60.0
    scene.engine.apply(Batch(("s",), time, np.array([[np.nan, 20.0]])))
    outcome = scene.engine.apply(Batch(("s",), time + 60.0, np.array([[60.0, 4.0]])))
    (one,) = outcome.excerpts
    assert np.isnan(one.values[-2, 0])
    np.testing.assert_allclose(one.values[-2:, 1], [5.0, 4.0])
    assert (one.values[:, 1] < 15.0).all()


def test_after_a_reset_nothing_more_is_told_of_what_was_open_and_the_next_has_no_frame_from_before():
    scene = warm()
    scene.give(SPIKE)
    scene.engine.command(Reset("s"))
    begun = scene.records[-1].times[0]
    assert not excerpts(scene.calm(WARM_FRAMES - 1))
    told = excerpts(scene.disturbed(SPIKE)[1])
    assert told
    assert all(one.times[0] > begun for one in told)


@pytest.mark.parametrize("after", [0, 3])
def test_saved_and_loaded_in_the_middle_of_an_incident_the_rest_is_told_the_same(after):
    scene = warm()
    scene.give(SPIKE)
    scene.calm(after)
    loaded = small_engine(LONG)
    loaded.load_state_dict(*state(scene.engine))
    begun = len(scene.records)
    kept = scene.calm()
    again = [loaded.apply(batch) for batch in scene.records[begun:]]
    assert excerpts(kept)
    assert [outcome_bits(one) for one in kept] == [outcome_bits(one) for one in again]
    assert bits(state(loaded)[0]) == bits(state(scene.engine)[0])


def test_what_is_held_of_a_stream_can_be_seen_without_an_incident():
    scene = warm()
    engine, every = scene.engine, [outcome for _, outcome in scene.given]
    n = int(engine.timing.age[0]) - 1
    parts = "s", engine.channels, engine.recent, engine.state.ranges
    held = engine.past.held(0, n, n, *parts, most=1000)
    assert len(held.times) == engine.past.sizes["R"] - 1
    assert held.seq + len(held.times) - 1 == every[-1].seq[0]
    for at in range(len(held.times)):
        outcome, before = every[held.seq + at], every[held.seq + at - 1]
        assert held.times[at] == outcome.times[0]
        assert held.score[at] == np.float32(outcome.score[0])
        np.testing.assert_allclose(held.mean[at], before.mean[0, 0], rtol=1e-6)
    assert engine.past.held(0, n, n, *parts, most=3).seq == n - 2
    assert len(engine.past.held(0, -1, n, *parts, most=3).times) == 0
