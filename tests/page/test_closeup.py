import json

import msgspec
import numpy as np
import pytest

from streamd.config import Channel
from streamd.engine.mix import EXPERTS
from streamd.page import closeup
from streamd.page.lately import Lately
from streamd.records import Batch, Reset
from tests.engine.runs import SETTINGS, Plant, bits, small_engine, state
from tests.page.runs import engine_after, last_of

WRAPPED = msgspec.structs.replace(SETTINGS, channel={"a": Channel(low=0.0, wrap=21.0), "b": Channel(high=21.0)})


def numbers(values: list[object]) -> np.ndarray:
    return np.array(values, np.float64)


@pytest.mark.parametrize("settings", [SETTINGS, WRAPPED])
def test_what_is_seen_at_first_is_what_the_outcomes_said(settings):
    engine, plant = small_engine(settings), Plant(1)
    heard, outcomes, values = Lately(), [], {}
    for batch in plant.batches(60):
        outcome = engine.apply(batch)
        heard.hear(outcome)
        outcomes.append(outcome)
        for row, stream in enumerate(batch.streams):
            values[stream, int(outcome.seq[row])] = batch.values[row]
    for stream in engine.streams:
        found = json.loads(closeup.begin("g", engine, stream, heard.last(stream)))
        outcome, row = last_of(outcomes, stream)
        frames = found["frames"]
        count = len(frames["time"])
        assert count == engine.recent.sizes["R"] - 1
        assert frames["seq"] + count - 1 == outcome.seq[row]
        assert frames["score"][-1] == outcome.score[row]
        assert frames["terms"][-1] == outcome.terms[row].tolist()
        assert frames["parts"] == outcome.channel_score[row].tolist()
        for name in ("mean", "lower", "upper"):
            np.testing.assert_allclose(numbers(frames["forecast"][name]), getattr(outcome, name)[row], rtol=2e-6)
        ahead = outcome.times[row] + outcome.interval[row] * np.arange(1, 4)
        np.testing.assert_allclose(frames["forecast"]["times"], ahead)
        np.testing.assert_allclose(numbers(frames["weights"]), outcome.weights[row].mean(axis=1), rtol=1e-3, atol=1e-6)
        told = {int(one.seq[one.streams.index(stream)]): one for one in outcomes if stream in one.streams}
        for at in range(count):
            seq = frames["seq"] + at
            one = told[seq]
            here = one.streams.index(stream)
            assert frames["time"][at] == one.times[here]
            came = values[stream, seq].copy()
            came[0] %= 21.0 if settings is WRAPPED else np.inf  # an angle is shown within one turn
            np.testing.assert_allclose(numbers(frames["values"][at]), came)
            before = told[seq - 1]
            np.testing.assert_allclose(
                numbers(frames["mean"][at]), before.mean[before.streams.index(stream), 0], rtol=2e-6
            )


def test_a_frame_that_comes_is_told_to_the_last_bit():
    engine, _ = engine_after()
    outcome = engine.apply(Batch(("s3", "s1"), np.full(2, 1e4), np.array([[20.0, 21.0], [np.nan, 19.0]])))
    for row in range(2):
        found = json.loads(closeup.go_on(engine, outcome, row))
        assert (found["seq"], found["time"]) == (outcome.seq[row], [1e4])
        assert found["score"] == [outcome.score[row]]
        assert found["terms"] == [outcome.terms[row].tolist()]
        assert found["parts"] == outcome.channel_score[row].tolist()
        for name in ("mean", "lower", "upper"):
            assert found["forecast"][name] == getattr(outcome, name)[row].tolist()
    assert found["values"] == [[None, 19.0]]


def test_without_exact_scores_there_are_those_of_the_rings_and_no_parts():
    engine, outcomes = engine_after()
    outcome, row = last_of(outcomes, "s2")
    found = json.loads(closeup.begin("g", engine, "s2", None))["frames"]
    assert found["score"][-1] == pytest.approx(outcome.score[row], rel=1e-5)
    assert found["parts"] is None


def test_names_and_coverage_say_what_the_columns_are():
    engine, _ = engine_after()
    found = json.loads(closeup.begin("g", engine, "s2", None))
    assert (found["group"], found["stream"], found["channels"]) == ("g", "s2", ["a", "b"])
    assert found["experts"] == [*EXPERTS, "network"]
    assert len(found["frames"]["weights"]) == len(found["experts"])
    assert found["coverage"] == 0.9
    assert found["interval"] > 0
    assert found["frames"]["state"] == "warming"


def test_a_stream_of_one_frame_and_one_that_was_reset_can_be_looked_at():
    engine = small_engine()
    engine.apply(Batch(("s",), np.array([60.0]), np.array([[1.0, 2.0]])))
    found = json.loads(closeup.begin("g", engine, "s", None))["frames"]
    assert found["values"] == [[1.0, 2.0]]
    assert found["mean"] == [[None, None]]
    engine.command(Reset("s"))
    found = json.loads(closeup.begin("g", engine, "s", None))["frames"]
    assert (found["time"], found["forecast"]) == ([], None)


def test_a_stream_that_is_not_in_memory_is_not_shown():
    engine, _ = engine_after()
    assert closeup.begin("g", engine, "nobody", None) is None


def test_looking_changes_nothing():
    engine, outcomes = engine_after()
    before = state(engine)
    closeup.begin("g", engine, "s1", None)
    closeup.go_on(engine, outcomes[-1], 0)
    assert bits(state(engine)[0]) == bits(before[0])
