"""Payloads to readings."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamd.config import Mqtt, Source
from streamd.records import Reading
from streamd.wire import readings
from streamd.wire.readings import Decoded, Decoder

NOON = 1_795_435_200.0


def decoder(max_channels: int = 16, max_bytes: int = readings.MAX_BYTES, **settings: Any) -> Decoder:
    return Decoder(Source(topic="{stream}", **settings), max_channels, max_bytes)


def decode(payload: bytes, channel: str | None = None, **settings: Any) -> Decoded:
    return decoder(**settings).decode(payload, "s", channel)


def good(values: dict[str, float], time: float | None = None) -> Decoded:
    return Decoded([Reading("s", time, values)], [])


def refused(*reasons: readings.Reason) -> Decoded:
    return Decoded([], list(reasons))


# --- an object ---


def test_every_numeric_field_is_a_channel_and_nothing_else_is() -> None:
    payload = b'{"flow":1.5,"on":true,"off":false,"n":3,"unit":"bar","note":null,"raw":[1,2],"text":"7","o":{}}'
    assert decode(payload) == good({"flow": 1.5, "on": 1.0, "off": 0.0, "n": 3.0})


def test_values_are_floats_whatever_they_were_written_as() -> None:
    values = decode(b'{"a":1,"b":true,"c":18446744073709551616}').readings[0].values
    assert {type(value) for value in values.values()} == {float}


def test_nested_fields_are_named_by_their_path() -> None:
    assert decode(b'{"a":{"b":1,"c":{"d":2}},"e":3}') == good({"a.b": 1.0, "a.c.d": 2.0, "e": 3.0})


def test_fields_are_renamed_by_path_and_the_others_stay() -> None:
    payload = b'{"a":{"b":1},"c":2}'
    assert decode(payload, fields={"a.b": "flow", "x": "y"}) == good({"flow": 1.0, "c": 2.0})


def test_a_rename_saves_a_name_that_could_not_be_one() -> None:
    assert decode(b'{"":1}', fields={"": "flow"}) == good({"flow": 1.0})


@pytest.mark.parametrize("payload", [b"{}", b'{"a":null}', b'{"a":"1"}', b'{"a":{"b":[1]}}'])
def test_an_object_without_a_number_is_refused_as_such(payload: bytes) -> None:
    assert decode(payload) == refused("no_values")


@pytest.mark.parametrize("payload", [b"1", b"1.5", b"true", b"null", b'"text"', b'"1"'])
def test_a_payload_that_is_no_object_is_of_the_wrong_type(payload: bytes) -> None:
    assert decode(payload) == refused("wrong_type")


def test_values_that_can_not_be_used_do_not_spoil_the_others() -> None:
    deep = '{"a":' * readings.MAX_DEPTH + "1" + "}" * readings.MAX_DEPTH
    payload = f'{{"good":1,"big":1e400,"neg":-1e999,"int":{"9" * 400},"":2,"a\\u0000":3,"{"x" * 257}":4,"deep":{deep}}}'
    assert decode(payload.encode()) == Decoded(
        [Reading("s", None, {"good": 1.0})],
        ["not_finite", "not_finite", "not_finite", "bad_name", "bad_name", "bad_name", "too_deep"],
    )


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b'{"a":1e400}', "not_finite"), (b'{"a":1e400,"b":-1e400}', "not_finite"), (b'{"":1}', "bad_name")],
)
def test_a_reading_with_no_good_value_is_refused_once_for_its_first_fault(
    payload: bytes, reason: readings.Reason
) -> None:
    assert decode(payload) == refused(reason)


def test_objects_nested_up_to_the_limit_are_read() -> None:
    inner = readings.MAX_DEPTH - 1
    payload = b'{"a":' * inner + b'{"v":1}' + b"}" * inner
    assert decode(payload) == good({"a." * inner + "v": 1.0})
    assert decode(b'{"a":' + payload + b"}") == refused("too_deep")


def test_two_fields_of_one_name_are_one_channel_and_the_first_counts() -> None:
    assert decode(b'{"a":{"b":1},"a.b":2}') == Decoded([Reading("s", None, {"a.b": 1.0})], ["double_name"])
    assert decode(b'{"x":1,"y":2}', fields={"x": "y"}) == Decoded([Reading("s", None, {"y": 1.0})], ["double_name"])


def test_more_channels_than_allowed_refuse_the_reading() -> None:
    payload = json.dumps({f"c{number}": number for number in range(17)}).encode()
    assert decode(payload) == refused("too_many_channels")
    assert len(decode(payload, max_channels=17).readings[0].values) == 17


def test_a_long_name_in_front_of_many_fields_is_not_copied_for_each_of_them() -> None:
    payload = json.dumps({"x" * 200_000: {str(number): number for number in range(50_000)}, "a": 1}).encode()
    assert decode(payload) == Decoded([Reading("s", None, {"a": 1.0})], ["bad_name"])


def test_invented_names_do_not_fill_the_memory() -> None:
    one = decoder(max_channels=2_000)
    for start in range(0, 40_000, 1_000):
        payload = json.dumps({f"c{number}": 1 for number in range(start, start + 1_000)} | {"x" * 9_999: 1}).encode()
        assert len(one.decode(payload, "s", None).readings[0].values) == 1_000
        assert len(one._channels._found) <= 16_384
        assert all(len(path) <= 256 for path in one._channels._found)


# --- its time ---


@pytest.mark.parametrize("time", [b'"2026-11-23T12:00:00Z"', b"1795435200", b"1795435200000", b'"1795435200"'])
def test_the_time_is_taken_from_its_path_and_is_no_channel(time: bytes) -> None:
    assert decode(b'{"t":' + time + b',"v":1}', time="t") == good({"v": 1.0}, NOON)
    assert decode(b'{"h":{"t":' + time + b',"n":2},"v":1}', time="h.t") == good({"h.n": 2.0, "v": 1.0}, NOON)
    assert decode(b'{"h.t":' + time + b',"v":1}', time="h.t") == good({"v": 1.0}, NOON)


def test_the_unit_of_the_time_is_the_sources() -> None:
    assert decode(b'{"t":1795435200000,"v":1}', time="t", time_unit="ms") == good({"v": 1.0}, NOON)
    assert decode(b'{"t":1795435200000,"v":1}', time="t", time_unit="s") == refused("bad_time")


@pytest.mark.parametrize(
    "time", [b'"now"', b"-1", b"1e99", b"1e400", b"9" * 400, b"true", b"{}", b'{"a":1}', b"[1]", b'""']
)
def test_a_time_that_can_not_be_read_refuses_the_reading(time: bytes) -> None:
    assert decode(b'{"t":' + time + b',"v":1}', time="t") == refused("bad_time")


@pytest.mark.parametrize("payload", [b'{"v":1}', b'{"t":null,"v":1}'])
def test_a_reading_without_its_time_field_carries_no_time(payload: bytes) -> None:
    assert decode(payload, time="t") == good({"v": 1.0})


def test_without_a_time_setting_a_time_is_a_number_like_any_other() -> None:
    assert decode(b'{"t":1795435200,"v":1}') == good({"t": NOON, "v": 1.0})


# --- an array ---


def test_an_array_of_objects_is_an_array_of_readings() -> None:
    assert decode(b'[{"t":1795435200,"v":1},{"t":1795435201,"v":2}]', time="t") == Decoded(
        [Reading("s", NOON, {"v": 1.0}), Reading("s", NOON + 1, {"v": 2.0})], []
    )


def test_an_array_inside_the_payload_is_found_by_its_path() -> None:
    payload = b'{"meta":{"n":7},"data":{"rows":[{"v":1},{"v":2}]}}'
    wanted = Decoded([Reading("s", None, {"v": 1.0}), Reading("s", None, {"v": 2.0})], [])
    assert decode(payload, readings="data.rows") == wanted
    assert decode(b'[{"v":1},{"v":2}]', readings="data.rows") == wanted


def test_each_element_is_refused_on_its_own() -> None:
    payload = b'[{"v":1},{},7,null,[{"v":1}],{"t":"x","v":1},{"v":2,"w":1e400}]'
    assert decode(payload, time="t") == Decoded(
        [Reading("s", None, {"v": 1.0}), Reading("s", None, {"v": 2.0})],
        ["no_values", "wrong_type", "wrong_type", "wrong_type", "bad_time", "not_finite"],
    )


def test_no_array_and_an_empty_one_have_no_readings() -> None:
    assert decode(b"[]") == refused("no_readings")
    assert decode(b'{"v":1}', readings="rows") == refused("no_readings")
    assert decode(b'{"rows":[]}', readings="rows") == refused("no_readings")
    assert decode(b'{"rows":{"v":1}}', readings="rows") == refused("wrong_type")


def test_an_array_without_end_is_refused_as_a_whole() -> None:
    most = readings.MAX_READINGS
    assert len(decode(b"[" + b'{"v":1},' * (most - 1) + b'{"v":1}]').readings) == most
    assert decode(b"[" + b'{"v":1},' * most + b'{"v":1}]') == refused("too_many_readings")


# --- one channel per topic ---


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"21.5", 21.5), (b" 21.5 \r\n", 21.5), (b"-3", -3.0), (b"1e3", 1000.0), (b"true", 1.0), (b"false", 0.0),
        (b"+21.5", 21.5), (b".5", 0.5), (b"5.", 5.0), (b"007", 7.0), (b"\x0b1\x0c", 1.0), (b"-0", 0.0),
    ],
)  # fmt: skip
def test_a_bare_number_is_the_value_of_the_topics_channel(payload: bytes, value: float) -> None:
    assert decode(payload, "flow") == good({"flow": value})
    assert decode(payload, "flow", time="t") == good({"flow": value})


def test_an_object_with_a_value_field_is_the_value_of_the_topics_channel() -> None:
    assert decode(b'{"value":1,"other":2}', "flow") == good({"flow": 1.0})
    assert decode(b'{"d":{"v":1},"t":1795435200}', "flow", value="d.v", time="t") == good({"flow": 1.0}, NOON)
    assert decode(b'[{"value":1},{"value":2}]', "flow") == Decoded(
        [Reading("s", None, {"flow": 1.0}), Reading("s", None, {"flow": 2.0})], []
    )


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"null", "no_values"), (b"{}", "no_values"), (b'{"value":null}', "no_values"), (b'{"v":1}', "no_values"),
        (b'"21.5"', "wrong_type"), (b'{"value":"21.5"}', "wrong_type"), (b'{"value":{"v":1}}', "wrong_type"),
        (b"[1,2]", "wrong_type"), (b"1e400", "not_finite"), (b"+1e400", "not_finite"), (b"9" * 400, "not_finite"),
        (b"9" * 5000, "not_finite"), (b'{"value":-1e400}', "not_finite"), (b"nan", "not_json"), (b"NaN", "not_json"),
        (b"-Infinity", "not_json"), (b"on", "not_json"), (b"1 2", "not_json"), (b"1,5", "not_json"), (b"+", "not_json"),
        (b"0x10", "not_json"), (b"1_000", "not_json"), (b"\xd9\xa1", "not_json"), (b"+" + b"1" * 99, "not_json"),
        (b" ", "not_json"), (b"21.5\x00", "not_json"),
    ],
)  # fmt: skip
def test_what_is_no_value_for_the_topics_channel_is_refused(payload: bytes, reason: readings.Reason) -> None:
    result = decode(payload, "flow")
    assert result.readings == []
    assert set(result.refused) == {reason}


# --- hostile bytes ---


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b" \n", "not_json"),
        (b"\x00", "not_json"),
        (b"\xff\xfe{\x00}\x00", "not_json"),
        (b'{"a":"\xff","b":1}', "not_json"),
        (b'{"\xed\xa0\x80":1}', "not_json"),
        (b'{"\\ud800":1}', "not_json"),
        (b'{"a":NaN}', "not_json"),
        (b'{"a":Infinity}', "not_json"),
        (b'{"a":1', "not_json"),
        (b'{"a":1}{"a":2}', "not_json"),
        (b'{"a":1e400,"b":NaN}', "not_json"),
        (b'{"a":1e400,"b":"\xff"}', "not_json"),
        (b'{"a":1e400,"b":' + b"[" * 100_000, "too_deep"),
        (b"1" * 5000, "not_finite"),
        (b"[" * 100_000, "too_deep"),
        (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep"),
        (b'{"a":1,"b":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
    ],
)
def test_a_hostile_payload_is_refused_under_its_reason(payload: bytes, reason: readings.Reason) -> None:
    assert decode(payload) == refused(reason)


def test_an_array_that_is_deep_but_no_channel_is_ignored() -> None:
    assert decode(b'{"a":1,"b":' + b"[" * 50 + b"]" * 50 + b"}") == good({"a": 1.0})


def test_a_payload_over_the_limit_is_refused_unread() -> None:
    payload = b'{"a":1,"b":"' + b"x" * 10_000_000 + b'"}'
    assert decode(payload) == refused("too_large")
    assert decode(payload, max_bytes=len(payload)) == good({"a": 1.0})
    assert decode(payload, max_bytes=len(payload) - 1) == refused("too_large")


def test_the_usual_limit_is_that_of_the_config() -> None:
    assert Mqtt().max_payload_bytes == readings.MAX_BYTES


SOURCES: tuple[dict[str, Any], ...] = (
    {},
    {"time": "t", "readings": "r", "fields": {"a": "b", "b.a": "c"}},
    {"time": "a.b", "time_unit": "ms", "readings": "a.b"},
    {"value": "a.b", "time": "t", "time_unit": "iso"},
)
KEYS = st.sampled_from(["a", "b", "a.b", "t", "r", "value", "", "\x00"]) | st.text(max_size=5)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([10**400, NOON, "2026-11-23"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=30,
)
ODD_BYTES = st.lists(
    st.sampled_from([b"{", b"}", b"[", b"]", b'"a"', b":", b",", b"1", b"1e400", b"-", b"NaN", b"null", b"\xff", b" "])
).map(b"".join)


@settings(deadline=None, max_examples=400)
@given(
    st.binary() | ODD_BYTES | JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(SOURCES),
    st.sampled_from([None, "flow"]),
)
@example(b'{"a":1e400}', {}, None)
def test_any_payload_gives_readings_or_reasons_and_never_raises(
    payload: bytes, source: dict[str, Any], channel: str | None
) -> None:
    result = decode(payload, channel, max_channels=3, **source)
    assert result.readings or result.refused
    assert set(result.refused) <= set(readings.REASONS)
    for reading in result.readings:
        assert reading.stream == "s"
        assert 1 <= len(reading.values) <= 3
        assert reading.time is None or 0 <= reading.time < 7_289_654_400
        for name, value in reading.values.items():
            assert 0 < len(name) <= 256
            assert type(value) is float
            assert math.isfinite(value)
            assert channel is None or name == channel


FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.from_regex(r"\A[a-zA-Z0-9_ °-]{1,20}\Z")


@settings(deadline=None)
@given(st.lists(st.dictionaries(NAMES.filter(lambda name: name != "time"), FINITE, min_size=1, max_size=8), min_size=1))
def test_good_values_come_back_to_the_last_bit(rows: list[dict[str, float]]) -> None:
    payload = json.dumps([row | {"time": NOON + number} for number, row in enumerate(rows)]).encode()
    assert decode(payload, time="time") == Decoded(
        [Reading("s", NOON + number, row) for number, row in enumerate(rows)], []
    )


@settings(deadline=None)
@given(FINITE)
def test_a_bare_value_comes_back_to_the_last_bit(value: float) -> None:
    assert decode(repr(value).encode(), "flow") == good({"flow": value})
