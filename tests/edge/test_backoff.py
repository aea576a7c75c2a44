from __future__ import annotations

from random import Random

from streamd.edge.backoff import Backoff


class Highest(Random):
    """Always the upper end of the range."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_bound_doubles_with_each_failure_up_to_the_longest_time() -> None:
    backoff = Backoff(1.0, 60.0, Highest())
    assert [backoff.next_s() for _ in range(8)] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_waiting_times_are_spread_over_the_whole_range() -> None:
    backoff = Backoff(1.0, 60.0, Random(1))
    times = [backoff.next_s() for _ in range(500)][10:]
    assert min(times) >= 1.0
    assert max(times) <= 60.0
    assert min(times) < 5.0
    assert max(times) > 55.0


def test_a_connection_that_held_begins_anew_and_one_that_was_thrown_out_does_not() -> None:
    backoff = Backoff(1.0, 60.0, Highest())
    for _ in range(3):
        backoff.next_s()
    backoff.ended(lasted_s=5.0)
    assert backoff.next_s() == 16.0
    backoff.ended(lasted_s=60.0)
    assert backoff.next_s() == 2.0


def test_a_refused_login_is_not_tried_often() -> None:
    backoff = Backoff(1.0, 60.0, Random(1))
    assert all(30.0 <= backoff.longest_s() <= 60.0 for _ in range(100))


def test_thousands_of_failures_do_not_overflow() -> None:
    backoff = Backoff(1.0, 60.0, Random(1))
    assert all(1.0 <= backoff.next_s() <= 60.0 for _ in range(5000))
