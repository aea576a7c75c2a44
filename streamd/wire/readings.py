"""Payloads to readings: JSON objects, arrays of them, and bare numbers.

Knows how devices write values and times; not topics, groups or which channels somebody wants.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from streamd.config import Source
from streamd.records import Reading
from streamd.wire import names, times

Reason: TypeAlias = Literal[
    # of a message
    "bad_topic",  # no source fits the topic; counted by whoever asked the router
    "empty",  # no bytes at all
    "too_large",  # more bytes than allowed
    "not_json",  # doesn't parse; NaN, Infinity and invalid UTF-8 are not JSON either
    "no_readings",  # the path to the array leads nowhere, or the array is empty
    "too_many_readings",  # an array longer than MAX_READINGS
    # of a message or of an element of an array
    "wrong_type",  # neither an object nor, where the topic names the channel, a number
    "no_values",  # not one number in it
    "too_many_channels",  # more numbers than the group may have channels
    "bad_time",  # there is a time, but none that can be read
    "bad_stream",  # the field that names the stream is missing, or names none
    "bad_columns",  # not an object of arrays of one length
    "bad_line",  # not measurement, tags, fields and time
    # of a value, the others of its reading being good
    "too_deep",  # more nested than MAX_DEPTH; of the message where the parser gives up
    "not_finite",  # beyond what a float can hold
    "bad_name",  # empty, too long, or with control characters
    "double_name",  # two fields with the name of one channel: the first one counts
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

MAX_DEPTH: Final = 8  # of objects in a reading, itself included
MAX_READINGS: Final = 10_000  # in one message
MAX_BYTES: Final = 1_048_576  # of a payload, unless told otherwise

_NUMBER: Final = re.compile(rb"\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*")
_TEXT_CHARS: Final = 64
_parse = msgspec.json.Decoder().decode
_parse_beyond_floats = msgspec.json.Decoder(float_hook=float).decode  # 1e400 is inf, not the end of the message


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one payload gave."""

    readings: list[Reading]
    refused: list[Reason]  # one per message, array element or single value that could not be used


def size_fault(payload: bytes, max_bytes: int) -> Reason | None:
    """What is wrong with a payload's size, before anything looks into it; None: nothing."""
    if not payload:
        return "empty"
    return "too_large" if len(payload) > max_bytes else None


class Decoder:
    """Decodes the payloads of one source."""

    def __init__(self, source: Source, max_channels: int, max_bytes: int = MAX_BYTES) -> None:
        """A decoder for payloads that look as `source` says, with limits on channels per reading and on size."""
        self._source = source
        self._max_channels = max_channels
        self._max_bytes = max_bytes
        self._channels = names.Channels(source.fields)
        self._streams = names.Streams()

    def decode(self, payload: bytes, stream: str, channel: str | None) -> Decoded:
        """The readings in a payload, and a reason for each part that could not be used.

        `stream` and `channel` are what the topic names; where the source has a field for the stream, that names it.
        With a `channel` the payload is a bare number or an object with the source's value field, without one it is an
        object whose numeric fields, at whatever depth, are the channels. Either may come as an array. Texts, nulls and
        arrays inside an object are no values and no faults. A reading whose time is missing has `time` None, one whose
        time can't be read is refused.

        Never raises, whatever the bytes are; gives at least one reading or one reason.
        """
        if (fault := size_fault(payload, self._max_bytes)) is not None:
            return Decoded([], [fault])
        body, fault = parse(payload, plain_text=channel is not None)
        if fault is not None:
            return Decoded([], [fault])
        path = self._source.readings
        if path is not None and type(body) is dict:
            body = _find(body, path)
            if body is None:
                return Decoded([], ["no_readings"])
            if type(body) is not list:
                return Decoded([], ["wrong_type"])
        readings: list[Reading] = []
        refused: list[Reason] = []
        if type(body) is not list:
            self._take(body, stream, channel, readings, refused)
        elif not body:
            refused.append("no_readings")
        elif len(body) > MAX_READINGS:
            refused.append("too_many_readings")
        else:
            for element in body:
                # A bare number has no time of its own: a row of them would all be at once.
                if type(element) is dict:
                    self._take(element, stream, channel, readings, refused)
                else:
                    refused.append("wrong_type")
        return Decoded(readings, refused)

    def _take(
        self, body: Any, stream: str, channel: str | None, readings: list[Reading], refused: list[Reason]
    ) -> None:
        """Add one body's reading, or the reason why there is none, to what was found before."""
        values: dict[str, float] = {}
        faults: list[Reason] = []
        if channel is not None:
            self._one_value(body, channel, values, faults)
        elif type(body) is dict:
            self._all_values(body, "", 1, values, faults)
        else:
            faults.append("wrong_type")
        time: float | None = None
        if len(values) > self._max_channels:
            refused.append("too_many_channels")
            return
        if not values:
            refused.append(faults[0] if faults else "no_values")
            return
        if self._source.stream is not None:
            named = self._streams.find(_find(body, self._source.stream)) if type(body) is dict else None
            if named is None:
                refused.append("bad_stream")
                return
            stream = named
        if self._source.time is not None and type(body) is dict:
            written = _find(body, self._source.time)
            if written is not None:
                time = times.seconds(written, self._source.time_unit)
                if time is None:
                    refused.append("bad_time")
                    return
        refused.extend(faults)
        readings.append(Reading(stream, time, values))

    def _one_value(self, body: Any, channel: str, values: dict[str, float], faults: list[Reason]) -> None:
        """The value of a channel that the topic names, into `values`."""
        value = _find(body, self._source.value) if type(body) is dict else body
        found = number(value)
        if found is None:
            if value is not None:
                faults.append("wrong_type")
        elif math.isfinite(found):
            values[channel] = found
        else:
            faults.append("not_finite")

    def _all_values(
        self, body: dict[str, Any], prefix: str, depth: int, values: dict[str, float], faults: list[Reason]
    ) -> None:
        """The numeric fields of an object and of those inside it, into `values`."""
        for key, value in body.items():
            path = prefix + key
            if path in (self._source.time, self._source.stream):
                continue
            found = number(value)
            if found is None:
                if type(value) is not dict:
                    continue
                # A long prefix would be copied for every field under it; no name under it could be good.
                if len(path) >= names.MAX_NAME:
                    faults.append("bad_name")
                elif depth == MAX_DEPTH:
                    faults.append("too_deep")
                else:
                    self._all_values(value, path + ".", depth + 1, values, faults)
                continue
            channel = self._channels.find(path)
            if not math.isfinite(found):
                faults.append("not_finite")
            elif channel is None:
                faults.append("bad_name")
            elif channel in values:
                faults.append("double_name")
            else:
                values[channel] = found


def parse(payload: bytes, *, plain_text: bool = False) -> tuple[Any, Reason | None]:
    """What JSON holds, where numbers beyond a float are infinite, or why it can't be read.

    With `plain_text` a bare number may be written as small devices print it.
    """
    try:
        return _parse(payload), None
    except RecursionError:
        return None, "too_deep"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _parse_again(payload, error, plain_text=plain_text)


def number(value: Any) -> float | None:
    """A JSON number or boolean as a float, infinite where it doesn't fit into one; None: neither of them."""
    kind = type(value)
    if kind is float:
        return float(value)
    if kind is int or kind is bool:
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None


def _find(body: dict[str, Any], path: str) -> Any:
    """What a path such as `a.b` leads to, the field "a.b" before the field "b" of "a"; None: nothing or null."""
    if path in body:
        return body[path]
    for end, character in enumerate(path):
        if character == ".":
            inner = body.get(path[:end])
            if type(inner) is dict:
                found = _find(inner, path[end + 1 :])
                if found is not None:
                    return found
    return None


def _parse_again(payload: bytes, error: Exception, *, plain_text: bool) -> tuple[Any, Reason | None]:
    """What a payload holds that the fast parser refused: its body, or a reason. Rare, so it may be slower."""
    if isinstance(error, msgspec.ValidationError):  # a number out of range: the other values may be good
        try:
            return _parse_beyond_floats(payload), None
        except msgspec.ValidationError:  # an integer of thousands of digits
            return None, "not_finite"
        except RecursionError:
            return None, "too_deep"
        except (msgspec.DecodeError, UnicodeDecodeError):  # and behind that number it isn't JSON
            return None, "not_json"
    # Such as +21.5, .5 or 007: no JSON, but what small devices print.
    if plain_text and len(payload) <= _TEXT_CHARS and _NUMBER.fullmatch(payload):
        return float(payload), None
    return None, "not_json"
