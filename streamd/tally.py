"""Sums up what forecasts were off, step by step, when their values have come.

Knows rows and arrays; not who made the forecasts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamd.records import F64


class Tally:
    """Sums of what forecasts were off, per horizon and channel [H, C], and persistence's beside them."""

    def __init__(self, horizon: int, channels: int) -> None:
        def zeros() -> F64:
            return np.zeros((horizon, channels))

        self.rows = 0
        self.judged, self.absolute, self.square = zeros(), zeros(), zeros()
        self.persistence_absolute, self.persistence_square = zeros(), zeros()
        self.inside, self.banded = zeros(), zeros()  # forecasts whose value lay inside, and that had an interval

    def add(self, error: F64, persistence: F64, inside: F64) -> None:
        """One row's [H, C]: errors and persistence's errors, NaN where not judged; 1 inside the interval, NaN: none."""
        known = np.isfinite(error) & np.isfinite(persistence)
        error, persistence = np.where(known, error, 0.0), np.where(known, persistence, 0.0)
        self.judged += known
        self.absolute += np.abs(error)
        self.square += error * error
        self.persistence_absolute += np.abs(persistence)
        self.persistence_square += persistence * persistence
        self.inside += np.nan_to_num(inside)
        self.banded += np.isfinite(inside)
        self.rows += 1

    def measures(self, channels: tuple[str, ...]) -> dict[str, Any]:
        """Means per channel, a list over the horizons each; null where nothing was judged."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = {
                "mae": self.absolute / self.judged,
                "mse": self.square / self.judged,
                "mase": self.absolute / self.persistence_absolute,
                "persistence_mae": self.persistence_absolute / self.judged,
                "persistence_mse": self.persistence_square / self.judged,
                "coverage": self.inside / self.banded,
            }
        return {"rows": self.rows} | {
            name: {channel: _plain(values[:, at]) for at, channel in enumerate(channels)}
            for name, values in means.items()
        }


class Waiting:
    """Forecasts of the last H rows, until their values come."""

    def __init__(self, horizon: int, channels: int) -> None:
        shape = (horizon, horizon, channels)
        self._mean, self._lower, self._upper = (np.full(shape, np.nan) for _ in range(3))
        self._base = np.full((horizon, channels), np.nan)
        self._last = np.full(channels, np.nan)
        self._steps = np.arange(horizon)
        self._row = 0

    def judge(self, values: F64) -> tuple[F64, F64, F64]:
        """Errors of the forecasts for this row, 1..H steps old, persistence's, and whether the value lay inside."""
        at = (self._row - 1 - self._steps) % len(self._steps), self._steps
        lower, upper = self._lower[at], self._upper[at]
        banded = np.isfinite(lower) & np.isfinite(upper) & np.isfinite(values)
        inside = np.where(banded, (values >= lower) & (values <= upper), np.nan)
        return values - self._mean[at], values - self._base[at[0]], inside

    def keep(self, values: F64, mean: F64, lower: F64 | float = np.nan, upper: F64 | float = np.nan) -> None:
        """Remember this row [C] and the forecasts [H, C] that were made with it; NaN: without an interval."""
        self._last = np.where(np.isfinite(values), values, self._last)
        at = self._row % len(self._steps)
        self._mean[at], self._lower[at], self._upper[at] = mean, lower, upper
        self._base[at] = self._last
        self._row += 1


def _plain(values: F64) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]
