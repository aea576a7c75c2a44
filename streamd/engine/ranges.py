"""What the config declares of channels: the range that none of their values leaves, and angles that begin anew.

Inside the engine an angle is a line: each value is taken as near to the last one as it can be. What is shown lies in
the range again. Knows channels, not streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from streamd.config import Channel
from streamd.records import F64


class Shown(msgspec.Struct, frozen=True, gc=False):
    """A forecast as it is published."""

    mean: F64
    levels: F64


class Ranges:
    """The declared ranges of a group's channels, in their order.

    >>> ranges = Ranges({"a": Channel(wrap=360.0)}, ["a"])
    >>> ranges.unwrap(np.array([[10.0]]), np.array([[350.0]])).tolist()
    [[370.0]]
    """

    def __init__(self, declared: Mapping[str, Channel], channels: Sequence[str]) -> None:
        known = [declared.get(name, Channel()) for name in channels]
        self._wrap = np.array([np.nan if one.wrap is None else one.wrap for one in known])
        self._low = np.array([-np.inf if one.low is None else one.low for one in known])
        self._high = np.array([np.inf if one.high is None else one.high for one in known])
        self._wraps = np.isfinite(self._wrap)
        self._any_wraps = bool(self._wraps.any())
        self._any = bool(self._any_wraps or np.isfinite(self._low).any() or np.isfinite(self._high).any())

    def unwrap(self, values: F64, last: F64) -> F64:
        """Values [B, C] as near to the last ones [B, C] as whole turns allow."""
        if not self._any_wraps:
            return values
        turns = np.rint((values - last) / self._wrap)
        return np.where(self._wraps & np.isfinite(turns), values - turns * self._wrap, values)

    def turned(self, values: F64) -> F64:
        """Values [..., C] as they came: angles within one turn, everything else as it is."""
        if not self._any_wraps:
            return values
        start = np.where(np.isfinite(self._low), self._low, 0.0)
        turn = np.where(self._wraps, self._wrap, 1.0)
        return np.where(self._wraps, values - np.floor((values - start) / turn) * turn, values)

    def show(self, last: F64, mean: F64, levels: F64) -> Shown:
        """A forecast and its bounds [..., C], offsets from the last values, as values inside the ranges.

        The mean of an angle lies within one turn from `low`, or from 0; its bounds are as far from it as they were.
        """
        mean, levels = last + mean, last + levels
        if not self._any:
            return Shown(mean, levels)
        start = np.where(np.isfinite(self._low), self._low, 0.0)
        turn = np.where(self._wraps, np.floor((mean - start) / np.where(self._wraps, self._wrap, 1.0)), 0.0)
        back = turn * np.where(self._wraps, self._wrap, 0.0)
        low = np.where(self._wraps, -np.inf, self._low)
        return Shown(np.clip(mean - back, low, self._high), np.clip(levels - back, low, self._high))
