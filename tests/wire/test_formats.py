"""Formats by their names."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from streamd.config import Source
from streamd.records import Reading
from streamd.wire import formats
from streamd.wire.topics import Router, TemplateError


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("json", b'[{"id": "p1", "ts": 7, "a": 1.5}, {"id": "p2", "ts": 7, "a": 2.5}]'),
        ("columns", b'{"id": ["p1", "p2"], "ts": 7, "a": [1.5, 2.5]}'),
        ("line", b"m,id=p1 a=1.5 7\nm,id=p2 a=2.5 7"),
    ],
)
def test_every_format_takes_readings_of_several_streams_in_one_message(name: str, payload: bytes) -> None:
    source = Source(topic="plant/telemetry", format=name, stream="id", time="ts")  # type: ignore[arg-type]
    route = Router([source]).match("plant/telemetry")
    assert route is not None
    found = formats.decoder(source, 16).decode(payload, route.stream, route.channel)
    assert found.readings == [Reading("p1", 7.0, {"a": 1.5}), Reading("p2", 7.0, {"a": 2.5})]
    assert found.refused == []


def test_every_format_of_the_config_has_its_decoder() -> None:
    assert set(get_args(get_type_hints(Source)["format"])) == set(formats._FORMATS)


def test_a_reading_that_names_no_stream_is_refused() -> None:
    source = Source(topic="plant", stream="id")
    found = formats.decoder(source, 16).decode(b'[{"a": 1}, {"id": "a/b", "a": 1}, {"id": 7, "a": 1}]', "", None)
    assert [one.stream for one in found.readings] == ["7"]
    assert found.refused == ["bad_stream", "bad_stream"]


@pytest.mark.parametrize(
    ("topic", "settings"),
    [
        ("plant/{stream}", {"stream": "id"}),
        ("plant/telemetry", {}),
        ("plant/{stream}/{channel}", {"format": "columns"}),
    ],
)
def test_topic_and_payload_must_agree_on_who_names_what(topic: str, settings: dict[str, str]) -> None:
    with pytest.raises(TemplateError):
        Router([Source(topic=topic, **settings)])  # type: ignore[arg-type]
