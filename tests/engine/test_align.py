"""Align: what becomes of readings, whatever order and time they come in."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamd.config import Group
from streamd.engine.align import Align, Work
from streamd.records import Batch, Reading, Widen

NOW = 1_000_000.0  # s since the epoch, by our clock
AB = ("a", "b")


def make(channels=AB, last_times=None, **settings):
    known = last_times or {}
    group = Group(channels=channels, **settings)
    names = () if channels == "auto" else channels
    return Align(group, names, lambda stream: known.get(stream, -math.inf), streams=len(known))


def drain(align):
    works = []
    while (work := align.next()) is not None:
        works.append(work)
    return works


def frames(works: list[Work]):
    """(stream, time, values as a dict of what is there) in the order that the engine gets them."""
    found = []
    for work in works:
        if isinstance(work.record, Batch):
            for stream, time, values in zip(work.record.streams, work.record.times, work.record.values, strict=True):
                found.append((stream, float(time), [None if math.isnan(value) else value for value in values]))
    return found


def push_all(align, readings, join_s=None, arrival=NOW):
    return [align.push(reading, arrival, ticket, join_s) for ticket, reading in enumerate(readings)]


# --- readings of several channels, each one a frame ---


def test_a_reading_becomes_a_frame_with_its_missing_channels_masked():
    align = make()
    assert align.push(Reading("s", 5.0, {"b": 2.0}), NOW, 7) is None
    work = align.next()
    assert isinstance(work.record, Batch)
    assert (work.record.streams, work.record.times.tolist()) == (("s",), [5.0])
    np.testing.assert_array_equal(work.record.values, [[math.nan, 2.0]])
    assert work.tickets == (7,)
    assert work.arrivals.tolist() == [NOW]
    assert align.next() is None


def test_frames_of_different_streams_share_a_batch_and_those_of_one_stream_follow_each_other():
    align = make()
    push_all(align, [Reading(s, t, {"a": t}) for t in (1.0, 2.0) for s in ("x", "y")] + [Reading("x", 3.0, {"a": 3.0})])
    assert align.waiting == 5
    works = drain(align)
    assert [work.record.streams for work in works] == [("x", "y"), ("x", "y"), ("x",)]
    assert [work.tickets for work in works] == [(0, 1), (2, 3), (4,)]
    assert align.waiting == 0


def test_a_batch_holds_no_more_frames_than_the_settings_allow():
    align = make(max_batch=3)
    push_all(align, [Reading(f"s{i}", 1.0, {"a": 0.0}) for i in range(8)])
    push_all(align, [Reading("s7", 2.0, {"a": 0.0})])
    assert [len(work.record) for work in drain(align)] == [3, 3, 2, 1]


def test_late_double_and_future_readings_are_dropped_and_named():
    align = make(max_future_s=10.0)
    readings = [
        Reading("s", 5.0, {"a": 1.0}),
        Reading("s", 5.0, {"a": 1.0}),
        Reading("s", 4.0, {"a": 1.0}),
        Reading("s", NOW + 10.1, {"a": 1.0}),
        Reading("s", NOW + 9.9, {"a": 2.0}),
    ]
    assert push_all(align, readings) == [None, "double", "late", "future", None]
    assert [ticket for work in drain(align) for ticket in work.tickets] == [0, 4]


def test_what_the_engine_has_seen_before_a_restart_is_late_or_double_after_it():
    align = make(last_times={"s": 5.0})
    readings = [Reading("s", 4.0, {"a": 1.0}), Reading("s", 5.0, {"a": 1.0}), Reading("s", 6.0, {"a": 1.0})]
    assert push_all(align, readings) == ["late", "double", None]


def test_readings_without_time_follow_each_other_by_their_arrival():
    align = make()
    assert push_all(align, [Reading("s", None, {"a": float(i)}) for i in range(3)]) == [None] * 3
    times = [time for _, time, _ in frames(drain(align))]
    assert times[0] == NOW
    assert all(0 < later - earlier < 1e-3 for earlier, later in pairwise(times))


def test_readings_without_time_go_on_forward_when_our_clock_is_set_back():
    align = make()
    arrivals = [NOW, NOW - 3600.0, NOW - 3599.0, NOW + 1.0]
    assert [align.push(Reading("s", None, {"a": 1.0}), at, 0) for at in arrivals] == [None] * 4
    times = [time for _, time, _ in frames(drain(align))]
    assert times[0] == NOW
    assert NOW < times[1] < times[2] < NOW + 1e-3
    assert times[3] == NOW + 1.0


def test_streams_over_the_limit_are_refused_and_those_known_go_on():
    align = make(max_streams=2, last_times={"old": 1.0})
    assert align.push(Reading("new", 1.0, {"a": 1.0}), NOW, 0) is None
    assert align.push(Reading("newer", 1.0, {"a": 1.0}), NOW, 1) == "too_many_streams"
    assert align.push(Reading("new", 2.0, {"a": 1.0}), NOW, 2) is None
    assert align.push(Reading("old", 2.0, {"a": 1.0}), NOW, 3) is None


def test_a_stream_none_of_whose_readings_is_taken_takes_no_place():
    align = make(max_streams=1)
    assert align.push(Reading("invented", 1.0, {"nobody": 1.0}), NOW, 0) == "no_known_channel"
    assert align.push(Reading("invented", NOW + 1e6, {"a": 1.0}), NOW, 1) == "future"
    assert align.push(Reading("real", 1.0, {"a": 1.0}), NOW, 2) is None


def test_named_channels_mask_unknown_ones_and_refuse_a_reading_of_nothing_else():
    align = make()
    assert align.push(Reading("s", 1.0, {"a": 1.0, "z": 9.0}), NOW, 0) is None
    assert align.push(Reading("s", 2.0, {"z": 9.0}), NOW, 1) == "no_known_channel"
    assert frames(drain(align)) == [("s", 1.0, [1.0, None])]


# --- channels that are discovered ---


def test_new_channels_are_announced_before_the_first_batch_that_has_them():
    align = make("auto")
    push_all(align, [Reading("s", 1.0, {"a": 1.0}), Reading("s", 2.0, {"b": 2.0})])
    works = drain(align)
    assert works[0].record == Widen(("a", "b"))
    assert (works[0].tickets, len(works[0].arrivals)) == ((), 0)
    assert frames(works) == [("s", 1.0, [1.0, None]), ("s", 2.0, [None, 2.0])]
    align.push(Reading("s", 3.0, {"c": 3.0}), NOW, 2)
    widen, batch = drain(align)
    assert widen.record == Widen(("c",))
    assert batch.record.values.shape == (1, 3)


def test_channels_over_the_limit_are_refused_and_leave_no_trace():
    align = make("auto", max_channels=2)
    assert align.push(Reading("s", 1.0, {"a": 1.0}), NOW, 0) is None
    assert align.push(Reading("s", 2.0, {"b": 1.0, "c": 1.0}), NOW, 1) == "too_many_channels"
    assert align.channels == ("a",)
    assert align.push(Reading("s", 2.0, {"b": 1.0}), NOW, 2) is None


# --- one channel per topic, put together ---


def part(channel, value, time=None, stream="s"):
    return Reading(stream, time, {channel: value})


def test_the_first_frame_waits_for_its_deadline_since_nobody_knows_its_channels():
    align = make()
    assert push_all(align, [part("a", 1.0, 5.0), part("b", 2.0, 5.0)], join_s=1.0) == [None, None]
    assert align.next() is None
    assert align.deadline() == NOW + 1.0
    align.expire(NOW + 0.9)
    assert align.next() is None
    align.expire(NOW + 1.0)
    assert frames(drain(align)) == [("s", 5.0, [1.0, 2.0])]
    assert align.deadline() is None


def test_later_frames_are_complete_with_the_last_channel_that_was_ever_heard():
    align = make()
    push_all(align, [part("a", 1.0, 5.0), part("b", 2.0, 5.0)], join_s=1.0)
    align.expire(NOW + 1.0)
    drain(align)
    align.push(part("b", 4.0, 6.0), NOW + 2.0, 2, 1.0)
    assert align.next() is None
    align.push(part("a", 3.0, 6.0), NOW + 2.0, 3, 1.0)
    (work,) = drain(align)
    assert frames([work]) == [("s", 6.0, [3.0, 4.0])]
    assert work.tickets == (2, 3)


def test_a_part_with_a_later_time_completes_the_frame_that_waits():
    align = make()
    readings = [part("a", 1.0, 5.0), part("b", 1.0, 5.0), part("a", 2.0, 6.0)]
    assert push_all(align, readings, join_s=1.0) == [None, None, None]
    assert frames(drain(align)) == [("s", 5.0, [1.0, 1.0])]
    align.expire(NOW + 1.0)
    assert frames(drain(align)) == [("s", 6.0, [2.0, None])]


def test_a_part_that_comes_again_is_double_and_does_not_split_its_frame():
    align = make()
    readings = [part("a", 1.0, 5.0), part("a", 1.0, 5.0), part("b", 2.0, 5.0)]
    assert push_all(align, readings, join_s=1.0) == [None, "double", None]
    align.expire(NOW + 1.0)
    (work,) = drain(align)
    assert frames([work]) == [("s", 5.0, [1.0, 2.0])]
    assert work.tickets == (0, 2)


def test_a_part_for_a_frame_that_is_done_is_dropped_and_the_next_frame_waits_for_its_channel():
    align = make()
    push_all(align, [part("a", 1.0, 5.0)], join_s=1.0)
    align.expire(NOW + 1.0)
    assert push_all(align, [part("b", 2.0, 5.0), part("b", 2.0, 4.0)], join_s=1.0) == ["double", "late"]
    push_all(align, [part("a", 3.0, 6.0)], join_s=1.0)
    assert frames(drain(align)) == [("s", 5.0, [1.0, None])]
    push_all(align, [part("b", 4.0, 6.0)], join_s=1.0)
    assert frames(drain(align)) == [("s", 6.0, [3.0, 4.0])]


def test_parts_that_belong_to_an_earlier_time_than_the_waiting_frame_are_late():
    align = make()
    assert push_all(align, [part("a", 1.0, 5.0), part("b", 2.0, 4.0)], join_s=1.0) == [None, "late"]
    assert align.next() is None


def test_parts_without_time_make_a_frame_until_a_channel_comes_again():
    align = make()
    readings = [part("a", 1.0), part("b", 2.0), part("b", 3.0), part("a", 4.0), part("a", 5.0)]
    assert push_all(align, readings, join_s=1.0) == [None] * 5
    align.expire(NOW + 1.0)
    assert [values for _, _, values in frames(drain(align))] == [[1.0, 2.0], [4.0, 3.0], [5.0, None]]


def test_a_frame_does_not_wait_for_hours_when_our_clock_is_set_back():
    align = make()
    align.push(part("a", 1.0), NOW, 0, 1.0)
    align.expire(NOW - 3600.0)
    assert frames(drain(align)) == [("s", NOW, [1.0, None])]


def test_discovered_channels_join_too():
    align = make("auto")
    push_all(align, [part("a", 1.0, 5.0), part("b", 2.0, 5.0)], join_s=1.0)
    assert align.next() is None
    align.expire(NOW + 1.0)
    works = drain(align)
    assert works[0].record == Widen(("a", "b"))
    assert frames(works) == [("s", 5.0, [1.0, 2.0])]


def test_a_whole_reading_closes_the_parts_that_wait_so_that_times_only_grow():
    align = make()
    assert align.push(part("a", 1.0, 5.0), NOW, 0, 1.0) is None
    assert align.push(Reading("s", 6.0, {"a": 2.0, "b": 2.0}), NOW, 1) is None
    align.expire(NOW + 1.0)
    assert [time for _, time, _ in frames(drain(align))] == [5.0, 6.0]
    assert align.push(part("a", 1.0, 7.0), NOW, 2, 1.0) is None
    assert align.push(Reading("s", 6.5, {"a": 2.0}), NOW, 3) == "late"
    assert align.push(Reading("s", 7.0, {"a": 2.0}), NOW, 4) == "double"


# --- whatever comes ---

STREAMS = ("x", "y", "z", "w")
CHANNELS = ("a", "b", "c", "d")


class AnyReadings(RuleBasedStateMachine):
    """Readings of any stream, time, channels and kind, in any order, with expiry and hand-out in between."""

    @initialize(
        auto=st.booleans(),
        max_batch=st.integers(1, 4),
        max_streams=st.integers(1, 4),
        max_channels=st.integers(3, 4),
        known=st.dictionaries(st.sampled_from(STREAMS), st.floats(NOW - 5, NOW + 5), max_size=2),
    )
    def begin(self, auto, max_batch, max_streams, max_channels, known):
        self.max_batch, self.max_streams = max_batch, max(max_streams, len(known))
        self.channels = () if auto else CHANNELS[:3]
        self.align = make(
            "auto" if auto else self.channels,
            known,
            max_batch=max_batch,
            max_streams=self.max_streams,
            max_channels=max_channels,
            max_future_s=10.0,
        )
        self.max_channels = max_channels
        self.clock = NOW
        self.taken = {}  # ticket -> reading
        self.handed = Counter()
        self.order = {}  # stream -> tickets of its taken readings that come alone, as they were pushed
        self.last = dict(known)
        self.value = 0.0

    def _push(self, stream, at, channels, join_s):
        reading = Reading(stream, at, {})
        for channel in channels:
            self.value += 1.0
            reading.values[channel] = self.value
        ticket = len(self.taken) + 1000 * len(self.handed)  # any number will do, as long as it is new
        while ticket in self.taken:
            ticket += 1
        before = self.align.waiting
        refusal = self.align.push(reading, self.clock, ticket, join_s)
        if refusal is None:
            self.taken[ticket] = reading
        else:
            assert self.align.waiting == before
        return refusal

    @rule(
        stream=st.sampled_from(STREAMS),
        offset=st.one_of(st.none(), st.integers(-4, 4).map(float), st.floats(-20, 20)),
        channels=st.sets(st.sampled_from(CHANNELS), min_size=0, max_size=3),
        join_s=st.sampled_from((None, 0.5, 2.0)),
    )
    def push(self, stream, offset, channels, join_s):
        refusal = self._push(stream, None if offset is None else self.clock + offset, sorted(channels), join_s)
        future = offset is not None and offset > 10.0 + 1e-6
        assert refusal == "future" if future else True
        if offset is None:
            assert refusal not in ("late", "double", "future") or (refusal == "double" and not channels)

    @rule(stream=st.sampled_from(STREAMS), channel=st.sampled_from(CHANNELS[:3]), step=st.integers(0, 2))
    def push_part_of_a_grid(self, stream, channel, step):
        self._push(stream, math.floor(self.clock) + step, [channel], 1.0)

    @rule(seconds=st.floats(0, 3))
    def pass_time(self, seconds):
        self.clock += seconds
        self.align.expire(self.clock)
        deadline = self.align.deadline()
        assert deadline is None or deadline > self.clock

    @rule(seconds=st.floats(0.1, 10))
    def set_the_clock_back(self, seconds):
        self.clock -= seconds
        self.align.expire(self.clock)

    @rule()
    def hand_out(self):
        work = self.align.next()
        if work is None:
            return
        if isinstance(work.record, Widen):
            assert work.record.channels
            assert not set(work.record.channels) & set(self.channels)
            assert not work.tickets
            self.channels += work.record.channels
            assert len(self.channels) <= self.max_channels
            return
        batch = work.record
        assert 1 <= len(batch) <= self.max_batch
        assert len(set(batch.streams)) == len(batch) == len(work.arrivals)
        assert batch.values.shape == (len(batch), len(self.channels))
        for stream, time in zip(batch.streams, batch.times.tolist(), strict=True):
            assert time > self.last.get(stream, -math.inf)
            self.last[stream] = time
        assert len(self.last) <= self.max_streams
        self.handed.update(work.tickets)
        found = set(batch.values[~np.isnan(batch.values)].tolist())
        given = {
            value
            for ticket in work.tickets
            for channel, value in self.taken[ticket].values.items()
            if channel in self.channels
        }
        assert found <= given
        self._no_value_is_lost(batch, work.tickets)

    def _no_value_is_lost(self, batch, tickets):
        """Each value of a taken reading is in its stream's row, but for a channel that a part had brought already."""
        row = {stream: batch.values[i] for i, stream in enumerate(batch.streams)}
        for ticket in tickets:
            reading = self.taken[ticket]
            for channel in reading.values:
                if channel in self.channels:
                    assert not math.isnan(row[reading.stream][self.channels.index(channel)])

    @invariant()
    def no_ticket_comes_out_twice_or_from_nowhere(self):
        if hasattr(self, "handed"):
            assert all(count == 1 and ticket in self.taken for ticket, count in self.handed.items())

    def teardown(self):
        if not hasattr(self, "handed"):
            return
        self.clock += 1e6
        self.align.expire(self.clock)
        assert self.align.deadline() is None
        while self.align.waiting:
            self.hand_out()
        assert self.align.next() is None
        assert sorted(self.handed) == sorted(self.taken)


TestAnyReadings = AnyReadings.TestCase
TestAnyReadings.settings = hypothesis_settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=True, database=None
)


@pytest.mark.parametrize("max_batch", [1, 2, 5])
def test_frames_of_a_stream_keep_their_order_when_batches_are_full(max_batch):
    align = make(max_batch=max_batch)
    readings = [Reading(f"s{i % 7}", 1.0 + i, {"a": float(i)}) for i in range(60)]
    push_all(align, readings)
    handed = frames(drain(align))
    for stream in {reading.stream for reading in readings}:
        assert [t for s, t, _ in handed if s == stream] == [r.time for r in readings if r.stream == stream]


# --- streams that leave memory ---


def test_a_stream_that_left_memory_is_asked_for_its_last_time_again():
    times = {"s": 1.0}
    align = make(last_times=times)
    push_all(align, [Reading("s", 5.0, {"a": 1.0})])
    drain(align)
    times["s"] = 3.0
    align.forget("s")
    assert push_all(align, [Reading("s", 3.0, {"a": 1.0}), Reading("s", 4.0, {"a": 2.0})]) == ["double", None]


def test_a_frame_that_waits_keeps_its_place_when_the_stream_leaves_memory():
    align = make()
    push_all(align, [Reading("s", 5.0, {"a": 1.0})])
    align.forget("s")
    assert push_all(align, [Reading("s", 5.0, {"a": 2.0}), Reading("s", 6.0, {"a": 3.0})]) == ["double", None]
    assert [(time, values[0]) for _, time, values in frames(drain(align))] == [(5.0, 1.0), (6.0, 3.0)]


def test_frames_of_many_streams_fill_one_round_after_the_other() -> None:
    align = Align(Group(channels=("a",), max_batch=3), ("a",), lambda _: -math.inf, streams=0)
    for stream in range(8):
        assert align.push(Reading(f"p{stream}", 1.0, {"a": 1.0}), 1.0, stream) is None
    assert align.push(Reading("p0", 2.0, {"a": 2.0}), 2.0, 8) is None
    batches = []
    while (work := align.next()) is not None:
        assert isinstance(work.record, Batch)
        batches.append(work.record.streams)
    assert batches == [("p0", "p1", "p2"), ("p3", "p4", "p5"), ("p6", "p7", "p0")]
