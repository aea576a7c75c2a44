"""The state as of one moment, copied piece by piece while the engine goes on.

Copy-on-write: rows that are about to change are copied first. Rows that move to longer or wider arrays need no care:
the old arrays are held here and do not change any more. Knows arrays and rows, not what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamd.records import I64, Array

SLICE_BYTES = 2 << 20  # in one go: a few milliseconds, most of them for memory that is touched for the first time


class RowCopy:
    """The rows of some arrays as they were when this was made; arrays [n, ...], all of the same n."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._sources = list(arrays.values())
        # left untouched, so that the system hands its memory out slice by slice
        self.arrays: dict[str, Array] = {name: np.empty(array.shape, array.dtype) for name, array in arrays.items()}
        rows = len(self._sources[0])
        self._have = np.zeros(rows, np.bool_)
        self.row_bytes = sum(array.nbytes for array in self._sources) // max(rows, 1)
        self.left = rows

    def keep(self, rows: I64) -> None:
        """Copy these rows, as far as they are here and not copied yet, because they are about to change."""
        rows = rows[rows < len(self._have)]
        rows = np.unique(rows[~self._have[rows]])
        if len(rows):
            for target, source in zip(self.arrays.values(), self._sources, strict=True):
                target[rows] = source[rows]
            self._have[rows] = True
            self.left -= len(rows)
            self._release()

    def copy(self, count: int) -> int:
        """Copy up to so many rows more; gives how many."""
        if self.left:
            rows = np.flatnonzero(~self._have)[:count]
            if len(rows) and rows[-1] - rows[0] + 1 == len(rows):  # in one piece, without a copy between
                for target, source in zip(self.arrays.values(), self._sources, strict=True):
                    target[rows[0] : rows[-1] + 1] = source[rows[0] : rows[-1] + 1]
                self._have[rows] = True
                self.left -= len(rows)
                self._release()
            else:
                self.keep(rows)
            return len(rows)
        return 0

    def _release(self) -> None:
        if not self.left:
            self._sources = []


class Snapshot:
    """All of an engine's state at one moment.

    Args:
        streams: arrays with one row per slot, which change in place.
        windows: arrays with one row per window of the replay memory, which change in place.
        whole: arrays that never change in place.
        meta: the rest of the state, not shared with anyone.
    """

    def __init__(
        self,
        streams: Mapping[str, Array],
        windows: Mapping[str, Array],
        whole: Mapping[str, Array],
        meta: dict[str, Any],
    ) -> None:
        self.meta = meta
        self.streams = RowCopy(streams)
        self.windows = RowCopy(windows)
        self._whole = dict(whole)
        self._abandoned = False

    @property
    def complete(self) -> bool:
        """Whether all is copied."""
        return not self.streams.left and not self.windows.left

    @property
    def slice_rows(self) -> int:
        """How many rows make a slice of about SLICE_BYTES: what to give to `copy`."""
        return max(SLICE_BYTES // max(self.streams.row_bytes, self.windows.row_bytes, 1), 1)

    @property
    def arrays(self) -> dict[str, Array]:
        """Every array by its name, as of the marking; nothing changes them any more.

        Raises:
            RuntimeError: not all is copied yet, or never will be.
        """
        self._check()
        if not self.complete:
            raise RuntimeError("the snapshot is not complete")
        return {**self.streams.arrays, **self.windows.arrays, **self._whole}

    def copy(self, rows: int) -> bool:
        """Copy up to so many rows more; gives whether all is copied.

        Raises:
            RuntimeError: a later snapshot has taken this one's place.
        """
        self._check()
        self.windows.copy(rows - self.streams.copy(rows))
        return self.complete

    def abandon(self) -> None:
        """Give up: the engine no longer copies for this one."""
        self._abandoned = True

    def _check(self) -> None:
        if self._abandoned:
            raise RuntimeError("the snapshot was abandoned")
