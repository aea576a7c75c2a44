"""CPU time per reading of each part of the engine, at 200 streams, 6 channels, 12 steps.

    python tests/benchmarks/expert_cost.py [--streams 200] [--channels 6] [--horizon 12] [--seconds 3] [--frames 1100]

Knows which parts there are (PARTS); a part's time is that spent in its methods, called by the engine as it goes on,
with training off. What no part accounts for is the engine's own.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from typing import Any, ClassVar

import numpy as np

from streamd.config import Group, Training
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Batch

# Attributes of the engine's state, each a part of its own; those of `experts` and of `judge` likewise.
PARTS = (
    *("timing", "slots", "scale", "recent", "hidden", "intervals", "pool", "drift", "silence", "incidents", "paths"),
    *("past", "memory", "learner", "together", "rate", "feedback", "ranges"),
)
EXPERTS = ("pending", "seasons", "lags", "regression", "adaptive", "reach", "ends", "mix", "gate")
JUDGE = ("novelty", "whitener", "tails", "strictness", "common")
RUNS = 5
FRAMES = 1100  # after so many no stream is young any more


class Timed:
    """Stands in for a part, and counts the CPU time of every call, less that of the parts that it calls."""

    inside: ClassVar[list[float]] = [0.0]  # what the parts that are called by the one that runs have taken

    def __init__(self, part: Any, spent: dict[str, float], name: str) -> None:
        self.__dict__.update(_part=part, _spent=spent, _name=name)

    def __len__(self) -> int:
        return len(self._part)

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._part, attribute)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            begun = time.process_time()
            self.inside.append(0.0)
            try:
                return found(*arguments, **named)
            finally:
                took = time.process_time() - begun
                self._spent[self._name] += took - self.inside.pop()
                self.inside[-1] += took

        return call

    def __setattr__(self, attribute: str, value: Any) -> None:
        setattr(self._part, attribute, value)


def measure(streams: int, channels: int, horizon: int, seconds: float, frames: int = FRAMES) -> dict[str, float]:
    """Median µs per reading of each part, and of the whole, "engine.apply".

    Args:
        frames: of each stream before it is measured; while streams are young more falls due.
    """
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

    for _ in range(frames):
        one()
    spent: dict[str, float] = defaultdict(float)
    for owner, names in ((engine.state, PARTS), (engine.experts, EXPERTS), (engine.judge, JUDGE)):
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
        for part in (*PARTS, *EXPERTS, *JUDGE):
            runs[part].append(spent[part] / readings * 1e6)
    return {name: statistics.median(costs) for name, costs in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--channels", type=int, default=6)
    parser.add_argument("--horizon", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each stream before it is measured")
    asked = parser.parse_args()
    costs = measure(asked.streams, asked.channels, asked.horizon, asked.seconds, asked.frames)
    whole = costs.pop("engine.apply")
    print(f"CPU per reading, {asked.streams} streams x {asked.channels} channels x {asked.horizon} steps, training off")
    for name, cost in sorted(costs.items(), key=lambda pair: -pair[1]):
        print(f"  {name:<12} {cost:>7.2f} us")
    print(f"  {'the rest':<12} {whole - sum(costs.values()):>7.2f} us  network's step, the score's terms put together")
    print(f"  {'engine.apply':<12} {whole:>7.2f} us")


if __name__ == "__main__":
    main()
