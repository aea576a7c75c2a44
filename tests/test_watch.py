"""Who has not been heard of for too long, by a clock that the test turns."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.watch import FEW, YOUNG_S, Watch


def heard(*times: float, patience: float = 10.0, stream: str = "p1") -> Watch:
    watch = Watch(0.0)
    for time in times:
        watch.hear(stream, time)
        watch.wait_for([stream], [patience])
    return watch


def known(patience: float = 10.0) -> Watch:
    """Heard each second, up to 9."""
    return heard(*map(float, range(10)), patience=patience)


def test_a_stream_is_overdue_when_its_patience_has_passed_and_stays_so_until_it_is_told() -> None:
    watch = known()
    assert watch.overdue(18.9) == []
    assert watch.overdue(19.0) == ["p1"]
    assert watch.overdue(25.0) == ["p1"]
    watch.tell(["p1"])
    assert watch.silent == {"p1"}
    assert watch.overdue(1e9) == []


def test_a_silent_stream_that_is_heard_is_waited_for_again() -> None:
    watch = known()
    watch.overdue(19.0)
    watch.tell(["p1"])
    watch.hear("p1", 20.0)
    assert watch.silent == set()
    assert watch.overdue(52.9) == []  # the time that it took is one between two messages
    assert watch.overdue(60.0) == ["p1"]


def test_a_stream_that_is_heard_again_and_again_is_never_overdue() -> None:
    watch = known()
    for second in range(10, 500):
        watch.hear("p1", float(second))
        assert watch.overdue(second + 0.5) == []


def test_a_stream_whose_messages_come_seldom_is_waited_for_as_they_come() -> None:
    watch = heard(*(60.0 * n for n in range(10)), patience=13.0)  # sixty readings in each, one a second
    assert watch.overdue(540.0 + 170.0) == []
    assert watch.overdue(540.0 + 190.0) == ["p1"]


def test_a_stream_with_few_messages_is_waited_for_longer() -> None:
    watch = heard(*map(float, range(FEW - 1)))
    assert watch.overdue(YOUNG_S) == []
    assert watch.overdue(YOUNG_S + FEW) == ["p1"]


def test_a_stream_that_the_engine_has_not_judged_is_not_overdue() -> None:
    watch = Watch(0.0)
    for second in range(10):
        watch.hear("p1", float(second))
    assert watch.overdue(1e9) == []
    watch.wait_for(["p1"], [5.0])
    assert watch.overdue(1e9) == ["p1"]


def test_a_patience_that_becomes_shorter_or_longer_counts_at_once() -> None:
    watch = known(patience=1e6)
    watch.wait_for(["p1"], [3.0])
    assert watch.overdue(12.0) == ["p1"]
    watch.wait_for(["p1"], [100.0])
    assert watch.overdue(108.0) == []
    assert watch.overdue(109.0) == ["p1"]


def test_after_a_time_in_which_nobody_could_be_heard_all_are_waited_for_anew() -> None:
    watch = known()
    watch.restart(1000.0)
    assert watch.overdue(1009.0) == []
    assert watch.overdue(1010.0) == ["p1"]
    watch.hear("p1", 1011.0)
    watch.wait_for(["p1"], [10.0])
    assert watch.overdue(1043.0) == []
    assert watch.overdue(1044.0) == ["p1"]  # and that time is none between two messages: 11 s were


def test_streams_of_a_former_life_are_waited_for_from_its_beginning() -> None:
    watch = Watch(100.0)
    watch.begin(["p1", "p2"], [10.0, math.inf])
    watch.tell(["p3"])
    assert watch.silent == {"p3"}
    assert watch.overdue(100.0 + YOUNG_S - 1.0) == []
    assert watch.overdue(1e9) == ["p1"]
    watch.hear("p3", 200.0)
    assert watch.silent == set()


@pytest.mark.parametrize("streams", [3, 200])
def test_only_those_that_are_overdue_are_named(streams: int) -> None:
    watch = Watch(0.0)
    for second in range(10):
        for n in range(streams):
            watch.hear(f"p{n}", float(second))
            watch.wait_for([f"p{n}"], [100.0 + n])
    assert watch.overdue(109.0 + 1.0) == ["p0", "p1"]


def test_memory_grows_with_the_streams_and_not_with_what_is_heard_of_them() -> None:
    watch = heard(0.0, patience=1e6)
    for n in range(5000):
        watch.hear("p1", float(n))
        watch.wait_for(["p1"], [1e6 / (n + 1)])
    assert len(watch._turns) < 200


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.1, 30.0), st.floats(1.0, 60.0)), max_size=80))
def test_a_look_names_those_whose_time_has_come_whatever_was_heard_and_told_before(
    steps: list[tuple[int, float, float]],
) -> None:
    watch, now = Watch(0.0), 0.0
    for n in range(4):
        for _ in range(FEW):
            watch.hear(f"p{n}", now)
        watch.wait_for([f"p{n}"], [20.0])
    last, longest, patience = [0.0] * 4, [0.0] * 4, [20.0] * 4
    silent: set[int] = set()
    for n, passed, wanted in steps:
        now += passed
        due = {k for k in range(4) if last[k] + max(patience[k], 3.0 * longest[k]) <= now}
        assert set(watch.overdue(now)) == {f"p{k}" for k in due - silent}
        if n in due and n not in silent:
            watch.tell([f"p{n}"])
            silent.add(n)
            continue
        watch.hear(f"p{n}", now)
        watch.wait_for([f"p{n}"], [wanted])
        longest[n], last[n], patience[n] = max(0.97 * longest[n], now - last[n]), now, wanted
        silent.discard(n)
