"""What a running daemon can take over of another config, and what has to wait for a restart, key by key.

Waits: what the lengths of the state's arrays follow from, what the broker's session or the state folder goes by, and
sockets that are open. Knows keys, not the parts that they are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import msgspec

from streamd import config
from streamd.config import Config, ConfigError, Group, Section, Source

Key: TypeAlias = tuple[str, ...]

# by table; * is any name, and what stands below a key goes with it
_LIVE: Final = {
    "mqtt": "protocol username password_file tls keepalive_s session_expiry_s reconnect_min_s reconnect_max_s",
    "group.*": "channel expert_weights max_streams max_resident_streams max_channels max_future_s max_batch alarm "
    "publish",
    "group.*.training": "enabled every_frames windows steps lag_frames learning_rate clip_norm cpu_share",
    "http": "stream_series",
    "state": "commit_ms commit_frames recovery_s checkpoint_s keep",
}
LIVE: Final[tuple[Key, ...]] = (
    ("source",),
    ("log",),
    *((*table.split("."), key) for table, keys in _LIVE.items() for key in keys.split()),
)
_SHOWN_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Change:
    """One key that another config has otherwise."""

    key: Key
    old: object  # None: it is not there
    new: object
    live: bool  # it is taken over now; else: with a restart
    why: str = ""  # it waits, where that does not follow from the key alone

    def __str__(self) -> str:
        """
        >>> str(Change(("group", "pumps", "alarm", "per_week"), 1.0, 5.0, live=True))
        'group.pumps.alarm.per_week from 1.0 to 5.0'
        """
        return f"{'.'.join(self.key)} from {_shown(self.old)} to {_shown(self.new)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for another config."""

    config: Config  # in force from then on: the other one, but for what waits; every group has its table
    changes: tuple[Change, ...]

    @property
    def taken(self) -> list[Change]:
        """What changes now."""
        return [change for change in self.changes if change.live]

    @property
    def waiting(self) -> list[Change]:
        """What takes a restart."""
        return [change for change in self.changes if not change.live]


def is_live(key: Key) -> bool:
    """Whether a running daemon can take over another value of a key.

    >>> is_live(("group", "pumps", "alarm", "per_week")), is_live(("group", "pumps", "horizon_steps"))
    (True, False)
    """
    return any(
        len(key) >= len(live) and all(want in ("*", have) for want, have in zip(live, key, strict=False))
        for live in LIVE
    )


def plan(now: Config, wanted: Config, file: Path) -> Plan:
    """From the config in force, which has a table for every group that there is, to another one.

    Args:
        file: for messages.
    """
    changes: list[Change] = []
    parts = {
        name: _merge(getattr(now, name), getattr(wanted, name), (name,), changes)
        for name in ("mqtt", "http", "state", "log")
    }
    groups = {
        name: _merge(now.group[name], settings, ("group", name), changes)
        for name, settings in wanted.groups().items()
        if name in now.group
    }
    _tell_groups(now, wanted, changes)
    kept = {one.topic: one for one in now.source}  # also of a topic that is to go to a group which is not there yet
    source = tuple(
        one if one.group in now.group else kept[one.topic]
        for one in wanted.source
        if one.group in now.group or one.topic in kept
    )
    _tell_sources(now.source, wanted.source, now.group, changes)
    merged = Config(source=source or now.source, group=groups, **parts)
    try:
        config.check_relations(merged, file)
    except ConfigError as error:  # the one needs the other
        why = f"goes together with what waits: {str(error).removeprefix(f'{file}: ')}"
        waiting = (Change(one.key, one.old, one.new, live=False, why=one.why or why) for one in changes)
        return Plan(now, tuple(waiting))
    return Plan(msgspec.structs.replace(merged, group={**now.group, **groups}), tuple(changes))


def fixed(now: Group, wanted: Group) -> list[str]:
    """The keys of a group that differ and can't be changed while it runs."""
    changes: list[Change] = []
    _merge(now, wanted, ("group", "*"), changes)
    return [".".join(change.key[2:]) for change in changes if not change.live]


def _merge(now: Any, wanted: Any, key: Key, changes: list[Change]) -> Any:
    """The wanted value, but for what waits; notes what differs."""
    if now == wanted:
        return now
    if isinstance(now, Section) and isinstance(wanted, Section):
        parts = {
            name: _merge(getattr(now, name), getattr(wanted, name), (*key, name), changes)
            for name in now.__struct_fields__
        }
        return msgspec.structs.replace(now, **parts)
    if isinstance(now, dict) and isinstance(wanted, dict):
        for name in dict.fromkeys((*now, *wanted)):
            _merge(now.get(name), wanted.get(name), (*key, name), changes)
        return wanted if is_live(key) else now
    changes.append(Change(key, now, wanted, is_live(key)))
    return wanted if is_live(key) else now


def _tell_groups(now: Config, wanted: Config, changes: list[Change]) -> None:
    groups = wanted.groups()
    for name, settings in groups.items():
        if name not in now.group:
            changes.append(Change(("group", name), None, settings, live=False, why="a group begins with a restart"))
    for name, settings in now.group.items():
        if name not in groups:
            why = "nothing is read for it any more, and a restart forgets it"
            changes.append(Change(("group", name), settings, None, live=False, why=why))


def _tell_sources(
    now: Sequence[Source], wanted: Sequence[Source], groups: Mapping[str, Group], changes: list[Change]
) -> None:
    if tuple(now) == tuple(wanted):
        return
    before, after = ({source.topic: source for source in sources} for sources in (now, wanted))
    told = False
    for topic in dict.fromkeys((*before, *after)):
        old, new = before.get(topic), after.get(topic)
        if old == new:
            continue
        told = True
        if new is not None and new.group not in groups:
            why = f"its group {new.group} begins with a restart"
            changes.append(Change(("source", topic), old, new, live=False, why=why))
        elif old is None or new is None:
            changes.append(Change(("source", topic), old, new, live=True))
        else:
            _merge(old, new, ("source", topic), changes)
    if not told:  # the first one that fits a topic gets it
        changes.append(Change(("source",), [one.topic for one in now], [one.topic for one in wanted], live=True))


def _shown(value: object) -> str:
    """A value as in the file; of a table and of nothing, that it is one."""
    if value is None:
        return "nothing"
    if isinstance(value, Section):
        return "a table"
    text = msgspec.json.encode(cast(Any, value)).decode()
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
