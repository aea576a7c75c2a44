"""A config as it is in force, key by key, with where each value comes from: a line of the file, or the default.

What it shows is TOML again. Knows TOML and the types of the config; opens no secret, a key that names one's file is
shown as that.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from streamd.config import Config, Section

Key: TypeAlias = tuple[str | int, ...]  # an index, from 0, in a list of tables

SECRETS: Final = ("password_file", "key_file", "token_file")  # keys whose value is the path of a secret
MASK: Final = "********"
DEFAULT: Final = "default"
_WIDTH: Final = 44  # of key and value, before the comment


@dataclass(frozen=True, slots=True)
class Value:
    """One setting."""

    key: Key
    value: Any  # plain; None: there is none
    source: str  # file:line, or "default"

    @property
    def name(self) -> str:
        """The key in one word.

        >>> Value(("source", 0, "topic"), "a/{stream}", "default").name
        'source #1.topic'
        """
        return "".join(f" #{part + 1}" if isinstance(part, int) else f".{part}" for part in self.key).lstrip(".")

    @property
    def secret(self) -> bool:
        """Whether it names the file of a secret."""
        return self.key[-1] in SECRETS and self.value is not None


def effective(config: Config, text: str, file: str) -> list[Value]:
    """Every setting, in the order of the tables.

    Args:
        config: what the text was found to mean.
        text: of the file.
        file: its name, as it is to be shown.
    """
    lines = places(text)
    groups = config.group | config.groups()
    return [
        Value(key, msgspec.to_builtins(value), f"{file}:{lines[key]}" if key in lines else DEFAULT)
        for key, value in _leaves(msgspec.structs.replace(config, group=groups), ())
    ]


def places(text: str) -> dict[Key, int]:
    """The line of each key and table in TOML, which is good as a whole."""
    found: dict[Key, int] = {}
    counts: dict[Key, int] = {}  # of the lists of tables
    table: Key = ()
    for line, statement in _statements(text):
        document = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _table(document, counts)
            found.setdefault(table, line)
        else:
            for key in _paths(document):
                found.setdefault((*table, *key), line)
    return found


def toml(values: Iterable[Value]) -> str:
    """As TOML, each value with its source behind it; no secret in it."""
    lines: list[str] = []
    table: Key = ()
    for one in values:
        if one.key[:-1] != table:
            table = one.key[:-1]
            lines += ["", f"[[{table[0]}]]" if isinstance(table[-1], int) else f"[{'.'.join(map(_key, table))}]"]
        key = _key(one.key[-1])
        setting = f"# {key} has no value" if one.value is None else f"{key} = {_literal(one.value)}"
        note = f"; holds a secret: {MASK}" if one.secret else ""
        lines.append(f"{setting:<{_WIDTH}} # {one.source}{note}")
    return "\n".join(lines).strip()


def _leaves(value: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    """What is no table, before the tables beside it, as TOML wants it."""
    if not isinstance(value, Section):
        yield key, value
        return
    parts = {name: getattr(value, name) for name in value.__struct_fields__}
    tables = {name: part for name, part in parts.items() if _is_table(part)}
    for name, part in parts.items():
        if name not in tables:
            yield (*key, name), part
    for name, part in tables.items():
        if isinstance(part, Section):
            yield from _leaves(part, (*key, name))
        else:
            for index, inner in part.items() if isinstance(part, dict) else enumerate(part):
                yield from _leaves(inner, (*key, name, index))


def _is_table(value: Any) -> bool:
    if isinstance(value, dict):
        value = tuple(value.values())
    return isinstance(value, Section) or (isinstance(value, tuple) and bool(value) and isinstance(value[0], Section))


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Headers and settings with the line on which each begins; no part of one is good by itself."""
    begun, pending = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        begun = begun or number
        pending += line + "\n"
        try:
            tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        yield begun, pending
        begun, pending = 0, ""


def _table(header: Mapping[str, Any], counts: dict[Key, int]) -> Key:
    """The key of a header's table; the last one of a list where it goes through one."""
    key: Key = ()
    inner: Any = header
    while isinstance(inner, dict) and inner:
        (name, inner), *_ = inner.items()
        key = (*key, name)
        if isinstance(inner, list):
            counts[key] = counts.get(key, 0) + 1
            inner = None
        if key in counts:
            key = (*key, counts[key] - 1)
    return key


def _paths(value: Any) -> Iterator[Key]:
    """The keys inside a table, and those of the tables inside it."""
    items: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        items = enumerate(value)
    for name, inner in items:
        yield (name,)
        for rest in _paths(inner):
            yield (name, *rest)


def _key(part: str | int) -> str:
    text = str(part)
    return text if re.fullmatch("[A-Za-z0-9_-]+", text) else _literal(text)


def _literal(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(name)} = {_literal(inner)}" for name, inner in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
