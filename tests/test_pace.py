"""When a commit is due: by time, by number, and when the broker's window stands still. Times in s, on no clock."""

from __future__ import annotations

import pytest

from streamd.pace import ANSWER_S, REPEATS, SMALLEST_WINDOW, STALL_S, SURE, UNSURE_S, Pace

COMMIT_S = 1.0
FRAMES = 100
LARGEST = 100


def make() -> Pace:
    return Pace(COMMIT_S, FRAMES, LARGEST)


def commit(pace: Pace, now: float, pending: int) -> None:
    pace.begin()
    pace.committed(now, pending)


def early(pace: Pace, now: float, *, answer_s: float) -> None:
    """A commit because the window stands still, and the next arrival so long after it."""
    pace.arrived(now - UNSURE_S - STALL_S, 0)
    pace.noted(1, now - UNSURE_S - STALL_S)
    assert pace.due_s(now, pace.window, dry=True) == 0.0
    commit(pace, now, pace.window)
    pace.arrived(now + answer_s, 0)


# --- time and number ---


def test_nothing_is_due_while_nothing_waits() -> None:
    assert make().due_s(5.0, 1000, dry=True) is None


def test_a_record_waits_no_longer_than_the_commit_time_whatever_comes_after_it() -> None:
    pace = make()
    pace.noted(1, 10.0)
    pace.noted(1, 10.7)
    assert pace.due_s(10.7, 0, dry=False) == pytest.approx(0.3)
    assert pace.due_s(11.5, 0, dry=False) == 0.0


def test_so_many_frames_are_committed_at_once() -> None:
    pace = make()
    pace.noted(FRAMES - 1, 0.0)
    assert pace.due_s(0.0, 0, dry=False) == COMMIT_S
    pace.noted(1, 0.0)
    assert pace.due_s(0.0, 0, dry=False) == 0.0


def test_nothing_is_due_after_a_commit() -> None:
    pace = make()
    pace.noted(FRAMES, 0.0)
    commit(pace, 0.1, 0)
    assert pace.due_s(0.1, 0, dry=True) is None


def test_what_is_noted_while_a_commit_is_under_way_waits_for_the_next_one() -> None:
    pace = make()
    pace.noted(FRAMES, 0.0)
    pace.begin()
    pace.noted(1, 0.4)
    assert pace.due_s(0.5, 0, dry=True) == pytest.approx(0.9)
    pace.committed(0.6, 0)
    assert pace.due_s(0.6, 0, dry=True) == pytest.approx(0.8)


def test_what_a_failed_commit_held_has_waited_since_it_was_noted() -> None:
    pace = make()
    pace.noted(FRAMES - 1, 0.0)
    pace.begin()
    pace.noted(1, 0.4)
    pace.failed()
    assert pace.due_s(0.5, 0, dry=False) == 0.0  # together they are enough
    pace = make()
    pace.noted(1, 0.0)
    pace.begin()
    pace.failed()
    assert pace.due_s(0.5, 0, dry=False) == pytest.approx(0.5)


def test_a_failed_commit_of_nothing_does_not_change_since_when_something_waits() -> None:
    pace = make()
    pace.begin()
    pace.noted(1, 0.4)
    pace.failed()
    assert pace.due_s(0.5, 0, dry=False) == pytest.approx(0.9)


# --- the broker's window ---


def test_a_commit_is_due_soon_when_as_many_messages_wait_as_the_broker_sends_ahead() -> None:
    pace = make()
    pace.arrived(0.0, 0)
    pace.noted(1, 0.0)
    assert pace.due_s(0.0, SMALLEST_WINDOW, dry=True) == pytest.approx(UNSURE_S)
    assert pace.due_s(0.0, SMALLEST_WINDOW - 1, dry=True) == COMMIT_S  # more may come
    assert pace.due_s(0.0, SMALLEST_WINDOW, dry=False) == COMMIT_S  # there is work to do
    pace.arrived(0.5, 0)
    assert pace.due_s(0.5, SMALLEST_WINDOW, dry=True) == pytest.approx(UNSURE_S)


def test_a_commit_is_due_sooner_once_the_window_is_known() -> None:
    pace = make()
    for n in range(1, SURE + 1):
        early(pace, float(n), answer_s=ANSWER_S / 2)
    pace.noted(1, 9.0)
    pace.arrived(9.0, SMALLEST_WINDOW)
    assert pace.due_s(9.0, SMALLEST_WINDOW, dry=True) == pytest.approx(STALL_S)
    pace.arrived(9.0, SMALLEST_WINDOW + 5)
    assert pace.due_s(9.0, SMALLEST_WINDOW + 5, dry=True) == pytest.approx(UNSURE_S), "it is larger than was thought"


def test_the_window_was_what_held_things_up_when_messages_come_right_after_an_early_commit() -> None:
    pace = make()
    early(pace, 1.0, answer_s=ANSWER_S / 2)
    assert (pace.held_back, pace.window) == (1, SMALLEST_WINDOW)


def test_the_window_is_larger_than_was_thought_when_nothing_comes_after_an_early_commit() -> None:
    pace = make()
    early(pace, 1.0, answer_s=2 * ANSWER_S)
    assert (pace.held_back, pace.window) == (0, 2 * SMALLEST_WINDOW)


def test_the_window_is_never_thought_larger_than_our_own_limit() -> None:
    pace = make()
    for n in range(1, 9):
        early(pace, float(n), answer_s=2 * ANSWER_S)
    assert pace.window == LARGEST
    assert Pace(COMMIT_S, FRAMES, 5).window == 5


def test_a_broker_that_sends_more_ahead_has_a_larger_window_than_was_thought() -> None:
    pace = make()
    pace.arrived(0.0, SMALLEST_WINDOW + 1)
    assert pace.window == SMALLEST_WINDOW + 1
    pace.arrived(0.1, 3)
    assert pace.window == SMALLEST_WINDOW + 1
    pace.arrived(0.2, 2 * LARGEST)
    assert pace.window == LARGEST


def test_a_steady_flow_is_no_broker_that_waits_for_us() -> None:
    """Ten messages every 12 ms: there are stalls, and something always comes right after a commit."""
    pace, held, now = Pace(COMMIT_S, 10_000, 2_000), 0, 0.0
    for _ in range(1_000):
        now += 0.012
        due = pace.due_s(now, held, dry=True)
        if due is not None and due <= 0.0:
            commit(pace, now, held)
            held = 0
        held += 10
        pace.arrived(now, held)
        pace.noted(10, now)
    assert (pace.held_back, pace.window) == (0, 840), "a commit each second"


def timed(pace: Pace, now: float, pending: int) -> None:
    """A commit in its time that ends a stall: messages come at once."""
    pace.arrived(now - COMMIT_S, 0)
    pace.noted(1, now - COMMIT_S)
    commit(pace, now, pending)
    pace.arrived(now + ANSWER_S / 2, 0)


def test_commits_in_time_that_end_the_same_stall_again_and_again_show_a_smaller_window() -> None:
    pace = make()
    for n in range(1, REPEATS):
        timed(pace, 2.0 * n, 7)
    assert pace.window == SMALLEST_WINDOW
    timed(pace, 2.0 * REPEATS, 7)
    assert pace.window == 7


def test_stalls_at_different_numbers_show_nothing() -> None:
    pace = make()
    for n, pending in enumerate((7, 8, 7, 8, 7, 8), start=1):
        timed(pace, 2.0 * n, pending)
    assert pace.window == SMALLEST_WINDOW


def test_what_comes_by_itself_while_messages_flow_shows_nothing() -> None:
    pace = make()
    for n in range(1, 9):
        now = 2.0 * n
        pace.noted(1, now - COMMIT_S)
        pace.arrived(now, 0)
        commit(pace, now, 7)
        pace.arrived(now + ANSWER_S / 2, 0)
    assert (pace.held_back, pace.window) == (0, SMALLEST_WINDOW)


def test_a_commit_in_its_time_shows_nothing_of_a_window_that_is_full() -> None:
    pace = make()
    pace.arrived(0.0, 0)
    pace.noted(1, 0.0)
    commit(pace, COMMIT_S, SMALLEST_WINDOW)
    pace.arrived(COMMIT_S + 2 * ANSWER_S, 0)
    assert pace.window == SMALLEST_WINDOW


def test_a_stall_that_a_commit_does_not_end_shows_nothing() -> None:
    pace = make()
    for n in range(1, 2 * REPEATS):
        pace.arrived(2.0 * n - COMMIT_S, 0)
        pace.noted(1, 2.0 * n - COMMIT_S)
        commit(pace, 2.0 * n, 7)
        pace.arrived(2.0 * n + 2 * ANSWER_S, 0)
    assert pace.window == SMALLEST_WINDOW


def test_other_limits_hold_for_what_waits_already() -> None:
    pace = make()
    pace.noted(3, 0.0)
    assert pace.due_s(0.0, 0, False) == COMMIT_S
    pace.configure(COMMIT_S / 4, 1000)
    assert pace.due_s(0.0, 0, False) == COMMIT_S / 4
    pace.configure(COMMIT_S, 3)
    assert pace.due_s(0.0, 0, False) == 0.0
