"""Outcomes to messages, and the schemas that describe them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from streamd.config import Group
from streamd.records import F64, Expected, Incident, Outcome
from streamd.wire import outcomes
from streamd.wire.messages import Message

TERMS = ("novelty", "deviation")
NAMES = outcomes.Names(TERMS, ("one", "other", "network"), (0.9,), 0.9)
EVERYTHING = outcomes.Names(TERMS, NAMES.experts, (0.5, 0.9), 0.9, weights=True)
TIME = 1_795_435_200.25
SCHEMAS = {
    path.name.removesuffix(".json"): json.loads(path.read_text(encoding="utf-8"))
    for path in (files("streamd.wire") / "schemas").iterdir()
}


def some_outcome(rows: int = 2, horizon: int = 3, channels: int = 2, **changes: Any) -> Outcome:
    normal = np.random.default_rng(7).normal
    return Outcome(
        **{
            "channels": tuple(f"c{number}" for number in range(channels)),
            "streams": tuple(f"s{number}" for number in range(rows)),
            "seq": np.arange(rows) + 5,
            "times": TIME + np.arange(rows),
            "interval": np.full(rows, 10.0),
            "mean": normal(size=(rows, horizon, channels)),
            "lower": normal(size=(rows, horizon, channels)),
            "upper": normal(size=(rows, horizon, channels)),
            "score": normal(size=rows),
            "terms": normal(size=(rows, len(TERMS))),
            "channel_score": normal(size=(rows, channels)),
            "weights": normal(size=(rows, 3, horizon, channels)),
            "experts": normal(size=(rows, 2, horizon, channels)),
            "levels": normal(size=(rows, 2, 2, horizon, channels)),
            "drifted": np.arange(rows) % 2 == 1,
            "warming": np.full(rows, 0.5),
            **changes,
        }
    )


def some_incident(**changes: Any) -> Incident:
    return Incident(
        **{
            "id": "s1-6",
            "stream": "s1",
            "state": "raised",
            "start": TIME,
            "peak": TIME + 1,
            "end": None,
            "score": 2.5,
            "channels": {"c0": 0.75, "c1": 0.25},
            "terms": {"novelty": 2.5, "deviation": math.nan},
            "expected": {"c0": Expected(5.0, 3.0, 2.5, 3.5), "c1": Expected(math.nan, 1.0, math.nan, math.nan)},
            **changes,
        }
    )


def group_incident(**changes: Any) -> Incident:
    return Incident(
        **{
            "id": "group#812",
            "stream": "",
            "state": "raised",
            "start": TIME - 60,
            "peak": TIME,
            "end": None,
            "score": 4.0,
            "channels": {"c0": 1.0},
            "streams": ("s1", "elsewhere", "s0"),
            **changes,
        }
    )


def encode(outcome: Outcome, names: outcomes.Names = NAMES) -> list[Message]:
    return outcomes.encode("streamd", "pumps", outcome, names)


def payload(message: Message) -> Any:
    return json.loads(message.payload)


def check(kind: str, body: Any) -> None:
    Draft202012Validator(SCHEMAS[kind], format_checker=FormatChecker()).validate(body)


def test_each_row_gives_its_forecast_and_its_score_in_order() -> None:
    assert [(m.topic, m.kind, m.retain, m.qos) for m in encode(some_outcome())] == [
        ("streamd/pumps/s0/forecast", "forecast", False, 0),
        ("streamd/pumps/s0/score", "score", False, 0),
        ("streamd/pumps/s1/forecast", "forecast", False, 0),
        ("streamd/pumps/s1/score", "score", False, 0),
    ]


def test_every_payload_says_which_frame_it_is_about() -> None:
    outcome = some_outcome(incidents=(some_incident(),))
    for message, row in zip(encode(outcome), [0, 0, 1, 1, 1], strict=True):
        body = payload(message)
        assert (body["stream"], body["group"], body["seq"]) == (f"s{row}", "pumps", 5 + row)
        assert (body["epoch"], body["time"]) == (TIME + row, f"2026-11-23T12:00:0{row}.250000Z")


def test_a_score_that_was_muted_says_so_and_no_other_does() -> None:
    outcome = some_outcome(muted=np.array([False, True]))
    bodies = [payload(message) for message in encode(outcome) if message.kind == "score"]
    assert [body.get("muted") for body in bodies] == [None, True]
    for body in bodies:
        check("score", body)


def test_a_forecast_has_a_band_per_channel_and_the_time_of_each_step() -> None:
    outcome = some_outcome()
    body = payload(encode(outcome)[2])
    assert body["interval"] == 10.0
    assert body["coverage"] == 0.9
    assert body["times"] == [TIME + 11, TIME + 21, TIME + 31]
    assert list(body["channels"]) == ["c0", "c1"]
    for column, band in enumerate(body["channels"].values()):
        assert band["mean"] == outcome.mean[1, :, column].tolist()
        assert band["lower"] == outcome.lower[1, :, column].tolist()
        assert band["upper"] == outcome.upper[1, :, column].tolist()


def test_a_score_has_its_terms_and_channels_by_name() -> None:
    outcome = some_outcome()
    body = payload(encode(outcome)[1])
    assert body["score"] == outcome.score[0]
    assert body["warming"] == 0.5
    assert body["terms"] == dict(zip(TERMS, outcome.terms[0].tolist(), strict=True))
    assert body["channels"] == dict(zip(outcome.channels, outcome.channel_score[0].tolist(), strict=True))


def test_a_score_says_whether_its_frame_showed_a_drift() -> None:
    assert [payload(message)["drift"] for message in encode(some_outcome(rows=3))[1::2]] == [False, True, False]


def test_several_intervals_and_sample_paths_and_weights_are_told_where_the_group_has_them() -> None:
    paths = np.random.default_rng(8).normal(size=(2, 4, 3, 2))
    outcome = some_outcome(paths=paths)
    forecast, score = map(payload, encode(outcome, EVERYTHING)[2:])
    for column, band in enumerate(forecast["channels"].values()):
        assert band["lower"] == outcome.lower[1, :, column].tolist()
        assert list(band["intervals"]) == ["0.5", "0.9"]
        for level, interval in enumerate(band["intervals"].values()):
            assert interval["lower"] == outcome.levels[1, level, 0, :, column].tolist()
            assert interval["upper"] == outcome.levels[1, level, 1, :, column].tolist()
        assert band["paths"] == paths[1, :, :, column].tolist()
    assert list(score["weights"]) == ["one", "other", "network"]
    np.testing.assert_allclose(list(score["weights"].values()), outcome.weights[1].mean(axis=(1, 2)))


def test_what_a_group_does_not_ask_for_takes_no_room() -> None:
    forecast, score = map(payload, encode(some_outcome(rows=1)))
    assert "weights" not in score
    assert {key for band in forecast["channels"].values() for key in band} == {"mean", "lower", "upper"}


def test_names_are_those_of_a_groups_settings() -> None:
    names = outcomes.Names.of(Group(coverage=(0.9, 0.5), expert_weights=True), TERMS, ("one", "other"))
    assert names == EVERYTHING
    assert outcomes.Names.of(Group(), TERMS, ("one", "other")) == NAMES


def test_the_alarm_is_a_score_at_or_over_its_line() -> None:
    scores = np.array([0.0, np.nextafter(1.0, 0.0), 1.0, 7.0, np.nan])
    messages = encode(some_outcome(rows=5, score=scores))
    assert [payload(message)["alarm"] for message in messages[1::2]] == [False, False, True, True, False]


def test_what_is_not_known_is_null() -> None:
    outcome = some_outcome(
        rows=1,
        interval=np.array([np.nan]),
        mean=np.full((1, 3, 2), np.nan),
        score=np.array([np.nan]),
        terms=np.full((1, 2), np.nan),
    )
    forecast, score = map(payload, encode(outcome))
    assert forecast["interval"] is None
    assert forecast["times"] == [None] * 3
    assert forecast["channels"]["c1"]["mean"] == [None] * 3
    assert score["score"] is None
    assert score["terms"] == {"novelty": None, "deviation": None}
    check("forecast", forecast)
    check("score", score)


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=8, max_size=8))
def test_numbers_keep_all_their_bits(numbers: list[float]) -> None:
    wanted: F64 = np.array(numbers)
    outcome = some_outcome(rows=1, horizon=4, mean=wanted.reshape(1, 4, 2), score=wanted[:1])
    forecast, score = map(payload, encode(outcome))
    read = np.array([band["mean"] for band in forecast["channels"].values()]).T
    assert read.reshape(-1).tobytes() == wanted.tobytes()
    assert np.float64(score["score"]).tobytes() == wanted[0].tobytes()


def test_an_outcome_without_rows_says_nothing() -> None:
    assert encode(some_outcome(rows=0)) == []


def test_terms_without_a_name_are_our_own_fault() -> None:
    with pytest.raises(ValueError, match="1 names for 2 terms"):
        encode(some_outcome(rows=1), replace(NAMES, terms=("novelty",)))


def test_a_silence_is_told_as_of_the_frame_that_did_not_come() -> None:
    (message,) = outcomes.encode_silence("streamd", "g", [some_incident(id="a-b-6")])
    assert (message.topic, message.retain, message.qos) == ("streamd/g/s1/incident", True, 1)
    body = payload(message)
    check("incident", body)
    assert (body["seq"], body["epoch"]) == (6, TIME)
    assert outcomes.encode_silence("streamd", "g", []) == []


@pytest.mark.parametrize("state", ["raised", "updated"])
def test_an_open_incident_is_retained(state: str) -> None:
    message = encode(some_outcome(incidents=(some_incident(state=state),)))[-1]
    assert (message.topic, message.kind) == ("streamd/pumps/s1/incident", "incident")
    assert (message.retain, message.qos) == (True, 1)
    body = payload(message)
    assert (body["id"], body["state"], body["score"]) == ("s1-6", state, 2.5)
    assert (body["start"], body["start_epoch"]) == ("2026-11-23T12:00:00.250000Z", TIME)
    assert (body["peak"], body["peak_epoch"]) == ("2026-11-23T12:00:01.250000Z", TIME + 1)
    assert body["end"] is body["end_epoch"] is None
    assert body["channels"] == {"c0": 0.75, "c1": 0.25}
    assert body["terms"] == {"novelty": 2.5, "deviation": None}
    assert body["expected"]["c0"] == {"value": 5.0, "expected": 3.0, "lower": 2.5, "upper": 3.5}
    assert body["expected"]["c1"] == {"value": None, "expected": 1.0, "lower": None, "upper": None}
    assert body["reason"] is body["part_of"] is None


def test_an_incident_says_why_it_was_cleared_and_what_it_is_part_of() -> None:
    incident = some_incident(state="cleared", end=TIME + 5, reason="accepted", part_of="group#812")
    body = payload(encode(some_outcome(incidents=(incident,)))[-2])
    assert (body["reason"], body["part_of"]) == ("accepted", "group#812")


def test_an_incident_of_many_streams_has_a_topic_of_the_group_and_names_them() -> None:
    message = encode(some_outcome(incidents=(group_incident(),)))[-1]
    assert (message.topic, message.kind) == ("streamd/pumps/incident", "incident")
    assert (message.retain, message.qos) == (True, 1)
    body = payload(message)
    assert (body["id"], body["state"], body["streams"]) == ("group#812", "raised", ["s1", "elsewhere", "s0"])
    assert (body["group"], body["epoch"]) == ("pumps", TIME + 1)  # of the newest frame of the batch
    assert "stream" not in body
    told, taken_off = encode(some_outcome(incidents=(group_incident(state="cleared", end=TIME, reason="calm"),)))[-2:]
    assert (told.topic, told.retain) == ("streamd/pumps/incident", False)
    assert taken_off == Message("streamd/pumps/incident", b"", "incident", retain=True, qos=1)


def test_an_incident_that_no_frame_belongs_to_can_be_told_alone() -> None:
    (message,) = outcomes.incident("streamd", "pumps", some_incident(stream="still"), TIME + 9, 41)
    assert message.topic == "streamd/pumps/still/incident"
    assert (payload(message)["epoch"], payload(message)["seq"]) == (TIME + 9, 41)
    check("incident", payload(message))


def test_a_cleared_incident_is_told_and_then_taken_off_the_broker() -> None:
    incident = some_incident(state="cleared", end=TIME + 5)
    told, taken_off = encode(some_outcome(incidents=(incident,)))[-2:]
    assert (told.topic, told.retain, told.qos) == ("streamd/pumps/s1/incident", False, 1)
    assert (payload(told)["end"], payload(told)["end_epoch"]) == ("2026-11-23T12:00:05.250000Z", TIME + 5)
    assert taken_off == Message("streamd/pumps/s1/incident", b"", "incident", retain=True, qos=1)


def test_an_incident_of_a_stream_that_is_not_there_is_our_own_fault() -> None:
    with pytest.raises(KeyError):
        encode(some_outcome(incidents=(some_incident(stream="other"),)))


@pytest.mark.parametrize("state", ["online", "offline"])
def test_the_status_is_retained(state: Any) -> None:
    message = outcomes.status("plant", state, version="1.2", time=TIME)
    assert (message.topic, message.kind, message.retain, message.qos) == ("plant/status", "status", True, 1)
    body = payload(message)
    assert body == {"state": state, "version": "1.2", "time": "2026-11-23T12:00:00.250000Z", "epoch": TIME}
    check("status", body)


# --- the schemas ---


def real_payloads() -> list[tuple[str, Any]]:
    over = {"state": "cleared", "end": TIME + 5, "reason": "calm"}
    incidents = (
        *(some_incident(), some_incident(state="updated", part_of="group#812"), some_incident(**over)),
        *(group_incident(), group_incident(state="updated"), group_incident(**over)),
    )
    messages = encode(some_outcome(incidents=incidents))
    messages.append(outcomes.status("streamd", "online", version="1", time=TIME))
    return [(schema_of(message), payload(message)) for message in messages if message.payload]


def schema_of(message: Message) -> str:
    """An incident of many streams has the group's topic, and a schema of its own."""
    of_group = message.kind == "incident" and message.topic.count("/") == 2
    return "group_incident" if of_group else message.kind


def test_there_is_a_schema_for_each_kind_and_each_is_itself_valid() -> None:
    assert set(SCHEMAS) == {"forecast", "score", "incident", "group_incident", "status"}
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_every_real_payload_fits_its_schema_whole_seconds_too() -> None:
    for kind, body in real_payloads():
        check(kind, body)
    for message in encode(some_outcome(times=np.array([1e9, 2e9]))):
        check(message.kind, payload(message))
    for message in encode(some_outcome(paths=np.full((2, 4, 3, 2), np.nan)), EVERYTHING):
        check(message.kind, payload(message))


def test_a_payload_with_a_field_missing_or_too_many_breaks_its_schema() -> None:
    for kind, body in real_payloads():
        for field in body:
            with pytest.raises(ValidationError):
                check(kind, {key: value for key, value in body.items() if key != field})
        with pytest.raises(ValidationError):
            check(kind, body | {"surprise": 1})


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("forecast", {"seq": -1}),
        ("forecast", {"seq": 1.5}),
        ("forecast", {"time": "2026-11-23T12:00:00+01:00"}),
        ("forecast", {"time": "noon"}),
        ("forecast", {"stream": ""}),
        ("forecast", {"coverage": 1.0}),
        ("forecast", {"times": []}),
        ("forecast", {"channels": {"c0": {"mean": [1.0], "lower": [1.0]}}}),
        ("forecast", {"channels": {"c0": {"mean": ["1"], "lower": [1.0], "upper": [1.0]}}}),
        ("score", {"score": "high"}),
        ("score", {"alarm": 1}),
        ("score", {"warming": 1.5}),
        ("score", {"terms": {}}),
        ("score", {"channels": {"c0": True}}),
        ("score", {"drift": 0}),
        ("score", {"weights": {"one": "much"}}),
        ("forecast", {"channels": {"c0": {"mean": [1.0], "lower": [1.0], "upper": [1.0], "paths": [[]]}}}),
        ("forecast", {"channels": {"c0": {"mean": [1.0], "lower": [1.0], "upper": [1.0], "intervals": {"0.5": {}}}}}),
        ("incident", {"state": "open"}),
        ("incident", {"end": "2026-11-23T12:00:05Z"}),
        ("incident", {"state": "cleared"}),
        ("incident", {"channels": {"c0": "half"}}),
        ("incident", {"reason": "calm"}),
        ("incident", {"reason": "bored"}),
        ("incident", {"terms": {"novelty": "high"}}),
        ("incident", {"expected": {"c0": {"value": 1.0}}}),
        ("incident", {"part_of": 812}),
        ("group_incident", {"streams": []}),
        ("group_incident", {"streams": ["s0", "s0"]}),
        ("group_incident", {"reason": "accepted"}),
        ("group_incident", {"state": "cleared"}),
        ("status", {"state": "away"}),
        ("status", {"version": ""}),
    ],
)
def test_a_broken_payload_breaks_its_schema(kind: str, changes: dict[str, Any]) -> None:
    body = next(body for name, body in real_payloads() if name == kind)
    with pytest.raises(ValidationError):
        check(kind, body | changes)
