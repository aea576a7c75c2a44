"""The labelled data: NAB, SKAB, SMD; their pieces, each as a file that streamd reads, and their labels.

Knows where things lie below the folder of data and how they are written; not how they are judged. Labels and row
numbers are never among the channels.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from streamd.records import F64, Bool
from tests.benchmarks import nab
from tests.benchmarks.passes import File

SKAB_LABELS: Final = ("anomaly", "changepoint")
MOST_CUT: Final = 300  # rows off a SKAB file's start
CUT_SEED: Final = 5
SMD_START_S: Final = 1_600_000_000
SMD_STEP_S: Final = 60


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a data set, by its name there."""

    set: str  # "nab", "skab", "skab-shifted" or "smd"
    name: str  # such as realTweets/Twitter_volume_UPS


def parts(which: str, data: Path) -> list[Part]:
    """All pieces of a data set, in the order of their names."""
    if which == "nab":
        names = [name.removesuffix(".csv") for name in _nab_windows(data)]
    elif which == "smd":
        names = [path.stem for path in (data / "smd").glob("*.npz")]
    else:
        folders = ("valve1", "valve2", "other")
        names = [f"{folder}/{path.stem}" for folder in folders for path in (data / "skab" / folder).glob("*.csv")]
    return [Part(which, name) for name in sorted(names)]


def file_of(part: Part, data: Path, folder: Path, rows: int | None = None) -> File:
    """The piece as a file, written into `folder` where it is not one already; `rows`: thinned to so many (SMD)."""
    match part.set:
        case "nab":
            return File(data / "nab" / "data" / f"{part.name}.csv")
        case "skab":
            return File(_skab(part, data), tuple(f"-{name}" for name in SKAB_LABELS))
        case "skab-shifted":
            with _skab(part, data).open() as file:
                header, *lines = file.readlines()
            written = folder / f"{part.name.replace('/', '-')}.csv"
            written.write_text(header + "".join(lines[cut_of(part, data) :]))
            return File(written, tuple(f"-{name}" for name in SKAB_LABELS))
        case _:
            machine = smd(part, data, rows)
            written = folder / f"{part.name}.csv"
            values = np.concatenate([machine.train, machine.test])
            with written.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["time", *(f"c{c}" for c in range(values.shape[1]))])
                times = SMD_START_S + machine.step_s * np.arange(len(values))
                writer.writerows([time, *row] for time, row in zip(times.tolist(), values.tolist(), strict=True))
            return File(written)


def nab_labels(part: Part, data: Path) -> nab.Labelled:
    """By the time stamps of NAB's own windows."""
    with (data / "nab" / "data" / f"{part.name}.csv").open(newline="") as file:
        stamps = [row["timestamp"] for row in csv.DictReader(file)]
    rows: dict[str, int] = {}
    for n, stamp in enumerate(stamps):
        rows.setdefault(stamp, n)
    windows = _nab_windows(data)[f"{part.name}.csv"]
    edges = [(rows[begin.partition(".")[0]], rows[end.partition(".")[0]]) for begin, end in windows]
    return nab.label(len(stamps), edges)


def nab_values(part: Part, data: Path) -> F64:
    """[N]"""
    with (data / "nab" / "data" / f"{part.name}.csv").open(newline="") as file:
        return np.array([float(row["value"]) for row in csv.DictReader(file)])


def skab_table(part: Part, data: Path) -> tuple[F64, Bool]:
    """Values [N, 8] and labels [N] of the rows that are left of the file."""
    with _skab(part, data).open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))[cut_of(part, data) :]
    names = [name for name in rows[0] if name not in ("datetime", *SKAB_LABELS)]
    values = np.array([[float(row[name]) for name in names] for row in rows])
    return values, np.array([float(row["anomaly"]) > 0 for row in rows])


def cut_of(part: Part, data: Path) -> int:
    """Rows that are cut off a file's start: 0 but for the shifted ones."""
    if part.set != "skab-shifted":
        return 0
    order = parts("skab", data).index(Part("skab", part.name))
    return int(np.random.default_rng([CUT_SEED, order]).integers(0, MOST_CUT + 1))


@dataclass(frozen=True, slots=True)
class Machine:
    """One of SMD's."""

    train: F64  # [N, C]
    test: F64  # [M, C]
    label: Bool  # [M]
    step_s: int


def smd(part: Part, data: Path, rows: int | None = None) -> Machine:
    """A machine, of train and test together at most about so many rows, evenly thinned."""
    with np.load(data / "smd" / f"{part.name}.npz", allow_pickle=False) as arrays:
        train, test, label = (arrays[name] for name in ("train", "test", "test_label"))
    every = 1 if rows is None else max(1, round((len(train) + len(test)) / rows))
    return Machine(
        train[::every].astype(np.float64), test[::every].astype(np.float64), label[::every] > 0, SMD_STEP_S * every
    )


def _skab(part: Part, data: Path) -> Path:
    return data / "skab" / f"{part.name}.csv"


def _nab_windows(data: Path) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = json.loads((data / "nab" / "labels" / "combined_windows.json").read_text())
    return found
