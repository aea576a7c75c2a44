"""Rows: what a part declares once is made, grown, widened, cleared, saved and loaded."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.rows import Rows, column
from streamd.kernel import slots as kernel
from streamd.records import F32, F64, I64


class Part(Rows):
    mean: F64 = column("C", fill=7)
    count: I64 = column(dtype=np.int64, fill=-1)
    ring: F32 = column("R", "C", 2, dtype=np.float32, fill=np.nan)


SIZES = {"C": 2, "R": 3}


def filled(slots=4):
    part = Part(SIZES, slots)
    for number, array in enumerate(part.state_dict().values()):
        array[:] = np.arange(array.size).reshape(array.shape) + 100 * number
    return part


def copies(part):
    return {name: array.copy() for name, array in part.state_dict().items()}


def test_fresh_rows_hold_what_was_declared():
    part = Part(SIZES, 4)
    assert {name: (array.shape, array.dtype) for name, array in part.state_dict().items()} == {
        "mean": ((4, 2), np.float64),
        "count": ((4,), np.int64),
        "ring": ((4, 3, 2, 2), np.float32),
    }
    assert (part.mean == 7).all()
    assert (part.count == -1).all()
    assert np.isnan(part.ring).all()


def test_growing_keeps_the_rows_there_are_and_makes_the_rest_fresh():
    part = filled(4)
    before = copies(part)
    part.grow(6)
    assert part.slots == 6
    fresh = Part(SIZES, 2)
    for name, array in part.state_dict().items():
        np.testing.assert_array_equal(array[:4], before[name])
        np.testing.assert_array_equal(array[4:], getattr(fresh, name))


def test_widening_keeps_what_is_there_in_front_and_makes_the_rest_fresh():
    part = filled(4)
    before = copies(part)
    part.widen({"C": 5})
    assert (part.mean.shape, part.ring.shape) == ((4, 5), (4, 3, 5, 2))
    np.testing.assert_array_equal(part.mean[:, :2], before["mean"])
    np.testing.assert_array_equal(part.ring[:, :, :2], before["ring"])
    np.testing.assert_array_equal(part.count, before["count"])
    assert (part.mean[:, 2:] == 7).all()
    assert np.isnan(part.ring[:, :, 2:]).all()
    part.grow(5)
    assert part.mean.shape == (5, 5), "what grows later has the new lengths"


def test_clearing_makes_some_rows_fresh_and_leaves_the_others():
    part = filled(4)
    before = copies(part)
    part.clear(np.array([1, 3]))
    fresh = Part(SIZES, 2)
    for name, array in part.state_dict().items():
        np.testing.assert_array_equal(array[[1, 3]], getattr(fresh, name))
        np.testing.assert_array_equal(array[[0, 2]], before[name][[0, 2]])
    part.clear(np.array([], np.int64))


def test_moving_puts_rows_in_the_place_of_others():
    part = filled(4)
    before = copies(part)
    part.move(np.array([3]), np.array([0]))
    for name, array in part.state_dict().items():
        np.testing.assert_array_equal(array, before[name][[3, 1, 2, 3]])


def test_a_state_is_loaded_as_it_was_saved():
    part, other = filled(4), Part(SIZES, 9)
    other.load_state_dict(copies(part))
    assert other.slots == 4
    for name, array in other.state_dict().items():
        assert array.tobytes() == getattr(part, name).tobytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.pop("count"), "Part: without count"),
        (lambda state: state.update(mean=np.zeros((4, 3))), r"Part.mean: float64\(4, 3\) is not float64\(4, 2\)"),
        (lambda state: state.update(count=np.zeros(3, np.int64)), r"Part.count: int64\(3,\) is not int64\(4,\)"),
        (lambda state: state.update(count=np.zeros(4)), r"Part.count: float64\(4,\) is not int64\(4,\)"),
        (lambda state: state.update(mean=np.zeros(4)), r"Part.mean: float64\(4,\) is not"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_the_text_says_where(change, says):
    state = copies(filled(4))
    change(state)
    with pytest.raises(ValueError, match=says):
        Part(SIZES).load_state_dict(state)


def test_parts_share_no_sizes():
    one, other = Part(SIZES, 1), Part(SIZES, 1)
    one.widen({"C": 9})
    assert other.sizes == SIZES == {"C": 2, "R": 3}


def test_rows_move_to_the_place_of_others_in_every_array():
    part = filled()
    before = copies(part)
    part.move(np.array([3, 2]), np.array([0, 1]))
    for name, array in part.state_dict().items():
        np.testing.assert_array_equal(array, before[name][[3, 2, 2, 3]])


class Counted(Rows, loops=kernel.Timing):
    seq: I64 = column(dtype=np.int64)
    other: F64 = column("C")  # of which the kernel knows nothing


def test_the_kernel_always_works_on_the_arrays_that_the_part_has():
    part, sizes = Counted({"C": 2}, 2), {"C": 3}
    far = np.arange(8)[::-2]  # not in one piece
    changes = (
        lambda: part.grow(4),
        lambda: part.widen(sizes),
        lambda: part.clear(np.array([1])),
        lambda: part.load_state_dict({"seq": far, "other": np.zeros((4, 3))}),
        lambda: setattr(part, "seq", np.arange(4)),
    )
    for change in changes:
        change()
        part.seq[1] += 5
        assert np.asarray(part.loops.seq).tolist() == part.seq.tolist()
    assert far.tolist() == [7, 5, 3, 1]
    assert Counted(sizes, 1).loops is not part.loops
