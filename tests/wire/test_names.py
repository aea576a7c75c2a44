"""Names of streams and channels."""

from __future__ import annotations

import pytest

from streamd.wire import names


@pytest.mark.parametrize(
    "name", ["a", "pump 1", "motor.rpm", "Vorlauf °C", "温度", "x" * names.MAX_NAME, "$x", "a+b#c/d"]
)
def test_a_channel_may_have_any_printable_name(name: str) -> None:
    assert names.is_channel(name)


@pytest.mark.parametrize("name", ["", "x" * (names.MAX_NAME + 1), "a\x00", "a\nb", "\x7f", "\x9b31m", "\ud800"])
def test_an_empty_long_or_unprintable_name_is_refused(name: str) -> None:
    assert not names.is_channel(name)
    assert not names.is_level(name)


@pytest.mark.parametrize("name", ["a/b", "+", "a+b", "#", "a#"])
def test_a_level_of_a_topic_has_no_character_that_means_something_to_mqtt(name: str) -> None:
    assert not names.is_level(name)
