"""Which keys another config changes now and which wait, for every key that there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from streamd.config import Config, Group, Section, parse
from streamd.live import LIVE, Change, Plan, fixed, is_live, plan

FILE = Path("/etc/streamd/streamd.toml")
SOURCE = '[[source]]\ntopic = "plant/{stream}/telemetry"\ngroup = "pumps"\n'
WAITING = {
    "mqtt": {"host", "port", "client_id", "inbox_messages", "outbox_messages", "max_payload_bytes", "prefix"},
    "group.*": {"channels", "horizon_steps", "profile", "coverage", "paths", "seed", "network"},
    "group.*.training": {"burn_in_frames", "train_frames", "memory_windows"},
    "http": {"host", "port", "token_file"},
    "state": {"folder", "durability", "memory_mb"},
}


def in_force(text: str = SOURCE) -> Config:
    """A config as a daemon has it: every group has its table."""
    config = parse(text, FILE)
    return msgspec.structs.replace(config, group=config.groups())


def to(text: str, now: str = SOURCE) -> Plan:
    return plan(in_force(now), parse(text, FILE), FILE)


def keys(changes: list[Change]) -> list[str]:
    return [".".join(change.key) for change in changes]


def sections(kind: inspect.Type, key: tuple[str, ...] = ()) -> dict[tuple[str, ...], type[Section]]:
    """Every table of a config by its key, * for any name."""
    if isinstance(kind, inspect.UnionType):
        return {found: cls for member in kind.types for found, cls in sections(member, key).items()}
    if isinstance(kind, inspect.DictType):
        return sections(kind.value_type, (*key, "*"))
    if not isinstance(kind, inspect.StructType):
        return {}
    found: dict[tuple[str, ...], type[Section]] = {key: kind.cls}
    for field in kind.fields:
        found |= sections(field.type, (*key, field.encode_name))
    return found


def test_every_key_that_waits_is_meant_to() -> None:
    tables = sections(inspect.type_info(Config))
    waiting = {
        ".".join(key): {name for name in cls.__struct_fields__ if not is_live((*key, name))}
        for key, cls in tables.items()
        if key and not is_live(key)
    }
    # of a table that is live in part only the parts count
    waiting = {key: names - {"training"} for key, names in waiting.items()}
    assert {key: names for key, names in waiting.items() if names} == WAITING | {
        "group.*.network": {"hidden", "layers"}
    }


def test_every_key_that_is_said_to_be_live_is_there() -> None:
    tables = sections(inspect.type_info(Config))
    for key in LIVE:
        assert key[-1] in tables[key[:-1]].__struct_fields__, key


def test_of_a_file_that_says_the_same_nothing_changes() -> None:
    found = to(SOURCE + "[group.pumps]\nhorizon_steps = 12\n")
    assert found.changes == ()
    assert found.config == in_force()


def test_what_is_live_is_taken_and_what_is_not_waits_and_the_rest_of_its_table_does_not() -> None:
    found = to(SOURCE + "[group.pumps]\nhorizon_steps = 5\nmax_batch = 9\n[group.pumps.alarm]\nper_week = 5.0\n")
    assert keys(found.taken) == ["group.pumps.max_batch", "group.pumps.alarm.per_week"]
    assert keys(found.waiting) == ["group.pumps.horizon_steps"]
    group = found.config.group["pumps"]
    assert (group.horizon_steps, group.max_batch, group.alarm.per_week) == (12, 9, 5.0)
    assert str(found.taken[1]) == "group.pumps.alarm.per_week from 1.0 to 5.0"


def test_rules_of_channels_come_and_go() -> None:
    rule = '[group.pumps.channel."motor.temp"]\nhigh = 90.0\n'
    found = to(SOURCE + rule)
    assert [change.key for change in found.taken] == [("group", "pumps", "channel", "motor.temp")]
    assert found.config.group["pumps"].channel["motor.temp"].high == 90.0
    back = to(SOURCE, SOURCE + rule)
    assert back.config.group["pumps"].channel == {}
    other = to(SOURCE + rule.replace("90", "80"), SOURCE + rule)
    assert keys(other.taken) == ["group.pumps.channel.motor.temp.high"]


def test_sources_come_and_go_and_change() -> None:
    more = SOURCE + '[[source]]\ntopic = "works/{stream}"\ngroup = "pumps"\n'
    assert keys(to(more).taken) == ["source.works/{stream}"]
    assert [source.topic for source in to(more).config.source] == ["plant/{stream}/telemetry", "works/{stream}"]
    assert [(change.key[1], change.new) for change in to(SOURCE, more).taken] == [("works/{stream}", None)]
    assert keys(to(SOURCE + 'time = "ts"\n').taken) == ["source.plant/{stream}/telemetry.time"]


def test_the_order_of_sources_counts() -> None:
    one, other = '[[source]]\ntopic = "a/{stream}"\n', '[[source]]\ntopic = "+/{stream}"\n'
    found = to(other + one, one + other)
    assert keys(found.taken) == ["source"]
    assert [source.topic for source in found.config.source] == ["+/{stream}", "a/{stream}"]


def test_a_new_group_and_its_sources_wait_and_a_topic_that_is_to_go_there_is_read_as_before_till_then() -> None:
    found = to('[[source]]\ntopic = "fans/{stream}"\ngroup = "fans"\n' + SOURCE)
    assert found.taken == []
    assert keys(found.waiting) == ["group.fans", "source.fans/{stream}"]
    assert found.config == in_force()
    moved = to(SOURCE.replace("pumps", "fans"))
    assert keys(moved.waiting) == ["group.fans", "group.pumps", "source.plant/{stream}/telemetry"]
    assert moved.config.source == in_force().source


def test_a_group_that_nothing_is_read_for_any_more_stays_until_a_restart_and_may_come_back() -> None:
    two = SOURCE + '[[source]]\ntopic = "fans/{stream}"\ngroup = "fans"\n[group.fans]\nmax_batch = 7\n'
    gone = to(SOURCE, two)
    assert keys(gone.taken) == ["source.fans/{stream}"]
    assert keys(gone.waiting) == ["group.fans"]
    assert gone.config.group["fans"].max_batch == 7
    assert keys(plan(gone.config, parse(SOURCE, FILE), FILE).waiting) == ["group.fans"], "until then"
    back = plan(gone.config, parse(two.replace("= 7", "= 8"), FILE), FILE)
    assert keys(back.taken) == ["group.fans.max_batch", "source.fans/{stream}"]
    assert back.waiting == []


def test_what_needs_what_waits_waits_with_it_and_so_does_the_rest() -> None:
    now = SOURCE + '[group.pumps]\nchannels = ["flow"]\n'
    rule = now.replace('"flow"', '"flow", "heat"') + "max_batch = 9\n[group.pumps.channel.heat]\nhigh = 9.0\n"
    found = to(rule, now)
    assert found.config == in_force(now)
    assert found.taken == []
    assert keys(found.waiting) == ["group.pumps.channels", "group.pumps.channel.heat", "group.pumps.max_batch"]
    assert "group.pumps.channel.heat: not one of the group's channels" in found.waiting[0].why


def test_tls_comes_and_goes_as_a_whole() -> None:
    found = to('[mqtt.tls]\nca_file = "ca.pem"\n' + SOURCE)
    assert [str(change) for change in found.taken] == ["mqtt.tls from nothing to a table"]


@pytest.mark.parametrize(
    ("text", "waits"),
    [
        ("", []),
        ("max_batch = 9\n[alarm]\nper_week = 2.0", []),
        ("seed = 3\n[training]\nmemory_windows = 99", ["seed", "training.memory_windows"]),
        ("[network]\nhidden = 3\n[channel.x]\nlow = 1.0", ["network.hidden"]),
    ],
)
def test_what_of_a_group_is_fixed(text: str, waits: list[str]) -> None:
    assert fixed(Group(), msgspec.toml.decode(text, type=Group)) == waits


def test_a_long_value_is_cut() -> None:
    assert len(str(Change(("log", "level"), "x" * 1000, None, live=True))) < 120


def test_names_are_no_patterns() -> None:
    key: Any = ("group", "*", "alarm")
    assert is_live(key)
    assert not is_live(("group", "alarm"))
    assert not is_live(("mqtt", "password_file_or_so"))
