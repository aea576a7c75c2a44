"""Readings per second beside the libraries that learn online: deep-river's LSTM, river's SNARIMAX and half-space trees.

    python tests/benchmarks/peers.py --python FOLDER/bin/python [--seconds 10]

deep-river pins an older torch than ours, so it has a virtual environment of its own (see the README of this folder);
this file runs there too. All are fed the same readings of 6 channels, one at a time, and asked for 12 steps of each
channel after every one: the libraries with a model for each channel, since a forecaster of theirs has one. Ours trains
inline and does all else that a frame brings, intervals and scores included; "among 200" has 200 streams side by side,
which the others know nothing of. CPU time of one thread; medians.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CHANNELS, HORIZON, HIDDEN, LAYERS, WINDOW = 6, 12, 64, 2, 24
RUNS = 5
Step = Callable[[dict[str, float]], None]


def readings(stream: int = 0) -> Iterator[dict[str, float]]:
    """Of one stream, without end: daily courses of different phase, and a slow wander."""
    n = 0
    while True:
        yield {
            f"c{i}": 20.0 + math.sin(n / 23.0 + i + stream) + 0.3 * math.sin(n * (0.61 + 0.1 * i))
            for i in range(CHANNELS)
        }
        n += 1


def deep_river() -> Step:
    """A reading learned from and forecast by deep-river, as large a network as ours for each channel."""
    import torch
    from deep_river.forecasting.zoo import LSTMForecaster

    torch.set_num_threads(1)
    models = {
        f"c{i}": LSTMForecaster(hidden_size=HIDDEN, num_layers=LAYERS, window_size=WINDOW) for i in range(CHANNELS)
    }

    def step(reading: dict[str, float]) -> None:
        for name, value in reading.items():
            models[name].learn_one(value)
            models[name].forecast(HORIZON)

    return step


def snarimax() -> Step:
    """The same by river's SNARIMAX."""
    from river.time_series import SNARIMAX

    models = {f"c{i}": SNARIMAX(p=WINDOW, d=0, q=0) for i in range(CHANNELS)}

    def step(reading: dict[str, float]) -> None:
        for name, value in reading.items():
            models[name].learn_one(value)
            models[name].forecast(HORIZON)

    return step


def half_space_trees() -> Step:
    """A reading scored and learned from by river's half-space trees; no forecast."""
    from river.anomaly import HalfSpaceTrees

    model = HalfSpaceTrees(n_trees=25)

    def step(reading: dict[str, float]) -> None:
        model.score_one(reading)
        model.learn_one(reading)

    return step


def rate(step: Step, seconds: float) -> float:
    """Readings per second of CPU, median over the runs."""
    source, rates = readings(), []
    for _ in range(3 * WINDOW):
        step(next(source))
    for _ in range(RUNS):
        count, begun = 0, time.process_time()
        while (took := time.process_time() - begun) < seconds / RUNS:
            step(next(source))
            count += 1
        rates.append(count / took)
    return statistics.median(rates)


def ours(streams: int, seconds: float) -> float:
    """The engine's readings per second of CPU with so many streams, each batch one reading of each; training inline."""
    import numpy as np

    from streamd.config import Group
    from streamd.engine.engine import Engine
    from streamd.engine.learner import InlineTrainer
    from streamd.records import Batch

    engine = Engine(Group(channels=tuple(f"c{i}" for i in range(CHANNELS)), horizon_steps=HORIZON), InlineTrainer())
    assert (engine.settings.network.hidden, engine.settings.network.layers) == (HIDDEN, LAYERS)
    names, sources = tuple(f"s{i}" for i in range(streams)), [readings(i) for i in range(streams)]
    tick = 0

    def step(_: dict[str, float]) -> None:
        nonlocal tick
        values = np.array([list(next(source).values()) for source in sources])
        engine.apply(Batch(names, np.full(streams, 1.7e9 + 10.0 * tick), values))
        tick += 1

    for _ in range(600):  # no longer young, and training
        step({})
    return rate(step, seconds) * streams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, help="of the environment that has deep-river and river")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each row")
    parser.add_argument("--peers", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peers:
        steps = {"deep-river LSTM": deep_river, "river SNARIMAX": snarimax, "river half-space trees": half_space_trees}
        print(json.dumps({name: rate(make(), options.seconds) for name, make in steps.items()}))
        return
    if options.python is None:
        parser.error("say --python: an environment that has deep-river and river")
    command = [str(options.python), __file__, "--peers", "--seconds", str(options.seconds)]
    peers = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    alone, among = ours(1, options.seconds), ours(200, options.seconds)
    print(f"readings/s of {CHANNELS} channels x {HORIZON} steps, one core of CPU (medians)")
    print(f"{'':24}{'readings/s':>12}{'ours over it':>14}{'among 200':>12}")
    print(f"{'streamd, one stream':24}{alone:12,.0f}\n{'streamd, 200 streams':24}{among:12,.0f}")
    for name, found in peers.items():
        print(f"{name:24}{found:12,.0f}{alone / found:14.1f}{among / found:12.1f}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))  # where `streamd` is, also when this file is run as a script
    main()
