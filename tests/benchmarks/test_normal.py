"""The table of normal streams says what was promised and what came, by kind and in total."""

from __future__ import annotations

import math

import pytest

from tests.benchmarks.normal import ratio, show


def one(kind: str, step_s: float, promised: float, incidents: int, warm: int | None = 300) -> dict[str, object]:
    return {
        "kind": kind,
        "step_s": step_s,
        "readings": 1000,
        "warm": warm,
        "promised": promised,
        "incidents": incidents,
        "before": 1,
        "terms": {"surprise": incidents},
        "group": 0,
    }


def test_the_ratio_is_that_of_the_sums() -> None:
    assert ratio([one("a", 60, 1.0, 3), one("a", 10, 3.0, 1)]) == 1.0
    assert ratio([one("a", 60, 0.0, 0)]) == 0.0
    assert math.isinf(ratio([one("a", 60, 0.0, 1)]))


def test_kinds_and_steps_are_told_apart_and_judged(capsys: pytest.CaptureFixture[str]) -> None:
    show("default", [one("noise", 60, 4.0, 2), one("noise", 10, 1.0, 3), one("walk", 60, 5.0, 20, warm=None)])
    lines = {line.split("  ")[1].strip(): line.split() for line in capsys.readouterr().out.splitlines() if "  " in line}
    assert lines["noise"][1:7] == ["2", "5.0", "5", "1.00", "3", "2"]
    assert lines["walk"][1:7] == ["1", "5.0", "20", "4.00", "20", "1"]
    assert lines["each 60 s"][3:6] == ["2", "9.0", "22"]
    assert lines["all"][1:5] == ["3", "10.0", "25", "2.50"]
    assert "missed in all, 1 of 2 kinds" in " ".join(" ".join(cells) for cells in lines.values())
    assert any("never were warm: 1;" in " ".join(cells) for cells in lines.values())
