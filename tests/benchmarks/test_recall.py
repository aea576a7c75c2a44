"""A fault counts as noticed in its own time only, and the others are allowed as many false alarms as we have."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from tests.benchmarks import recall
from tests.benchmarks.faults import Fault
from tests.benchmarks.recall import BASES, COUPLED_ONLY, GRACE, ROWS, SIZES, best_line, cases, events, figures, show


def test_alarms_close_together_are_one() -> None:
    over = np.zeros(100, bool)
    over[[5, 6, 15, 26, 60]] = True
    assert events(over) == [5, 26, 60]
    assert events(np.zeros(10, bool)) == []


def test_the_line_is_the_one_that_notices_most_with_no_more_false_alarms_than_allowed() -> None:
    found, right = np.zeros((2, 400)), np.ones((2, 400), bool)
    right[:, 300:] = False
    known = [Fault("spike", 4, 300, 301, (0,)), Fault("spike", 8, 300, 301, (0,))]
    found[0, [50, 300]] = 0.8, 0.9
    found[1, [60, 90, 300]] = 0.6, 0.6, 0.7
    for allowed, least, most in ((0, 0.8, 0.9), (1, 0.6, 0.8), (3, 0.6, 0.8)):
        line = best_line(found, right, known, allowed)
        assert least < line <= most, allowed


def test_a_line_is_found_also_below_those_that_have_too_many_alarms() -> None:
    """Below .5 the alarms of the first two hundred readings are one, before any reading that counts."""
    found, right = np.full((1, 400), 0.1), np.zeros((1, 400), bool)
    found[0, :200] = 0.5
    found[0, 20:200:40] = 1.0
    found[0, 320] = 0.5
    right[0, 10:300] = True
    known = [Fault("spike", 4, 320, 321, (0,))]
    assert len(events(found[0] >= 1.0)) == 5
    assert best_line(found, right, known, 1) == 0.5


def test_every_fault_and_size_has_its_cases_the_same_each_time() -> None:
    made, again = cases("apart", 0, 1), cases("apart", 0, 1)
    told = {(fault.kind, fault.size) for _, fault in made}
    assert told == {(kind, size) for kind, sizes in SIZES.items() for size in sizes if kind not in COUPLED_ONLY}
    for (signal, fault), (other, same) in zip(made, again, strict=True):
        np.testing.assert_array_equal(signal.values, other.values)
        assert fault == same


def test_recall_and_delay_are_counted_by_detector(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = [Fault("spike", size, 2000, 2001, (0,)) for size in SIZES["spike"]]
    signal = cases("apart", 0, 1)[0][0]
    monkeypatch.setattr(recall, "cases", lambda *_: [(signal, fault) for fault in known])
    ours = [
        {"warm": 300, "raised": [2001 + GRACE]},  # too late
        {"warm": 300, "raised": [400, 900, 2003]},  # one before rows count, one false, one in time
        {"warm": 300, "raised": [2000, 2010]},
    ]
    zscore = np.zeros((3, ROWS))
    zscore[:, 1000] = [0.5, 0.9, 1.0]
    zscore[:, 2000] = [0.4, 1.05, 0.8]
    gave = {f"{BASES[0]}, streamd": ours, f"{BASES[0]}, zscore": zscore, f"{BASES[0]}, halfspacetrees": 0 * zscore}
    found = figures(gave, 0, 1)
    assert {name: one["false"] for name, one in found.items()} == {"streamd": 1, "zscore": 0, "halfspacetrees": 0}
    ours_cells, their_cells = (
        [found[name]["faults"]["spike"][str(size)] for size in SIZES["spike"]] for name in ("streamd", "zscore")
    )
    assert [(cell["cases"], cell["recall"], cell["delay"]) for cell in ours_cells] == [
        (1, 0.0, None), (1, 1.0, 3.0), (1, 1.0, 0.0)
    ]  # fmt: skip
    assert [cell["recall"] for cell in their_cells] == [0.0, 1.0, 0.0]
    show(found)
    out = capsys.readouterr().out
    assert "zscore 0, halfspacetrees 0" in out
    assert "above both: ok" in next(line for line in out.splitlines() if line.strip().startswith("spike, mean"))


def test_the_example_holds() -> None:
    assert doctest.testmod(recall).failed == 0
