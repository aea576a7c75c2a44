"""The place of the right channel is counted where an incident was raised."""

from __future__ import annotations

import doctest

import pytest

from tests.benchmarks import attribution
from tests.benchmarks.attribution import SIZES, cases, place_of, show
from tests.benchmarks.faults import Fault


def test_a_swap_is_told_by_either_channel_and_equals_are_no_find() -> None:
    shares = {"c0": 0.4, "c1": 0.1, "c2": 0.4, "c3": 0.1}
    assert place_of(Fault("swap", 1, 0, 9, (1, 2)), shares) == 2
    assert place_of(Fault("spike", 1, 0, 9, (0,)), shares) == 2
    assert place_of(Fault("spike", 1, 0, 9, (1,)), shares) == 4


def test_every_fault_has_its_cases() -> None:
    assert sorted(fault.kind for _, fault in cases("coupled", 0, 2)) == sorted([*SIZES] * 2)


def test_shares_are_of_the_incidents_that_were_raised(capsys: pytest.CaptureFixture[str]) -> None:
    places = {"spike": [1, 1, 1, 2], "drift": [1, 4, None, None]}
    show([{"base": "coupled", "kind": kind, "place": place} for kind, each in places.items() for place in each])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert next(line for line in lines if line[:1] == ["spike"])[-5:] == ["4", "4", "75%", "100%", "75%"]
    assert next(line for line in lines if line[:1] == ["drift"])[-5:] == ["4", "2", "50%", "50%", "25%"]
    assert lines[-1][-1] == "missed"


def test_the_example_holds() -> None:
    assert doctest.testmod(attribution).failed == 0
