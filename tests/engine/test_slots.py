"""Slots and timing: who owns a row, and when a stream spoke."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.slots import Slots, Timing

ONE = np.array([0])


def test_a_stream_keeps_its_slot_and_a_new_one_gets_the_next():
    slots = Slots()
    assert slots.open(["a", "b"]).tolist() == [0, 1]
    assert slots.open(["c", "a"]).tolist() == [2, 0]
    assert (len(slots), slots.names) == (3, ["a", "b", "c"])
    assert slots.get("c") == 2
    assert slots.get("d") is None
    assert "d" not in slots
    assert "a" in slots


def test_slots_come_back_from_their_names():
    slots = Slots(["a", "b"])
    assert slots.open(["b", "x"]).tolist() == [1, 2]


def test_no_streams_own_no_slots():
    slots = Slots().open([])
    assert slots.shape == (0,)
    assert slots.dtype == np.int64


def walk(times):
    """Steps and usual intervals after each of one stream's times."""
    timing = Timing({}, slots=1)
    steps, intervals = [], []
    for time in times:
        steps.append(float(timing.advance(ONE, np.array([time])).steps[0]))
        intervals.append(float(timing.interval[0]))
    return timing, steps, intervals


def test_frames_are_counted_and_their_last_time_is_kept():
    timing, _, _ = walk([5.0, 6.0, 7.5])
    assert (timing.seq[0], timing.age[0], timing.last_time[0]) == (3, 3, 7.5)


def test_the_first_frames_have_a_usual_step_of_their_own():
    _, steps, intervals = walk([100.0, 110.0, 120.0])
    assert steps == [1.0, 1.0, 1.0]
    assert np.isnan(intervals[0])
    assert intervals[1:] == [10.0, 10.0]


def test_a_gap_is_seen_in_steps_and_hardly_changes_the_usual_one():
    times = [float(i) for i in range(20)] + [1019.0, 1020.0]
    _, steps, intervals = walk(times)
    assert steps[20] == pytest.approx(1000.0)
    assert intervals[20] == pytest.approx(2**0.25)
    assert intervals[21] < intervals[20]


def test_a_new_rate_is_taken_on_within_a_dozen_frames():
    times = [float(i) for i in range(20)] + [19.0 + 5.0 * i for i in range(1, 25)]
    _, _, intervals = walk(times)
    assert intervals[20 + 12] == pytest.approx(5.0, rel=0.1)
    assert intervals[-1] == pytest.approx(5.0, rel=0.01)


def test_jitter_leaves_the_usual_step_near_the_middle():
    generator = np.random.default_rng(0)
    _, _, intervals = walk(np.cumsum(generator.uniform(0.8, 1.2, 500)).tolist())
    assert np.mean(intervals[50:]) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("gap", [1e-6, 1e12])
def test_any_gap_leaves_finite_numbers(gap):
    timing, steps, _ = walk([0.0, 1.0, 2.0, 2.0 + gap, 3.0 + gap])
    assert np.isfinite(steps).all()
    assert 0.5 <= timing.interval[0] <= 2.0


def test_streams_of_one_batch_do_not_touch_each_other():
    timing = Timing({}, slots=3)
    timing.advance(np.array([2, 0]), np.array([1.0, 2.0]))
    timing.advance(np.array([2]), np.array([4.0]))
    assert timing.seq.tolist() == [1, 0, 2]
    assert timing.last_time.tolist() == [2.0, -np.inf, 4.0]
    assert timing.interval[2] == 3.0


def test_slots_that_are_let_go_leave_no_gap():
    slots = Slots(["a", "b", "c", "d", "e"])
    source, target = slots.close(np.array([3, 0]))
    assert (source.tolist(), target.tolist()) == ([4], [0])
    assert slots.names == ["e", "b", "c"]
    assert [slots.get(name) for name in "abcde"] == [None, 1, 2, None, 0]
    assert slots.open(["d"]).tolist() == [3]
    source, target = slots.close(np.arange(4))
    assert (len(source), len(target), len(slots)) == (0, 0, 0)


def test_the_earliest_come_in_the_order_of_their_times_and_then_of_their_names():
    slots = Slots(["e", "b", "d", "a", "c"])
    times = np.array([5.0, 3.0, 1.0, 3.0, 3.0, -np.inf, -np.inf])  # the last rows are free
    assert [slots.earliest(times, count).tolist() for count in (1, 3, 5)] == [[2], [2, 3, 1], [2, 3, 1, 4, 0]]
