"""The summary says what the measures say, in words and right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streamd.report import words
from tests.report.runs import START, incident, recording, summary


def measured(ratio: float, covered: float = 0.9, **more: Any) -> dict[str, Any]:
    found = summary(recording(), **more)
    found["settled"] = {
        "mase": {"flow": [ratio] * 4, "heat": [ratio] * 4},
        "coverage": {"flow": [covered] * 4, "heat": [None] * 4},
    }
    return found


def text(found: dict[str, Any], **of_recording: Any) -> str:
    return " ".join(words.sentences(found, replace(recording(), **of_recording), clock=True))


def test_what_was_read_is_said_first() -> None:
    (first, *_) = words.sentences(measured(0.8), recording(), clock=True)
    assert "200 readings of 2 channels, from 2023-11-14 22:13:20 to 2023-11-15 01:32:20" in first
    assert "one every 1 minute" in first
    assert "the next 4 (4 minutes)" in first


def test_without_times_rows_are_counted_and_no_time_is_named() -> None:
    (first, *_) = words.sentences(measured(0.8), replace(recording(), time=np.arange(200.0)), clock=False)
    assert "from row 0 to row 199, once" in first
    assert "minute" not in first


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(0.64, "36 % smaller 1 step ahead"), (1.25, "25 % larger"), (1.001, "as large"), (4.0, "4 times")],
)
def test_errors_are_said_against_the_last_value(ratio: float, said: str) -> None:
    assert said in text(measured(ratio))


@pytest.mark.parametrize(("covered", "said"), [(0.9, "was kept."), (0.87, "not kept everywhere")])
def test_a_promise_that_was_not_kept_is_said_to_be_so(covered: float, said: str) -> None:
    assert said in text(measured(0.8, covered))


def test_the_best_of_the_others_is_named_also_where_it_is_better() -> None:
    def of(ratio: float) -> dict[str, Any]:
        return {"settled": {"mase": {"flow": [ratio] * 4, "heat": [None] * 4}}}

    said = text(measured(0.8, against={"seasonal": of(0.4), "snarimax": of(0.9), "persistence": of(0.1)}))
    assert "seasonal 1 step ahead (streamd's error is 2 times as large)" in said
    assert "snarimax" not in said


def test_the_strongest_incident_is_told_with_its_first_suspect() -> None:
    told = (incident(1, START, 2.0, flow=0.1, heat=0.9), incident(2, START + 60, 1.2, flow=1.0))
    assert "2 incidents; the strongest began at 2023-11-14 22:13:20, where channel heat" in text(
        measured(0.8), incidents=told
    )
    assert "Nothing was strange enough" in text(measured(0.8))


def test_failures_are_told() -> None:
    broken = {"snarimax": {"not_finite": {"flow": 1200, "heat": 0}, "settled": {"mase": {"flow": [None] * 4}}}}
    said = text(measured(0.8, against=broken, dropped={"late": 2, "double": 1}))
    assert "Of snarimax, 1,200 forecasts were no finite numbers" in said
    assert "3 rows came late or twice" in said


def test_a_file_too_short_to_measure_anything_gets_no_claims() -> None:
    found = summary(recording(rows=1))
    said = " ".join(words.sentences(found, recording(rows=1), clock=True))
    assert "1 readings" in said
    assert "promise" not in said
    assert [tile.title for tile in words.tiles(found, recording(rows=1))] == ["Incidents", "Speed"]


def test_tiles_carry_the_figures() -> None:
    tiles = {tile.title: tile.value for tile in words.tiles(measured(0.64, 0.895), recording())}
    assert tiles == {
        "Error, 1 step ahead": "−36 %",
        "Error, 4 steps ahead": "−36 %",
        "Inside the interval": "89.5 %",
        "Incidents": "0",
        "Speed": "321",
    }


@pytest.mark.parametrize(("time", "said"), [(0.0, "1970-01-01 00:00"), (1e18, "1e+18 s")])
def test_a_moment_is_said_whatever_the_number(time: float, said: str) -> None:
    assert words.when(time, clock=True) == said
