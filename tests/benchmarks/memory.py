"""Whether memory grows: readings through engine, journal and checkpoints in one process, and the slope of its RSS.

    python tests/benchmarks/memory.py [--readings 10000000] [--streams 256] [--small] [--json]

The group's default settings and readings of six channels, or with `--small` a network, horizon and readings that take a
quarter of the time; batches of all streams. Every part is as it is in the daemon, and works: training (inline),
commits, checkpoints, truncation.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
from rich.progress import Progress

from streamd.config import Group, Network
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Batch
from streamd.store import checkpoint, codec
from streamd.store.checkpoint import Checkpoint
from streamd.store.journal import Entry, Journal

DEFAULT = Group(channels=tuple(f"c{i}" for i in range(6)))
SMALL = Group(channels=("flow", "pressure"), horizon_steps=4, network=Network(hidden=16, layers=1))
BATCHES_PER_COMMIT = 10
COMMITS_PER_CHECKPOINT = 100
SAMPLES = 100  # of the whole run
WARM_UP = 0.2  # of the run; rings fill, caches and allocators settle


@dataclass(frozen=True, slots=True)
class Curve:
    """RSS over readings."""

    readings: list[int]
    rss_mb: list[float]
    slope_mb: float  # per million readings, after the warm-up, by least squares
    seconds: float
    checkpoints: int


def measure(settings: Group, readings: int, streams: int, folder: Path, progress: Progress) -> Curve:
    """Every reading is applied, journaled, and covered by a checkpoint one day."""
    engine = Engine(msgspec.structs.replace(settings, max_streams=streams), InlineTrainer())
    journal = Journal.open(folder / "journal.sqlite")
    random = np.random.default_rng(0)
    names = tuple(f"s{i}" for i in range(streams))
    values = np.zeros((streams, len(settings.channels)))
    entries: list[Entry] = []
    position = saved = checkpoints = 0
    at, rss = [], []
    bar = progress.add_task("readings", total=readings)
    begun, done = time.perf_counter(), 0
    while done < readings:
        values += random.normal(size=values.shape)
        batch = Batch(names, np.full(streams, float(position)), values.copy())
        position += 1
        entries.append(Entry(position, "default", codec.encode(batch)))
        engine.apply(batch)
        done += streams
        if position % BATCHES_PER_COMMIT == 0:
            journal.commit(entries, position)
            entries.clear()
        if position % (BATCHES_PER_COMMIT * COMMITS_PER_CHECKPOINT) == 0:
            snapshot = engine.snapshot()
            while not snapshot.copy(256):
                pass
            state = Checkpoint(position, snapshot.arrays, {"groups": {"default": snapshot.meta}})
            checkpoint.save(folder, state, keep=3, created=time.time())
            journal.truncate(saved)
            saved, checkpoints = position, checkpoints + 1
        if done >= readings * len(at) // SAMPLES:
            gc.collect()
            at.append(done)
            rss.append(_rss_mb())
            progress.update(bar, completed=done)
    journal.close()
    settled = [i for i, n in enumerate(at) if n >= WARM_UP * readings]
    slope = float(np.polyfit(np.array(at)[settled] / 1e6, np.array(rss)[settled], 1)[0])
    return Curve(at, rss, slope, time.perf_counter() - begun, checkpoints)


def _rss_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def show(curve: Curve) -> None:
    lowest, highest = min(curve.rss_mb), max(curve.rss_mb)
    print(f"RSS over {curve.readings[-1]:,} readings, {curve.checkpoints} checkpoints, {curve.seconds:.0f} s")
    for i in range(0, len(curve.readings), max(len(curve.readings) // 20, 1)):
        share = (curve.rss_mb[i] - lowest) / max(highest - lowest, 1e-9)
        print(f"{curve.readings[i]:>12,} {curve.rss_mb[i]:>8.1f} MB {'#' * round(40 * share)}")
    print(f"slope after the first {WARM_UP:.0%}: {curve.slope_mb:+.3f} MB per million readings")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=10_000_000)
    parser.add_argument("--streams", type=int, default=256)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, Progress(transient=True) as bars:
        found = measure(SMALL if asked.small else DEFAULT, asked.readings, asked.streams, Path(place), bars)
    if asked.json:
        print(msgspec.json.encode(asdict(found)).decode())
    else:
        show(found)
