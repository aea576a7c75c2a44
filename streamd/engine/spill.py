"""The row of a stream that leaves memory, as bytes that say themselves what they hold.

A fixed head, a JSON header (layout, reset count, channels, and each array's name, type and shape), then the arrays'
bytes one after the other. Knows names and shapes; neither what the numbers mean nor where the bytes are kept, and it
trusts them to be undamaged: whoever keeps them checks that.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from streamd.engine.layout import LAYOUT
from streamd.engine.upgrade import upgrade
from streamd.records import Array

VERSION = 1
_HEAD = struct.Struct("<4sHxxI")  # what it is, version, bytes of the header
_MAGIC = b"row\n"

Natural = Annotated[int, Meta(ge=0)]


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    name: str
    dtype: Literal["|b1", "|u1", "<i8", "<f4", "<f8"]
    shape: tuple[Natural, ...]  # of one row


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    layout: int
    resets: int
    channels: tuple[str, ...]
    arrays: tuple[_Entry, ...]


@dataclass(frozen=True, slots=True)
class Like:
    """Rows that were packed alike."""

    places: list[int]  # where they stood among the rows that were unpacked
    resets: int  # of all streams, before these left memory
    channels: tuple[str, ...]  # of the group then
    arrays: dict[str, Array]  # [len(places), ...] by name


def pack(arrays: Mapping[str, Array], channels: Sequence[str], resets: int) -> list[bytes]:
    """One row after the other of arrays [n, ...], all of the same n."""
    plain = {name: array.astype(array.dtype.newbyteorder("<"), order="C", copy=False) for name, array in arrays.items()}
    entries = tuple(_Entry(name, array.dtype.str, array.shape[1:]) for name, array in plain.items())  # type: ignore[arg-type]
    header = msgspec.json.encode(_Header(LAYOUT, resets, tuple(channels), entries))
    start = _HEAD.pack(_MAGIC, VERSION, len(header)) + header
    count = len(next(iter(plain.values())))
    return [b"".join((start, *(array[i].tobytes() for array in plain.values()))) for i in range(count)]


def unpack(packed: Sequence[bytes]) -> list[Like]:
    """What `pack` was given, row by row or as many alike as there are.

    Raises:
        ValueError: not such bytes, cut short, or of a version or layout that a newer streamd writes.
    """
    alike: dict[bytes, list[int]] = {}
    for place, data in enumerate(packed):
        alike.setdefault(_header(data), []).append(place)
    return [_unpack(header, places, [packed[place] for place in places]) for header, places in alike.items()]


def _header(data: bytes) -> bytes:
    if len(data) < _HEAD.size:
        raise ValueError(f"a row of {len(data)} bytes is too short")
    magic, version, length = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("these bytes are not a stream's row")
    if version > VERSION:
        raise ValueError(f"a row of version {version}: this streamd reads {VERSION}")
    return data[_HEAD.size : _HEAD.size + length]


def _unpack(text: bytes, places: list[int], packed: list[bytes]) -> Like:
    try:
        header = msgspec.json.decode(text, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the header of a row can't be read: {error}") from error
    if header.layout > LAYOUT:
        raise ValueError(f"a row of layout {header.layout}: this streamd reads {LAYOUT}")
    sizes = [math.prod(entry.shape) * np.dtype(entry.dtype).itemsize for entry in header.arrays]
    begin = _HEAD.size + len(text)
    if any(len(data) != begin + sum(sizes) for data in packed):
        raise ValueError("a row is cut short, or longer than its header says")
    table = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), -1)
    arrays: dict[str, Array] = {}
    for entry, size in zip(header.arrays, sizes, strict=True):
        dtype, shape = np.dtype(entry.dtype), (len(packed), *entry.shape)
        array = table[:, begin : begin + size].copy().reshape(-1).view(dtype).reshape(shape)
        arrays[entry.name] = array.astype(dtype.newbyteorder("="), copy=False)
        begin += size
    return Like(places, header.resets, header.channels, upgrade(arrays, header.layout))
