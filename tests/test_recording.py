"""A recording holds what the engine told, row by row, and the file of it what others build on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from msgspec.structs import replace as with_

from streamd.config import Group
from streamd.engine.mix import EXPERTS
from streamd.engine.score import TERMS
from streamd.recording import Recorder, Recording, drawn_steps
from streamd.records import Incident, Outcome
from tests.report.runs import incident

CHANNELS = ("a", "b")
SETTINGS = with_(Group(), horizon_steps=4)


def outcome(n: int, **more: Any) -> Outcome:
    def made(shift: float) -> Any:
        return np.full((1, 4, 2), n + shift)

    fields = {
        "channels": CHANNELS,
        "streams": ("s",),
        "seq": np.array([n]),
        "times": np.array([float(n)]),
        "interval": np.array([1.0]),
        "mean": made(0.0),
        "lower": made(-1.0),
        "upper": made(1.0),
        "score": np.array([n / 2]),
        "terms": np.full((1, len(TERMS)), n / 2),
        "channel_score": np.array([[n / 2, 0.0]]),
        "weights": np.zeros((1, len(EXPERTS) + 1, 4, 2)),
        "levels": np.zeros((1, 1, 2, 4, 2)),
        "drifted": np.zeros(1, bool),
        "warming": np.ones(1),
        "incidents": (),
    }
    return cast(Outcome, SimpleNamespace(**fields | more))


def recorded(*outcomes: Outcome, against: dict[str, float] | None = None) -> Recording:
    recorder = Recorder(SETTINGS, CHANNELS)
    for n, each in enumerate(outcomes):
        recorder.add(float(n), np.array([n, -n], float), each, against or {})
    assert len(recorder) == len(outcomes)
    return recorder.taken()


def test_every_row_is_kept_in_its_place() -> None:
    found = recorded(outcome(0), outcome(1), outcome(2), against={"zscore": 3.0})
    assert found.time.tolist() == [0.0, 1.0, 2.0]
    assert found.value.tolist() == [[0.0, 0.0], [1.0, -1.0], [2.0, -2.0]]
    assert found.mean.shape == found.lower.shape == (3, 4, 2)
    assert found.score.tolist() == [0.0, 0.5, 1.0]
    assert found.against["zscore"].tolist() == [3.0] * 3


def test_an_incident_is_kept_as_it_was_told_last_in_the_order_of_their_starts() -> None:
    def told(number: int, start: float, score: float) -> Incident:
        return incident(number, start, score)

    found = recorded(
        outcome(0, incidents=(told(1, 5.0, 1.1),)),
        outcome(1, incidents=(told(2, 3.0, 2.0),)),
        outcome(2, incidents=(told(1, 5.0, 4.0),)),
    )
    assert [(one.id, one.score) for one in found.incidents] == [("backtest-2", 2.0), ("backtest-1", 4.0)]


def test_weights_are_kept_at_the_steps_that_are_drawn_and_drifts_and_levels_as_told() -> None:
    weights = np.arange(5 * 4 * 2, dtype=float).reshape(1, 5, 4, 2)
    levels = np.arange(3 * 2 * 4 * 2, dtype=float).reshape(1, 3, 2, 4, 2)
    found = recorded(outcome(0, weights=weights, drifted=np.array([True]), levels=levels))
    assert found.steps == (1, 2, 4)
    np.testing.assert_array_equal(found.weights[0], weights[0][:, [0, 1, 3]])
    np.testing.assert_array_equal(found.levels, levels)
    assert found.drifted.tolist() == [True]
    assert found.experts == (*EXPERTS, "network")


@pytest.mark.parametrize(("horizon", "steps"), [(1, (1,)), (2, (1, 2)), (3, (1, 3)), (48, (1, 24, 48))])
def test_the_first_the_middle_and_the_last_step_are_looked_at(horizon: int, steps: tuple[int, ...]) -> None:
    assert drawn_steps(horizon) == steps


def test_scores_of_detectors_stand_in_the_file_under_their_names(tmp_path: Path) -> None:
    found = recorded(outcome(0), outcome(1), outcome(2), against={"zscore": 3.0})
    replace(found, against={"zscore": np.array([1.0, 2.0, 3.0])}).save(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        assert arrays["against_zscore"].tolist() == [1.0, 2.0, 3.0]
        assert arrays["alarm"].tolist() == [False, False, True]
        np.testing.assert_array_equal(arrays["forecast"], found.mean)


def test_each_term_and_each_channels_part_stand_in_the_file_under_their_names(tmp_path: Path) -> None:
    terms = np.arange(1.0, 1.0 + len(TERMS))[None]
    recorded(outcome(0, terms=terms), outcome(1, terms=2 * terms)).save(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        for at, name in enumerate(TERMS):
            assert arrays[name].tolist() == [terms[0, at], 2 * terms[0, at]]
        assert arrays["channel_score"].shape == (2, 2)
