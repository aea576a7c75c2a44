"""NAB's rules, against what they say in words and against a count of every line by hand."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from streamd.records import F64
from tests.benchmarks import nab
from tests.benchmarks.nab import PROFILES, Labelled, Profile, at, label, sweep


def by_hand(line: float, scores: list[F64], labels: list[Labelled], profile: Profile) -> float:
    """What a line is worth, alarm by alarm."""
    total, windows = 0.0, 0
    for score, one in zip(scores, labels, strict=True):
        best: dict[int, float] = {}
        for n in range(one.first, len(score)):
            if score[n] < line:
                continue
            if one.window[n] < 0:
                total += one.worth[n] * profile.false
            else:
                best[int(one.window[n])] = max(best.get(int(one.window[n]), -9.0), one.worth[n] * profile.found)
        total += sum(best.values()) - profile.missed * (one.windows - len(best))
        windows += one.windows
    nothing, everything = -profile.missed * windows, profile.found * windows
    return 100.0 * (total - nothing) / (everything - nothing)


@pytest.mark.parametrize("name", PROFILES)
def test_the_best_line_is_the_best_of_all_lines(name: str) -> None:
    chance, profile = np.random.default_rng(1), PROFILES[name]
    labels = [label(120, [(30, 45), (80, 95)]), label(200, []), label(90, [(60, 70)])]
    scores = [chance.random(len(one.worth)).round(2) for one in labels]
    for score, one in zip(scores, labels, strict=True):
        score[one.window >= 0] += 0.3 * chance.random((one.window >= 0).sum()).round(2)
    lines = np.unique(np.concatenate(scores))
    worth = [by_hand(float(line), scores, labels, profile) for line in lines]
    found = sweep(scores, labels, profile)
    assert found.score == pytest.approx(max(*worth, 0.0))
    for line, expected in zip(lines[::7], worth[::7], strict=True):
        assert at(float(line), scores, labels, profile).score == pytest.approx(expected)


def test_an_alarm_at_each_windows_start_is_worth_all_and_none_is_worth_nothing() -> None:
    one = label(400, [(100, 139), (300, 339)])
    scores = np.zeros(400)
    scores[[100, 300]] = 1.0
    found = sweep([scores], [one], PROFILES["standard"])
    assert found.score == pytest.approx(100.0, abs=0.1)
    assert (found.line, found.found, found.false) == (1.0, 2, 0)
    assert at(2.0, [scores], [one], PROFILES["standard"]).score == 0.0


def test_where_every_line_costs_more_than_it_brings_there_is_no_alarm() -> None:
    scores = np.linspace(1.0, 0.0, 400)
    scores[390:] = -1.0  # the window is the least strange of all
    found = sweep([scores], [label(400, [(390, 399)])], PROFILES["low-FP"])
    assert (found.score, found.line, found.found) == (0.0, np.inf, 0)


def test_the_later_in_a_window_the_less_and_the_farther_behind_it_the_worse() -> None:
    one = label(600, [(200, 299)])
    assert (np.diff(one.worth[200:300]) < 0).all()
    assert (np.diff(one.worth[300:590]) <= 0).all()
    assert one.worth[199] == one.worth[599] == -1.0
    assert -1.0 < one.worth[300] < 0.0 < one.worth[299]


def test_rows_of_the_probation_do_not_count() -> None:
    short, long = label(100, []), label(20_000, [])
    assert (short.first, long.first) == (15, 750)
    scores = np.zeros(100)
    scores[:15] = 5.0
    assert at(1.0, [scores], [short], PROFILES["standard"]).false == 0


def test_scores_that_are_no_numbers_or_too_few_are_refused() -> None:
    for scores in (np.full(100, np.nan), np.zeros(99)):
        with pytest.raises(ValueError, match="expected 100 finite scores"):
            sweep([scores], [label(100, [])], PROFILES["standard"])


def test_the_example_holds() -> None:
    assert doctest.testmod(nab).failed == 0
