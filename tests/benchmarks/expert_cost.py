"""CPU time per reading of each part of the engine, at 200 streams, 6 channels, 12 steps.

    python tests/benchmarks/expert_cost.py [--streams 200] [--channels 6] [--horizon 12] [--seconds 3]

Knows which parts there are (PARTS); a part's time is that spent in its methods, called by the engine as it goes on,
with training off. What no part accounts for is the engine's own.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamd.config import Group, Training
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Batch

# Attributes of the engine, each a part of its own.
PARTS = ("timing", "scale", "recent", "hidden", "intervals", "pool", "drift", "score", "incidents", "memory", "learner")
EXPERTS = ("pending", "seasons", "lags", "regression", "adaptive", "reach", "mix", "gate")  # those of `engine.experts`
RUNS = 5


class Timed:
    """Stands in for a part, and counts the CPU time of every call."""

    def __init__(self, part: Any, spent: dict[str, float], name: str) -> None:
        self.__dict__.update(_part=part, _spent=spent, _name=name)

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._part, attribute)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            begun = time.process_time()
            try:
                return found(*arguments, **named)
            finally:
                self._spent[self._name] += time.process_time() - begun

        return call

    def __setattr__(self, attribute: str, value: Any) -> None:
        setattr(self._part, attribute, value)


def measure(
    streams: int, channels: int, horizon: int, seconds: float, parts: Sequence[str] = PARTS
) -> dict[str, float]:
    """Median µs per reading of each part, and of the whole, "engine.apply"."""
    settings = Group(
        channels=tuple(f"c{i}" for i in range(channels)), horizon_steps=horizon, training=Training(enabled=False)
    )
    engine = Engine(settings, InlineTrainer())
    random = np.random.default_rng(0)
    stream_names = tuple(f"s{i}" for i in range(streams))
    walk = random.normal(size=(512, streams, channels)).cumsum(axis=0)
    tick = 0

    def one() -> None:
        nonlocal tick
        engine.apply(Batch(stream_names, np.full(streams, 60.0 * tick), walk[tick % len(walk)]))
        tick += 1

    for _ in range(150):  # every ring has filled
        one()
    spent: dict[str, float] = defaultdict(float)
    for owner, names in ((engine, parts), (engine.experts, EXPERTS)):
        for part in names:
            setattr(owner, part, Timed(getattr(owner, part), spent, part))
    runs: dict[str, list[float]] = defaultdict(list)
    for _ in range(RUNS):
        spent.clear()
        first, begun, cpu = tick, time.perf_counter(), time.process_time()
        while time.perf_counter() - begun < seconds / RUNS:
            one()
        readings = (tick - first) * streams
        runs["engine.apply"].append((time.process_time() - cpu) / readings * 1e6)
        for part in (*parts, *EXPERTS):
            runs[part].append(spent[part] / readings * 1e6)
    return {name: statistics.median(costs) for name, costs in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--channels", type=int, default=6)
    parser.add_argument("--horizon", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=3.0)
    asked = parser.parse_args()
    costs = measure(asked.streams, asked.channels, asked.horizon, asked.seconds)
    whole = costs.pop("engine.apply")
    print(f"CPU per reading, {asked.streams} streams x {asked.channels} channels x {asked.horizon} steps, training off")
    for name, cost in sorted(costs.items(), key=lambda pair: -pair[1]):
        print(f"  {name:<12} {cost:>7.2f} us")
    print(f"  {'the rest':<12} {whole - sum(costs.values()):>7.2f} us  network's step, features, records")
    print(f"  {'engine.apply':<12} {whole:>7.2f} us")


if __name__ == "__main__":
    main()
