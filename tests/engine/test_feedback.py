"""What people taught: near is muted, other kinds are not, and it outlives everything but its withdrawal."""

from __future__ import annotations

import functools
import json

import msgspec
import numpy as np
import pytest

from streamd.config import Network
from streamd.engine import feedback
from streamd.engine.feedback import FACES, REMEMBERED, TAUGHT, Feedback, Sight, refit, width
from streamd.engine.migrate import migrate
from streamd.engine.score import TERMS
from streamd.records import Batch, Incident, Reset, Teach, Widen, Withdraw
from tests.engine.runs import bits, outcome_bits, small_engine, state, with_training
from tests.incidents import BEGIN, BIGGER, DOWN, OTHER, SETTINGS, SPIKE, Scene, teach

C, K = 3, 4


def sight(errors, *, score=2.0, channel_score=None, level=0.0, hidden=None, generation=0, term=0):
    """One frame's."""
    errors = np.asarray(errors, float)[None]
    parts = np.abs(errors) / np.abs(errors).max() * score if channel_score is None else np.array([channel_score])
    terms = np.zeros((1, len(TERMS)))
    terms[0, term] = score
    return Sight(
        score=np.array([float(score)]),
        terms=terms,
        channel_score=parts,
        errors=errors,
        level=np.full_like(errors, level),
        hidden=np.array([hidden if hidden is not None else [0.1, 0.2, 0.3, 0.4]], np.float32),
        generation=np.array([generation]),
    )


def raised(number, stream="s", state="raised"):
    return Incident(f"{stream}-{number}", stream, state, float(number), float(number), None, 2.0, {})


def shown(bank, number, frames, stream="s"):
    """An incident with these frames, raised and cleared; its id."""
    incident = raised(number, stream)
    for at, frame in enumerate(frames):
        bank.keep([incident] if at == 0 else [], [stream], bank.patterns(frame))
    bank.keep([ended(incident)], [], np.empty((0, width(C, K)), np.float32))
    return incident.id


def ended(incident):
    return msgspec.structs.replace(incident, state="cleared", end=incident.start + 1)


def mutes(bank, frame, stream="s"):
    return bool(bank.muted([stream], bank.patterns(frame))[0])


def taught(frames, verdicts=("false",) * 3, stream="s"):
    bank = Feedback(C, K)
    for number, verdict in enumerate(verdicts):
        bank.teach(shown(bank, number, frames, stream), verdict)
    return bank


JUMP = [16.0, 1.0, -0.5]


# --- which patterns are alike ---


def test_three_verdicts_of_false_mute_a_pattern_and_two_do_not():
    assert mutes(taught([sight(JUMP)]), sight(JUMP))
    assert not mutes(taught([sight(JUMP)], ("false",) * 2), sight(JUMP))


@pytest.mark.parametrize(
    "like",
    [
        sight([17.0, -1.4, 1.9]),  # other noise in the other channels
        sight([24.0, 1.0, 1.0]),  # half as much again
        sight([7.0, 0.2, 0.2], score=1.1),  # smaller, and of the same kind
        sight(JUMP, hidden=[0.15, 0.2, 0.25, 0.4]),
    ],
)
def test_the_like_of_it_is_muted(like):
    assert mutes(taught([sight(JUMP)]), like)


@pytest.mark.parametrize(
    "other",
    [
        sight([1.0, 16.0, -0.5]),  # another channel
        sight([-16.0, 1.0, -0.5]),  # another direction
        sight([36.0, 1.0, -0.5]),  # more than twice as far off
        sight(JUMP, score=5.0),  # more than twice as strange
        sight([16.0, 14.0, -0.5]),  # one channel more
        sight([1.0, 0.4, 0.2], channel_score=[2.0, 0.4, 0.3]),  # strange, but not by this frame's error
    ],
)
def test_another_kind_of_pattern_is_not_muted(other):
    assert not mutes(taught([sight(JUMP)]), other)


def test_a_channel_that_is_off_its_level_while_forecasts_follow_has_a_direction_too():
    drift = {"channel_score": [2.0, 0.1, 0.1]}
    bank = taught([sight([0.5, 0.3, 0.1], level=6.0, **drift)])
    assert mutes(bank, sight([-0.5, 0.3, 0.1], level=6.5, **drift))
    assert not mutes(bank, sight([0.5, 0.3, 0.1], level=-6.0, **drift))


def test_a_hidden_state_is_compared_only_with_those_of_the_same_weights():
    bank = taught([sight([16.0, 7.5, 0.0], channel_score=[2.0, 1.2, 0.0], hidden=[1.0, 1.0, 1.0, 1.0])])
    changed = {"channel_score": [2.0, 1.5, 0.0], "hidden": [-1.0, -1.0, -1.0, -1.0]}
    assert not mutes(bank, sight([16.0, 7.5, 0.0], generation=0, **changed))
    assert mutes(bank, sight([16.0, 7.5, 0.0], generation=1, **changed))


def test_more_verdicts_of_real_than_of_false_let_it_raise():
    assert mutes(taught([sight(JUMP)], ("false",) * 4 + ("real",) * 3), sight(JUMP))
    assert not mutes(taught([sight(JUMP)], ("false",) * 3 + ("real",) * 3), sight(JUMP))


def test_what_was_taught_of_one_stream_counts_half_for_another():
    bank = taught([sight(JUMP)], ("false",) * 5)
    assert mutes(bank, sight(JUMP), "s")
    assert not mutes(bank, sight(JUMP), "t")
    bank.teach(shown(bank, 5, [sight(JUMP)]), "false")
    assert mutes(bank, sight(JUMP), "t")


def test_an_incident_votes_once_however_many_of_its_frames_are_alike_and_each_of_its_kinds_of_frames_counts():
    back = [-16.0, 1.0, 0.5]
    assert not mutes(taught([sight(JUMP), sight([22.0, 1.0, 1.0])], ("false",) * 2), sight(JUMP))
    bank = taught([sight(JUMP), sight(JUMP), sight(back)])
    assert len(bank.faces("s-0")) == 2
    assert mutes(bank, sight(JUMP))
    assert mutes(bank, sight(back))


def test_numbers_that_are_none_make_a_pattern_of_finite_numbers():
    odd = sight([np.nan, np.inf, -np.inf], channel_score=[np.nan, np.inf, 1.0])
    assert np.isfinite(Feedback(C, K).patterns(odd)).all()


# --- what is remembered ---


def test_a_verdict_may_change_and_be_withdrawn_and_given_again():
    bank = taught([sight(JUMP)])
    bank.teach("s-1", "real")
    assert not mutes(bank, sight(JUMP))
    bank.teach("s-1", "false")
    assert mutes(bank, sight(JUMP))
    bank.withdraw("s-1")
    assert not mutes(bank, sight(JUMP))
    assert [incident for incident, _ in bank.taught()] == ["s-0", "s-2"]
    bank.teach("s-1", "false")
    assert mutes(bank, sight(JUMP))


def test_what_can_not_be_taught_is_refused_with_a_reason_and_changes_nothing():
    bank = taught([sight(JUMP)])
    bank.keep([raised(7)], [], np.empty((0, width(C, K)), np.float32))
    before = repr(bank.state_dict())
    assert "no incident x-1 among those remembered" in bank.refusal("x-1")
    assert "no pattern" in bank.refusal("s-7")
    assert "was not taught" in bank.refusal("s-7", taught=True)
    assert bank.refusal("s-0") == bank.refusal("s-0", taught=True) == ""
    bank.teach("x-1", "false")
    bank.teach("s-7", "false")
    bank.withdraw("s-7")
    assert repr(bank.state_dict()) == before


def test_memory_is_bounded_and_the_oldest_go_first_and_are_told():
    bank = Feedback(C, K)
    told = []
    for number in range(TAUGHT + 2):
        told.append(bank.teach(shown(bank, number, [sight(JUMP)]), "false"))
    assert told[-3:] == ["", "s-0", "s-1"]
    assert len(bank) == TAUGHT
    for number in range(1000, 1000 + REMEMBERED + 2):
        shown(bank, number, [sight(JUMP)])
    assert bank.refusal("s-1001") != ""
    assert bank.refusal("s-1002") == ""
    assert len(bank.state_dict()[1]) == TAUGHT + REMEMBERED


def test_an_open_incident_outlasts_younger_ones_that_have_ended():
    bank = Feedback(C, K)
    bank.keep([raised(0, "long")], ["long"], bank.patterns(sight(JUMP)))
    for number in range(REMEMBERED + 5):
        shown(bank, number, [sight(JUMP)])
    assert bank.refusal("long-0") == ""


def test_an_incident_keeps_a_few_patterns_and_no_more():
    bank = Feedback(C, K)
    shown(bank, 0, [sight([sign * 2.0**size, 0.0, 0.0]) for size in range(3, 13) for sign in (1, -1)])
    assert len(bank.faces("s-0")) == FACES


def test_a_state_that_was_saved_and_loaded_is_the_same_and_one_of_another_shape_is_refused():
    bank = taught([sight(JUMP)], ("false", "real"))
    bank.keep([raised(9)], ["s"], bank.patterns(sight(JUMP)))
    arrays, rest = bank.state_dict()
    other = Feedback(C, K)
    other.load_state_dict(arrays, json.loads(json.dumps(rest)))
    for one in (bank, other):  # it goes on with the incident that is open
        one.keep([], ["s"], one.patterns(sight([0.0, -9.0, 0.0])))
    assert bits(other.state_dict()[0]) == bits(bank.state_dict()[0])
    assert json.dumps(other.state_dict()[1]) == json.dumps(bank.state_dict()[1])
    with pytest.raises(ValueError, match=r"feedback.patterns: .* is not"):
        Feedback(C + 1, K).load_state_dict(arrays, rest)
    with pytest.raises(ValueError, match=r"feedback.patterns: .* is not"):
        other.load_state_dict({"patterns": arrays["patterns"][1:]}, rest)


def test_what_was_saved_does_not_change_when_the_bank_does():
    bank = taught([sight(JUMP)])
    arrays, _ = bank.state_dict()
    before = bits(arrays)
    bank.keep([raised(9)], ["s"], bank.patterns(sight([0.0, -9.0, 0.0])))
    bank.teach("s-9", "false")
    bank.widen(C + 1)
    assert bits(arrays) == before


def test_channels_that_come_later_leave_what_was_taught_in_force():
    bank = taught([sight(JUMP)])
    bank.widen(C + 2)
    assert mutes(bank, sight([*JUMP, 0.4, 1.0]))
    assert not mutes(bank, sight([*JUMP, 0.4, -20.0]))


def test_patterns_move_with_their_channels_and_lose_what_another_network_saw():
    made = Feedback(C, K).patterns(sight(JUMP))
    moved = refit(made, C, np.array([2, -1, 0]), K, K + 2)
    assert moved.shape == (1, width(3, K + 2))
    np.testing.assert_array_equal(moved[0, :3], [made[0, 2], 0.0, made[0, 0]])
    np.testing.assert_array_equal(moved[0, 3:6], [made[0, 5], 0.0, made[0, 3]])
    begin = 6 + len(TERMS)
    assert not moved[0, begin : begin + K + 2].any()
    np.testing.assert_array_equal(moved[0, begin + K + 2 :], made[0, begin + K :])


# --- through the engine ---


@functools.cache
def lesson():
    """Records of such a scene, and the state that they lead to."""
    scene = teach(Scene(small_engine(SETTINGS)))
    return scene.records, scene.frame, *state(scene.engine)


def scene_that_was_taught():
    """What goes on from there, each time the same."""
    _, frame, arrays, meta = lesson()
    engine = small_engine(SETTINGS)
    engine.load_state_dict({name: array.copy() for name, array in arrays.items()}, meta)
    scene = Scene(engine, seed=2)
    scene.frame = frame
    return scene


def test_after_three_verdicts_of_false_the_like_of_it_no_longer_raises_and_is_told_as_muted():
    scene = scene_that_was_taught()
    ids, outcomes = scene.disturbed(SPIKE)
    assert ids == []
    spike = outcomes[0]
    assert spike.muted.tolist() == [True]
    assert spike.score[0] == feedback.MUTED
    assert spike.terms[0].max() >= 1.0
    assert not any(outcome.muted.any() for outcome in outcomes[60:])  # the level has come back by then


@pytest.mark.parametrize("other", [OTHER, BIGGER, DOWN])
def test_a_fault_of_another_kind_still_raises(other):
    scene = scene_that_was_taught()
    assert scene.disturbed(other)[0]


def test_what_is_withdrawn_raises_again():
    scene, same = scene_that_was_taught(), scene_that_was_taught()
    for incident, _ in scene.engine.feedback.taught():
        scene.command(Withdraw(incident))
    assert scene.disturbed(SPIKE)[0]
    assert same.disturbed(SPIKE)[0] == []


def test_a_verdict_of_something_unknown_is_refused_and_leaves_the_state_to_the_bit():
    engine = scene_that_was_taught().engine
    before = state(engine)
    for command in (Teach("s-9999", "false"), Withdraw("s-9999")):
        assert "s-9999" in engine.refusal(command)
        engine.command(command)
    after = state(engine)
    assert bits(after[0]) == bits(before[0])
    assert after[1] == before[1]


def test_saved_and_loaded_or_replayed_it_goes_on_to_the_bit():
    records, frame, *_ = lesson()
    loaded, kept = scene_that_was_taught(), Scene(small_engine(SETTINGS), seed=2)
    kept.frame = frame
    for record in records:
        if isinstance(record, Batch):
            kept.engine.apply(record)
        else:
            kept.engine.command(record)
    outcomes = [[*scene.disturbed(SPIKE)[1], *scene.disturbed(OTHER)[1]] for scene in (kept, loaded)]
    assert any(outcome.muted[0] for outcome in outcomes[0])
    here, there = ([outcome_bits(outcome) for outcome in some] for some in outcomes)
    assert here == there
    assert bits(state(kept.engine)[0]) == bits(state(loaded.engine)[0])
    assert state(kept.engine)[1] == state(loaded.engine)[1]


def test_a_reset_of_the_stream_and_its_absence_from_memory_leave_what_was_taught():
    engine = scene_that_was_taught().engine
    engine.restore(engine.spill(1))
    engine.command(Reset("s"))
    assert len(engine.feedback) >= 3


def test_a_state_from_before_there_was_feedback_is_taken_and_begins_with_nothing():
    arrays, meta = state(scene_that_was_taught().engine)
    del arrays["feedback.patterns"], meta["feedback"]
    engine = small_engine(SETTINGS)
    engine.load_state_dict(arrays, meta)
    assert len(engine.feedback) == 0
    migrated = migrate(arrays, meta, with_training(enabled=False, train_frames=6))
    assert "feedback.patterns" not in migrated[0]


def moved(engine, settings):
    arrays, meta, notes = migrate(*state(engine), settings)
    other = small_engine(settings)
    other.load_state_dict(arrays, meta)
    return other, notes


def test_another_network_keeps_what_was_taught_without_what_the_old_one_saw():
    engine = scene_that_was_taught().engine
    other, notes = moved(engine, msgspec.structs.replace(SETTINGS, network=Network(hidden=6, layers=2)))
    assert any("what the network saw" in note for note in notes)
    assert [one for one, _ in other.feedback.taught()] == [one for one, _ in engine.feedback.taught()]
    ids, outcomes = Scene(other, seed=3).disturbed(SPIKE)
    assert ids == [] or outcomes[0].muted[0]


def test_other_channels_of_the_config_keep_what_was_taught_of_those_that_stay():
    engine = scene_that_was_taught().engine
    turned, _ = moved(engine, msgspec.structs.replace(SETTINGS, channels=("b", "a")))
    scene = Scene(turned, seed=3)
    scene.frame = 10_000
    scene.calm()
    assert scene.disturbed(OTHER)[1][0].muted[0]  # what was the first channel is the second now
    none, notes = moved(engine, msgspec.structs.replace(SETTINGS, channels=("x", "y")))
    assert len(none.feedback) == 0
    assert any("dropped with their channels" in note for note in notes)


def test_a_channel_that_comes_later_leaves_it_in_force():
    auto = msgspec.structs.replace(SETTINGS, channels="auto")
    engine = small_engine(auto)
    engine.command(Widen(("a", "b")))
    scene = teach(Scene(engine))
    scene.command(Widen(("c",)))
    batch = Batch(("s",), np.array([BEGIN + 60.0 * (scene.frame + 1)]), np.array([[60.0, 20.0, np.nan]]))
    assert engine.apply(batch).muted[0]


def test_a_question_leaves_the_state_alone():
    engine = scene_that_was_taught().engine
    before = state(engine)
    engine.feedback.taught()
    engine.feedback.faces("s-1")
    engine.feedback.muted(["s"], engine.feedback.faces(engine.feedback.taught()[0][0])[:1])
    engine.refusal(Teach("s-1", "real"))
    after = state(engine)
    assert bits(after[0]) == bits(before[0])
    assert after[1] == before[1]
