"""Ten thousand malformed, hostile and odd messages over router and decoder: each is decoded or has a reason."""

from __future__ import annotations

import math
from collections import Counter

from streamd.wire.readings import REASONS, Decoder
from streamd.wire.topics import Router
from tests.hostile import GOOD_TOPICS, ODD_PAYLOADS, SEEDS, SOURCES, messages


def test_ten_thousand_hostile_messages_stop_nothing_and_each_is_counted() -> None:
    router = Router(SOURCES)
    decoders = [Decoder(source, max_channels=5) for source in SOURCES]
    counted: Counter[str] = Counter()
    decoded = 0
    for topic, payload in messages(10_000, huge=GOOD_TOPICS):
        route = router.match(topic)
        if route is None:
            counted["bad_topic"] += 1
            continue
        result = decoders[route.source_index].decode(payload, route.stream, route.channel)
        assert result.readings or result.refused, (topic, payload[:100])
        counted.update(result.refused)
        decoded += bool(result.readings)
        for reading in result.readings:
            assert reading.stream == "p1" or topic.startswith("any/")
            assert reading.values
            assert all(math.isfinite(value) for value in reading.values.values())

    assert decoded > 500
    elsewhere = {"bad_stream", "bad_columns", "bad_line"}  # of the other formats, see their tests
    assert set(counted) == set(REASONS) - elsewhere  # each reason was met, and no other


def test_a_good_message_is_decoded_after_all_of_that() -> None:
    router, source = Router(SOURCES), SOURCES[0]
    decoder = Decoder(source, max_channels=5)
    for payload in ODD_PAYLOADS:
        decoder.decode(payload, "p1", None)
    route = router.match(GOOD_TOPICS[0])
    assert route is not None
    result = decoder.decode(SEEDS[0], route.stream, route.channel)
    assert result.refused == []
    assert result.readings[0].values == {"flow": 1.5, "motor.rpm": 1480.0, "motor.on": 1.0}
    assert result.readings[0].time == 1_795_435_200.0
