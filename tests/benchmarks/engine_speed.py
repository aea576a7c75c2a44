"""Readings per second and CPU per reading of `engine.apply` alone, by batch size.

    python tests/benchmarks/engine_speed.py [--channels 6] [--horizon 12] [--seconds 3]

Training is off in the first column and inline in the second: the whole cost of both, on one core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from streamd.config import Group, Training
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Batch

Profile: TypeAlias = Literal["full", "compact"]
PROFILES: tuple[Profile, ...] = ("full", "compact")
SIZES = (1, 8, 64, 256)
RUNS = 5


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one batch size."""

    size: int
    readings_per_s: float
    cpu_us: float  # per reading


def measure(size: int, channels: int, horizon: int, seconds: float, *, training: bool, profile: Profile) -> Speed:
    """Median over the runs, after a warm-up in which every ring has filled."""
    settings = Group(
        channels=tuple(f"c{i}" for i in range(channels)),
        horizon_steps=horizon,
        profile=profile,
        training=Training(enabled=training),
    )
    engine = Engine(settings, InlineTrainer())
    random = np.random.default_rng(0)
    streams = tuple(f"s{i}" for i in range(size))
    walk = random.normal(size=(512, size, channels)).cumsum(axis=0)
    tick = 0

    def one() -> None:
        nonlocal tick
        engine.apply(Batch(streams, np.full(size, float(tick)), walk[tick % len(walk)]))
        tick += 1

    for _ in range(150):
        one()
    rates, costs = [], []
    for _ in range(RUNS):
        begun, cpu, first = time.perf_counter(), time.process_time(), tick
        while time.perf_counter() - begun < seconds / RUNS:
            one()
        done = (tick - first) * size
        rates.append(done / (time.perf_counter() - begun))
        costs.append((time.process_time() - cpu) / done * 1e6)
    return Speed(size, statistics.median(rates), statistics.median(costs))


def table(channels: int, horizon: int, seconds: float, profile: Profile) -> list[dict[str, float]]:
    """One row per batch size."""
    rows = []
    for size in SIZES:
        off = measure(size, channels, horizon, seconds, training=False, profile=profile)
        on = measure(size, channels, horizon, seconds, training=True, profile=profile)
        rows.append(
            {
                "batch": size,
                "readings_per_s": off.readings_per_s,
                "cpu_us": off.cpu_us,
                "training_readings_per_s": on.readings_per_s,
                "training_cpu_us": on.cpu_us,
            }
        )
    return rows


def show(profile: str, rows: list[dict[str, float]]) -> None:
    print(f"engine.apply alone, one core (medians), {profile} profile")
    print(f"{'batch':>6} {'readings/s':>12} {'CPU us':>8}   {'with training':>14} {'CPU us':>8}")
    for row in rows:
        print(
            f"{row['batch']:>6.0f} {row['readings_per_s']:>12,.0f} {row['cpu_us']:>8.1f}   "
            f"{row['training_readings_per_s']:>14,.0f} {row['training_cpu_us']:>8.1f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=6)
    parser.add_argument("--horizon", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = {each: table(asked.channels, asked.horizon, asked.seconds, each) for each in PROFILES}
    if asked.json:
        print(msgspec.json.encode(found).decode())
    else:
        for each, rows in found.items():
            show(each, rows)
