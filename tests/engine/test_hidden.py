from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from streamd.config import Group, Network, Training
from streamd.engine.engine import Engine
from streamd.engine.hidden import CELL_LIMIT, repair
from streamd.engine.learner import InlineTrainer
from streamd.model.training import Candidate, Job, train
from streamd.records import F64, Batch, Outcome
from tests.engine.runs import SETTINGS, Plant, bits, small_engine, state

GOOD = Group(
    channels=("a", "b"),
    horizon_steps=3,
    network=Network(hidden=8, layers=1),
    training=Training(every_frames=16, lag_frames=4, windows=4, steps=1, memory_windows=64, learning_rate=0.02),
)


def states(*cells: float) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states of 0.5 and these cells, one stream each."""
    c = np.array(cells, np.float32).reshape(-1, 1, 1)
    return np.full_like(c, 0.5), c


def test_a_sound_state_is_left_alone() -> None:
    h, c = states(1, -CELL_LIMIT, CELL_LIMIT)
    assert repair(h, c) == 0
    assert c.ravel().tolist() == [1, -CELL_LIMIT, CELL_LIMIT]
    assert repair(*states()) == 0


def test_only_what_is_bad_is_set_right_and_counted_by_stream() -> None:
    h, c = states(1, np.nan, np.inf, 1e30, -1e30)
    h[0] = np.nan
    assert repair(h, c) == 5
    assert c.ravel().tolist() == [1, 0, 0, CELL_LIMIT, -CELL_LIMIT]
    assert h.ravel().tolist() == [0, 0.5, 0.5, 0.5, 0.5]


def test_a_poisoned_hidden_state_is_repaired_counted_and_harms_no_other_stream() -> None:
    engine, twin = small_engine(), small_engine()
    for batch in Plant(2).batches(30):
        engine.apply(batch)
        twin.apply(batch)
    engine.hidden.c[engine.slots.get("s1"), 0, 0] = np.nan
    batch = Batch(("s0", "s1", "s2"), np.full(3, 1e5), np.full((3, 2), 20.0))
    outcome, sound = engine.apply(batch), twin.apply(batch)
    assert (outcome.repaired, sound.repaired) == (1, 0)
    for name in ("mean", "lower", "upper", "score"):
        mine, others = getattr(outcome, name), getattr(sound, name)
        assert np.isfinite(mine).all()
        np.testing.assert_array_equal(mine[[0, 2]], others[[0, 2]])
    assert np.isfinite(engine.hidden.h).all()
    assert np.isfinite(engine.hidden.c).all()
    again = Batch(batch.streams, batch.times + 60, batch.values)
    assert engine.apply(again).repaired == 0


def test_weights_so_large_that_sums_overflow_give_finite_forecasts() -> None:
    engine = small_engine()
    for batch in Plant(2).batches(20):
        engine.apply(batch)
    huge = torch.tensor(3e38)
    engine.learner.weights = {name: torch.copysign(huge, tensor) for name, tensor in engine.learner.weights.items()}
    for batch in Plant(3).batches(3):
        late = Batch(batch.streams, batch.times + 1e5, np.nan_to_num(batch.values, nan=20.0))
        outcome = engine.apply(late)
        assert np.isfinite(outcome.mean).all()
        assert np.isfinite(engine.hidden.c).all()


class Poisoner(InlineTrainer):
    """Trains, and then spoils one number of the candidate."""

    def __init__(self, where: str, value: float) -> None:
        self.where, self.value, self.spoiled = where, value, 0

    def submit(self, job: Job) -> None:
        self.job = job

    def result(self) -> Candidate:
        candidate = train(self.job)
        self.spoiled += 1
        optimizer = candidate.optimizer
        sets = {"weights": candidate.weights, "first": optimizer.first, "second": optimizer.second}
        if self.where in sets:
            sets[self.where]["w_hh_1"][0, 0] = self.value
            return replace(candidate, held_back_after=0.0)
        return replace(candidate, **{"held_back_after": 0.0, self.where: self.value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["weights", "first", "second", "loss", "held_back_before", "held_back_after"])
def test_nothing_is_kept_of_a_candidate_with_a_number_that_is_not_finite(where: str, value: float) -> None:
    engine, idle = Engine(SETTINGS, Poisoner(where, value)), small_engine()
    before = state(idle)[0]
    reports = [report for batch in Plant(4).batches(30) for report in engine.apply(batch).reports]
    assert reports
    assert {report.reason for report in reports} == {"not_finite"}
    assert not any(report.accepted for report in reports)
    after = state(engine)[0]
    kept = [name for name in before if name.startswith("learner.")]
    assert bits({name: after[name] for name in kept}) == bits({name: before[name] for name in kept})
    assert engine.state_dict()[1]["learner"]["optimizer_step"] == 0


def test_a_poisoned_window_costs_candidates_and_not_the_network() -> None:
    engine = small_engine()
    for batch in Plant(4).batches(25):
        engine.apply(batch)
    engine.memory.h[:] = np.nan
    late = [Batch(b.streams, b.times + 1e5, b.values) for b in Plant(5).batches(200)]
    reports = [report for batch in late for report in engine.apply(batch).reports]
    assert "not_finite" in {report.reason for report in reports[:4]}
    # the poisoned windows are overwritten or outlived; every weight in use is finite at any time
    assert all(tensor.isfinite().all() for tensor in engine.learner.weights.values())


def test_a_gradient_that_is_not_finite_gives_a_candidate_that_is_refused() -> None:
    class Exploder(InlineTrainer):
        def submit(self, job: Job) -> None:
            x = job.batches[0].x.copy()
            x[0, -1, 0] = np.inf
            batches = (replace(job.batches[0], x=x), *job.batches[1:])
            super().submit(replace(job, batches=batches))

    engine = Engine(SETTINGS, Exploder())
    reports = [report for batch in Plant(4).batches(30) for report in engine.apply(batch).reports]
    assert {report.reason for report in reports} == {"not_finite"}


def run(values: F64) -> list[Outcome]:
    """One stream's outcomes, a frame a minute."""
    engine = Engine(GOOD, InlineTrainer())
    return [engine.apply(Batch(("s",), np.array([60.0 * n]), row[None])) for n, row in enumerate(values)]


def error(outcomes: list[Outcome], values: F64, begin: int, end: int) -> F64:
    """Mean absolute error per channel of the one-step forecasts for rows begin..end."""
    return np.mean([np.abs(outcomes[n - 1].mean[0, 0] - values[n]) for n in range(begin, end)], axis=0)


def width(outcomes: list[Outcome]) -> F64:
    """Mean width of the last hundred intervals, [H, C]."""
    return np.mean([outcome.upper[0] - outcome.lower[0] for outcome in outcomes[-100:]], axis=0)


@pytest.fixture(scope="module")
def calm() -> F64:
    """Rows of two waves with noise."""
    n = np.arange(1000)
    waves = np.stack([np.sin(n / 5), 5 + np.cos(n / 7)], axis=1)
    return waves + 0.05 * np.random.default_rng(8).normal(size=waves.shape)


@pytest.fixture(scope="module")
def good(calm: F64) -> list[Outcome]:
    return run(calm)


@pytest.mark.parametrize(("size", "frames"), [(1e30, 1), (-1e99, 3), (1e200, 1)])
def test_a_channel_that_jumps_out_of_this_world_and_back_recovers_by_itself(
    size: float, frames: int, calm: F64, good: list[Outcome]
) -> None:
    jumped = calm.copy()
    jumped[400 : 400 + frames, 0] += size

    bad = run(jumped)

    for outcome in bad[50:]:
        for numbers in (outcome.mean, outcome.lower, outcome.upper, outcome.score, outcome.channel_score):
            assert np.isfinite(numbers).all()
    if abs(size) < 1e100:  # beyond, it counts as missing
        assert bad[400].score[0] >= 1.0
    else:
        assert bad[400].score[0] < 1.0
    # the jump weighs in what each expert counts for as long as that is remembered
    assert (error(bad, jumped, 900, 1000) <= 2.0 * error(good, calm, 900, 1000)).all()
    assert (error(bad, jumped, 900, 1000) < 0.7 * np.abs(np.diff(calm[899:1000], axis=0)).mean(axis=0)).all()
    assert (width(bad) <= 2.0 * width(good)).all()


def test_a_jump_in_the_first_frames_leaves_every_number_finite() -> None:
    random = np.random.default_rng(8)
    for at in (0, 1, 2, 5, 20):
        values = random.normal(size=(80, 2))
        values[at, 0] = 1e30
        for n, outcome in enumerate(run(values)):
            assert np.isfinite(outcome.mean).all(), (at, n)
            assert np.isfinite(outcome.score).all(), (at, n)


def test_the_network_has_learnt_something_that_could_be_lost(calm: F64, good: list[Outcome]) -> None:
    persistence = np.abs(np.diff(calm[899:1000], axis=0)).mean(axis=0)
    assert (error(good, calm, 900, 1000) < 0.7 * persistence).all()
