import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streamd.edge.budget import MAX_STEPS, QUIET_S, STEP, WINDOW_S, Budget
from streamd.records import HELD

SHARES = st.floats(0.02, 1.0)


@dataclass
class Plant:
    """Jobs of `cpu_s` each, which at a factor of 1 would take `load` cores, on one thread."""

    budget: Budget
    load: float
    cpu_s: float
    tick: float = 0.25
    now: float = 0.0
    next_job: float = 0.0
    spent: float = 0.0

    def run(self, seconds: float) -> list[tuple[float, float]]:
        """(time, factor) of every change."""
        changes = []
        end = self.now + seconds
        while self.now < end:
            self.now += self.tick
            while self.load and self.next_job <= self.now:
                self.budget.spent(self.cpu_s)
                self.spent += self.cpu_s
                self.next_job += max(self.cpu_s, self.cpu_s * self.budget.current / self.load)
            factor = self.budget.factor(self.now)
            if factor is not None:
                assert factor == self.budget.current
                changes.append((self.now, factor))
        return changes


@given(share=SHARES, load=st.floats(0.001, 30.0), cpu_s=st.floats(0.01, 2.0), stretch=st.sampled_from([1.0, 8.0, 64.0]))
@settings(max_examples=60, deadline=None)
def test_a_steady_load_settles_within_the_share_and_the_factor_does_not_swing(share, load, cpu_s, stretch):
    steps = 2 * math.log2(load / share)
    assume(abs(steps - round(steps)) > 0.01)  # right on the line, rounding decides
    window = max(WINDOW_S, 8 * cpu_s / share)
    plant = Plant(Budget(share, stretch), load, cpu_s, tick=window / 40)
    early = plant.run(100 * window)
    spent = plant.spent
    late = plant.run(50 * window)
    assert len(late) <= 1  # a last step down may take long to be seen
    factors = [stretch, *(factor for _, factor in early + late)]
    directions = [after > before for before, after in pairwise(factors)]
    # Down while the first job is far away, up when it has come, down what was too far: not more.
    assert sum(before != after for before, after in pairwise(directions)) <= 2
    usage = (plant.spent - spent) / (50 * window)
    # A job at either end of the stretch of time may be in it or not.
    assert usage <= share + cpu_s / (50 * window) or plant.budget.current == 1024.0
    assert plant.budget.current == 1.0 or usage >= 0.3 * share


@given(
    share=SHARES,
    inputs=st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.0, 50.0)), max_size=200),
)
def test_whatever_comes_the_factor_is_a_power_within_limits_and_changes_at_most_once_per_window(share, inputs):
    budget = Budget(share)
    now, last_change, last = 0.0, -math.inf, 1.0
    for pause, cpu_s in inputs:
        now += pause
        budget.spent(cpu_s)
        factor = budget.factor(now)
        if factor is None:
            assert budget.current == last
            continue
        steps = 2 * math.log2(factor)
        assert steps == pytest.approx(round(steps))
        assert 0 <= round(steps) <= MAX_STEPS
        assert factor != last
        assert factor > last or math.isclose(factor * STEP, last)
        assert now - last_change >= WINDOW_S - 1e-9
        last, last_change = factor, now


def test_within_the_share_nothing_changes():
    assert Plant(Budget(0.5), load=0.45, cpu_s=0.05).run(600.0) == []


def test_over_the_share_one_decision_takes_as_many_steps_as_needed():
    plant = Plant(Budget(0.2), load=0.75, cpu_s=0.05)
    changes = plant.run(120.0)
    assert [factor for _, factor in changes] == [pytest.approx(4.0)]
    assert changes[0][0] == pytest.approx(WINDOW_S, abs=1.0)


def test_no_decision_before_a_window_is_full():
    budget = Budget(0.1)
    assert budget.factor(0.0) is None
    budget.spent(0.5)
    assert budget.factor(WINDOW_S - 0.1) is None


def test_what_was_spent_before_the_first_question_does_not_count():
    budget = Budget(0.1)
    budget.spent(1000.0)
    assert [budget.factor(float(now)) for now in range(60)] == [None] * 60


def test_the_factor_shrinks_to_one_again_step_by_step_when_the_load_has_gone():
    plant = Plant(Budget(0.1), load=0.35, cpu_s=0.05)
    plant.run(60.0)
    assert plant.budget.current == pytest.approx(4.0)
    plant.load = 0.0
    changes = plant.run(600.0)
    assert [factor for _, factor in changes] == [pytest.approx(4.0 / STEP**step) for step in range(1, 5)]
    times = [time for time, _ in changes]
    assert all(later - earlier >= QUIET_S for earlier, later in pairwise(times))
    assert plant.run(600.0) == []


def test_a_short_lull_does_not_shrink_the_factor():
    plant = Plant(Budget(0.1), load=0.35, cpu_s=0.05)
    plant.run(60.0)
    for _ in range(10):
        plant.load = 0.0
        assert plant.run(QUIET_S - 5.0) == []
        plant.load, plant.next_job = 0.35, plant.now
        assert plant.run(WINDOW_S) == []


def test_rare_large_jobs_within_the_share_are_not_mistaken_for_a_high_load():
    assert Plant(Budget(0.5), load=0.08, cpu_s=8.0).run(3000.0) == []


def test_the_factor_ends_at_its_limit():
    budget = Budget(0.01)
    for now in range(2000):
        budget.spent(1.0)
        budget.factor(float(now))
    assert budget.current == 1024.0


@pytest.mark.parametrize(
    ("stretch", "current"), [(1.0, 1.0), (0.5, 1.0), (3.0, 4.0), (2.0, 2.0), (2**2.5, 2**2.5), (9e9, 1024.0)]
)
def test_it_starts_from_the_factor_in_force(stretch, current):
    assert Budget(0.5, stretch).current == pytest.approx(current)


def test_another_share_is_kept_to_from_then_on() -> None:
    plant = Plant(Budget(0.8), load=0.7, cpu_s=0.05)
    assert plant.run(100.0) == []
    plant.budget.set_share(0.2)
    plant.run(100.0)
    assert plant.budget.current >= 3.5
    plant.budget.set_share(0.9)
    plant.run(600.0)
    assert plant.budget.current < 3.5


def test_while_a_group_can_not_keep_up_nothing_is_trained_and_afterwards_as_before() -> None:
    budget = Budget(0.5, stretch=4.0)
    budget.press("a", True)
    budget.press("b", True)
    assert budget.current == HELD
    budget.press("a", False)
    assert budget.current == HELD
    budget.press("b", False)
    assert budget.current == 4.0
