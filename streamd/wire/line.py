"""InfluxDB line protocol to readings: `pumps,id=p1 flow=1.5,pressure=3i 1700000000000000000`, a line a reading.

Knows measurements, tags, fields and their escapes; what a time or a name looks like it asks `times` and `names`. The
numeric fields are the channels, a tag names the stream.
"""

from __future__ import annotations

import math
import re
from typing import Final

from streamd.config import Source
from streamd.records import Reading
from streamd.wire import names, times
from streamd.wire.readings import MAX_BYTES, MAX_READINGS, Decoded, Reason, size_fault

MEASUREMENT: Final = "measurement"  # names the stream where no tag is called so

# A part ends at a space or comma that has no backslash before it and is not between quotes.
_KEY: Final = r"(?:\\.|[^\\,= ])+"
_VALUE: Final = r'(?:"(?:\\.|[^"\\])*"|(?:\\.|[^\\,= "])+)'
_HEAD: Final = re.compile(rf"(?:\\.|[^\\, ])+(?:,{_KEY}={_KEY})*", re.DOTALL)
_FIELDS: Final = re.compile(rf"{_KEY}={_VALUE}(?:,{_KEY}={_VALUE})*", re.DOTALL)
_FIELD: Final = re.compile(rf"({_KEY})=({_VALUE})", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?\d+[iu]", re.ASCII)
_TIME: Final = re.compile(r" +(-?\d{1,20})?\s*", re.ASCII)
_ESCAPED: Final = re.compile(r"\\([,= \\])")
_TRUTH: Final = {"t": 1.0, "T": 1.0, "true": 1.0, "True": 1.0, "TRUE": 1.0} | dict.fromkeys(
    ("f", "F", "false", "False", "FALSE"), 0.0
)


class LineDecoder:
    """Decodes the payloads of one source; see `readings.Decoder`."""

    def __init__(self, source: Source, max_channels: int, max_bytes: int = MAX_BYTES) -> None:
        self._source = source
        self._max_channels = max_channels
        self._max_bytes = max_bytes
        self._channels = names.Channels(source.fields)
        self._streams = names.Streams()
        self._heads: dict[str, str | None] = {}  # measurement with tags -> stream; bounded by MAX_READINGS

    def decode(self, payload: bytes, stream: str, channel: str | None = None) -> Decoded:
        """The readings in a payload, and a reason for each line or value that could not be used.

        Empty lines and those that begin with # are passed over; texts are no values and no faults. A line without a
        time has `time` None.

        Never raises, whatever the bytes are; gives at least one reading or one reason.
        """
        if (fault := size_fault(payload, self._max_bytes)) is not None:
            return Decoded([], [fault])
        try:
            lines = payload.decode().split("\n")
        except UnicodeDecodeError:
            return Decoded([], ["bad_line"])
        lines = [text for line in lines if (text := line.strip(" \r\t")) and not text.startswith("#")]
        if not 0 < len(lines) <= MAX_READINGS:
            return Decoded([], ["too_many_readings" if lines else "no_readings"])
        readings: list[Reading] = []
        refused: list[Reason] = []
        for line in lines:
            self._take(line, stream, readings, refused)
        return Decoded(readings, refused)

    def _take(self, line: str, stream: str, readings: list[Reading], refused: list[Reason]) -> None:
        """Add one line's reading, or the reason why there is none."""
        parts = _cut(line) if "\\" in line or '"' in line else tuple(line.split())
        if parts is None or not 2 <= len(parts) <= 3:
            refused.append("bad_line")
            return
        head, fields = parts[0], parts[1]
        values: dict[str, float] = {}
        faults: list[Reason] = []
        if not self._values(fields, values, faults):
            refused.append("bad_line")
            return
        if len(values) > self._max_channels:
            refused.append("too_many_channels")
            return
        if not values:
            refused.append(faults[0] if faults else "no_values")
            return
        named = stream if self._source.stream is None else self._stream(head)
        if named is None:
            refused.append("bad_stream")
            return
        time: float | None = None
        if len(parts) == 3:
            time = times.seconds(parts[2], self._source.time_unit)
            if time is None:
                refused.append("bad_time")
                return
        refused.extend(faults)
        readings.append(Reading(named, time, values))

    def _values(self, fields: str, values: dict[str, float], faults: list[Reason]) -> bool:
        """The numeric fields, into `values`; false where they are none at all."""
        plain = "\\" not in fields and '"' not in fields
        pairs = [field.split("=") for field in fields.split(",")] if plain else _FIELD.findall(fields)
        for pair in pairs:
            if len(pair) != 2 or not pair[0] or not pair[1]:
                return False
            key, text = pair
            if (value := _TRUTH.get(text)) is None:
                if text[0] == '"':
                    continue
                if _NUMBER.fullmatch(text) is None:
                    return False
                value = _float(text)
            channel = self._channels.find(key if plain else _ESCAPED.sub(r"\1", key))
            if not math.isfinite(value):
                faults.append("not_finite")
            elif channel is None:
                faults.append("bad_name")
            elif channel in values:
                faults.append("double_name")
            else:
                values[channel] = value
        return True

    def _stream(self, head: str) -> str | None:
        """The stream that measurement and tags name; remembered, for they come again and again."""
        if head in self._heads:
            return self._heads[head]
        measurement, *tags = re.split(r"(?<!\\),", head)
        named = {MEASUREMENT: measurement} | dict(tag.split("=", 1) for tag in tags if "=" in tag)
        found = named.get(self._source.stream or "")
        stream = None if found is None else self._streams.find(_ESCAPED.sub(r"\1", found))
        if len(self._heads) >= MAX_READINGS:
            self._heads.clear()
        if len(head) <= names.MAX_NAME:
            self._heads[head] = stream
        return stream


def _cut(line: str) -> tuple[str, ...] | None:
    """Measurement with tags, fields, and the time if any, of a line with escapes or quotes; None: it is none."""
    head = _HEAD.match(line)
    if head is None or not line.startswith(" ", head.end()):
        return None
    rest = line[head.end() :].lstrip(" ")
    fields = _FIELDS.match(rest)
    if fields is None:
        return None
    if fields.end() == len(rest):
        return head[0], fields[0]
    time = _TIME.fullmatch(rest, fields.end())
    if time is None:
        return None
    return (head[0], fields[0]) if time[1] is None else (head[0], fields[0], time[1])


def _float(text: str) -> float:
    if text[-1] not in "iu":
        return float(text)
    return float(text[:-1])  # an integer beyond a float is infinite here too
