"""One TOML file -> frozen settings; unknown keys refused, secrets from files.

Knows names, units, defaults and limits; the parts get the slice they need and never see the rest.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta, inspect

Positive = Annotated[float, Meta(gt=0, le=1e9)]  # TOML knows inf; no setting of ours does
Share = Annotated[float, Meta(gt=0, lt=1)]
Bound = Annotated[float, Meta(ge=-1e100, le=1e100)]
NotNegative = Annotated[float, Meta(ge=0, le=1e100)]
Count = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]


class ConfigError(Exception):
    """The config is wrong; the text names file, key, value and what was expected."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the config file."""


class Tls(Section, frozen=True):
    ca_file: str | None = None  # PEM; None: the system's authorities
    cert_file: str | None = None  # PEM, the client's certificate
    key_file: str | None = None  # PEM, its key


class Mqtt(Section, frozen=True):
    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    client_id: Annotated[str, Meta(min_length=1, max_length=64)] = "streamd"
    protocol: Literal["auto", "5", "3.1.1"] = "auto"  # auto: 5, and 3.1.1 where the broker refuses 5
    username: str | None = None
    password_file: str | None = None
    tls: Tls | None = None
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 30
    session_expiry_s: Annotated[int, Meta(ge=0)] = 604_800  # how long the broker keeps what we missed (MQTT 5)
    reconnect_min_s: Positive = 1.0
    reconnect_max_s: Positive = 60.0
    inbox_messages: Count = 2000  # received and not yet applied; also the broker's window (Receive Maximum)
    outbox_messages: Count = 20_000  # not yet handed to the socket; the oldest forecasts go first
    max_payload_bytes: Count = 1_048_576
    prefix: Name = "streamd"  # of every topic that we publish or take commands on


class Source(Section, frozen=True):
    """Where readings of a group come from, and how their payloads look."""

    topic: Annotated[
        str, Meta(min_length=1)
    ]  # such as plant/{stream}/telemetry or sensors/{stream}/{channel}; + and # allowed
    group: Name = "default"
    format: Literal["json", "columns", "line"] = "json"
    stream: str | None = None  # path to the stream's name inside a reading; None: the topic has {stream}
    readings: str | None = None  # path to an array of readings inside the payload; None: the payload itself
    time: str | None = None  # path to the time inside a reading; None: time of arrival
    time_unit: Literal["auto", "iso", "s", "ms", "us", "ns"] = "auto"
    value: str = "value"  # path to the value, where the topic names the channel and the payload is an object
    fields: dict[str, str] = {}  # path -> channel, to rename; others keep their path (a.b.c) as their name
    join: bool | None = None  # put readings of one stream and time together; None: only where the topic has {channel}
    join_s: Positive = 1.0  # how long the first part waits for the others


class Network(Section, frozen=True):
    hidden: Annotated[int, Meta(ge=1, le=1024)] = 64
    layers: Annotated[int, Meta(ge=1, le=4)] = 2


class Training(Section, frozen=True):
    enabled: bool = True
    every_frames: Count = 64  # per stream, for groups of up to 64 streams
    windows: Count = 8  # windows per gradient step
    steps: Count = 2  # gradient steps per job
    burn_in_frames: Count = 8  # move the state without gradient
    train_frames: Count = 32  # carry the gradient
    lag_frames: Count = 32  # a candidate is installed this many frames after its job fell due
    memory_windows: Annotated[int, Meta(ge=10)] = 512  # half of them the newest, of which 4 are only judged by
    learning_rate: Positive = 4e-3
    clip_norm: Positive = 1.0
    cpu_share: Annotated[float, Meta(gt=0, le=1)] = 0.5  # of one core; over it the schedule is stretched


class Alarm(Section, frozen=True):
    per_week: Positive = 1.0  # false alarms that a stream may raise in a week
    accept_s: Positive = 86_400.0  # a new level, or a standstill, that has lasted for so long is normal from then on
    refractory_s: Positive | None = None  # after an incident; what comes within it belongs to it; None: 60 usual steps


class Publish(Section, frozen=True):
    """Less than all that is known, for those who want less traffic; incidents always go out."""

    forecast_every_s: NotNegative = 0.0  # of one stream, by its readings' times; 0: with each frame
    score: Literal["each", "change"] = "each"  # change: of the alarm, of drift, of warming, or by a tenth


class Channel(Section, frozen=True):
    low: Bound | None = None  # the channel's declared range: no forecast reaches beyond it, a value there is strange
    high: Bound | None = None
    wrap: Positive | None = None  # the channel is an angle that begins anew after so much, such as 360
    direction: Literal["both", "up", "down"] = "both"  # which way a deviation has to go to matter
    least: NotNegative = 0.0  # smallest deviation that matters, in the channel's unit
    least_relative: NotNegative = 0.0  # the same as a share of the expected value; with both, the larger counts


class Group(Section, frozen=True):
    channels: tuple[str, ...] | Literal["auto"] = "auto"
    horizon_steps: Annotated[int, Meta(ge=1, le=1000)] = 12
    profile: Literal["auto", "full", "compact"] = (
        "auto"  # how much a stream may hold; auto: what state.memory_mb allows
    )
    channel: dict[str, Channel] = {}  # what is known of a channel beforehand
    coverage: Share | tuple[Share, ...] = 0.9  # share of the values that an interval holds; the first is the main one
    paths: Annotated[int, Meta(ge=0, le=1000)] = 0  # sample paths with each forecast
    expert_weights: bool = False  # in each score's payload
    max_streams: Count = 10_000  # known; a reading of one more is dropped
    max_resident_streams: Count = 10_000  # in memory; those silent for longest wait on the disk
    max_channels: Count = 128
    max_future_s: Positive = 300.0  # readings further ahead of our clock are dropped
    max_batch: Count = 256
    seed: Annotated[int, Meta(ge=0)] = 0
    network: Network = Network()
    training: Training = Training()
    alarm: Alarm = Alarm()
    publish: Publish = Publish()

    @property
    def coverages(self) -> tuple[float, ...]:
        """All of them, ascending."""
        return (self.coverage,) if isinstance(self.coverage, float) else tuple(sorted(self.coverage))

    @property
    def main_coverage(self) -> float:
        """Of `lower` and `upper`."""
        return self.coverage if isinstance(self.coverage, float) else self.coverage[0]


class Http(Section, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 9108  # 0: any free port, named in the log
    stream_series: Annotated[int, Meta(ge=0)] = 0  # streams that get series of their own, first come
    token_file: str | None = None  # what the page asks for before it changes anything; None: it changes nothing


class State(Section, frozen=True):
    folder: str = "state"  # relative to the config file
    durability: Literal["journal", "checkpoint"] = "journal"  # what is acknowledged is in it
    commit_ms: Positive = 1000.0  # a record waits no longer for its commit, which is one fsync
    commit_frames: Count = 5000  # no more frames than this wait for one
    recovery_s: Positive = 60.0  # a journal that would take longer to replay is worth a checkpoint
    checkpoint_s: Positive = 300.0  # between checkpoints where there is no journal
    keep: Count = 3
    memory_mb: Positive = (
        512.0  # for the streams in memory; over it, a start makes groups whose profile is auto compact
    )


class Log(Section, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    sample_s: Positive = 10.0  # of the messages that were refused, at most one per reason and this time is logged


class Config(Section, frozen=True):
    mqtt: Mqtt = Mqtt()
    source: tuple[Source, ...] = ()
    group: dict[Name, Group] = {}
    http: Http = Http()
    state: State = State()
    log: Log = Log()

    def groups(self) -> dict[str, Group]:
        """Every group that a source names, with its settings or the defaults."""
        return {source.group: self.group.get(source.group, Group()) for source in self.source}


def load(path: Path) -> Config:
    """The settings in a TOML file; relative paths in it are taken from the file's folder.

    Raises:
        ConfigError: the file can't be read, isn't TOML, has an unknown key or a value out of its limits.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    """The settings in TOML text; `path` is where it stands, for messages and relative paths."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, and what is nested too deep
        raise ConfigError(f"{path}: not TOML: {error}") from error
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error), document)}") from error
    check_relations(config, path)
    return _absolute(config, path.resolve().parent)


def read_secret(path: str) -> str:
    """The text of a secret file without the newline at its end.

    Raises:
        ConfigError: the file can't be read or is empty. The text never holds the secret.
    """
    try:
        secret = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"secret file {path}: can't be read: {type(error).__name__}") from error
    if not secret:
        raise ConfigError(f"secret file {path}: is empty")
    return secret


def _explain(message: str, document: dict[str, Any]) -> str:
    """msgspec's message in the words of the file: `group.pump.horizon_steps: expected int >= 1, got 0`.

    `document` is the file as parsed; it is used up here.
    """
    text, _, where = message.partition(" - at ")
    about_key = where.startswith("`key` in ")
    path = where.removeprefix("`key` in ").strip("`$") + ("[...]" if about_key else "")
    key, value, kind = "", cast(Any, document), inspect.type_info(Config)
    for name, index in _STEP.findall(path):
        if index == "...":  # msgspec does not say which entry of a table it means
            name = _guilty(value, document, message)
        key += f" #{int(index) + 1}" if index.isdecimal() else f".{name}"
        value = value[int(index)] if index.isdecimal() else value[name]
        kind = _inside(kind, name)
    if match := re.match("Object (contains unknown|missing required) field `(.*)`", text):
        key += f".{match[2]}"
        text = "missing" if match[1] == "missing required" else f"unknown key, expected one of {_known(kind)}"
    elif about_key:
        text = f"expected a name that matches {text.removeprefix('Expected `str` matching regex ')}"
    else:
        if text.startswith("Invalid enum value"):
            text = f"expected one of {_known(kind)}"
        text = text.partition(", got ")[0] + f", got {_shown(key, value)}"
    text = text.replace("`object`", "table").replace("`", "")
    return f"{key.lstrip('.')}: {text[0].lower()}{text[1:]}" if key else text


_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def _guilty(table: dict[str, Any], document: dict[str, Any], message: str) -> str:
    """The first entry of `table`, which is a part of `document`, that gives the message when it is left alone there."""
    entries = dict(table)
    for name, value in entries.items():
        table.clear()
        table[name] = value
        try:
            msgspec.convert(document, Config)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return name
    raise AssertionError(f"no entry gives: {message}")


def _inside(kind: inspect.Type, name: str) -> inspect.Type:
    """The type of what stands in a table or an array under a name, or under any index."""
    for member in kind.types if isinstance(kind, inspect.UnionType) else (kind,):
        if isinstance(member, inspect.StructType):
            return next(field.type for field in member.fields if field.encode_name == name)
        if isinstance(member, inspect.DictType):
            return member.value_type
        if isinstance(member, inspect.VarTupleType):
            return member.item_type
    raise AssertionError(f"nothing stands inside {kind}")


def _known(kind: inspect.Type) -> str:
    """The keys of a table, or the words that a value may be."""
    choices = []
    for member in kind.types if isinstance(kind, inspect.UnionType) else (kind,):
        if isinstance(member, inspect.StructType):
            choices += [field.encode_name for field in member.fields]
        elif isinstance(member, inspect.LiteralType):
            choices += [f'"{word}"' for word in member.values]
        elif isinstance(member, inspect.VarTupleType):
            choices += ["an array"]
    return ", ".join(choices)


def _shown(key: str, value: object) -> str:
    """A value as it stands in the file: short, and never one that may be a secret put in the wrong place."""
    if "password" in key or "key_file" in key or "token" in key:
        return type(value).__name__
    if isinstance(value, dict | list):
        return "table" if isinstance(value, dict) else "array"
    text = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def check_relations(config: Config, path: Path) -> None:
    """What no single value shows."""
    sources = {source.group for source in config.source}
    for at, source in enumerate(config.source, start=1):
        if source.format != "json" and source.readings is not None:
            raise ConfigError(f'{path}: source #{at}.readings: only of format "json", not of "{source.format}"')
    for name, group in config.group.items():
        if config.source and name not in sources:
            raise ConfigError(f"{path}: group.{name}: no [[source]] names this group")
        if isinstance(group.channels, tuple):
            if len(set(group.channels)) < len(group.channels) or not group.channels:
                raise ConfigError(f"{path}: group.{name}.channels: expected different names, at least one")
            if len(group.channels) > group.max_channels:
                raise ConfigError(f"{path}: group.{name}.channels: more names than max_channels = {group.max_channels}")
        coverages = group.coverages
        if len(set(coverages)) < len(coverages) or not coverages:
            raise ConfigError(f"{path}: group.{name}.coverage: expected different shares, at least one")
        for channel, known in group.channel.items():
            key = f"{path}: group.{name}.channel.{channel}"
            if isinstance(group.channels, tuple) and channel not in group.channels:
                raise ConfigError(f"{key}: not one of the group's channels")
            if known.low is not None and known.high is not None and known.low >= known.high:
                raise ConfigError(f"{key}.low: expected less than high = {known.high}, got {known.low}")
            if known.wrap is not None and known.high is not None:
                raise ConfigError(f"{key}.high: an angle's range follows from low and wrap")
            if known.wrap is not None and known.least_relative > 0.0:
                raise ConfigError(
                    f"{key}.least_relative: an angle is not small or large, so no share of it is: use least"
                )
            if known.wrap is not None and known.least >= known.wrap / 2:
                raise ConfigError(f"{key}.least: expected less than half of wrap = {known.wrap}, got {known.least}")
            if known.low is not None and known.high is not None and known.least >= known.high - known.low:
                within = f"expected less than from low = {known.low} to high = {known.high}"
                raise ConfigError(f"{key}.least: {within}, got {known.least}")
    mqtt = config.mqtt
    if mqtt.reconnect_min_s > mqtt.reconnect_max_s:
        limits = f"expected at most reconnect_max_s = {mqtt.reconnect_max_s}, got {mqtt.reconnect_min_s}"
        raise ConfigError(f"{path}: mqtt.reconnect_min_s: {limits}")
    if mqtt.tls is not None and (mqtt.tls.cert_file is None) != (mqtt.tls.key_file is None):
        raise ConfigError(f"{path}: mqtt.tls: cert_file and key_file go together")
    if mqtt.password_file is not None and mqtt.username is None:
        raise ConfigError(f"{path}: mqtt.password_file: goes with username")


def _absolute(config: Config, folder: Path) -> Config:
    """The same settings with paths that no longer depend on the working folder."""

    def at(path: str | None) -> str | None:
        return None if path is None else str(folder / path)

    mqtt = config.mqtt
    if mqtt.tls is not None:
        tls = Tls(ca_file=at(mqtt.tls.ca_file), cert_file=at(mqtt.tls.cert_file), key_file=at(mqtt.tls.key_file))
        mqtt = msgspec.structs.replace(mqtt, tls=tls)
    mqtt = msgspec.structs.replace(mqtt, password_file=at(mqtt.password_file))
    http = msgspec.structs.replace(config.http, token_file=at(config.http.token_file))
    state = msgspec.structs.replace(config.state, folder=str(folder / config.state.folder))
    return msgspec.structs.replace(config, mqtt=mqtt, http=http, state=state)
