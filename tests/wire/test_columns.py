"""Columns to readings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.config import Source
from streamd.records import Reading
from streamd.wire.columns import ColumnsDecoder
from streamd.wire.readings import REASONS, Decoded, Decoder

floats = st.floats(allow_nan=False, allow_infinity=False)
rows = st.lists(
    st.fixed_dictionaries(
        {"ts": st.floats(1.0, 1e9), "id": st.sampled_from(["p1", "p2", "p3"])},
        optional={"flow": floats, "level": st.integers(-9, 9), "motor.temp": floats},
    ),
    min_size=1,
    max_size=20,
)


def decode(body: Any, max_channels: int = 16, **settings: Any) -> Decoded:
    source = Source(topic="{stream}", format="columns", **({"time": "ts"} | settings))
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ColumnsDecoder(source, max_channels).decode(payload, "s")


@given(rows)
def test_columns_give_the_readings_that_the_same_rows_give_as_objects(objects: list[dict[str, Any]]) -> None:
    names = {name for one in objects for name in one}
    columns = {name: [one.get(name) for one in objects] for name in names}
    as_objects = Decoder(Source(topic="a", time="ts", stream="id"), 16).decode(json.dumps(objects).encode(), "", None)
    found = decode(columns, stream="id")
    assert found.readings == as_objects.readings
    assert set(found.refused) == set(as_objects.refused) <= {"no_values"}


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | floats | st.text(max_size=5) | st.booleans(), st.lists).map(
        lambda value: json.dumps({"ts": value, "id": [1, 2], "a": [1.0, value]}).encode()
    )
)
def test_any_bytes_give_a_reading_or_a_reason(payload: bytes) -> None:
    found = decode(payload, stream="id")
    assert found.readings or found.refused
    assert set(found.refused) <= set(REASONS)


def test_a_time_and_a_stream_may_hold_for_all_rows() -> None:
    assert decode({"ts": 7, "a": [1.0, 2.0]}).readings == [Reading("s", 7.0, {"a": 1.0}), Reading("s", 7.0, {"a": 2.0})]
    found = decode({"ts": [7, 8], "id": "p1", "a": [1.0, 2.0]}, stream="id")
    assert [(one.stream, one.time) for one in found.readings] == [("p1", 7.0), ("p1", 8.0)]


def test_what_is_missing_is_missing_and_what_is_no_number_is_no_channel() -> None:
    found = decode({"ts": [1, 2], "a": [None, 2], "b": [True, "x"], "note": ["p", "q"], "name": "pump"})
    assert found == Decoded([Reading("s", 1.0, {"b": 1.0}), Reading("s", 2.0, {"a": 2.0})], [])


def test_a_bad_row_costs_that_row_alone() -> None:
    found = decode({"ts": [1, "soon", 3, 4], "id": ["p1", "p1", "a/b", "p2"], "a": [1.5, 2.5, 3.5, 4.5]}, stream="id")
    assert [one.stream for one in found.readings] == ["p1", "p2"]
    assert found.refused == ["bad_time", "bad_stream"]


def test_a_number_beyond_a_float_costs_that_value_alone() -> None:
    found = decode(b'{"ts": [1, 2], "a": [1e999, 2.0], "b": [1.0, 1.0]}')
    assert found.readings == [Reading("s", 1.0, {"b": 1.0}), Reading("s", 2.0, {"a": 2.0, "b": 1.0})]
    assert found.refused == ["not_finite"]


def test_fields_are_renamed_and_two_of_one_name_are_one() -> None:
    found = decode({"ts": [1], "f": [2.0], "flow": [3.0]}, fields={"f": "flow"})
    assert found == Decoded([Reading("s", 1.0, {"flow": 2.0})], ["double_name"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"[1]", "wrong_type"),
        (b"{", "not_json"),
        ({"ts": [1, 2], "a": [1.0]}, "bad_columns"),
        ({"ts": 1, "a": 2.0}, "bad_columns"),
        ({"ts": [], "a": []}, "no_readings"),
        ({"ts": [1], "a": ["x"]}, "no_values"),
        ({"ts": [0] * 10_001, "a": [0] * 10_001}, "too_many_readings"),
        ({"ts": [1]} | {f"c{n}": [1.0] for n in range(17)}, "too_many_channels"),
        ({"ts": [1], "\n": [1.0]}, "bad_name"),
    ],
)
def test_what_can_not_be_used_is_refused_for_its_reason(body: Any, reason: str) -> None:
    assert decode(body) == Decoded([], [reason])  # type: ignore[list-item]
