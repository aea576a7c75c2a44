"""A disk that fails on demand and forgets what was not synced when its power is cut.

Knows files, names, and what a sync promises, as POSIX has it and no better: a new or moved name lasts from the sync of
its folder, bytes last from the sync of their file, and of what was not synced any part may last, in any order, torn, or
turned to junk. Does not know who writes. Everything happens in a real folder, so what reads needs no double.

Plain code writes through the `os` and `open` that `Disk.install` puts into its module, SQLite through `faulty_sqlite`.
Folders themselves are safe as soon as they are made.
"""

# ruff: noqa: PTH104, PTH105, PTH108, PTH123

from __future__ import annotations

import errno
import io
import itertools
import os
import pathlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

SECTOR = 512  # bytes that a disk writes at once
Kind = Literal["create", "write", "truncate", "sync", "rename", "unlink", "folder"]


@dataclass(slots=True)
class Fault:
    """What goes wrong, and how often."""

    number: int  # errno
    kinds: frozenset[Kind]
    after: int  # how many of these operations still go well
    times: int  # how many fail then
    short: bool  # half of a write happens first


@dataclass(slots=True)
class File:
    """The bytes of one file, whatever its name."""

    safe: bytes = b""  # as of its last sync
    unsynced: list[tuple[int, bytes] | int] = field(default_factory=list)  # (offset, data), or a new length

    def synced(self) -> None:
        self.safe = _applied(self.safe, self.unsynced)
        self.unsynced.clear()


@dataclass(frozen=True, slots=True)
class Naming:
    """A name made (`old` is None), dropped (`new` is None) or changed, in one step."""

    old: Path | None
    new: Path | None
    file: File


class Disk:
    """What becomes of a folder.

    Args:
        folder: with all that is in it safe.
        lies: syncs that are reported as done and are not: planted bugs.
    """

    def __init__(self, folder: Path, lies: Iterable[Literal["sync", "folder"]] = ()) -> None:
        self.folder = folder
        self.lies = frozenset(lies)
        self.operations = 0  # that change something, since the disk was made
        self.syncs = 0  # of files
        self.struck = 0  # errno of the last fault
        self.on_sync: Callable[[], None] = lambda: None  # called in the middle of each: a slow one may move a clock
        self.users: list[Callable[[], None]] = []  # who has files open; called when the power is gone
        self._cut_at: int | None = None
        self._dead = False
        self._fault: Fault | None = None
        self._names: dict[Path, File] = {}
        self._safe_names: dict[Path, File] = {}
        self._namings: list[Naming] = []
        self._take_stock()

    # --- what goes wrong ---

    def cut_power(self, at: int) -> None:
        """Let the power fail in the middle of an operation: 1 is the next."""
        self._cut_at = self.operations + at

    @property
    def dead(self) -> bool:
        return self._dead

    def fail(self, number: int, *kinds: Kind, after: int = 0, times: int = 1, short: bool = False) -> None:
        """Let operations fail, of some kinds or of all, until they failed `times` times or `heal` is called."""
        every: frozenset[Kind] = frozenset(("create", "write", "truncate", "sync", "rename", "unlink", "folder"))
        self._fault = Fault(number, frozenset(kinds) or every, after, times, short)

    def heal(self) -> None:
        self._fault = None

    @property
    def failing(self) -> bool:
        """Whether a fault is still to come."""
        return self._fault is not None

    def restore(self, seed: int) -> None:
        """Power is back: the folder holds what was synced, and of the rest whatever chance kept."""
        chance = random.Random(seed)
        names = dict(self._safe_names)
        for naming in _kept(self._namings, chance):
            if naming.old is not None:
                names.pop(naming.old, None)
            if naming.new is not None:
                names[naming.new] = naming.file
        contents = {path: _survivor(file, chance) for path, file in sorted(names.items())}
        self.wipe()
        for path, content in contents.items():
            path.write_bytes(content)
        self._take_stock()

    def wipe(self) -> None:
        """A disk without files and faults; whoever had files open has them no more."""
        self._dead = True
        for close in self.users:
            close()
        self.users.clear()
        for path in self.folder.rglob("*"):
            if path.is_file():
                os.unlink(path)
        self._dead, self._cut_at, self._fault = False, None, None
        self._take_stock()

    def _take_stock(self) -> None:
        self._names = {path: File(path.read_bytes()) for path in self.folder.rglob("*") if path.is_file()}
        self._safe_names = dict(self._names)
        self._namings = []

    # --- how it is reached ---

    def install(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        """Put this disk under modules that write plain files, and under `pathlib`."""
        system = _Os(self)
        for module in (pathlib, *modules):
            if hasattr(module, "os"):
                monkeypatch.setattr(module, "os", system)
        for module in modules:
            monkeypatch.setattr(module, "open", system.open_file, raising=False)

    def holds(self, path: Path) -> bool:
        return self.folder in path.parents or path == self.folder

    def file(self, path: Path) -> File:
        return self._names[path]

    # --- operations; `really` does them to the real folder ---

    def create(self, path: Path, really: Callable[[], Any]) -> Any:
        file = File()
        return self._name("create", Naming(None, path, file), really)

    def rename(self, old: Path, new: Path, really: Callable[[], Any]) -> None:
        self._name("rename", Naming(old, new, self._names[old]), really)

    def unlink(self, path: Path, really: Callable[[], Any]) -> None:
        if path in self._names:
            self._name("unlink", Naming(path, None, self._names[path]), really)
        else:
            really()

    def write(self, file: File, offset: int, data: bytes, really: Callable[[bytes], Any]) -> int:
        """Gives how many bytes were written: fewer than there are where the write was short."""

        def happens(part: bytes) -> None:
            file.unsynced.append((offset, part))
            if not self._dead:
                really(part)

        fault = self._begin("write", lambda: happens(data))
        if fault is not None and not (fault.short and len(data) > 1):
            raise OSError(fault.number, os.strerror(fault.number))
        part = data if fault is None else data[: len(data) // 2]
        happens(part)
        return len(part)

    def truncate(self, file: File, length: int, really: Callable[[], Any]) -> None:
        self._plainly("truncate", lambda: file.unsynced.append(length))
        file.unsynced.append(length)
        really()

    def sync(self, file: File) -> None:
        self._plainly("sync", lambda: None)
        self.syncs += 1
        self.on_sync()
        if "sync" not in self.lies:
            file.synced()

    def sync_folder(self, folder: Path) -> None:
        self._plainly("folder", lambda: None)
        if "folder" not in self.lies:
            self._settle(lambda path: path.parent == folder)

    def sync_name(self, path: Path) -> None:
        """What SQLite does for a log that it made, with the first sync of it."""
        self._settle(lambda other: other == path)

    def _settle(self, concerned: Callable[[Path], bool]) -> None:
        left = []
        for naming in self._namings:
            if any(path is not None and concerned(path) for path in (naming.old, naming.new)):
                _rename(self._safe_names, naming)
            else:
                left.append(naming)
        self._namings = left

    def _name(self, kind: Kind, naming: Naming, really: Callable[[], Any]) -> Any:
        self._plainly(kind, lambda: self._namings.append(naming))
        result = really()
        self._namings.append(naming)
        _rename(self._names, naming)
        return result

    def _plainly(self, kind: Kind, half_done: Callable[[], None]) -> None:
        fault = self._begin(kind, half_done)
        if fault is not None:
            raise OSError(fault.number, os.strerror(fault.number))

    def _begin(self, kind: Kind, half_done: Callable[[], None]) -> Fault | None:
        """Counts an operation; the fault that strikes it. Where the power is cut, `half_done` is left of it."""
        if self._dead:
            raise OSError(errno.EIO, "the power is off")
        self.operations += 1
        if self.operations == self._cut_at:
            self._dead = True
            half_done()
            raise OSError(errno.EIO, "the power went off")
        fault = self._fault
        if fault is None or kind not in fault.kinds:
            return None
        if fault.after > 0:
            fault.after -= 1
            return None
        self.struck = fault.number
        fault.times -= 1
        if fault.times <= 0:
            self._fault = None
        return fault


def _rename(names: dict[Path, File], naming: Naming) -> None:
    if naming.old is not None:
        names.pop(naming.old, None)
    if naming.new is not None:
        names[naming.new] = naming.file


def _applied(content: bytes, changes: Sequence[tuple[int, bytes] | int]) -> bytes:
    data = bytearray(content)
    for change in changes:
        if isinstance(change, int):
            data[change:] = bytes(max(0, change - len(data)))
        else:
            offset, piece = change
            data.extend(bytes(max(0, offset - len(data))))
            data[offset : offset + len(piece)] = piece
    return bytes(data)


def _kept(changes: Sequence[Any], chance: random.Random) -> list[Any]:
    """Of changes that were not synced: none, all, the first of them, or any."""
    match chance.randrange(4):
        case 0:
            return []
        case 1:
            return list(changes)
        case 2:
            return list(changes[: chance.randint(0, len(changes))])
        case _:
            return [change for change in changes if chance.random() < 0.5]


def _survivor(file: File, chance: random.Random) -> bytes:
    """The bytes of a file after a power cut."""
    changes: list[tuple[int, bytes] | int] = []
    for change in _kept(file.unsynced, chance):
        if isinstance(change, int) or chance.random() < 0.5:
            changes.append(change)
        else:
            changes += _torn(change[0], change[1], chance)
    return _applied(file.safe, changes)


def _torn(offset: int, data: bytes, chance: random.Random) -> list[tuple[int, bytes]]:
    """A write of which some sectors came through, some did not, and one may be junk."""
    ends = [*range(SECTOR - offset % SECTOR, len(data), SECTOR), len(data)]
    pieces = []
    for begin, end in itertools.pairwise([0, *ends]):
        match chance.randrange(8):
            case 0 | 1 | 2:
                continue
            case 3:
                pieces.append((offset + begin, chance.randbytes(end - begin)))
            case 4:
                pieces.append((offset + begin, data[begin : chance.randint(begin, end)]))
            case _:
                pieces.append((offset + begin, data[begin:end]))
    return pieces


# --- under plain files ---


class _Os:
    """`os` as a module sees it, with this disk under the calls that change something."""

    _UNKNOWN = frozenset(("write", "pwrite", "ftruncate", "truncate", "link", "symlink", "fdatasync", "sendfile"))

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._opened: dict[int, Path] = {}

    def __getattr__(self, name: str) -> Any:
        if name in self._UNKNOWN:
            raise NotImplementedError(f"os.{name} would go past the failing disk")
        return getattr(os, name)

    def open(self, path: str | Path, flags: int, mode: int = 0o777, **more: Any) -> int:
        where = Path(path)
        if not self._disk.holds(where):
            return os.open(path, flags, mode, **more)

        def really() -> int:
            return os.open(path, flags, mode, **more)

        if flags & os.O_CREAT and not where.exists():
            descriptor: int = self._disk.create(where, really)
        else:
            if flags & os.O_TRUNC and where.stat().st_size:
                self._disk.truncate(self._disk.file(where), 0, lambda: None)
            descriptor = really()
        self._opened[descriptor] = where
        return descriptor

    def open_file(self, target: Any, mode: str = "r", **more: Any) -> Any:
        """`open`, of a descriptor to write to; of anything else as ever."""
        if mode != "wb" or target not in self._opened:
            assert "r" in mode, "written past the failing disk"
            return open(target, mode, **more)
        return io.BufferedWriter(_Raw(self._disk, self._disk.file(self._opened[target]), target))

    def fsync(self, descriptor: int) -> None:
        path = self._opened[descriptor]
        if path.is_dir():
            self._disk.sync_folder(path)
        else:
            self._disk.sync(self._disk.file(path))

    def rename(self, old: str | Path, new: str | Path, **more: Any) -> None:
        if self._disk.holds(Path(old)):
            self._disk.rename(Path(old), Path(new), lambda: os.replace(old, new))
        else:
            os.rename(old, new, **more)

    replace = rename

    def unlink(self, path: str | Path, **more: Any) -> None:
        if self._disk.holds(Path(path)):
            self._disk.unlink(Path(path), lambda: os.unlink(path))
        else:
            os.unlink(path, **more)

    remove = unlink


class _Raw(io.FileIO):
    def __init__(self, disk: Disk, file: File, descriptor: int) -> None:
        super().__init__(descriptor, "w")
        self._disk, self._file = disk, file

    def write(self, data: Any) -> int:
        return self._disk.write(self._file, self.tell(), bytes(data), super().write)

    def truncate(self, size: int | None = None) -> int:
        raise NotImplementedError("truncate would go past the failing disk")
