"""Whether memory stays bounded while ever more streams are known: RSS, file and times over the number of streams.

    python tests/benchmarks/spill_growth.py [--streams 1000000] [--resident 10000] [--json]

Engine, residency and store as in the daemon. One channel, one step and a small network keep a row at 4 kB; a row of the
default network with six channels takes eight times as much on the disk, and memory is bounded all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
from rich.progress import Progress

from streamd.config import Group, Network, Training
from streamd.edge.disk import Disk
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Batch
from streamd.residency import Residency
from streamd.store.spill import Spill

BATCH = 250
SAMPLES = 20
BACK = 64  # streams that come back in one batch
BACKS = 20  # such batches for each sample
Row = dict[str, float]


class Fleet:
    """Streams that speak once, and some of them again much later."""

    def __init__(self, resident: int, limit: int, spill: Spill, disk: Disk) -> None:
        settings = Group(
            channels=("c0",),
            horizon_steps=1,
            max_streams=limit,
            max_resident_streams=resident,
            network=Network(hidden=8, layers=1),
            training=Training(enabled=False),
        )
        self.engine = Engine(settings, InlineTrainer())
        self._residency = Residency("default", self.engine, spill, disk, resident)
        self._position = 0

    async def speak(self, numbers: list[int]) -> None:
        """A reading of each."""
        self._position += 1
        streams = tuple(f"machine-{number:07d}" for number in numbers)
        await self._residency.bring(streams)
        self.engine.apply(Batch(streams, np.full(len(streams), float(self._position)), np.ones((len(streams), 1))))
        await self._residency.make_room(self._position)


async def measure(streams: int, resident: int, path: Path, progress: Progress) -> list[Row]:
    """A row for each sample."""
    chance = random.Random(0)
    bar = progress.add_task("streams", total=streams)
    rows: list[Row] = []
    with Disk("spill") as disk:
        spill = await disk(lambda: Spill.open(path))
        fleet = Fleet(resident, streams, spill, disk)
        known, begun = 0, time.perf_counter()
        while known < streams:
            await fleet.speak(list(range(known, known + BATCH)))
            known += BATCH
            progress.update(bar, completed=known)
            if known >= streams * (len(rows) + 1) // SAMPLES:
                grown = time.perf_counter() - begun
                backs = []
                for _ in range(BACKS):
                    asked = time.perf_counter()
                    await fleet.speak(chance.sample(range(known), BACK))
                    backs.append(time.perf_counter() - asked)
                rows.append(
                    {
                        "known": fleet.engine.known,
                        "resident": fleet.engine.resident,
                        "rss_mb": _rss_mb(),
                        "disk_mb": sum(file.stat().st_size for file in path.parent.iterdir()) / 1e6,
                        "us_per_new_stream": 1e6 * grown / (streams / SAMPLES),
                        "ms_per_batch_that_comes_back": 1e3 * statistics.median(backs),
                    }
                )
                begun = time.perf_counter()
        await disk(spill.close)
        opened = time.perf_counter()
        spill = await disk(lambda: Spill.open(path))
        rows[-1]["ms_to_open"] = 1e3 * (time.perf_counter() - opened)
        await disk(spill.close)
    return rows


def _rss_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def show(rows: list[Row]) -> None:
    print(
        f"{'known':>10} {'resident':>9} {'RSS MB':>7} {'disk MB':>8} {'µs per new one':>15} {f'ms per {BACK} back':>14}"
    )
    for row in rows:
        print(
            f"{row['known']:>10,.0f} {row['resident']:>9,.0f} {row['rss_mb']:>7.0f} {row['disk_mb']:>8.0f}"
            f" {row['us_per_new_stream']:>15.0f} {row['ms_per_batch_that_comes_back']:>14.1f}"
        )
    print(f"opened again in {rows[-1]['ms_to_open']:.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1_000_000)
    parser.add_argument("--resident", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, Progress(transient=True) as bars:
        found = asyncio.run(measure(asked.streams, asked.resident, Path(place, "spill.sqlite"), bars))
    if asked.json:
        print(msgspec.json.encode(found).decode())
    else:
        show(found)
