"""Payloads of named columns to readings: `{"ts": [...], "id": [...], "flow": [...]}`, a row a reading.

The way for many readings in a message: names come once and values by the array, so that a reading of six channels
costs a few microseconds. Knows columns; what a time or a name looks like it asks `times` and `names`.
"""

from __future__ import annotations

import math
from itertools import repeat
from typing import Any

from streamd.config import Source
from streamd.records import Reading
from streamd.wire import names, times
from streamd.wire.readings import MAX_BYTES, MAX_READINGS, Decoded, Reason, number, parse, size_fault

_FLOAT, _NUMBERS = {float}, {float, int}


class ColumnsDecoder:
    """Decodes the payloads of one source; see `readings.Decoder`."""

    def __init__(self, source: Source, max_channels: int, max_bytes: int = MAX_BYTES) -> None:
        self._source = source
        self._max_channels = max_channels
        self._max_bytes = max_bytes
        self._channels = names.Channels(source.fields)
        self._streams = names.Streams()

    def decode(self, payload: bytes, stream: str, channel: str | None = None) -> Decoded:
        """The readings in a payload, and a reason for each part that could not be used.

        The payload is an object whose arrays are as long as each other; each is a channel, but for the ones that hold
        the time and the stream. Those two may also be a single value, which holds for all rows. What is null or no
        number in a channel is a missing value. An array without one number in it, such as one of texts, is no channel.

        Never raises, whatever the bytes are; gives at least one reading or one reason.
        """
        if (fault := size_fault(payload, self._max_bytes)) is not None:
            return Decoded([], [fault])
        body, fault = parse(payload)
        if fault is not None:
            return Decoded([], [fault])
        if type(body) is not dict:
            return Decoded([], ["wrong_type"])
        source = self._source
        when = None if source.time is None else body.pop(source.time, None)
        whose = stream if source.stream is None else body.pop(source.stream, None)
        lengths = {len(column) for column in (*body.values(), when, whose) if type(column) is list}
        if len(lengths) != 1:
            return Decoded([], ["bad_columns"])
        rows = lengths.pop()
        if not 0 < rows <= MAX_READINGS:
            return Decoded([], ["too_many_readings" if rows else "no_readings"])
        refused: list[Reason] = []
        columns, whole = self._columns(body, refused)
        if not columns:
            return Decoded([], refused or ["no_values"])
        if len(columns) > self._max_channels:
            return Decoded([], ["too_many_channels"])
        readings: list[Reading] = []
        streams = whose if type(whose) is list else repeat(whose, rows)
        moments = when if type(when) is list else repeat(when, rows)
        unit = source.time_unit
        for named, moment, row in zip(streams, moments, zip(*columns.values(), strict=True), strict=True):
            values = dict(zip(columns, row, strict=True))
            if not whole:
                values = {name: value for name, value in values.items() if value is not None}
                if not values:
                    refused.append("no_values")
                    continue
            known = self._streams.find(named)
            if known is None:
                refused.append("bad_stream")
                continue
            time = None if moment is None else times.seconds(moment, unit)
            if time is None and moment is not None:
                refused.append("bad_time")
                continue
            readings.append(Reading(known, time, values))
        return Decoded(readings, refused)

    def _columns(self, body: dict[str, Any], refused: list[Reason]) -> tuple[dict[str, list[Any]], bool]:
        """The channels' values, None where there is none, and whether there is none of those."""
        columns: dict[str, list[Any]] = {}
        whole = True
        for path, column in body.items():
            if type(column) is not list:
                continue
            kinds = set(map(type, column))
            if kinds == _FLOAT and math.isfinite(sum(column)):
                values: list[Any] = column
            else:
                values = [_finite(value, refused) for value in column]
                if kinds.isdisjoint(_NUMBERS | {bool}):
                    continue
                whole = whole and None not in values
            channel = self._channels.find(path)
            if channel is None:
                refused.append("bad_name")
            elif channel in columns:
                refused.append("double_name")
            else:
                columns[channel] = values
        return columns, whole


def _finite(value: Any, refused: list[Reason]) -> float | None:
    found = number(value)
    if found is not None and not math.isfinite(found):
        refused.append("not_finite")
        return None
    return found
