"""Sends files through the engine and keeps what it said of each row: one by one as `streamd backtest` does, or at once.

Knows files and arrays; not what the rows stand for. A file by itself is the figure that counts: the command's own
code, default config, cold, one pass. Many at once, as streams of one group, take a twentieth of the time and are for
trials: they share the network and what a group pools.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from streamd.backtest import backtest
from streamd.config import Group
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.engine.score import TERMS
from streamd.records import F64, Batch, Bool
from streamd.table import open_table

ARRAYS = ("score", *TERMS)


@dataclass(frozen=True, slots=True)
class File:
    """What is to be read."""

    path: Path
    channels: tuple[str, ...] | None = None  # as `streamd backtest --channels` takes them; None: all


def alone(file: File, settings: Group) -> dict[str, F64]:
    """What `streamd backtest --out` writes of one file, for every row of it: score and terms [N]; NaN where the row
    came late or twice, and was left out."""
    with tempfile.TemporaryDirectory(prefix="bench-anomaly-") as folder:
        out = Path(folder, "out.npz")
        backtest(open_table(file.path, None, file.channels), settings, out=out)
        with np.load(out, allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name], np.float64) for name in ARRAYS}
    taken = in_order(np.array([row.time for row in open_table(file.path, None, file.channels).rows()]))
    return {name: _spread(values, taken) for name, values in found.items()}


def together(files: Sequence[File], settings: Group) -> list[dict[str, F64]]:
    """The same of many files with the same channels, each a stream of one group; the n-th rows of all are one batch."""
    tables = [open_table(file.path, None, file.channels) for file in files]
    rows = [list(table.rows()) for table in tables]
    if len({table.channels for table in tables}) > 1:
        raise ValueError("files with different channels can't be one group")
    times = [np.array([row.time for row in each]) for each in rows]
    values = [np.array([row.values for row in each]) for each in rows]
    taken = [in_order(each) for each in times]
    found = [{name: np.full(len(each), np.nan) for name in ARRAYS} for each in rows]
    engine = Engine(msgspec.structs.replace(settings, channels=tables[0].channels), InlineTrainer())
    for n in range(max(map(len, rows))):
        here = [b for b in range(len(files)) if n < len(rows[b]) and taken[b][n]]
        if not here:
            continue
        batch = Batch(
            tuple(f"f{b}" for b in here), np.array([times[b][n] for b in here]), np.stack([values[b][n] for b in here])
        )
        outcome = engine.apply(batch)
        for i, b in enumerate(here):
            found[b]["score"][n] = outcome.score[i]
            for t, name in enumerate(TERMS):
                found[b][name][n] = outcome.terms[i, t]
    return found


def in_order(times: F64) -> Bool:
    """Which rows are later than all before them: those that the engine takes.

    >>> in_order(np.array([1.0, 2.0, 2.0, 1.5, 3.0])).tolist()
    [True, True, False, False, True]
    """
    before = np.maximum.accumulate(np.append(-np.inf, times[:-1]))
    return np.asarray(times > before, np.bool_)


def save(path: Path, arrays: Mapping[str, F64]) -> None:
    """Keep one file's arrays; none of them is missing a row or a number: what was left out counts as not strange."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **{name: np.nan_to_num(one) for name, one in arrays.items()})


def load(path: Path) -> dict[str, F64]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _spread(values: F64, taken: Bool) -> F64:
    spread = np.full(len(taken), np.nan)
    spread[taken] = values
    return spread
