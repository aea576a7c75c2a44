"""A file through the engine, row by row as if it came in live, and what the forecasts were worth.

One pass in the file's order with no look at the future: a forecast for row n + h is judged when row n + h has come.
Knows rows and measures; how a forecast is made is the engine's business, and it is the same as in the daemon.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamd.config import Group
from streamd.edge.training import TrainingThread
from streamd.engine.align import Align
from streamd.engine.engine import Engine
from streamd.engine.score import TERMS
from streamd.model.training import Candidate, Job, train
from streamd.records import F64, Array, Batch, Outcome, Reading
from streamd.table import Table

STREAM = "backtest"
SETTLED_FROM = 0.25  # of the file: measures are also given from there on, without the cold start


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


@dataclass(slots=True)
class Record:
    """Every row's outcome, for the .npz file."""

    rows: list[tuple[float, F64, Outcome]] = field(default_factory=list)

    def save(self, path: Path, channels: tuple[str, ...]) -> None:
        """Write the arrays of DESIGN's interface; plain arrays, no pickle."""
        outcomes = [outcome for _, _, outcome in self.rows]
        arrays: dict[str, Array] = {
            "time": np.array([at for at, _, _ in self.rows]),
            "value": np.array([values for _, values, _ in self.rows]),
            "forecast": np.concatenate([o.mean for o in outcomes]),
            "lower": np.concatenate([o.lower for o in outcomes]),
            "upper": np.concatenate([o.upper for o in outcomes]),
            "score": np.concatenate([o.score for o in outcomes]),
            "channel_score": np.concatenate([o.channel_score for o in outcomes]),
            "channels": np.array(channels),
        }
        terms = np.concatenate([o.terms for o in outcomes])
        arrays |= {name: terms[:, at] for at, name in enumerate(TERMS)}
        arrays["alarm"] = arrays["score"] >= 1.0
        np.savez(path, allow_pickle=False, **arrays)


def backtest(
    table: Table,
    settings: Group,
    *,
    out: Path | None = None,
    on_row: Callable[[float], None] = lambda _share: None,
) -> dict[str, Any]:
    """Run a file through an engine with these settings.

    Args:
        table: the file; its channels take the place of the settings' own.
        out: where to write every row's outcome, as .npz.
        on_row: told the share of the file that is done, after each row.

    Returns:
        the summary: plain numbers, ready for JSON.
    """
    engine_settings, channels, H = _with_channels(settings, table.channels), table.channels, settings.horizon_steps
    everything, settled = Tally(H, len(channels)), Tally(H, len(channels))
    record = Record() if out is not None else None
    alarms = incidents = accepted = rejected = 0
    dropped = Counter[str]()
    waiting = _Waiting(H, len(channels))
    begun = time.perf_counter()
    with TrainingThread[Job, Candidate](train, on_cpu=lambda _seconds: None) as thread:
        engine = Engine(engine_settings, thread.client())
        for share, at, values, outcome in _outcomes(table, engine, dropped):
            error, persistence, inside = waiting.judge(values)
            everything.add(error, persistence, inside)
            if share >= SETTLED_FROM:
                settled.add(error, persistence, inside)
            waiting.keep(values, outcome)
            alarms += int((outcome.score >= 1.0).sum())
            incidents += sum(incident.state == "raised" for incident in outcome.incidents)
            accepted += sum(report.accepted for report in outcome.reports)
            rejected += sum(not report.accepted for report in outcome.reports)
            if record is not None:
                record.rows.append((at, values, outcome))
            on_row(share)
    seconds = time.perf_counter() - begun
    if record is not None and out is not None and record.rows:
        record.save(out, channels)
    return {
        "file": str(table.path),
        "channels": list(channels),
        "horizon": H,
        "seconds": seconds,
        "readings_per_s": everything.rows / seconds if seconds else None,
        "dropped": dict(dropped),
        "alarms": alarms,
        "incidents": incidents,
        "candidates": {"accepted": accepted, "rejected": rejected},
        **everything.measures(channels),
        "settled": settled.measures(channels),
    }


class _Waiting:
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

    def keep(self, values: F64, outcome: Outcome) -> None:
        """Remember this row's forecasts."""
        self._last = np.where(np.isfinite(values), values, self._last)
        at = self._row % len(self._steps)
        self._mean[at], self._lower[at], self._upper[at] = outcome.mean[0], outcome.lower[0], outcome.upper[0]
        self._base[at] = self._last
        self._row += 1


def _outcomes(table: Table, engine: Engine, dropped: Counter[str]) -> Iterator[tuple[float, float, F64, Outcome]]:
    """Share of the file read, time, values [C] and outcome of each row that was not late or double."""
    align = Align(engine.settings, engine.channels, engine.last_time, streams=0)
    for row in table.rows():
        present = {name: value for name, value in zip(table.channels, row.values, strict=True) if value == value}
        refusal = align.push(Reading(STREAM, row.time, present), row.time, ticket=0)
        if refusal is not None:
            dropped[refusal] += 1
            continue
        work = align.next()
        if work is not None and isinstance(work.record, Batch):
            outcome = engine.apply(work.record)
            yield table.position / table.size, row.time, work.record.values[0], outcome


def _with_channels(settings: Group, channels: tuple[str, ...]) -> Group:
    return msgspec.structs.replace(settings, channels=channels)


def _plain(values: F64) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]
