from __future__ import annotations

import pytest

from streamd.config import Config, ConfigError, Group, Mqtt, Source
from streamd.intake import Intake

PLANT = Source(topic="plant/{stream}/telemetry", group="pumps", time="ts")
PARTS = Source(topic="parts/{stream}/{channel}")


def test_a_message_is_understood_by_the_source_of_its_topic() -> None:
    intake = Intake(Config(source=(PLANT, PARTS)))
    found = intake.understand("plant/p1/telemetry", b'{"ts": 5, "flow": 1.5}')
    assert found is not None
    assert (found.source, found.joined) == (PLANT, False)
    assert [(one.stream, one.time, one.values) for one in found.decoded.readings] == [("p1", 5.0, {"flow": 1.5})]
    part = intake.understand("parts/p1/flow", b"2.5")
    assert part is not None
    assert (part.source, part.joined) == (PARTS, True)
    assert intake.filters == ("plant/+/telemetry", "parts/+/+")


def test_a_topic_of_no_source_is_nobodys() -> None:
    assert Intake(Config(source=(PLANT,))).understand("plant/p1/other", b"{}") is None


def test_limits_are_those_of_the_group_and_of_the_link() -> None:
    config = Config(source=(PLANT,), group={"pumps": Group(max_channels=1)}, mqtt=Mqtt(max_payload_bytes=30))
    intake = Intake(config)
    for payload, reason in ((b'{"a": 1, "b": 2}', "too_many_channels"), (b" " * 31, "too_large")):
        found = intake.understand("plant/p1/telemetry", payload)
        assert found is not None
        assert [str(one) for one in found.decoded.refused] == [reason]


@pytest.mark.parametrize(
    ("sources", "told"),
    [((), "source: expected at least one"), ((Source(topic="a/{machine}"),), r"source\.topic: .*machine")],
)
def test_sources_that_can_not_be_read_are_a_config_error(sources: tuple[Source, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Intake(Config(source=sources))
