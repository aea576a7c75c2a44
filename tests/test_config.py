"""The config file: what it may hold, what it is told when it is wrong, and that the example is complete."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from streamd.config import Config, ConfigError, Group, Section, Source, load, parse, read_secret

CONFIGS = Path(__file__).parent.parent / "configs"
WHERE = Path("/etc/streamd/plant.toml")


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, WHERE)
    return str(caught.value)


# --- the example ---


def live_and_commented() -> tuple[dict[str, Any], dict[str, Any]]:
    """The example as it stands, and with the keys and tables that are commented out."""
    text = (CONFIGS / "example.toml").read_text(encoding="utf-8")
    return tomllib.loads(text), tomllib.loads(re.sub(r"(?m)^# (?=\w+ = |\[)", "", text))


def missing_keys(kind: inspect.Type, there: Any, key: str) -> list[str]:
    """The keys of every section inside a type that `there`, a part of the example, does not hold."""
    if isinstance(kind, inspect.UnionType):
        return [name for member in kind.types for name in missing_keys(member, there, key)]
    if isinstance(kind, inspect.VarTupleType) and isinstance(kind.item_type, inspect.StructType):
        return missing_keys(kind.item_type, there[0], f"{key}[0]")
    if isinstance(kind, inspect.DictType) and isinstance(kind.value_type, inspect.StructType):
        name = next(iter(there))
        return missing_keys(kind.value_type, there[name], f"{key}.{name}")
    missing = []
    if isinstance(kind, inspect.StructType):
        assert issubclass(kind.cls, Section)
        for field in kind.fields:
            name = f"{key}.{field.encode_name}".lstrip(".")
            if field.encode_name in there:
                missing += missing_keys(field.type, there[field.encode_name], name)
            else:
                missing.append(name)
    return missing


def test_the_path_of_the_token_is_absolute_and_what_stands_there_is_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "streamd.toml"
    assert parse('[http]\ntoken_file = "secret"', path).http.token_file == str(tmp_path / "secret")
    with pytest.raises(ConfigError, match=r"http\.token_file: expected .*, got int") as caught:
        parse("[http]\ntoken_file = 12345678", path)
    assert "12345678" not in str(caught.value)


def test_the_example_has_every_key_of_every_section() -> None:
    _, commented = live_and_commented()
    assert missing_keys(inspect.type_info(Config), commented, "") == []


def test_the_walk_over_the_example_sees_a_key_that_is_missing() -> None:
    _, commented = live_and_commented()
    del commented["group"]["default"]["training"]["clip_norm"], commented["mqtt"]["tls"]["ca_file"]
    assert missing_keys(inspect.type_info(Config), commented, "") == [
        "mqtt.tls.ca_file",
        "group.default.training.clip_norm",
    ]


def test_only_keys_without_a_default_value_are_commented_out_in_the_example() -> None:
    live, _ = live_and_commented()
    assert sorted(missing_keys(inspect.type_info(Config), live | {"mqtt": live["mqtt"] | {"tls": {}}}, "")) == [
        "group.default.alarm.refractory_s",
        "group.default.channel",
        "http.token_file",
        "mqtt.password_file",
        "mqtt.tls.ca_file",
        "mqtt.tls.cert_file",
        "mqtt.tls.key_file",
        "mqtt.username",
        "source[0].join",
        "source[0].readings",
        "source[0].stream",
        "source[0].time",
    ]


def test_the_values_in_the_example_are_the_defaults() -> None:
    live, _ = live_and_commented()
    topic = live["source"][0]["topic"]
    assert msgspec.convert(live, Config) == Config(source=(Source(topic=topic),), group={"default": Group()})


def test_every_key_of_the_example_has_its_comment_on_its_line() -> None:
    lines = (CONFIGS / "example.toml").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"(# )?\w+ = ", line) and "  # " not in line] == []


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.name)
def test_every_config_that_is_shipped_loads(file: Path) -> None:
    assert load(file).groups()


# --- what is refused, and in which words ---


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[mqtt]\nport = 99999", "mqtt.port: expected int <= 65535, got 99999"),
        ('[mqtt]\nport = "x"', 'mqtt.port: expected int, got "x"'),
        ("[training]", "training: unknown key, expected one of mqtt, source, group, http, state, log"),
        ("[mqtt.tls]\nca = 1", "mqtt.tls.ca: unknown key, expected one of ca_file, cert_file, key_file"),
        ('[mqtt]\nprotocol = "6"', 'mqtt.protocol: expected one of "3.1.1", "5", "auto", got "6"'),
        ('[group.p]\nchannels = "all"', 'group.p.channels: expected one of an array, "auto", got "all"'),
        ('[group.p]\nchannels = ["a", 1]', "group.p.channels #2: expected str, got 1"),
        ("[group.p]\ncoverage = true", "group.p.coverage: expected float | array, got true"),
        ("[group.p]\nmax_future_s = nan", "group.p.max_future_s: expected float > 0.0, got nan"),
        ("[state]\ncheckpoint_s = inf", "state.checkpoint_s: expected float <= 1000000000.0, got inf"),
        ("[group.p.training]\nmemory_windows = 9", "group.p.training.memory_windows: expected int >= 10, got 9"),
        ("[group.p]\nseed = -1", "group.p.seed: expected int >= 0, got -1"),
        ("[group]\npump = 3", "group.pump: expected table, got 3"),
        ('[source]\ntopic = "a"', "source: expected array, got table"),
        ("[[source]]", "source #1.topic: missing"),
        ("[group.'a b']", "group.a b: expected a name that matches '^[A-Za-z0-9_.-]{1,128}$'"),
    ],
)
def test_a_message_names_the_file_the_key_the_value_and_what_was_expected(text: str, told: str) -> None:
    assert refusal(text) == f"{WHERE}: {told}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("coverage = []", "coverage: expected different shares, at least one"),
        ("coverage = [0.9, 0.5, 0.9]", "coverage: expected different shares, at least one"),
        ("coverage = [0.9, 1.5]", "coverage #2: expected float < 1.0, got 1.5"),
        ('channels = ["a"]\n[group.p.channel.b]', "channel.b: not one of the group's channels"),
        ("channel.a = {low = 2.0, high = 2.0}", "channel.a.low: expected less than high = 2.0, got 2.0"),
        ("channel.a = {wrap = 360.0, high = 90.0}", "channel.a.high: an angle's range follows from low and wrap"),
        ('channel.a = {direction = "left"}', 'channel.a.direction: expected one of "both", "down", "up", got "left"'),
        ("channel.a = {low = -inf}", "channel.a.low: expected float >= -1e+100, got -inf"),
        ("channel.a = {high = nan}", "channel.a.high: expected float >= -1e+100, got nan"),
        ("channel.a = {least = -1.0}", "channel.a.least: expected float >= 0.0, got -1.0"),
        ("channel.a = {least_relative = nan}", "channel.a.least_relative: expected float >= 0.0, got nan"),
        (
            "channel.a = {low = 2.0, high = 4.0, least = 2.0}",
            "channel.a.least: expected less than from low = 2.0 to high = 4.0, got 2.0",
        ),
        (
            "channel.a = {wrap = 360.0, least = 180.0}",
            "channel.a.least: expected less than half of wrap = 360.0, got 180.0",
        ),
        (
            "channel.a = {wrap = 360.0, least_relative = 0.1}",
            "channel.a.least_relative: an angle is not small or large, so no share of it is: use least",
        ),
        ("[group.p.alarm]\naccept_s = 0", "alarm.accept_s: expected float > 0.0, got 0"),
    ],
)
def test_shares_and_ranges_that_contradict_themselves_are_refused(text: str, told: str) -> None:
    assert refusal(f"[group.p]\n{text}") == f"{WHERE}: group.p.{told}"


def test_several_coverages_are_told_ascending_and_the_first_is_the_main_one() -> None:
    group = parse("[group.p]\ncoverage = [0.9, 0.99, 0.5]", WHERE).group["p"]
    assert (group.coverages, group.main_coverage) == ((0.5, 0.9, 0.99), 0.9)
    assert (Group().coverages, Group().main_coverage) == ((0.9,), 0.9)


def test_the_group_that_is_wrong_is_named_among_good_ones() -> None:
    text = "[group.a]\nseed = 1\n[group.b.training]\nsteps = 0\n[group.c]\nseed = 2\n[group.d.training]\nsteps = 0"
    assert refusal(text) == f"{WHERE}: group.b.training.steps: expected int >= 1, got 0"


def test_the_group_that_is_wrong_is_named_though_something_else_is_wrong_too() -> None:
    text = "[group.a]\nseed = 1\n[group.b]\nhorizon_steps = 0\n[http]\nport = -1"
    assert refusal(text) == f"{WHERE}: group.b.horizon_steps: expected int >= 1, got 0"


def test_the_source_that_is_wrong_is_named_by_its_number_from_one() -> None:
    text = '[[source]]\ntopic = "a"\n[[source]]\ntopic = ""'
    assert refusal(text) == f'{WHERE}: source #2.topic: expected str of length >= 1, got ""'


def test_the_renamed_field_that_is_wrong_is_named_by_its_path() -> None:
    text = '[[source]]\ntopic = "a"\nfields = { "m.x" = "x", "m.y" = 2 }'
    assert refusal(text) == f"{WHERE}: source #1.fields.m.y: expected str, got 2"


def test_a_long_value_is_cut_in_a_message() -> None:
    assert len(refusal(f'[log]\nlevel = "{"x" * 10_000}"')) < 250


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[source]]\ntopic = "a"\n[group.b]', "group.b: no [[source]] names this group"),
        ("[group.b]\nchannels = []", "group.b.channels: expected different names, at least one"),
        ('[group.b]\nchannels = ["x", "x"]', "group.b.channels: expected different names, at least one"),
        ('[group.b]\nchannels = ["x", "y"]\nmax_channels = 1', "group.b.channels: more names than max_channels = 1"),
        ("[mqtt]\nreconnect_min_s = 90", "mqtt.reconnect_min_s: expected at most reconnect_max_s = 60.0, got 90.0"),
        ('[mqtt.tls]\ncert_file = "c"', "mqtt.tls: cert_file and key_file go together"),
        ('[mqtt]\npassword_file = "p"', "mqtt.password_file: goes with username"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(text: str, told: str) -> None:
    assert refusal(text) == f"{WHERE}: {told}"


def test_what_is_not_toml_is_refused_with_its_line() -> None:
    message = refusal("[mqtt]\nport = = 1\n")
    assert message.startswith(f"{WHERE}: not TOML: ")
    assert "line 2" in message


ODD = (
    "1" * 30,
    "1e400",
    "-inf",
    "nan",
    "2020-01-01",
    "[]",
    "[1]",
    "[[{}]]",
    "{}",
    '{"a.b" = 1}',
    '{"[...]" = {}}',
    '"\\u0000"',
)


@pytest.mark.parametrize("odd", ODD)
def test_whatever_stands_in_the_place_of_a_value_is_taken_or_refused_by_its_key(odd: str) -> None:
    everything = re.sub(r"(?m)^# (?=\w+ = |\[)", "", (CONFIGS / "example.toml").read_text(encoding="utf-8"))
    lines = re.sub(r"(?m)^wrap = .*$", "", everything).splitlines()
    assert parse("\n".join(lines), WHERE).groups()
    refused = []
    for number, line in enumerate(lines):
        if (setting := re.match(r"(\w+) = ", line)) is None:
            continue
        other = [*lines[:number], f"{setting[1]} = {odd}", *lines[number + 1 :]]
        try:
            parse("\n".join(other), WHERE)
        except ConfigError as error:
            refused.append((setting[1], str(error)))
    assert len(refused) > 40
    assert [key for key, said in refused if key not in said] == []


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "[mqtt]\nport = " + "9" * 5000], ids=["deep", "long"])
def test_what_no_reader_of_toml_can_take_is_refused_like_the_rest(text: str) -> None:
    assert refusal(text).startswith(f"{WHERE}: not TOML: ")


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: can't be read"):
        load(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml: can't be read"):
        load(tmp_path / "binary.toml")


# --- paths, groups, secrets ---


def test_relative_paths_are_taken_from_the_folder_of_the_file() -> None:
    text = (
        '[mqtt]\nusername = "u"\npassword_file = "secrets/p"\n'
        '[mqtt.tls]\nca_file = "ca.pem"\ncert_file = "/abs/c.pem"\nkey_file = "k.pem"\n[state]\nfolder = "../here"\n'
    )
    config = parse(text, WHERE)
    assert config.mqtt.password_file == "/etc/streamd/secrets/p"
    assert config.mqtt.tls is not None
    assert config.mqtt.tls.ca_file == "/etc/streamd/ca.pem"
    assert config.mqtt.tls.cert_file == "/abs/c.pem"
    assert config.mqtt.tls.key_file == "/etc/streamd/k.pem"
    assert Path(config.state.folder).resolve() == Path("/etc/here")


def test_a_relative_path_does_not_depend_on_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert load(Path("c.toml")).state.folder == str(tmp_path / "state")


def test_a_group_that_only_a_source_names_has_the_defaults() -> None:
    config = parse('[[source]]\ntopic = "a"\n[[source]]\ntopic = "b"\ngroup = "p"\n[group.p]\nseed = 7', WHERE)
    assert config.groups() == {"default": Group(), "p": Group(seed=7)}


def test_a_secret_is_the_text_of_its_file_without_the_newline_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "p").write_text(" hunter 2 \r\n")
    assert read_secret(str(tmp_path / "p")) == " hunter 2 "


def test_a_secret_file_that_is_empty_or_absent_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match=r"secret file .*/empty: is empty"):
        read_secret(str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=r"secret file .*/absent: can't be read: FileNotFoundError"):
        read_secret(str(tmp_path / "absent"))


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"hunter2\xff")
    with pytest.raises(ConfigError) as caught:
        read_secret(str(tmp_path / "p"))
    assert "hunter2" not in str(caught.value)
    (tmp_path / "p").write_text("hunter2")
    config = parse(f'[mqtt]\nusername = "u"\npassword_file = "{tmp_path / "p"}"', WHERE)
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize("line", ["password = 24242", "password_file = 24242", "password_file = [24242]"])
def test_a_password_put_into_the_config_by_mistake_is_not_shown(line: str) -> None:
    message = refusal(f"[mqtt]\n{line}")
    assert "mqtt.password" in message
    assert "24242" not in message
