"""Pending: a forecast for t + h is judged when t + h has come, against what was said then; never across a gap."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.mix import E
from streamd.engine.pending import GAP_STEPS, MADE, Pending
from streamd.engine.profile import FULL

H, C, M = 4, 2, len(MADE)
SIZES = {**FULL, "H": H, "W": H, "C": C}
ONE = np.array([0])


def said(n):
    """Offsets [M, H, C] of frame n, each of which tells who made it, when, for how many steps and for which channel."""
    who, h, channel = np.ogrid[:M, :H, :C]
    return 1000.0 * n + 100.0 * (who + 1) + 10.0 * (h + 1) + channel


def remember(pending, slots, n, offsets):
    """Keep offsets [B, M, H, C], as if the experts had made them."""
    experts = np.concatenate([np.zeros_like(offsets[:, :1]), offsets[:, : E - 1]], axis=1)
    others = (np.ascontiguousarray(offsets[:, place]) for place in range(E - 1, M))
    pending.remember(slots, n, experts, *others)


def frame(pending, n, slots=ONE, steps=1.0, changes=None):
    """Errors [1 + M, H, C] at frame n, whose own offsets are remembered then."""
    changes = np.zeros((len(slots), H, C)) if changes is None else changes
    at = np.full(len(slots), n)
    errors = pending.errors(slots, at, np.full(len(slots), steps), changes)
    remember(pending, slots, at, np.stack([said(n)] * len(slots)))
    return errors[0]


def expected(n, unbroken):
    """What is judged at frame n of a series, of which the last so many frames follow one another."""
    errors = np.full((1 + M, H, C), np.nan)
    for h in range(min(unbroken, n, H)):
        errors[0, h] = 0.0
        errors[1:, h] = -said(n - 1 - h)[:, h]
    return errors


def test_every_forecast_is_judged_when_its_time_has_come_and_not_before():
    pending = Pending(SIZES, slots=1)
    for n in range(3 * H):
        np.testing.assert_array_equal(frame(pending, n), expected(n, unbroken=n))


def test_an_error_is_the_change_that_came_less_the_one_that_was_foretold():
    pending = Pending(SIZES, slots=1)
    frame(pending, 0)
    changes = np.full((1, H, C), np.nan)
    changes[0, 0] = [7.0, -7.0]
    errors = frame(pending, 1, changes=changes)
    assert errors[0, 0].tolist() == [7.0, -7.0]  # persistence foretold none
    np.testing.assert_array_equal(errors[1:, 0], [7.0, -7.0] - said(0)[:, 0])
    assert np.isnan(errors[:, 1:]).all()


def test_a_value_that_is_missing_judges_nothing_of_its_channel():
    pending = Pending(SIZES, slots=1)
    for n in range(6):
        frame(pending, n)
    changes = np.zeros((1, H, C))
    changes[0, :, 1] = np.nan
    errors = frame(pending, 6, changes=changes)
    assert np.isnan(errors[..., 1]).all()
    np.testing.assert_array_equal(errors[..., 0], expected(6, unbroken=6)[..., 0])


@pytest.mark.parametrize("steps", [GAP_STEPS + 0.1, 1000.0])
def test_a_forecast_that_a_gap_lies_in_is_not_judged(steps):
    pending = Pending(SIZES, slots=1)
    for n in range(7):
        frame(pending, n)
    for since in range(2 * H):
        n = 7 + since
        np.testing.assert_array_equal(frame(pending, n, steps=1.0 if since else steps), expected(n, unbroken=since))


def test_a_reading_that_is_a_little_late_is_no_gap():
    pending = Pending(SIZES, slots=1)
    for n in range(9):
        np.testing.assert_array_equal(frame(pending, n, steps=GAP_STEPS - 0.1), expected(n, unbroken=n))


def test_streams_of_one_batch_are_judged_each_by_its_own():
    pending = Pending(SIZES, slots=4)
    both = np.array([3, 1])
    for n in range(6):
        frame(pending, n, slots=both)
    frame(pending, 6, slots=np.array([3]))
    at = np.array([6, 7])
    errors = pending.errors(np.array([1, 3]), at, np.array([1.0, 99.0]), np.zeros((2, H, C)))
    np.testing.assert_array_equal(errors[0], expected(6, unbroken=6))
    assert np.isnan(errors[1]).all()
    assert np.isnan(pending.offsets[[0, 2]]).all()


def test_an_offset_too_large_for_single_precision_is_the_largest_there_is():
    pending = Pending(SIZES, slots=1)
    pending.errors(ONE, np.array([0]), np.ones(1), np.zeros((1, H, C)))
    remember(pending, ONE, np.array([0]), np.full((1, M, H, C), 1e300))
    errors = pending.errors(ONE, np.array([1]), np.ones(1), np.zeros((1, H, C)))
    assert np.isfinite(errors[0, 1:, 0]).all()


def test_what_is_due_at_a_frame_is_what_was_published_one_step_before():
    pending = Pending(SIZES, slots=1)
    for n in range(2 * H):
        frame_before = said(n - 1)[MADE.index("published"), 0] if n else np.full(C, np.nan)
        pending.errors(ONE, np.array([n]), np.ones(1), np.zeros((1, H, C)))
        np.testing.assert_array_equal(pending.due(ONE, np.array([n]))[0], frame_before)
        remember(pending, ONE, np.array([n]), said(n)[None])


def test_nothing_is_due_after_a_gap():
    pending = Pending(SIZES, slots=1)
    for n in range(5):
        frame(pending, n)
    pending.errors(ONE, np.array([5]), np.array([GAP_STEPS + 1.0]), np.zeros((1, H, C)))
    assert np.isnan(pending.due(ONE, np.array([5]))).all()
