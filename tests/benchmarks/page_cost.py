"""What the page costs the daemon: per batch while nobody looks, and for a table of all streams when somebody does.

The best of many runs, in this process, without a server or a browser.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from streamd.config import Config, Group, Network, Source, Training
from streamd.edge.mailbox import Mailbox
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.page import overview
from streamd.page.desk import Desk
from streamd.records import Batch

SETTINGS = Group(
    channels=("flow", "pressure"),
    horizon_steps=3,
    network=Network(hidden=8, layers=1),
    training=Training(enabled=False, burn_in_frames=2, train_frames=8),
)
AT_ONCE = 250  # frames of a batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=5000)
    streams: int = parser.parse_args().streams
    names = [f"pump-{number:04}" for number in range(streams)]
    engine = Engine(SETTINGS, InlineTrainer())
    engines = {"pumps": engine}
    outcomes = [engine.apply(batch) for turn in range(3) for batch in batches(names, turn)]

    async def nothing(_: Any) -> bytes:
        return b""

    desk = Desk(Config(source=(Source(topic="a/{stream}", group="pumps"),)), list, nothing)
    desk.begin(engines, None, nothing)  # type: ignore[arg-type]  # nobody asks for incidents
    told = {"a batch of 250 frames, nobody looks, µs": 1e3 * hearing(desk, outcomes)}
    with desk.follow(Mailbox(), "pumps", "nobody"):
        told["the same, while somebody looks at a stream that is silent, µs"] = 1e3 * hearing(desk, outcomes)
    before = overview.look(engines)
    told["a table of all streams, ms"] = best(lambda: overview.look(engines))
    told["the same, searched, ms"] = best(lambda: overview.look(engines, "pump-49"))
    told["all of it as JSON, ms"] = best(lambda: overview.changes(None, before))
    told["all of it as JSON, kB"] = len(overview.changes(None, before)) / 1e3
    for batch in batches(names[: streams // 10], 9):
        engine.apply(batch)
    after = overview.look(engines)
    told["where a tenth has changed, ms"] = best(lambda: overview.changes(before, after))
    told["where a tenth has changed, kB"] = len(overview.changes(before, after)) / 1e3
    for name, value in told.items():
        print(f"{name:<62}{value:>10.3g}")


def batches(names: list[str], turn: int) -> Iterator[Batch]:
    chance = np.random.default_rng(turn)
    for at in range(0, len(names), AT_ONCE):
        some = tuple(names[at : at + AT_ONCE])
        yield Batch(some, np.full(len(some), 60.0 * turn + 1.0), 20.0 + chance.normal(size=(len(some), 2)))


def hearing(desk: Desk, outcomes: list[Any]) -> float:
    """ms for each."""
    return best(lambda: [desk.hear("pumps", outcome) for outcome in outcomes]) / len(outcomes)


def best(work: Callable[[], object], runs: int = 30) -> float:
    """ms of the fastest run."""
    found = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return 1e3 * min(found)


if __name__ == "__main__":
    main()
