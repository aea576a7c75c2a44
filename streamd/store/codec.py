"""One record of the journal to bytes and back, to the last bit.

Knows what a batch and a command hold; does not know where the bytes are kept, nor checks them against decay.

Version 1: the byte 1, the kind, and for a batch its rows and columns, its times, its values row by row (all
little-endian float64, so a NaN keeps its bits) and the streams' names in MessagePack; for a command its MessagePack.
Whoever adds a field to a command or changes a layout counts the version up. MessagePack for the numbers too would take
an eighth more bytes, and for a batch of 64 rows or more ten times as long (for a lone row a microsecond less).
"""

from __future__ import annotations

import struct

import msgspec
import numpy as np

from streamd.records import Batch, Command, Marks, Record

VERSION = 1
_HEAD = struct.Struct("<BB")  # version, kind
_SHAPE = struct.Struct("<II")  # rows, columns
_BATCH, _COMMAND = 0, 1
_DOUBLE = np.dtype("<f8")
_VALUES_AT = _HEAD.size + _SHAPE.size

_to_bytes = msgspec.msgpack.Encoder().encode
_to_names = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_to_command = msgspec.msgpack.Decoder(Command | Marks).decode


class CodecError(Exception):
    """The bytes are no record, or one from a newer streamd; the text says which."""


def encode(record: Record) -> bytes:
    """The bytes of a record.

    Raises:
        ValueError: the axes of a batch do not fit together, or a name is no Unicode text.
    """
    if not isinstance(record, Batch):
        return _HEAD.pack(VERSION, _COMMAND) + _to_bytes(record)
    rows = len(record.streams)
    if record.times.shape != (rows,) or record.values.ndim != 2 or record.values.shape[0] != rows:
        raise ValueError(f"{rows} streams, times {record.times.shape}, values {record.values.shape} are no batch")
    return b"".join(
        (
            _HEAD.pack(VERSION, _BATCH),
            _SHAPE.pack(rows, record.values.shape[1]),
            record.times.astype(_DOUBLE, copy=False).tobytes(),
            record.values.astype(_DOUBLE, copy=False).tobytes(),
            _to_bytes(record.streams),
        )
    )


def decode(data: bytes) -> Record:
    """The record that was encoded; the arrays of a batch are its own and may be written.

    Raises:
        CodecError: the bytes are torn or not ours, or from a newer streamd.
    """
    try:
        version, kind = _HEAD.unpack_from(data)
        if version != VERSION:
            raise CodecError(f"a record in format {version}; this streamd reads {VERSION}")
        if kind == _BATCH:
            return _batch(data)
        if kind == _COMMAND:
            command: Command = _to_command(memoryview(data)[_HEAD.size :])
            return command
    except (struct.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"a record of {len(data)} bytes can't be read: {error}") from error
    raise CodecError(f"a record of unknown kind {kind}")


def _batch(data: bytes) -> Batch:
    rows, columns = _SHAPE.unpack_from(data, _HEAD.size)
    names_at = _VALUES_AT + _DOUBLE.itemsize * rows * (1 + columns)
    if names_at > len(data):
        raise CodecError(f"a record of {len(data)} bytes where its {rows} rows of {columns} need more")
    numbers = np.frombuffer(data, _DOUBLE, rows * (1 + columns), _VALUES_AT).astype(np.float64)
    streams = _to_names(memoryview(data)[names_at:])
    if len(streams) != rows:
        raise CodecError(f"a record of {rows} rows with {len(streams)} names")
    return Batch(streams, numbers[:rows], numbers[rows:].reshape(rows, columns))
