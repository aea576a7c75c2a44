"""Takes the place of `pathlib.Path`, of open files and of the module `os`, on a simulated disk.

Knows what the store calls, and no more; the disk knows what comes of it.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from pathlib import PurePosixPath

from streamd.store import folders
from tests.simulation.disk import Disk, File


class SimPath:
    """What takes the place of `pathlib.Path`, as far as the state folder needs it."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._pure = PurePosixPath(path)
        self.name, self.stem, self.suffix = self._pure.name, self._pure.stem, self._pure.suffix

    def __truediv__(self, name: str) -> SimPath:
        return SimPath(self._disk, str(self._pure / name))

    def __str__(self) -> str:
        return str(self._pure)

    __fspath__ = __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SimPath) and self._pure == other._pure

    def __lt__(self, other: SimPath) -> bool:
        return self._pure < other._pure

    def __hash__(self) -> int:
        return hash(self._pure)

    @property
    def parent(self) -> SimPath:
        return SimPath(self._disk, str(self._pure.parent))

    def with_name(self, name: str) -> SimPath:
        return SimPath(self._disk, str(self._pure.with_name(name)))

    def is_file(self) -> bool:
        return str(self) in self._disk.names

    def exists(self) -> bool:
        return self.is_file() or str(self) in self._disk.databases

    def is_dir(self) -> bool:
        return not self.exists()

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Folders are always there."""

    def iterdir(self) -> Iterator[SimPath]:
        paths = (SimPath(self._disk, name) for name in sorted(self._disk.names))
        return (path for path in paths if path.parent == self)

    def glob(self, pattern: str) -> Iterator[SimPath]:
        return (path for path in self.iterdir() if path._pure.match(pattern))

    def stat(self) -> os.stat_result:
        return os.stat_result((0, 0, 0, 0, 0, 0, len(self._file().data), 0, 0, 0))

    def open(self, mode: str) -> OpenFile:
        return OpenFile(self._disk, self._file(), mode)

    def touch(self) -> None:
        self._disk.renamed(None, str(self), File())

    def unlink(self, missing_ok: bool = False) -> None:
        if self.is_file() or not missing_ok:
            self._disk.renamed(str(self), None, self._file())

    def rename(self, target: SimPath) -> None:
        if target.parent.name == folders.QUARANTINE:
            self._disk.quarantined.append(self.name)
        if str(self) in self._disk.databases:  # moved away for good: nobody looks into it any more
            del self._disk.databases[str(self)]
        else:
            self._disk.renamed(str(self), str(target), self._file())

    replace = rename

    def _file(self) -> File:
        try:
            return self._disk.names[str(self)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self)) from None


class OpenFile(io.BytesIO):
    """What an open file of the disk is to Python."""

    def __init__(self, disk: Disk, file: File, mode: str) -> None:
        super().__init__(file.data)
        self._disk, self._file, self._mode = disk, file, mode
        self._descriptor = disk.descriptor(file)

    def flush(self) -> None:
        if "w" in self._mode and self.getvalue() != self._file.data:
            self._disk.written(self._file, self.getvalue())

    def close(self) -> None:
        if not self.closed:
            try:
                self.flush()
            finally:
                del self._disk.descriptors[self._descriptor]
                super().close()

    def fileno(self) -> int:
        return self._descriptor


class Os:
    """What takes the place of the module `os`, as far as the store needs it."""

    O_WRONLY, O_RDONLY, O_CREAT, O_TRUNC, O_DIRECTORY = os.O_WRONLY, os.O_RDONLY, os.O_CREAT, os.O_TRUNC, os.O_DIRECTORY

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def open(self, path: SimPath, flags: int, mode: int = 0o600) -> int:
        if flags & self.O_DIRECTORY:
            return self._disk.descriptor(None)
        file = File()
        self._disk.renamed(None, str(path), file)
        return self._disk.descriptor(file)

    def open_file(self, descriptor: int, mode: str) -> OpenFile:
        """What takes the place of the builtin `open`."""
        file = self._disk.descriptors.pop(descriptor)
        assert file is not None
        return OpenFile(self._disk, file, mode)

    def fsync(self, descriptor: int) -> None:
        file = self._disk.descriptors[descriptor]
        if file is None:
            self._disk.sync_folder()
        else:
            self._disk.sync_file(file)

    def fstat(self, descriptor: int) -> os.stat_result:
        file = self._disk.descriptors[descriptor]
        assert file is not None
        return os.stat_result((0, 0, 0, 0, 0, 0, len(file.data), 0, 0, 0))

    def close(self, descriptor: int) -> None:
        del self._disk.descriptors[descriptor]
