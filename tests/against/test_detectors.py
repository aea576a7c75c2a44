"""River's detectors find the row that is unlike the others, change nothing when asked, and bridge what is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

from streamd.against.baselines import AgainstError, Detector
from streamd.against.contest import RIVER_DETECTORS
from streamd.records import F64

ALL = pytest.mark.parametrize("name", RIVER_DETECTORS)


def usual(rows: int) -> F64:
    """Two channels of unlike size about levels far from zero."""
    return np.random.default_rng(3).normal(size=(rows, 2)) * [1.0, 100.0] + [50.0, -3000.0]


def fed(name: str, rows: F64) -> tuple[Detector, list[float]]:
    """One that has learned these rows, and what it had scored the last hundred of them."""
    detector, scores = RIVER_DETECTORS[name](2), []
    for row in rows:
        scores.append(detector.score(row))
        detector.learn(row)
    return detector, scores[-100:]


@ALL
def test_the_row_that_is_unlike_the_others_has_the_highest_score(name: str) -> None:
    detector, scores = fed(name, usual(1200))
    assert detector.score(np.array([59.0, -3900.0])) >= max(scores) > min(scores)


@ALL
def test_the_first_row_is_not_strange_and_a_question_changes_nothing(name: str) -> None:
    detector, rows = RIVER_DETECTORS[name](2), usual(300)
    assert detector.score(rows[0]) == 0.0
    for row in rows:
        detector.learn(row)
    odd = np.array([80.0, -3000.0])
    assert detector.score(odd) == detector.score(odd)
    unasked, _ = fed(name, rows)
    assert detector.score(odd) == unasked.score(odd)


@ALL
def test_a_missing_value_is_no_news(name: str) -> None:
    detector, _ = fed(name, usual(300))
    rows = usual(330)[300:]
    rows[::3, 1] = np.nan
    for row in rows:
        score = detector.score(row)
        assert np.isfinite(score)
        detector.learn(row)
    assert np.isfinite(detector.score(np.full(2, np.nan)))


@ALL
def test_a_missing_river_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make: Callable[[int], Detector] = RIVER_DETECTORS[name]
    for module in [module for module in sys.modules if module.partition(".")[0] == "river"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "river", None)
    with pytest.raises(AgainstError, match=rf"^{name} needs river: pip install 'streamd\[bench\]'$"):
        make(1)
