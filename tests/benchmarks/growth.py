"""What a reading costs and a stream weighs as streams and channels grow: tables for the README of this folder.

    python tests/benchmarks/growth.py [--streams 10,100,1000,10000] [--channels 1,8,32] [--horizon 12] [--batch 10]
                                      [--picture growth.png]

The engine alone, training off, a process per row. Readings come in batches of the same size however many streams there
are, from streams drawn at random: a row tells what the number of streams costs, not what larger batches save. Beside
each runs an engine that has no more streams than a batch, in turns with it, so that the ratio of the two holds on a
machine that has other work. All streams have had as many frames. CPU time, medians of five.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `tests` is, also when this file is run as a script
from streamd.config import Group, Training
from streamd.engine import layout
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import Batch

RUNS = 5
MOST_BYTES = 8e9  # a row that would take more is left out
TURNS = 10  # in each of them
FRAMES = 16  # of each stream before it is measured
TOGETHER = 250  # streams of a batch until then


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one number of streams and channels."""

    cpu_us: float  # per reading
    ratio: float  # to that with as many streams as a batch has
    rss_mb: float


class Fleet:
    """An engine and its streams, all of which have spoken as often."""

    def __init__(self, streams: int, channels: int, horizon: int) -> None:
        settings = Group(
            channels=tuple(f"c{i}" for i in range(channels)), horizon_steps=horizon, training=Training(enabled=False)
        )
        self._engine = Engine(settings, InlineTrainer())
        self._random = np.random.default_rng(0)
        self._names = [f"s{i}" for i in range(streams)]
        self._channels, self._tick = channels, 0
        for _ in range(FRAMES):
            for begin in range(0, streams, TOGETHER):
                self._speak(list(range(begin, min(begin + TOGETHER, streams))))

    def cpu_s(self, batches: int, batch: int) -> float:
        """What so many batches of streams drawn at random take."""
        count = len(self._names)
        drawn = [self._random.choice(count, min(batch, count), replace=False).tolist() for _ in range(batches)]
        begun = time.process_time()
        for which in drawn:
            self._speak(which)
        return time.process_time() - begun

    def _speak(self, which: list[int]) -> None:
        self._tick += 1
        values = self._random.normal(size=(len(which), self._channels))
        self._engine.apply(Batch(tuple(self._names[i] for i in which), np.full(len(which), float(self._tick)), values))


def measure(streams: int, channels: int, horizon: int, batch: int, readings: int) -> Cost:
    """Median over runs of so many readings each."""
    few, many = (Fleet(count, channels, horizon) for count in (batch, streams))
    batches = max(readings // batch // TURNS, 1)
    costs, ratios = [], []
    for _ in range(RUNS):
        spent, beside = 0.0, 0.0
        for _ in range(TURNS):
            beside += few.cpu_s(batches, batch)
            spent += many.cpu_s(batches, batch)
        costs.append(spent / (TURNS * batches * min(batch, streams)) * 1e6)
        ratios.append(spent / beside)
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(statistics.median(costs), statistics.median(ratios), rss_mb)


def row_bytes(channels: int, horizon: int) -> dict[str, int]:
    """What one stream takes in memory, by part; the default config."""
    sizes = layout.axes(Group(horizon_steps=horizon), channels)
    made = {name: kind(sizes, slots=1).state_dict() for name, kind in layout.PARTS.items()}
    return {name: sum(array.nbytes for array in arrays.values()) for name, arrays in made.items()}


def draw(costs: dict[tuple[int, int], Cost], file: Path) -> None:
    """A picture of what (channels, streams) cost, drawn by a real browser."""
    from plotly.graph_objects import Figure, Scatter
    from plotly.subplots import make_subplots

    from tests.browser.chromium import launched

    panels = {
        "µs CPU per reading": lambda cost: cost.cpu_us,
        "readings/s of one core": lambda cost: 1e6 / cost.cpu_us,
        "RSS, MB": lambda cost: cost.rss_mb,
    }
    figure: Figure = make_subplots(1, len(panels), subplot_titles=list(panels), horizontal_spacing=0.07)
    for place, channels in enumerate(sorted({channels for channels, _ in costs})):
        streams = [count for width, count in costs if width == channels]
        for column, of in enumerate(panels.values(), 1):
            heights = [of(costs[channels, count]) for count in streams]
            line = {"color": ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")[place % 5]}
            name = f"{channels} channel{'s' if channels > 1 else ''}"
            figure.add_trace(Scatter(x=streams, y=heights, name=name, line=line, showlegend=column == 1), 1, column)
    figure.update_xaxes(type="log", title="streams", dtick=1)
    figure.update_yaxes(type="log", nticks=6)
    figure.update_layout(template="plotly_white", margin={"t": 40, "b": 10}, legend={"orientation": "h", "y": -0.25})
    with launched() as browser:
        page = browser.new_page(viewport={"width": 1080, "height": 380})
        page.set_content(figure.to_html(config={"displayModeBar": False}))
        page.wait_for_selector(".legend")
        page.screenshot(path=str(file))


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=_numbers, default=[10, 100, 1000, 10_000])
    parser.add_argument("--channels", type=_numbers, default=[1, 8, 32])
    parser.add_argument("--horizon", type=int, default=12)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--picture", type=Path, help="a PNG of it")
    parser.add_argument("--readings", type=int, default=2000, help="in each of the five runs")
    asked = parser.parse_args()
    print(f"| streams | channels | CPU us per reading | over that of {asked.batch} streams | RSS MB |")
    print("|---:|---:|---:|---:|---:|")
    costs: dict[tuple[int, int], Cost] = {}
    for channels in asked.channels:
        stream_bytes = sum(row_bytes(channels, asked.horizon).values())
        for streams in asked.streams:
            if streams * stream_bytes > MOST_BYTES:
                continue
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
                cost = apart.submit(measure, streams, channels, asked.horizon, asked.batch, asked.readings).result()
            costs[channels, streams] = cost
            print(
                f"| {streams:,} | {channels} | {cost.cpu_us:.0f} | {cost.ratio:.2f} | {cost.rss_mb:.0f} |", flush=True
            )
    print(f"\n| kB per stream, {asked.horizon} steps | " + " | ".join(f"{c} ch." for c in asked.channels) + " |")
    print("|---|" + "---:|" * len(asked.channels))
    parts = [row_bytes(channels, asked.horizon) for channels in asked.channels]
    for name in sorted(parts[-1], key=lambda name: -parts[-1][name]):
        print(f"| {name} | " + " | ".join(f"{part[name] / 1000:.1f}" for part in parts) + " |")
    if asked.picture:
        draw(costs, asked.picture)
    print("| all | " + " | ".join(f"{sum(part.values()) / 1000:.1f}" for part in parts) + " |")


if __name__ == "__main__":
    main()
