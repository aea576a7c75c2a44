"""The measures of the forecast table, worked out from the arrays that `streamd backtest --out` writes.

Knows rows, windows and measures; not which files there are, nor what has to be reached. Values are z-scored with mean
and deviation (ddof 0) of the training rows, for the measure only. A window is one origin n, a row from the first online
one on, and its targets n + 1 … n + H, all of which lie in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from streamd.records import F64, Array
from streamd.report.thin import rolling

ALPHA = 0.1  # what the interval of 90 % leaves outside
ROLLING = 500  # rows


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows of a file count for what; the file ends at `used`."""

    training: int  # rows [0, training) give mean and deviation
    online: int  # the first origin
    used: int  # targets included


@dataclass(frozen=True, slots=True)
class Windows:
    """Of one horizon H: means over all windows, steps 1…H and channels."""

    mse: float
    mae: float
    persistence_mse: float
    persistence_mae: float
    channel_mse: tuple[float, ...]  # per channel


@dataclass(frozen=True, slots=True)
class Interval:
    """Of one step ahead."""

    coverage: float  # mean of the channels
    worst_channel: float  # coverage of the channel that has the least
    window: int  # ROLLING rows, or as many as there are
    worst_rolling: float  # least share inside over a window, of the mean of the channels
    worst_rolling_channel: float  # ... of any channel
    winkler: float  # mean, z-scored


def windows(arrays: Mapping[str, Array], rows: Rows, horizon: int) -> Windows:
    """Errors over the first `horizon` steps of every forecast; cells without a value or a forecast do not count."""
    value, deviation = arrays["value"][: rows.used], _deviation(arrays, rows)
    last = _filled(value)
    square, absolute = np.zeros((2, value.shape[1])), np.zeros((2, value.shape[1]))  # ours, persistence
    count = np.zeros(value.shape[1])
    origins = np.arange(rows.online, len(value) - horizon)
    for h in range(1, horizon + 1):
        actual = value[origins + h]
        errors = np.stack([arrays["forecast"][origins, h - 1] - actual, last[origins] - actual]) / deviation
        known = np.isfinite(errors).all(axis=0)
        errors = np.where(known, errors, 0.0)
        square += (errors**2).sum(axis=1)
        absolute += np.abs(errors).sum(axis=1)
        count += known.sum(axis=0)
    mse, mae = square.sum(axis=1) / count.sum(), absolute.sum(axis=1) / count.sum()
    with np.errstate(invalid="ignore"):
        per_channel = square[0] / count
    return Windows(float(mse[0]), float(mae[0]), float(mse[1]), float(mae[1]), tuple(per_channel.tolist()))


def interval(arrays: Mapping[str, Array], rows: Rows, step: int) -> Interval:
    """What the interval made `step` rows before was worth."""
    value, deviation = arrays["value"][: rows.used], _deviation(arrays, rows)
    origins = np.arange(rows.online, len(value) - step)
    actual = value[origins + step]
    lower, upper = (arrays[name][origins, step - 1] for name in ("lower", "upper"))
    known = np.isfinite(actual) & np.isfinite(lower) & np.isfinite(upper)
    inside = np.where(known, (actual >= lower) & (actual <= upper), np.nan)  # [rows, C]
    beyond = np.maximum(0.0, np.maximum(lower - actual, actual - upper))
    winkler = (upper - lower + 2.0 / ALPHA * beyond) / deviation
    window = max(1, min(ROLLING, *known.sum(axis=0).tolist()))
    rolled = np.stack([rolling(inside[:, c], window) for c in range(inside.shape[1])], axis=1)
    covered = np.nanmean(inside, axis=0)
    together = rolled.mean(axis=1)
    return Interval(
        coverage=float(np.nanmean(inside)),
        worst_channel=float(covered.min()),
        window=window,
        worst_rolling=float(np.nanmin(together)) if np.isfinite(together).any() else float(np.nanmin(rolled)),
        worst_rolling_channel=float(np.nanmin(rolled)),
        winkler=float(np.nanmean(winkler)),
    )


def one_step(arrays: Mapping[str, Array], channel: str, first: int, end: int) -> tuple[float, float]:
    """RMSE of the forecasts for rows [first, end) of a channel, one step ahead, and persistence's, in its unit."""
    c = arrays["channels"].tolist().index(channel)
    targets = np.arange(first, end)
    actual = arrays["value"][targets, c]
    errors = np.stack([arrays["forecast"][targets - 1, 0, c], _filled(arrays["value"])[targets - 1, c]]) - actual
    errors = errors[:, np.isfinite(errors).all(axis=0)]
    ours, persistence = np.sqrt((errors**2).mean(axis=1)).tolist()
    return ours, persistence


def _deviation(arrays: Mapping[str, Array], rows: Rows) -> F64:
    deviation: F64 = np.nanstd(arrays["value"][: rows.training], axis=0)
    return np.where(deviation > 0, deviation, 1.0)


def _filled(value: Array) -> Array:
    """Each row's last known values; NaN before the first."""
    at = np.where(np.isfinite(value), np.arange(len(value))[:, None], -1)
    at = np.maximum.accumulate(at, axis=0)
    return np.where(at >= 0, np.take_along_axis(value, np.maximum(at, 0), axis=0), np.nan)
