"""Checkpoints: the whole state of the engine at one journal position, one file each, newest first.

Knows names, digests and how a write survives a power cut; does not know what the arrays mean.

The envelope (two texts in the file: `streamd`, a JSON header, and `sha256`, the digest of that header and of all
arrays) is the same in every version; the header's `version` says how the rest is meant. So a file from a newer
streamd can be told from a damaged one. A version that needs another envelope must give its files another name.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

import streamd
from streamd.records import Array
from streamd.store import tensors
from streamd.store.tensors import TensorError

log = logging.getLogger(__name__)

FORMAT = "streamd-checkpoint"
VERSION = 1
QUARANTINE = "quarantine"
_NAME = re.compile(r"checkpoint-(\d{20})(\.\d+)?\.safetensors", re.ASCII)  # with .1, .2… where a name was taken
_TEMPORARY = ".checkpoint-*.tmp"


class CheckpointError(Exception):
    """The checkpoint can't be used; the text says why, and where it is sound but not for us, which streamd made it."""


class _DamagedError(Exception):
    """The file is no checkpoint, or no longer; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The whole state of the engine at one journal position."""

    position: int  # in the journal; only grows
    arrays: Mapping[str, Array]  # bool, uint8, int32, int64, float32, float64; any shape
    meta: dict[str, Any]  # what JSON can say: text keys, lists, finite numbers, integers of any size


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a state folder gave at the start."""

    checkpoint: Checkpoint | None  # None: no good one
    created: float | None  # s since the epoch, when it was made
    quarantined: tuple[tuple[Path, str], ...]  # damaged files where they are now, with the reason; newest first


@dataclass(frozen=True, slots=True)
class Description:
    """One checkpoint file for an operator's eye."""

    path: Path
    size: int  # bytes
    position: int  # by its name
    ok: bool
    reason: str  # why it can't be used; empty if it can
    version: int | None = None  # of the format; None where the file does not tell
    streamd: str | None = None  # the streamd that made it
    created: float | None = None  # s since the epoch
    arrays: int = 0
    meta: Mapping[str, str] = field(default_factory=dict)  # top-level key -> its value, in short


class _Maker(msgspec.Struct, frozen=True):
    """What the header says in every version."""

    format: str
    version: Annotated[int, Meta(ge=1)]
    streamd: str


class _Header(_Maker, frozen=True, forbid_unknown_fields=True):
    """The header of version 1."""

    created: float
    position: int
    meta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Content:
    """A sound file: its digest is right."""

    maker: _Maker
    header: _Header | None  # None: from a newer streamd, which alone can say what it means
    arrays: dict[str, Array]  # empty where only the digest was wanted
    count: int


def save(folder: Path, checkpoint: Checkpoint, keep: int, created: float) -> Path:
    """Makes a checkpoint durable, then removes all but the `keep` newest; gives its path.

    The caller holds the folder's lock and leaves the arrays alone until this returns. `created` is in s since the
    epoch. On an error the checkpoints before are as they were.

    Raises:
        ValueError, TypeError: a newer checkpoint is there, or the arrays or meta are of a kind that can't be kept.
        OSError: the disk is full, read-only or gone.
    """
    if keep < 1 or checkpoint.position < 0:
        raise ValueError(f"position {checkpoint.position}, keep {keep}: expected at least 0 and 1")
    newest = max((position for position, _ in _files(folder)), default=0)
    if newest > checkpoint.position:  # the next start would take the other one
        raise ValueError(f"{folder} holds a checkpoint at {newest}, beyond {checkpoint.position}")
    arrays = {name: tensors.plain(array) for name, array in checkpoint.arrays.items()}
    fields = _Header(FORMAT, VERSION, streamd.__version__, created, checkpoint.position, checkpoint.meta)
    header = json.dumps(msgspec.structs.asdict(fields), allow_nan=False)  # msgspec's JSON has no integers past 64 bits
    digest = _Digest(header)
    for name in sorted(arrays):
        digest.add(name, arrays[name])
    path = folder / f"checkpoint-{checkpoint.position:020d}.safetensors"
    temporary = folder / f".{path.name}.tmp"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
            tensors.write(file, arrays, {"streamd": header, "sha256": digest.text()})
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # gives a full disk its space back
            temporary.unlink(missing_ok=True)
        raise
    _sync(folder)
    for _, old in _files(folder)[keep:]:
        old.unlink()
    return path


def load_newest(folder: Path) -> Loaded:
    """The newest good checkpoint; what is damaged goes to `quarantine/`, what a crash left half-written goes away.

    The caller holds the folder's lock.

    Raises:
        CheckpointError: the newest sound one is from a newer streamd.
        OSError: the disk does not let us read or move a file. Nothing is quarantined for that.
    """
    for leftover in folder.glob(_TEMPORARY):
        leftover.unlink()
    quarantined: list[tuple[Path, str]] = []
    for position, path in _files(folder):
        try:
            content = _read(path, position, keep_arrays=True)
        except _DamagedError as error:
            there = _quarantine(path)
            log.error("checkpoint %s can't be used: %s; moved to %s", path.name, error, there)
            quarantined.append((there, str(error)))
            continue
        if content.header is None:
            raise CheckpointError(f"{path}: {_newer(content.maker)}; install that one, or use another state folder")
        checkpoint = Checkpoint(position, content.arrays, content.header.meta)
        return Loaded(checkpoint, content.header.created, tuple(quarantined))
    return Loaded(None, None, tuple(quarantined))


def newest_meta(folder: Path) -> dict[str, Any] | None:
    """What the newest good checkpoint says beside its arrays, verified; None: there is none. Nothing is moved.

    Raises:
        OSError: the disk does not let us read a file.
    """
    for position, path in _files(folder):
        try:
            content = _read(path, position, keep_arrays=False)
        except (FileNotFoundError, _DamagedError):  # it may have gone meanwhile
            continue
        if content.header is not None:
            return content.header.meta
    return None


def load(description: Description) -> Checkpoint:
    """The checkpoint that `describe` told of, verified again; nothing is moved, whatever is wrong with it.

    Raises:
        CheckpointError: it is damaged, or from a newer streamd.
        OSError: it has gone, or the disk does not let us read it.
    """
    try:
        content = _read(description.path, description.position, keep_arrays=True)
    except _DamagedError as error:
        raise CheckpointError(f"{description.path}: {error}") from error
    if content.header is None:
        raise CheckpointError(f"{description.path}: {_newer(content.maker)}")
    return Checkpoint(description.position, content.arrays, content.header.meta)


def describe(folder: Path) -> list[Description]:
    """Every checkpoint of a folder, newest first, then those in quarantine; verifies digests, changes nothing."""
    found = _files(folder)
    if (quarantine := folder / QUARANTINE).is_dir():
        found += _files(quarantine)
    return [description for position, path in found if (description := _describe(path, position)) is not None]


def _describe(path: Path, position: int) -> Description | None:
    """One file; None if it has gone meanwhile, as a running daemon removes the old ones."""
    size = 0
    try:
        size = path.stat().st_size
        content = _read(path, position, keep_arrays=False)
    except FileNotFoundError:
        return None
    except (_DamagedError, OSError) as error:
        return Description(path, size, position, ok=False, reason=str(error))
    maker, header = content.maker, content.header
    return Description(
        path,
        size,
        position,
        ok=header is not None,
        reason="" if header else _newer(maker),
        version=maker.version,
        streamd=maker.streamd,
        created=header.created if header else None,
        arrays=content.count,
        meta={key: _in_short(value) for key, value in header.meta.items()} if header else {},
    )


class _Digest:
    """SHA-256 over a header and arrays, fed in the order of their names."""

    def __init__(self, header: str) -> None:
        self._hash = hashlib.sha256(header.encode() + b"\n")

    def add(self, name: str, array: Array) -> None:
        """One more `tensors.plain` array; its bytes are not copied."""
        self._hash.update(json.dumps([name, array.dtype.name, array.shape]).encode() + b"\n")
        self._hash.update(tensors.raw(array))

    def text(self) -> str:
        return self._hash.hexdigest()


def _read(path: Path, position: int, *, keep_arrays: bool) -> _Content:
    """A file's content, digest verified, one array in memory at a time unless they are kept."""
    with path.open("rb") as file:
        try:
            return _verify(file, position, keep_arrays=keep_arrays)
        except TensorError as error:
            raise _DamagedError(str(error)) from error
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise _DamagedError("the disk can't read it") from error


def _verify(file: io.BufferedReader, position: int, *, keep_arrays: bool) -> _Content:
    metadata, entries = tensors.read(file)
    if metadata.keys() != {"streamd", "sha256"}:
        raise _DamagedError("no checkpoint of streamd")
    digest = _Digest(metadata["streamd"])
    arrays = {}
    count = 0
    for name, array in entries:
        digest.add(name, array)
        count += 1
        if keep_arrays:
            arrays[name] = array
    if digest.text() != metadata["sha256"]:
        raise _DamagedError("its digest is wrong")
    try:
        fields = json.loads(metadata["streamd"])
        maker = msgspec.convert(fields, _Maker)
        header = msgspec.convert(fields, _Header) if maker.version <= VERSION else None
    except (json.JSONDecodeError, msgspec.ValidationError) as error:
        raise _DamagedError(f"its header can't be read: {error}") from error
    if maker.format != FORMAT:
        raise _DamagedError(f"in the format {maker.format!r}, not {FORMAT!r}")
    if header is not None and header.position != position:
        raise _DamagedError(f"its name says position {position}, its header {header.position}")
    return _Content(maker, header, arrays, count)


def _newer(maker: _Maker) -> str:
    return f"streamd {maker.streamd} made it, in format {maker.version}; streamd {streamd.__version__} reads {VERSION}"


def _files(folder: Path) -> list[tuple[int, Path]]:
    """(position, path) of the checkpoints in a folder, newest first; other files are none of our business."""
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir() if path.is_file())
    return sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)


def _quarantine(path: Path) -> Path:
    """Moves a file aside, under its own name or, if that is taken, with a number behind it."""
    folder = path.parent / QUARANTINE
    folder.mkdir(mode=0o700, exist_ok=True)
    there, number = folder / path.name, 0
    while there.exists():
        number += 1
        there = folder / f"{path.stem}.{number}{path.suffix}"
    path.rename(there)
    _sync(folder)
    _sync(path.parent)
    return there


def _sync(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _in_short(value: Any) -> str:
    match value:
        case dict():
            text = f"{len(value)} entries: {', '.join(value)}" if value else "no entries"
        case list():
            text = f"{len(value)} items"
        case _:
            text = json.dumps(value)
    return text if len(text) <= 80 else text[:79] + "…"
