"""Times as devices write them, to seconds since the epoch, and back to UTC for what is published.

Knows notations and sane limits; reads no clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

Unit: TypeAlias = Literal["auto", "iso", "s", "ms", "us", "ns"]

# Outside of these a time is a device's unset clock or the wrong unit.
EARLIEST: Final = 0.0  # 1970-01-01
LATEST: Final = datetime(2201, 1, 1, tzinfo=UTC).timestamp()  # the first moment that is no longer taken

_MILLISECONDS_ABOVE: Final = 1e11  # as seconds the year 5138, as milliseconds March 1973
_MICROSECONDS_ABOVE: Final = 1e14  # the same for milliseconds
_NANOSECONDS_ABOVE: Final = 1e17
_IN_A_SECOND: Final = {"ms": 1e3, "us": 1e6, "ns": 1e9}
_MAX_CHARS: Final = 64
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# fromisoformat takes any character between date and time, even a digit of a number that is no time at all.
_ISO: Final = re.compile(r"\d{4}(-?)\d\d\1\d\d(?:[T ]\d.*)?", re.ASCII)
_COMPACT_DATE: Final = re.compile(r"\d{8}", re.ASCII)  # 20261123; as seconds no later than March 1973


def seconds(value: object, unit: Unit) -> float | None:
    """A time in a decoded payload as seconds since the epoch; None where it can't be one.

    `value` is a number or a text. `unit` "iso" takes ISO 8601 texts (UTC unless they name an offset), "s", "ms",
    "us" and "ns" take numbers, also written as a text; "auto" takes either, and numbers above 1e11 as milliseconds,
    above 1e14 as microseconds, above 1e17 as nanoseconds. Years outside of 1970 to 2200 are refused.

    >>> seconds("2026-11-23T12:00:00.5+01:00", "auto")
    1795431600.5
    >>> seconds(1795431600500, "auto"), seconds("1795431600.5", "auto"), seconds("soon", "auto")
    (1795431600.5, 1795431600.5, None)
    """
    if isinstance(value, str):
        if len(value) > _MAX_CHARS:
            return None
        text = value.strip()
        compact = unit == "auto" and _COMPACT_DATE.fullmatch(text) is not None
        if unit == "iso" or compact or _NUMBER.fullmatch(text) is None:
            return _within_limits(_from_iso(text)) if unit in ("auto", "iso") else None
        number = float(text)
    elif isinstance(value, int | float) and not isinstance(value, bool) and unit != "iso":
        try:
            number = float(value)
        except OverflowError:
            return None
    else:
        return None
    if unit == "auto" and number > _MILLISECONDS_ABOVE:
        unit = "ms" if number <= _MICROSECONDS_ABOVE else "us" if number <= _NANOSECONDS_ABOVE else "ns"
    if unit in _IN_A_SECOND:
        number /= _IN_A_SECOND[unit]
    return _within_limits(number)


def utc(epoch: float) -> datetime:
    """A moment in s since the epoch as a UTC time, rounded to the microsecond."""
    return datetime.fromtimestamp(epoch, UTC)


def _from_iso(text: str) -> float | None:
    text = text.upper()
    if _ISO.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _within_limits(number: float | None) -> float | None:
    return number if number is not None and EARLIEST <= number < LATEST else None
