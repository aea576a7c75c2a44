"""Named arrays and short texts in one safetensors file, streamed through the file in pieces.

Knows the file format; does not know what the arrays mean, nor how a file is made durable. The library would do
both directions, but it reads through a memory map, where a bad sector is a signal that kills the daemon, and it
reports a full disk as text. Here both are an OSError, and no second copy of the arrays is made.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Annotated, BinaryIO, Literal

import msgspec
import numpy as np
from msgspec import Meta

from streamd.records import Array

HEADER_LIMIT = 100_000_000  # bytes; the library refuses more
_METADATA = "__metadata__"
_LENGTH = struct.Struct("<Q")
_CODES: dict[str, Literal["BOOL", "U8", "I32", "I64", "F32", "F64"]] = {
    "bool": "BOOL",
    "uint8": "U8",
    "int32": "I32",
    "int64": "I64",
    "float32": "F32",
    "float64": "F64",
}
_DTYPES = {code: np.dtype(name).newbyteorder("<") for name, code in _CODES.items()}

Natural = Annotated[int, Meta(ge=0)]


class TensorError(Exception):
    """The bytes are not a whole safetensors file of the kinds of array that we write."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file's header says of one array."""

    dtype: Literal["BOOL", "U8", "I32", "I64", "F32", "F64"]
    shape: tuple[Natural, ...]
    data_offsets: tuple[Natural, Natural]  # begin and end, bytes after the header


def plain(array: Array) -> Array:
    """The same values as the file holds them, little-endian and C-contiguous; no copy where they already are.

    Raises:
        ValueError: an array of another type than bool, uint8, int32, int64, float32, float64.
    """
    if array.dtype.name not in _CODES:
        raise ValueError(f"an array of {array.dtype.name} can't be kept; one of {', '.join(_CODES)} can")
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def raw(array: Array) -> memoryview:
    """The bytes of a `plain` array, not copied."""
    return array.reshape(-1).view(np.uint8).data


def write(file: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Writes `plain` arrays and texts; what is written is not yet on the disk.

    Raises:
        ValueError: names, shapes and texts take more than HEADER_LIMIT bytes, or an array bears the reserved name.
        OSError: the disk is full, read-only or gone.
    """
    if _METADATA in arrays:
        raise ValueError(f"{_METADATA} is no name for an array")
    header: dict[str, object] = {_METADATA: dict(metadata)}
    end = 0
    # Wide types first keeps every array aligned, as the library does it.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    for name in names:
        array = arrays[name]
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _CODES[array.dtype.name], "shape": array.shape, "data_offsets": (begin, end)}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_LIMIT:
        raise ValueError(f"the header would take {len(text)} bytes, more than {HEADER_LIMIT}")
    file.write(_LENGTH.pack(len(text)) + text)
    for name in names:
        file.write(raw(arrays[name]))


def read(file: io.BufferedReader) -> tuple[dict[str, str], Iterator[tuple[str, Array]]]:
    """The texts, and the arrays one by one in the order of their names; the file stays open for them.

    Raises:
        TensorError: torn, or not such a file; also while the arrays are drawn.
        OSError: the disk does not give the bytes.
    """
    size = os.fstat(file.fileno()).st_size
    if size < _LENGTH.size:
        raise TensorError(f"only {size} bytes")
    (length,) = _LENGTH.unpack(_exactly(file, _LENGTH.size))
    start = _LENGTH.size + length
    if length > HEADER_LIMIT or start > size:
        raise TensorError("its header is longer than the file or the limit")
    try:
        fields = msgspec.json.decode(_exactly(file, length), type=dict[str, msgspec.Raw])
        metadata = msgspec.json.decode(fields.pop(_METADATA, b"{}"), type=dict[str, str])
        entries = {name: msgspec.json.decode(field, type=_Entry) for name, field in fields.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TensorError(f"its header can't be read: {error}") from error
    _check_layout(entries, size - start)
    return metadata, _draw(file, start, entries)


def _check_layout(entries: Mapping[str, _Entry], size: int) -> None:
    """The arrays fill the `size` bytes after the header: no gap, no overlap, nothing left."""
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, stop = entry.data_offsets
        if begin != end or stop - begin != math.prod(entry.shape) * _DTYPES[entry.dtype].itemsize:
            raise TensorError(f"array {name!r} does not lie where it should")
        end = stop
    if end != size:
        raise TensorError(f"{size} bytes of arrays where the header tells of {end}")


def _draw(file: io.BufferedReader, start: int, entries: Mapping[str, _Entry]) -> Iterator[tuple[str, Array]]:
    for name in sorted(entries):
        entry = entries[name]
        try:
            array: Array = np.empty(entry.shape, dtype=_DTYPES[entry.dtype])
        except ValueError as error:  # no bytes, but axes beyond what numpy can address
            raise TensorError(f"array {name!r}: {error}") from error
        file.seek(start + entry.data_offsets[0])
        view = raw(array)
        if file.readinto(view) != len(view):
            raise TensorError("the file ends early")
        if entry.dtype == "BOOL" and view.nbytes and array.view(np.uint8).max() > 1:
            raise TensorError(f"array {name!r} holds truth values that are neither 0 nor 1")
        yield name, array


def _exactly(file: io.BufferedReader, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise TensorError("the file ends early")
    return data
