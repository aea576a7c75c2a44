"""A fault counts as noticed in its own time only, and the others are allowed as many false alarms as we have."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from tests.benchmarks import recall
from tests.benchmarks.faults import Fault
from tests.benchmarks.recall import BASES, COUPLED_ONLY, GRACE, ROWS, SIZES, cases, events, figures, line_of, show


def test_alarms_close_together_are_one() -> None:
    over = np.zeros(100, bool)
    over[[5, 6, 15, 26, 60]] = True
    assert events(over) == [5, 26, 60]
    assert events(np.zeros(10, bool)) == []


def test_the_line_is_the_lowest_with_no_more_false_alarms_than_allowed() -> None:
    chance = np.random.default_rng(6)
    found, right = chance.random((3, 400)).round(3), np.ones((3, 400), bool)
    right[:, 300:] = False
    found[0, 350] = 5.0  # where it is a fault it costs nothing

    def alarms(line: float) -> int:
        return sum(len(events((one >= line) & counted)) for one, counted in zip(found, right, strict=True))

    for allowed in (0, 1, 7):
        line = line_of(found, right, allowed)
        assert alarms(line) <= allowed
        assert alarms(float(found[right & (found < line)].max())) > allowed


def test_a_line_so_low_that_all_alarms_are_one_is_not_chosen() -> None:
    found, right = np.full((1, 200), 0.1), np.ones((1, 200), bool)
    found[0, [50, 150]] = 1.0
    assert len(events(found[0] >= 0.1)) == 1
    assert line_of(found, right, 1) > 1.0
    assert line_of(found, right, 2) == 0.1


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
    assert {name: one["false"] for name, one in found.items()} == {"streamd": 1, "zscore": 1, "halfspacetrees": 0}
    ours_cells, their_cells = (
        [found[name]["faults"]["spike"][str(size)] for size in SIZES["spike"]] for name in ("streamd", "zscore")
    )
    assert [(cell["cases"], cell["recall"], cell["delay"]) for cell in ours_cells] == [
        (1, 0.0, None), (1, 1.0, 3.0), (1, 1.0, 0.0)
    ]  # fmt: skip
    assert [cell["recall"] for cell in their_cells] == [0.0, 1.0, 0.0]
    show(found)
    out = capsys.readouterr().out
    assert "zscore 1, halfspacetrees 0" in out
    assert "above both: ok" in next(line for line in out.splitlines() if line.strip().startswith("spike, mean"))


def test_the_example_holds() -> None:
    assert doctest.testmod(recall).failed == 0
