from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.config import Config, parse
from streamd.effective import Value, effective, places, toml

FILE = Path("/etc/streamd/streamd.toml")
TEXT = """
# a remark, with [mqtt] in it
[mqtt]
host = "broker"  # and one behind
username = "u"
password_file = "secret"

[[source]]
topic = "plant/{stream}/a"
group = "pumps"
[source.fields]
"motor.temp" = "temperature"

[[source]]
topic = 'plant/{stream}/b'
group = "fans"
fields = { x = "y" }

[group.pumps]
channels = [
  "flow",     # one to a line
  "heat = 1", # looks like a setting
]
training = { steps = 3, windows = 4 }
alarm.per_week = 2
[group.pumps.channel."heat = 1"]
high = 90.0
"""


def shown(text: str = TEXT) -> list[Value]:
    return effective(parse(text, FILE), text, FILE.name)


def by_name(values: list[Value]) -> dict[str, tuple[Any, str]]:
    return {one.name: (one.value, one.source) for one in values}


def line(text: str) -> str:
    """Where something stands in the file."""
    (found,) = [number for number, one in enumerate(TEXT.splitlines(), 1) if text in one]
    return f"streamd.toml:{found}"


def test_each_value_comes_with_the_line_that_it_stands_on_or_as_a_default() -> None:
    found = by_name(shown())
    assert found["mqtt.host"] == ("broker", line("host ="))
    assert found["mqtt.port"] == (1883, "default")
    assert found["source #1.topic"] == ("plant/{stream}/a", line("/a"))
    assert found["source #1.fields"] == ({"motor.temp": "temperature"}, line("[source.fields]"))
    assert found["source #2.topic"] == ("plant/{stream}/b", line("/b"))
    assert found["source #2.fields"] == ({"x": "y"}, line("fields = {"))
    assert found["source #2.time"] == (None, "default")
    assert found["group.pumps.channels"] == (("flow", "heat = 1"), line("channels = ["))
    assert found["group.pumps.training.steps"] == (3, line("training ="))
    assert found["group.pumps.training.lag_frames"] == (32, "default")
    assert found["group.pumps.alarm.per_week"] == (2.0, line("per_week"))
    assert found["group.pumps.channel.heat = 1.high"] == (90.0, line("high ="))
    assert found["group.fans.horizon_steps"] == (12, "default"), "of a group that only a source names, too"


def test_what_is_shown_means_the_same_config_again() -> None:
    text = toml(shown())
    config = parse(TEXT, FILE)
    assert parse(text, FILE) == msgspec.structs.replace(config, group=config.groups())


def test_secrets_are_not_read_and_said_to_be_masked(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    file = tmp_path / "streamd.toml"
    values = effective(parse(TEXT, file), TEXT, file.name)
    assert [one.name for one in values if one.secret] == ["mqtt.password_file"]
    text = toml(values)
    (told,) = [one for one in text.splitlines() if "password_file" in one]
    assert told.endswith("# streamd.toml:6; holds a secret: ********")
    assert "hunter2" not in text


def test_the_defaults_alone_are_shown_as_well() -> None:
    text = toml(effective(Config(), "", "x"))
    assert msgspec.convert(tomllib.loads(text), Config) == Config()
    assert "# username has no value" in text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a = 1\n\nb.c = 2", {("a",): 1, ("b",): 3, ("b", "c"): 3}),
        ('a = """\n[b]\nc = 1\n"""\nd = 1', {("a",): 1, ("d",): 5}),
        ("[[a]]\nx = 1\n[[a.b]]\ny = 1\n[[a.b]]\ny = 2\n[[a]]\n[[a.b]]\ny = 3", None),
        ("a = [{x = 1}, {y = 2}]", {("a",): 1, ("a", 0): 1, ("a", 0, "x"): 1, ("a", 1): 1, ("a", 1, "y"): 1}),
        ("['a.b'.c]\n\"d e\" = 1", {("a.b", "c"): 1, ("a.b", "c", "d e"): 2}),
    ],
)
def test_lines_are_told_in_any_form_of_toml(text: str, found: dict[Any, int] | None) -> None:
    told = places(text)
    if found is None:
        assert [told["a", i, "b", j, "y"] for i, j in ((0, 0), (0, 1), (1, 0))] == [4, 6, 9]
    else:
        assert told == found


@given(
    st.recursive(
        st.text(st.characters(exclude_categories=["Cs"]))
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    )
)
def test_any_value_comes_back_from_what_is_shown(value: Any) -> None:
    found = tomllib.loads(toml([Value(("t", "k"), value, "default")]))["t"]["k"]
    assert found == value
    if isinstance(value, float):
        assert math.copysign(1.0, found) == math.copysign(1.0, value)
