"""Incidents of many streams: when a good part of a group goes at once, that is one event."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.engine.incidents import REFRACTORY_STEPS, Told
from streamd.engine.together import ACTIVE_STEPS, NEAR_STEPS, SHARE, Together
from streamd.records import Incident

STEP_S = 10.0


class Group:
    """A group of streams that all speak every 10 s, of which incidents are told."""

    def __init__(self, streams=10, warm=100):
        self.together, self.streams, self.tick = Together(), streams, 0
        self.told, self.singles, self.opened = [], [], {}
        for _ in range(warm):
            self.go()

    def go(self, *changes):
        """One step, with ("raise" | "clear" | "again" | "worse", stream[, score[, start]]) each."""
        self.tick += 1
        now = self.tick * STEP_S
        self.together.hear(np.full(self.streams, now), np.full(self.streams, STEP_S), self.streams)
        incidents, opened = [], {}
        for what, stream, *more in changes:
            score, start = (*more, *(1.5, now)[len(more) :])
            if what == "raise":
                self.opened[stream] = (f"{stream}-{self.tick}", start, now)
            name, start, peak = self.opened[stream]
            if what in ("raise", "again"):
                opened[stream] = now
            incidents.append(
                Incident(
                    id=name,
                    stream=stream,
                    state={"raise": "raised", "clear": "cleared"}.get(what, "updated"),
                    start=start,
                    peak=peak,
                    end=now if what == "clear" else None,
                    score=score,
                    channels={"a": 1.0, "b": 0.0} if stream < "s3" else {"a": 0.0, "b": 1.0},
                )
            )
        found = self.together.update(Told(tuple(incidents), opened, np.array([], np.int64)), self.tick * self.streams)
        events = [one for one in found if one.streams]
        self.singles += [one for one in found if not one.streams]
        assert [one.id for one in found[: len(incidents)]] == [one.id for one in incidents]
        self.told += events
        return events

    def together_go(self, *streams):
        return self.go(*(("raise", stream) for stream in streams))

    def calm(self, *streams):
        return self.go(*(("clear", stream) for stream in streams))


def test_streams_that_go_one_by_one_over_a_long_time_are_no_event():
    group = Group()
    for n in range(10):
        group.together_go(f"s{n}")
        for _ in range(2 * int(NEAR_STEPS)):
            group.go()
    assert group.told == []
    assert len(group.singles) == 10


def test_streams_that_go_within_a_short_time_are_one_event():
    group = Group()
    assert group.go(("raise", "s0", 1.2, 900.0)) == []
    group.go()
    assert group.together_go("s5") == []
    (raised,) = group.go(("raise", "s1", 4.0))
    now = group.tick * STEP_S
    assert (raised.stream, raised.state, raised.streams) == ("", "raised", ("s0", "s5", "s1"))
    assert (raised.start, raised.peak, raised.score, raised.end) == (900.0, now, 4.0, None)
    assert raised.channels == pytest.approx({"a": 2 / 3, "b": 1 / 3})
    assert raised.id == f"group#{group.tick * 10}"


def test_two_streams_are_no_event_in_the_smallest_group():
    group = Group(streams=2)
    assert group.together_go("s0", "s1") == []


@pytest.mark.parametrize(("gone", "events"), [(10, 0), (29, 1)])
def test_in_a_large_group_it_takes_a_good_part_of_the_streams_that_were_active_lately(gone, events):
    group = Group(streams=80)
    assert group.together.active == pytest.approx(80, rel=0.1)
    assert SHARE * 80 > 10
    assert len(group.together_go(*(f"s{n}" for n in range(gone)))) == events


def test_streams_that_have_not_spoken_for_long_do_not_count_as_active():
    group = Group(streams=80)
    group.streams = 10
    for _ in range(5 * int(ACTIVE_STEPS)):
        group.go()
    assert group.together.active == pytest.approx(10, rel=0.2)
    assert len(group.together_go("s0", "s1", "s2", "s4")) == 1


def test_a_pause_of_the_whole_group_does_not_make_it_small():
    group = Group(streams=80)
    group.tick += 10_000
    group.go()
    assert group.together.active == pytest.approx(80, rel=0.1)


def test_old_frames_that_come_late_do_not_make_it_large():
    together = Together()
    for n in range(200):
        together.hear(np.full(5, STEP_S * n), np.full(5, STEP_S), 5)
    for n in range(1000):
        together.hear(np.array([float(n)]), np.array([STEP_S]), 5)
    assert together.active <= 5


def test_steps_that_are_not_known_are_not_heard():
    together = Together()
    together.hear(np.array([1.0, 2.0]), np.array([np.nan, np.nan]), 2)
    together.hear(np.array([]), np.array([]), 2)
    assert (together.active, together.step) == (0.0, None)


def test_incidents_from_then_on_are_part_of_the_event():
    group = Group()
    (raised,) = group.together_go("s0", "s1", "s2")
    assert {one.part_of for one in group.singles} == {raised.id}
    for _ in range(int(NEAR_STEPS) - 1):
        group.go()
    group.together_go("s7")
    group.go(("worse", "s0", 1.8))
    assert [one.part_of for one in group.singles[-2:]] == [raised.id, raised.id]
    for _ in range(2 * int(NEAR_STEPS)):
        group.go()
    group.together_go("s8")  # long after: a fault of its own
    assert group.singles[-1].part_of is None
    assert list(group.together.event.members) == ["s0", "s1", "s2", "s7"]


def test_an_event_that_grows_or_gets_worse_is_told_and_not_for_every_stream():
    group = Group(streams=20)
    group.together_go(*(f"s{n}" for n in range(6)))
    states = [[one.state for one in group.together_go(f"t{n}")] for n in range(3)]
    assert states == [[], [], ["updated"]]
    assert len(group.told[-1].streams) == 9
    (worse,) = group.go(("worse", "t0", 9.0))
    assert (worse.state, worse.score, worse.id) == ("updated", 9.0, group.told[0].id)


def test_an_event_ends_when_its_streams_are_calm():
    group = Group()
    group.together_go("s0", "s1", "s2")
    assert group.calm("s1", "s0") == []
    (cleared,) = group.calm("s2")
    assert (cleared.state, cleared.reason, cleared.end) == ("cleared", "calm", group.tick * STEP_S)
    assert cleared.streams == ("s0", "s1", "s2")
    assert group.singles[-1].part_of == cleared.id
    assert group.go(("raise", "s9")) == []
    assert group.singles[-1].part_of is None


def test_one_stream_of_many_that_stays_broken_does_not_keep_the_event_open():
    group = Group(streams=30)
    names = [f"s{n}" for n in range(12)]
    group.together_go(*names)
    (cleared,) = group.calm(*names[1:])
    assert cleared.state == "cleared"
    assert cleared.streams == tuple(names)


def test_streams_that_go_again_soon_open_the_same_event_again():
    group = Group()
    (raised,) = group.together_go("s0", "s1", "s2")
    group.calm("s0", "s1", "s2")
    group.go(("again", "s0"), ("again", "s1"))
    (again,) = group.go(("again", "s2"), ("raise", "s3"))
    assert (again.id, again.state, again.end) == (raised.id, "updated", None)
    assert again.streams == ("s0", "s1", "s2", "s3")
    assert group.calm("s0", "s1", "s2", "s3")[0].id == raised.id


def test_the_next_event_is_another_one():
    group = Group()
    (first,) = group.together_go("s0", "s1", "s2")
    group.calm("s0", "s1", "s2")
    for _ in range(int(REFRACTORY_STEPS) + 1):
        group.go()
    (second,) = group.together_go("s0", "s1", "s2")
    assert (second.state, second.id != first.id) == ("raised", True)
    assert second.start > first.start


def test_a_stream_that_calms_down_and_goes_again_within_the_event_keeps_it_open():
    group = Group()
    group.together_go("s0", "s1", "s2")
    group.calm("s0", "s1")
    group.go(("again", "s0"))
    assert group.calm("s2") == []
    assert group.calm("s0")[0].state == "cleared"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 5), st.sampled_from([1.0, 1.6, 4.0])), max_size=4, unique_by=lambda it: it[0]
        ),
        max_size=60,
    )
)
def test_a_loaded_state_goes_on_to_the_bit_and_each_event_is_raised_and_cleared_in_turn(steps):
    group, copied = Group(streams=6), Group(streams=6)
    is_open = set()
    name_of_open, names = None, set()
    for changes in steps:
        named = [(f"s{n}", score) for n, score in changes]
        what = [
            ("clear" if name in is_open else "again" if name in group.opened else "raise", name, score)
            for name, score in named
        ]
        is_open ^= {name for name, _ in named}
        kept = json.loads(json.dumps(copied.together.state_dict()))
        copied.together = Together()
        copied.together.load_state_dict(kept)
        told = group.go(*what)
        assert msgspec.json.encode(copied.go(*what)) == msgspec.json.encode(told)
        for one in told:
            assert sum(one.channels.values()) == pytest.approx(1.0)
            assert one.start <= one.peak
            if one.state == "raised":
                assert name_of_open is None
                assert one.id not in names
                names.add(one.id)
            else:
                assert one.id in names
                assert one.id == name_of_open or (name_of_open is None and one.state == "updated")
            name_of_open = None if one.state == "cleared" else one.id
            assert (one.end is None) == (one.state != "cleared")
            assert one.end is None or one.end >= one.peak
    assert group.together.state_dict() == copied.together.state_dict()
