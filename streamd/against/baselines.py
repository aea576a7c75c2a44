"""What a baseline is, and those of our own: persistence, seasonal, running z-score.

Knows rows as they come, one at a time; not how they are judged. A baseline is small and plain on purpose: it is what
any user would try first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from streamd.records import F64

DAY = 86_400.0  # s
SETTLED_ROWS = 9  # whose times tell the usual step
MAX_SLOTS = 200_000  # of a day


class AgainstError(Exception):
    """A baseline is not there or can't run on this data; the text says what to do."""


class Forecaster(Protocol):
    """Learns row by row; a question changes nothing."""

    def learn(self, time: float, values: F64) -> None:
        """Take one row: time in s, values [C], NaN where missing."""

    def forecast(self, horizon: int) -> F64:
        """For 1..H steps ahead, [H, C]; NaN where it has none."""


class Detector(Protocol):
    """Says how strange a row is, in a scale of its own; then learns it."""

    def score(self, values: F64) -> float:
        """High is strange; values [C], NaN where missing."""

    def learn(self, values: F64) -> None:
        """Take that row."""


class Persistence:
    """The last value of each channel, for every step.

    >>> last = Persistence(channels=1)
    >>> last.learn(0.0, np.array([3.0])); last.learn(1.0, np.array([np.nan]))
    >>> last.forecast(2).tolist()
    [[3.0], [3.0]]
    """

    def __init__(self, channels: int) -> None:
        self._last = np.full(channels, np.nan)

    def learn(self, time: float, values: F64) -> None:
        self._last = np.where(np.isfinite(values), values, self._last)

    def forecast(self, horizon: int) -> F64:
        return np.tile(self._last, (horizon, 1))


class Seasonal:
    """The value of one season ago, the last value where that is not known.

    A season is `period` rows or, where that is None, a day by the clock: rows that are missing then shift nothing.
    """

    def __init__(self, channels: int, period: int | None = None) -> None:
        self._last = Persistence(channels)
        self._by_clock = period is None
        self._early: list[tuple[float, F64]] = []  # until the usual step is known
        self._row = self._slot = -1
        self._ring = np.full((period or 0, channels), np.nan)  # [slots, C]

    def learn(self, time: float, values: F64) -> None:
        """Raises AgainstError when the usual step does not divide a day."""
        self._last.learn(time, values)
        if self._by_clock and not len(self._ring):
            self._early.append((time, values))
            if len(self._early) == SETTLED_ROWS:
                self._ring = np.full((_slots(self._early), len(values)), np.nan)
                for early in self._early:
                    self._place(*early)
            return
        self._place(time, values)

    def forecast(self, horizon: int) -> F64:
        last = self._last.forecast(horizon)
        if not len(self._ring):
            return last
        season = self._ring[(self._slot + 1 + np.arange(horizon)) % len(self._ring)]
        return np.where(np.isfinite(season), season, last)

    def _place(self, time: float, values: F64) -> None:
        self._row += 1
        slots = len(self._ring)
        self._slot = round(time % DAY / DAY * slots) % slots if self._by_clock else self._row % slots
        self._ring[self._slot] = np.where(np.isfinite(values), values, self._ring[self._slot])


class ZScore:
    """The farthest channel's distance from its mean so far, in standard deviations so far."""

    def __init__(self, channels: int) -> None:
        self._count, self._mean, self._square = (np.zeros(channels) for _ in range(3))

    def score(self, values: F64) -> float:
        known = np.isfinite(values) & (self._square > 0)
        deviation = np.sqrt(self._square[known] / self._count[known])
        return float(np.max(np.abs(values[known] - self._mean[known]) / deviation, initial=0.0))

    def learn(self, values: F64) -> None:
        """Welford's update."""
        known = np.isfinite(values)
        off = np.where(known, values - self._mean, 0.0)
        self._count += known
        self._mean += off / np.maximum(self._count, 1.0)
        self._square += np.where(known, off * (values - self._mean), 0.0)


def slots_of_day(times: Sequence[float]) -> int | None:
    """How many of the usual steps make a day; None where they do not divide it.

    >>> slots_of_day([0.0, 3600.0, 7201.0, 10800.0]), slots_of_day([0.0, 5 * 3600.0])
    (24, None)
    """
    steps = np.diff(times)
    step = float(np.median(steps)) if len(steps) else 0.0
    if step <= 0.0 or DAY / step > MAX_SLOTS:
        return None
    slots = round(DAY / step)
    return slots if slots >= 2 and abs(DAY / step - slots) <= 1e-3 * slots else None


def _slots(rows: Sequence[tuple[float, F64]]) -> int:
    slots = slots_of_day([time for time, _ in rows])
    if slots is None:
        step = float(np.median(np.diff([time for time, _ in rows])))
        raise AgainstError(f"seasonal: a day is no multiple of the step of {step:g} s; say seasonal:ROWS")
    return slots
