"""How long a checkpoint holds the live path up, and how many bytes a stream takes.

    python tests/benchmarks/checkpoint_pause.py [--streams 10000] [--channels 6] [--horizon 12]

Between two slices of the copy a batch is applied, as in the daemon, so rows are also copied because they change.
Times are by the clock; the longest ones by the thread's CPU too, since whoever else works on the machine adds to them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import numpy as np

from streamd.config import Group, Training
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Batch

BATCH = 64
COPIES = 3
T = TypeVar("T")


class Times:
    """Of several calls, in milliseconds."""

    def __init__(self) -> None:
        self.clock: list[float] = []
        self.cpu: list[float] = []

    def add(self, work: Callable[..., T], *given: Any) -> T:
        clock, cpu = time.perf_counter(), time.thread_time()
        result = work(*given)
        self.clock.append(1e3 * (time.perf_counter() - clock))
        self.cpu.append(1e3 * (time.thread_time() - cpu))
        return result


def measure(streams: int, channels: int, horizon: int) -> dict[str, float]:
    """Milliseconds and bytes."""
    settings = Group(
        channels=tuple(f"c{i}" for i in range(channels)),
        horizon_steps=horizon,
        max_streams=streams,
        training=Training(enabled=False),
    )
    engine = Engine(settings, InlineTrainer())
    random = np.random.default_rng(0)
    names = [f"machine-{i:05d}" for i in range(streams)]
    tick = 0

    def batch() -> Batch:
        nonlocal tick
        tick += 1
        chosen = tuple(names[(tick * BATCH + i) % streams] for i in range(min(BATCH, streams)))
        return Batch(chosen, np.full(len(chosen), float(tick)), random.normal(size=(len(chosen), channels)))

    for _ in range(2 * -(-streams // BATCH)):
        engine.apply(batch())
    alone, marking, slices, beside = Times(), Times(), Times(), Times()
    for _ in range(100):
        alone.add(engine.apply, batch())
    for _ in range(COPIES):
        snapshot = marking.add(engine.snapshot)
        while not snapshot.complete:
            slices.add(snapshot.copy, snapshot.slice_rows)
            beside.add(engine.apply, batch())
    saved = sum(array.nbytes for array in snapshot.arrays.values())
    begun = time.perf_counter()
    rows = engine.spill(100)
    spilling = 1e6 * (time.perf_counter() - begun) / len(rows)
    begun = time.perf_counter()
    engine.restore(rows)
    restoring = 1e6 * (time.perf_counter() - begun) / len(rows)
    return {
        "streams": streams,
        "longest_marking_ms": max(marking.clock),
        "longest_slice_ms": max(slices.clock),
        "longest_slice_cpu_ms": max(slices.cpu),
        "median_slice_ms": statistics.median(slices.clock),
        "slices": len(slices.clock) / COPIES,
        "median_apply_ms": statistics.median(alone.clock),
        "median_apply_beside_copy_ms": statistics.median(beside.clock),
        "longest_apply_beside_copy_cpu_ms": max(beside.cpu),
        "memory_bytes_per_stream": snapshot.streams.row_bytes,
        "checkpoint_bytes": saved,
        "checkpoint_bytes_per_stream": saved / streams,
        "spilled_bytes_per_stream": len(rows[0][1]),
        "spill_us_per_stream": spilling,
        "restore_us_per_stream": restoring,
    }


def show(found: dict[str, float]) -> None:
    for name, value in found.items():
        print(f"{name.replace('_', ' '):>32} {value:>14,.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--channels", type=int, default=6)
    parser.add_argument("--horizon", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = measure(asked.streams, asked.channels, asked.horizon)
    if asked.json:
        print(msgspec.json.encode(found).decode())
    else:
        show(found)
