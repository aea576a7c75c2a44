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
from streamd.records import Array

VERSION = 1
_HEAD = struct.Struct("<4sHxxI")  # what it is, version, bytes of the header
_MAGIC = b"row\n"

Natural = Annotated[int, Meta(ge=0)]


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    name: str
    dtype: Literal["|b1", "<i8", "<f4", "<f8"]
    shape: tuple[Natural, ...]  # of one row


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    layout: int
    resets: int
    channels: tuple[str, ...]
    arrays: tuple[_Entry, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """All that is kept of one stream."""

    resets: int  # of all streams, before it left memory
    channels: tuple[str, ...]  # of the group then
    arrays: dict[str, Array]  # [1, ...] by name; read-only


def pack(arrays: Mapping[str, Array], channels: Sequence[str], resets: int) -> list[bytes]:
    """One row after the other of arrays [n, ...], all of the same n."""
    plain = {name: array.astype(array.dtype.newbyteorder("<"), order="C", copy=False) for name, array in arrays.items()}
    entries = tuple(_Entry(name, array.dtype.str, array.shape[1:]) for name, array in plain.items())  # type: ignore[arg-type]
    header = msgspec.json.encode(_Header(LAYOUT, resets, tuple(channels), entries))
    start = _HEAD.pack(_MAGIC, VERSION, len(header)) + header
    count = len(next(iter(plain.values())))
    return [b"".join((start, *(array[i].tobytes() for array in plain.values()))) for i in range(count)]


def unpack(data: bytes) -> Row:
    """What `pack` was given of one row.

    Raises:
        ValueError: not such bytes, cut short, or of a version or layout that a newer streamd writes.
    """
    if len(data) < _HEAD.size:
        raise ValueError(f"a row of {len(data)} bytes is too short")
    magic, version, length = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("these bytes are not a stream's row")
    if version > VERSION:
        raise ValueError(f"a row of version {version}: this streamd reads {VERSION}")
    try:
        header = msgspec.json.decode(data[_HEAD.size : _HEAD.size + length], type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the header of a row can't be read: {error}") from error
    if header.layout > LAYOUT:
        raise ValueError(f"a row of layout {header.layout}: this streamd reads {LAYOUT}")
    at = _HEAD.size + length
    arrays: dict[str, Array] = {}
    for entry in header.arrays:
        dtype, count = np.dtype(entry.dtype), math.prod(entry.shape)
        if at + count * dtype.itemsize > len(data):
            raise ValueError("a row is cut short")
        array = np.frombuffer(data, dtype, count, at).reshape(1, *entry.shape)
        arrays[entry.name] = array.astype(dtype.newbyteorder("="), copy=False)
        at += array.nbytes
    if at != len(data):
        raise ValueError(f"a row with {len(data) - at} bytes too many")
    return Row(header.resets, header.channels, arrays)
