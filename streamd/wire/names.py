"""Which texts may name a stream or a channel.

Knows characters and lengths; not where a name came from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeVar

_Name = TypeVar("_Name", str, str | None)

MAX_NAME: Final = 256  # characters
_CACHED: Final = 16_384
_LARGEST_NUMBER: Final = 10**18

# C0, DEL and C1 would break logs, metrics and terminals; a lone surrogate can't be written as UTF-8 again.
_ODD: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_LEVEL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff/+#]")


def is_printable(text: str) -> bool:
    """Whether a text has neither control characters nor lone surrogates.

    >>> is_printable("pump 1"), is_printable("pump\\n1")
    (True, False)
    """
    return _ODD.search(text) is None


def is_channel(text: str) -> bool:
    """Whether a text may name a channel that comes from a field of a payload: 1 to `MAX_NAME` printable characters.

    >>> is_channel("motor.rpm#2"), is_channel("")
    (True, False)
    """
    return 0 < len(text) <= MAX_NAME and is_printable(text)


def is_level(text: str) -> bool:
    """Whether a text may name a stream or a channel that is one level of a topic: a channel name without /, + and #.

    >>> is_level("pump-1"), is_level("pump/1"), is_level("+")
    (True, False, False)
    """
    return 0 < len(text) <= MAX_NAME and _NOT_IN_LEVEL.search(text) is None


class Channels:
    """The channels that the paths of fields stand for; remembered, for paths come again and again.

    Args:
        renamed: path -> channel; any other path is its own name.
    """

    def __init__(self, renamed: Mapping[str, str]) -> None:
        self._renamed = renamed
        self._found: dict[str, str | None] = {}  # bounded by _CACHED

    def find(self, path: str) -> str | None:
        """None: it can't be a name."""
        if path in self._found:
            return self._found[path]
        name = self._renamed.get(path, path)
        channel = name if is_channel(name) else None
        if len(path) <= MAX_NAME:
            _remember(self._found, path, channel)
        return channel


class Streams:
    """The streams that fields of readings name; remembered too."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}  # bounded by _CACHED

    def find(self, value: object) -> str | None:
        """A text or a whole number as the name of a stream; None: it can't be one level of a topic.

        >>> Streams().find("pump-1"), Streams().find(17), Streams().find("a/b"), Streams().find(1.5)
        ('pump-1', '17', None, None)
        """
        if type(value) is int and abs(value) < _LARGEST_NUMBER:
            value = str(value)
        if type(value) is not str:
            return None
        if value in self._found:
            return value
        if not is_level(value):
            return None
        _remember(self._found, value, value)
        return value


def _remember(found: dict[str, _Name], key: str, value: _Name) -> None:
    if len(found) >= _CACHED:
        found.clear()
    found[key] = value
