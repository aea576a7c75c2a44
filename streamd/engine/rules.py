"""What the config says of a channel's deviations: which of them matter, and which values are strange whatever came.

A deviation that does not matter raises nothing; it is not thereby normal, and whoever learns has to know it apart.
Knows channels, not streams, and not how a part was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from streamd.config import Channel
from streamd.records import F64, Bool

OUTSIDE = 2.0  # lines: the part of a value outside its declared range, or more

_SIGNS = {"both": 0.0, "up": 1.0, "down": -1.0}


class Rules:
    """The rules of a group's channels, in their order.

    >>> rules = Rules({"a": Channel(direction="up", least=2.0, high=50.0)}, ["a"])
    >>> rules.matters(np.array([[7.0], [3.0], [11.0]]), np.array([[10.0], [2.0], [9.0]])).tolist()
    [[False], [False], [True]]
    >>> rules.weigh(np.array([[3.0], [0.1]]), np.array([[7.0], [51.0]]), np.array([[10.0], [51.0]])).tolist()
    [[0.0], [2.0]]
    """

    def __init__(self, declared: Mapping[str, Channel], channels: Sequence[str]) -> None:
        known = [declared.get(name, Channel()) for name in channels]
        self._sign = np.array([_SIGNS[one.direction] for one in known])
        self._least = np.array([one.least for one in known])
        self._share = np.array([one.least_relative for one in known])
        # whether there is any deviation that may not matter
        self.any = bool(self._sign.any() or self._least.any() or self._share.any())
        # an angle's range is where it is shown, not where it may be
        ends = [(None, None) if one.wrap is not None else (one.low, one.high) for one in known]
        self._low = np.array([-np.inf if low is None else low for low, _ in ends])
        self._high = np.array([np.inf if high is None else high for _, high in ends])
        # whether there is any range that a value may lie outside of
        self.ranged = bool(np.isfinite(self._low).any() or np.isfinite(self._high).any())

    def matters(self, values: F64, expected: F64) -> Bool:
        """Whether each channel's deviation counts at all, [..., C]; one that is not known does.

        Args:
            values, expected: [..., C] in the sensors' units, of an angle on the same turn; NaN where not known.
        """
        deviation = values - expected
        size = np.abs(deviation)
        # a comparison with NaN is false: what is not known is not too small, nor the wrong way
        small = (size < self._least) | (size < self._share * np.abs(expected))
        against: Bool = deviation * self._sign < 0.0
        return ~(small | against)

    def outside(self, values: F64) -> Bool:
        """Whether each value lies outside its channel's declared range, [..., C]; a missing one does not."""
        beyond: Bool = (values < self._low) | (values > self._high)
        return beyond

    def weigh(self, parts: F64, values: F64, expected: F64) -> F64:
        """What the channels contribute [..., C], where it matters; well over the line where a value is outside."""
        felt = np.where(self.matters(values, expected), parts, 0.0)
        return np.where(self.outside(values), np.fmax(felt, OUTSIDE), felt)
