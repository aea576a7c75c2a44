"""Upgrade: what an older version learned means the same in the arrays of this one."""

from __future__ import annotations

import numpy as np

from streamd.engine.intervals import Intervals
from streamd.engine.layout import LAYOUT
from streamd.engine.upgrade import network_changed, upgrade

SLOTS, H, C = 3, 2, 2


def of_layout_1():
    multiplier = np.arange(1.0, 1.0 + SLOTS * H * C).reshape(SLOTS, H, C)
    return {"intervals.multiplier": multiplier, "scale.mean": np.ones((SLOTS, C))}


def test_the_multiplier_of_layout_1_is_that_of_both_sides_of_the_one_coverage():
    arrays = of_layout_1()
    found = upgrade(arrays, 1)["intervals.multiplier"]
    intervals = Intervals({"C": C, "H": H, "W": H, "Q": 1}, slots=SLOTS)
    intervals.load_state_dict({**intervals.state_dict(), "multiplier": found})
    for side in range(2):
        np.testing.assert_array_equal(intervals.multiplier[:, 0, side], arrays["intervals.multiplier"])


def test_nothing_else_changes_and_nothing_in_place():
    arrays = of_layout_1()
    before = {name: array.copy() for name, array in arrays.items()}
    found = upgrade(arrays, 1)
    assert found.keys() == arrays.keys()
    assert found["scale.mean"] is arrays["scale.mean"]
    for name, array in before.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_a_state_of_the_present_layout_is_taken_as_it_is():
    arrays = {"intervals.multiplier": np.ones((SLOTS, 1, 2, H, C))}
    found = upgrade(arrays, LAYOUT)
    assert found.keys() == arrays.keys()
    assert found["intervals.multiplier"] is arrays["intervals.multiplier"]


def test_the_network_of_layout_1_saw_other_inputs_and_that_of_the_present_one_the_same():
    assert network_changed(1)
    assert not network_changed(LAYOUT)
