"""The learner: what falls due when, what is installed, what is turned down, and what survives."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from streamd.config import Training
from streamd.engine.features import CLOCK, PLANES
from streamd.engine.learner import FULL_RATE_STREAMS, STALE, InlineTrainer, Learner
from streamd.engine.memory import HELD_BACK, Memory
from streamd.engine.recent import Recent
from streamd.model.network import Shape
from streamd.model.training import Candidate, Job, train
from streamd.records import HELD

H, R, S, C = 2, 12, 3, 2
SIZES = {"C": C, "H": H, "R": R, "S": S, "L": 1, "K": 4}
SHAPE = Shape(channels=C, planes=len(PLANES), extras=CLOCK, horizon=H, hidden=4, layers=1)
SETTINGS = Training(every_frames=10, lag_frames=4, windows=3, steps=2, burn_in_frames=4, train_frames=6)


class Recorder(InlineTrainer):
    """Trains as asked, keeps the jobs, and may doctor the candidates."""

    def __init__(self, doctor=lambda candidate: candidate):
        self.jobs: list[Job] = []
        self.doctor = doctor

    def submit(self, job):
        self.jobs.append(job)
        super().submit(job)

    def result(self) -> Candidate:
        return self.doctor(super().result())


def make(trainer=None, **changes):
    settings = msgspec.structs.replace(SETTINGS, **changes)
    return Learner(settings, SHAPE, 7, trainer or Recorder())


def filled(count=10):
    """A memory of windows of noise whose targets are known; window i is marked by a cell state of i."""
    generator = np.random.Generator(np.random.PCG64(0))
    recent, memory = Recent(SIZES, slots=1), Memory(SIZES, slots=24)
    for name in ("base", *PLANES, "clock", "residual"):
        array = getattr(recent, name)
        array[:] = generator.normal(size=array.shape)
    recent.trust[:] = 1.0
    for number in range(count):
        recent.start_c[:] = number
        memory.add(recent, np.array([0]), np.array([R - 1]), generator)
    return memory


def calm():
    """No stream has drifted: recent windows are not preferred."""
    return 0.0


def run(learner, frames, memory=None, streams=1, after=0):
    """So many frames one by one as the engine does it: [(frame, what happened)]."""
    memory = filled() if memory is None else memory
    events = []
    for frame in range(after + 1, after + frames + 1):
        if learner.waits(frame - 1):
            events.append((frame, learner.install().reason))
        before = learner._job
        learner.begin(frame, streams, memory, calm)
        if learner._job is not before:
            events.append((frame, "begun"))
    return events


def better(candidate):
    return replace(candidate, held_back_before=1.0, held_back_after=0.5)


def worse(candidate):
    return replace(candidate, held_back_before=1.0, held_back_after=1.1)


def test_a_job_falls_due_by_frames_and_is_installed_a_fixed_number_of_frames_later():
    learner = make(Recorder(better))
    assert run(learner, 26) == [
        (1, "begun"),
        (6, "better"),
        (11, "begun"),
        (16, "better"),
        (21, "begun"),
        (26, "better"),
    ]


def test_more_streams_take_their_share_of_the_frames_up_to_a_limit():
    def second_begin(streams):
        begun = [
            at
            for at, what in run(make(Recorder(better)), 10 * (FULL_RATE_STREAMS + 2), streams=streams)
            if what == "begun"
        ]
        return begun[1] - begun[0]

    assert second_begin(1) == 10
    assert second_begin(5) == 50
    assert second_begin(FULL_RATE_STREAMS) == second_begin(10 * FULL_RATE_STREAMS) == 10 * FULL_RATE_STREAMS


def test_a_stretched_schedule_is_as_much_slower():
    learner = make(Recorder(better))
    learner.stretch = 1.5
    assert run(learner, 17) == [(1, "begun"), (8, "better"), (16, "begun")]


def test_nothing_begins_while_the_schedule_is_held_and_what_was_due_meanwhile_begins_at_once_afterwards():
    learner = make(Recorder(better))
    assert run(learner, 5) == [(1, "begun")]
    learner.stretch = HELD
    assert run(learner, 30, after=5) == [(6, "better")]
    learner.stretch = 1.0
    assert run(learner, 1, after=35) == [(36, "begun")]


def test_a_lag_longer_than_the_interval_delays_the_next_job():
    events = run(make(Recorder(better), lag_frames=25), 40)
    assert events == [(1, "begun"), (27, "better"), (27, "begun")]


def test_nothing_begins_while_there_is_nothing_to_train_on():
    trainer = Recorder()
    assert run(make(trainer), 30, filled(HELD_BACK)) == []
    assert run(make(trainer), 1, filled(HELD_BACK + 1)) == [(1, "begun")]


def test_nothing_begins_where_training_is_off_or_frozen_and_a_thaw_goes_on():
    assert run(make(enabled=False), 30) == []
    learner = make(Recorder(better))
    learner.freeze()
    assert run(learner, 30) == []
    learner.frozen = False
    assert run(learner, 1) == [(1, "begun")]


def test_a_freeze_forgets_the_job_under_way_so_that_the_weights_stay():
    learner = make(Recorder(better))
    memory = filled()
    run(learner, 3, memory)
    before = learner.weights
    learner.freeze()
    assert not learner.waits(10**9)
    assert run(learner, 30, memory) == []
    assert learner.weights is before


def test_a_job_has_a_batch_for_each_step_and_none_holds_what_is_held_back():
    trainer = Recorder(better)
    run(make(trainer), 100)
    assert len(trainer.jobs) == 10
    for job in trainer.jobs:
        assert len(job.batches) == SETTINGS.steps
        assert job.burn_in == R - H - SETTINGS.train_frames
        held_back = {*job.held_back.c[:, 0, 0].tolist()}
        assert held_back == {6.0, 7.0, 8.0, 9.0}
        for windows in job.batches:
            assert windows.x.shape == (SETTINGS.windows, R - H, SHAPE.inputs)
            assert not held_back & {*windows.c[:, 0, 0].tolist()}


def test_after_a_drift_a_job_is_of_recent_windows_and_nobody_is_asked_before_one_is_due():
    trainer = Recorder(better)
    learner, memory = make(trainer), filled(24)  # rows from 12 on are of the oldest windows
    asked = []

    def drifted():
        asked.append(learner._job)
        return 1.0

    for frame in range(1, 40):
        if learner.waits(frame - 1):
            learner.install()
        learner.begin(frame, 1, memory, drifted)
    assert len(trainer.jobs) == len(asked) == 4
    for job in trainer.jobs:
        for windows in job.batches:
            assert (windows.c[:, 0, 0] >= 12).all()


def test_a_better_candidate_is_taken_with_its_optimizer_and_the_next_job_goes_on_from_it():
    trainer = Recorder(better)
    learner = make(trainer)
    run(learner, 11)
    candidate = train(trainer.jobs[0])
    assert all(torch.equal(learner.weights[name], candidate.weights[name]) for name in candidate.weights)
    assert trainer.jobs[1].weights is learner.weights
    assert trainer.jobs[1].optimizer.step == candidate.steps == SETTINGS.steps


@pytest.mark.parametrize(
    ("doctor", "reason"),
    [
        (worse, "worse"),
        (lambda candidate: replace(candidate, held_back_after=float("nan")), "not_finite"),
        (lambda candidate: replace(candidate, held_back_after=float("inf")), "not_finite"),
        (lambda candidate: replace(better(candidate), loss=float("nan")), "not_finite"),
    ],
)
def test_a_candidate_that_is_worse_or_no_number_is_dropped_and_said_so(doctor, reason):
    trainer = Recorder(doctor)
    learner = make(trainer)
    before = learner.weights
    assert run(learner, 11) == [(1, "begun"), (6, reason), (11, "begun")]
    assert learner.weights is before
    assert trainer.jobs[1].optimizer is trainer.jobs[0].optimizer
    assert learner.generation == 0


def test_a_candidate_that_is_just_as_good_is_taken():
    learner = make(Recorder(lambda candidate: replace(candidate, held_back_after=candidate.held_back_before)))
    assert run(learner, 6) == [(1, "begun"), (6, "better")]


def test_a_report_tells_the_losses():
    learner = make(Recorder())
    run(learner, 5)
    expected = train(learner._job)
    report = learner.install()
    assert (report.loss, report.held_back_before, report.held_back_after, report.steps) == (
        expected.loss,
        expected.held_back_before,
        expected.held_back_after,
        SETTINGS.steps,
    )
    assert report.accepted == (expected.held_back_after <= expected.held_back_before)


def test_hidden_states_are_stale_when_the_weights_have_moved_far_and_not_before():
    def moved(share):
        def doctor(candidate):
            moved = {name: tensor * (1 + share) for name, tensor in trainer.jobs[-1].weights.items()}
            return replace(better(candidate), weights=moved)

        return doctor

    trainer = Recorder()
    learner = make(trainer)
    trainer.doctor = moved(0.6 * STALE)
    run(learner, 6)
    assert learner.generation == 0
    learner.install_at = 0
    learner.begin(1000, 1, filled(), calm)
    learner.install()
    assert learner.generation == 1, "small steps add up"
    learner.begin(2000, 1, filled(), calm)
    learner.install()
    assert learner.generation == 1, "and are counted from there anew"


def test_widening_forgets_the_job_under_way_and_trains_the_wider_network_at_once():
    trainer = Recorder(better)
    learner = make(trainer)
    memory = filled()
    run(learner, 3, memory)
    learner.widen(3)
    memory.widen({"C": 3})
    assert learner.shape.channels == 3
    assert not learner.waits(10**9)
    learner.begin(4, 1, memory, calm)
    assert trainer.jobs[-1].shape == learner.shape
    assert trainer.jobs[-1].optimizer.first["w_head"].shape == (H * 3, 4)
    learner.install()


def test_a_network_widened_from_nothing_is_as_if_its_channels_had_been_known():
    learner = Learner(SETTINGS, replace(SHAPE, channels=0), 7, Recorder())
    learner.widen(C)
    assert learner.shape == SHAPE
    assert all(torch.equal(tensor, learner.weights[name]) for name, tensor in make().weights.items())


def saved(learner):
    arrays, meta = learner.state_dict()
    return {name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(meta))


@pytest.mark.parametrize("frames", [0, 1, 3, 5, 6, 10, 11, 13, 17])
def test_a_loaded_learner_goes_on_as_the_one_that_was_saved(frames):
    """Also with a job under way, which is begun anew."""
    memory = filled()
    one, other = (make(Recorder(better), learning_rate=0.1) for _ in range(2))
    one.stretch = 1.2
    run(one, frames, memory)
    arrays, meta = saved(one)
    other.load_state_dict(arrays, meta)
    assert (other._job is None) == (one._job is None) == (frames in (0, 10, 11))
    assert run(one, 40, memory, after=frames) == run(other, 40, memory, after=frames)
    assert one.generation == other.generation > 1
    (a, meta_a), (b, meta_b) = saved(one), saved(other)
    assert meta_a == meta_b
    assert a.keys() == b.keys()
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)


def test_a_job_under_way_is_carried_out_with_the_rates_that_it_was_begun_with_also_after_loading():
    memory = filled()
    one = make(Recorder(better), learning_rate=0.1, clip_norm=0.5)
    run(one, 3, memory)
    assert one._job is not None
    slower = msgspec.structs.replace(SETTINGS, learning_rate=0.001, clip_norm=9.0)
    one.configure(slower)
    other = Learner(slower, SHAPE, 7, Recorder(better))
    other.load_state_dict(*saved(one))
    for learner in (one, other):
        assert (learner._job.learning_rate, learner._job.clip_norm) == (0.1, 0.5)
        run(learner, 20, memory, after=3)
        rates = {(job.learning_rate, job.clip_norm) for job in learner._trainer.jobs[1:]}
        assert rates == {(0.001, 9.0)}
    (a, _), (b, _) = saved(one), saved(other)
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)


def test_a_job_in_a_state_that_does_not_tell_its_rates_is_carried_out_with_those_of_the_settings():
    one, other = make(Recorder(better), learning_rate=0.1), make(Recorder(better), learning_rate=0.1)
    run(one, 3)
    arrays, meta = saved(one)
    del meta["job_rates"]
    other.load_state_dict(arrays, meta)
    assert other._job.learning_rate == 0.1


def test_a_frozen_learner_is_frozen_after_loading():
    one, other = make(), make()
    one.freeze()
    other.load_state_dict(*saved(one))
    assert run(other, 30) == []


@pytest.mark.parametrize(
    "break_state",
    [
        lambda arrays: arrays.pop("weights.w_hh_0"),
        lambda arrays: arrays.update({"weights.w_hh_0": np.zeros((3, 3), np.float32)}),
        lambda arrays: arrays.update({"first.b_head": np.zeros(H * C)}),
    ],
)
def test_a_state_of_another_network_is_refused_and_the_text_says_where(break_state):
    arrays, meta = saved(make())
    break_state(arrays)
    with pytest.raises(ValueError, match=r"weights\.w_hh_0: .* is not|first\.b_head: float64\(4,\) is not float32"):
        make().load_state_dict(arrays, meta)
