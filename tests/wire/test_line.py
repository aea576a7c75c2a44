"""Line protocol to readings."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.config import Source
from streamd.records import Reading
from streamd.wire.line import LineDecoder
from streamd.wire.readings import REASONS, Decoded

names = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=20).filter(
    lambda name: not name.endswith("\\")
)
levels = names.filter(lambda name: not set(name) & set("/+#") and name.isprintable())
floats = st.floats(allow_nan=False, allow_infinity=False)


def escape(name: str) -> str:
    """As a writer of line protocol does."""
    for character in "\\,= ":
        name = name.replace(character, "\\" + character)
    return name


def decode(payload: str | bytes, **settings: Any) -> Decoded:
    source = Source(topic="telegraf/#", **({"format": "line", "stream": "id"} | settings))
    return LineDecoder(source, 16).decode(payload.encode() if isinstance(payload, str) else payload, "")


@given(levels, st.dictionaries(names, floats, min_size=1, max_size=6), st.integers(10**18, 2 * 10**18), st.text())
def test_what_a_writer_escapes_is_read_back(stream: str, values: dict[str, float], at: int, note: str) -> None:
    quoted = '"' + note.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "").replace("\r", "") + '"'
    fields = ",".join([*(f"{escape(name)}={value!r}" for name, value in values.items()), f"~note={quoted}"])
    found = decode(f"pumps,site=north,id={escape(stream)} {fields} {at}")
    assert found == Decoded([Reading(stream, at / 1e9, values)], [])


@given(st.binary(max_size=300) | st.text(st.sampled_from('a=,"\\ 1i\n.'), max_size=60).map(str.encode))
def test_any_bytes_give_a_reading_or_a_reason(payload: bytes) -> None:
    found = decode(payload)
    assert found.readings or found.refused
    assert set(found.refused) <= set(REASONS)


def test_integers_truths_and_texts_are_told_apart() -> None:
    found = decode('m,id=p1 a=1i,b=2u,c=t,d=FALSE,e="x, y=1 z",f=-1.5e3 1700000000000000000')
    assert found.readings == [Reading("p1", 1.7e9, {"a": 1.0, "b": 2.0, "c": 1.0, "d": 0.0, "f": -1500.0})]


def test_lines_are_readings_and_a_bad_one_costs_itself_alone() -> None:
    found = decode("# comment\nm,id=p1 a=1 1700000000\n\nno line\nm,id=p2 a=2\r\nm a=3\nm,id=p3 a=1 soon\n")
    assert found.readings == [Reading("p1", 1.7e9, {"a": 1.0}), Reading("p2", None, {"a": 2.0})]
    assert found.refused == ["bad_line", "bad_stream", "bad_time"]


def test_the_measurement_names_the_stream_where_it_is_asked_for() -> None:
    assert decode("pump\\ 1,id=p1 a=1", stream="measurement").readings == [Reading("pump 1", None, {"a": 1.0})]


def test_without_a_tag_the_topic_names_the_stream() -> None:
    decoder = LineDecoder(Source(topic="{stream}", format="line"), 16)
    assert decoder.decode(b"m a=1", "s").readings == [Reading("s", None, {"a": 1.0})]


def test_an_integer_beyond_a_float_is_not_finite() -> None:
    found = decode(f"m,id=p1 a={'9' * 400}i,b=1")
    assert found == Decoded([Reading("p1", None, {"b": 1.0})], ["not_finite"])


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", "empty"),
        ("\n#\n", "no_readings"),
        ("m,id=p1", "bad_line"),
        ("m,id=p1 a", "bad_line"),
        ("m,id=p1 a=nan", "bad_line"),
        ("m,id=p1 a=1_000", "bad_line"),
        ("m,id=p1 a=1 2 3", "bad_line"),
        ('m,id=p1 a="x', "bad_line"),
        (b"\xff", "bad_line"),
        ('m,id=p1 a="x"', "no_values"),
        ("m,id=a/b a=1", "bad_stream"),
        ("m,id=p1 " + ",".join(f"c{n}=1" for n in range(17)), "too_many_channels"),
        ("m,id=p1 a=1\n" * 10_001, "too_many_readings"),
    ],
)
def test_what_can_not_be_used_is_refused_for_its_reason(payload: str | bytes, reason: str) -> None:
    assert decode(payload) == Decoded([], [reason])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "text", ["\\" * 50_000, 'm a="' + "\\" * 50_000, "m " + "a=1," * 20_000 + '"', "m,a=" * 20_000]
)
def test_a_long_line_of_nonsense_takes_no_longer_than_its_length(text: str) -> None:
    begun = time.process_time()
    decode(text)
    assert time.process_time() - begun < 1.0
