"""Baselines are judged as the engine is, and what they fail to forecast is told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamd.against.baselines import AgainstError
from streamd.against.contest import NAMES, SEASONAL, Contest
from streamd.records import F64

HOUR = 3600.0
H = 3


def rows(count: int) -> F64:
    chance = np.random.default_rng(5)
    hours = np.arange(count)[:, None]
    return np.sin(hours / 24 * 2 * np.pi) * [1.0, 50.0] + chance.normal(size=(count, 2)) * 0.1


def fought(names: list[str], values: F64, settled_from: int = 0) -> Contest:
    contest = Contest(names, H, ("a", "b"))
    for n, row in enumerate(values):
        contest.step(n * HOUR, row, settled=n >= settled_from)
    return contest


def test_errors_are_those_of_a_count_by_hand() -> None:
    values = rows(100)
    measured = fought(["persistence", "seasonal:24"], values, settled_from=40).measures()
    for h in range(1, H + 1):
        flat = [abs(values[n] - values[n - h]) for n in range(h, 100)]
        # before a season is known it is the last value that stands in
        daily = [abs(values[n] - (values[n - 24] if n >= 24 else values[n - h])) for n in range(h, 100)]
        for name, errors in (("persistence", flat), ("seasonal:24", daily)):
            for c, channel in enumerate("ab"):
                found = measured[name]
                assert found["mae"][channel][h - 1] == pytest.approx(np.mean(errors, axis=0)[c])
                assert found["mse"][channel][h - 1] == pytest.approx(np.mean(np.square(errors), axis=0)[c])
                late = np.mean(errors[40 - h :], axis=0)[c]
                assert found["settled"]["mae"][channel][h - 1] == pytest.approx(late)
    assert measured["persistence"]["mase"] == {"a": [1.0] * H, "b": [1.0] * H}


def test_a_baseline_sees_no_row_before_it_is_judged_on_it() -> None:
    values = rows(60)
    changed = values.copy()
    changed[50:] += 1000.0
    names = [name for name in NAMES if name != "seasonal"]
    one, other = Contest(names, H, ("a", "b")), Contest(names, H, ("a", "b"))
    for n in range(50):
        assert one.step(n * HOUR, values[n], settled=True) == other.step(n * HOUR, changed[n], settled=True)
    for measured in zip(one.measures().values(), other.measures().values(), strict=True):
        first, second = ({name: each for name, each in of.items() if name != "readings_per_s"} for of in measured)
        assert first == second


def test_each_says_how_fast_it_is_and_detectors_say_nothing_else() -> None:
    measured = fought(["persistence", "zscore"], rows(20)).measures()
    assert measured["persistence"]["readings_per_s"] > 0
    assert list(measured["zscore"]) == ["readings_per_s"]


def test_detectors_score_a_row_before_they_learn_it() -> None:
    contest = Contest(["zscore"], H, ("a", "b"))
    for n, row in enumerate(rows(50)):
        contest.step(float(n), row, settled=True)
    assert contest.step(50.0, np.array([100.0, 0.0]), settled=True)["zscore"] > 50.0


class Broken:
    """Speaks from its third row on, and from its sixth on nonsense."""

    def __init__(self, channels: int) -> None:
        self.learned = 0

    def learn(self, time: float, values: F64) -> None:
        self.learned += 1

    def forecast(self, horizon: int) -> F64:
        value = math.nan if self.learned < 3 else 0.0 if self.learned < 6 else (math.inf, 1e200)[self.learned % 2]
        return np.full((horizon, 2), value)


def test_what_is_no_finite_number_is_counted_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.against.contest.PLAIN", {"persistence": Broken})
    values = np.ones((10, 2))
    values[:4, 1] = np.nan  # a channel that comes late: nobody can forecast it before
    found = fought(["persistence"], values).measures()["persistence"]
    assert found["silent"] == {"a": 2 * H, "b": 0}
    assert found["not_finite"] == {"a": 5 * H, "b": 5 * H}
    assert found["mae"]["a"] == [1.0] * H


def test_river_stands_for_both_of_its_forecasters() -> None:
    assert list(Contest(["river"], H, ("a",)).contenders) == ["snarimax", "holtwinters"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sarima", "no baseline 'sarima'; there are persistence, seasonal"),
        ("", "no baseline ''"),
        ("persistence:3", "persistence:3: expected a number of rows after one of seasonal"),
        ("seasonal:week", "seasonal:week: expected a number of rows"),
        ("holtwinters:0", "holtwinters:0: expected a number of rows"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_those_that_do(name: str, said: str) -> None:
    with pytest.raises(AgainstError, match=said):
        Contest([name], H, ("a",))


@pytest.mark.parametrize("name", list(SEASONAL))
def test_a_season_can_be_given_in_rows(name: str) -> None:
    contest = fought([f"{name}:24"], rows(60))
    assert contest.measures()[f"{name}:24"]["mae"]["a"][0] is not None
