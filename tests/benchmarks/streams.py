"""Random streams, and how much the mix loses against the best single expert on the worst of them.

    python tests/benchmarks/streams.py [--streams 200] [--rows 2000] [--horizon 12] [--seed 1] [--list 10]

Each stream is a random mixture of trend, seasons, autoregression, noise, jumps, stuck stretches and gaps, or constant;
one channel, one reading an hour. All go through one engine, as in the daemon, cold and in one pass. A forecast is
judged at the hour that it was made for, if a value came then.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
import numpy as np

from streamd.config import Group, Training
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.engine.mix import EXPERTS
from streamd.records import F64, Batch, Bool, Outcome

STEP_S = 3600.0
START_S = 1_700_000_400.0  # an hour sharp
ALLOWED = 1.02
PRECISION = 1e-9  # of a stream's largest value: a smaller error is rounding


@dataclass(frozen=True, slots=True)
class Stream:
    """Values at each hour, and what they are made of."""

    values: F64  # [N]; NaN where no reading comes
    made_of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """Total squared errors of the streams."""

    mix: F64  # [B]
    experts: F64  # [B, E]
    rounding: F64  # [B] what arithmetic alone may add up to
    names: tuple[str, ...]  # [E]
    forecasts: int  # that were judged

    @property
    def ratios(self) -> F64:
        """[B] mix over best expert; what is no more than rounding is nothing, as on a constant."""
        return (self.mix + self.rounding) / (self.experts.min(axis=1) + self.rounding)


def generate(seed: int, number: int, rows: int) -> Stream:
    """The stream of that number; the same each time."""
    random = np.random.default_rng([seed, number])
    hours = np.arange(rows)
    level = float(random.normal() * 10.0 ** random.uniform(0, 2))
    if random.random() < 0.04:
        return Stream(np.full(rows, level), ("constant",))
    values, made_of = np.full(rows, level), []

    def chosen(share: float, name: str) -> bool:
        if random.random() < share:
            made_of.append(name)
            return True
        return False

    if chosen(0.4, "trend"):
        values += random.normal() * 10.0 ** random.uniform(-3, -1) * hours
    for _ in range(random.integers(0, 3)):
        period = float(random.choice([24.0, 168.0, 12.0, random.uniform(5, 200)]))
        made_of.append(f"season {period:.0f}")
        size = 10.0 ** random.uniform(-0.5, 1)
        shape = np.sin(2 * np.pi * (hours / period + random.random()))
        values += size * (np.sign(shape) if random.random() < 0.2 else shape)
    if chosen(0.6, "AR"):
        values += _autoregression(random, rows)
    if chosen(0.15, "random walk"):
        values += (random.normal(size=rows) * 10.0 ** random.uniform(-1, 0.5)).cumsum()
    size = 10.0 ** random.uniform(-2, 0.5)
    values += size * (random.standard_t(3, rows) if chosen(0.3, "heavy tails") else random.normal(size=rows))
    if chosen(0.4, "jumps"):
        for at in random.integers(0, rows, random.integers(1, 6)):
            values[at:] += random.normal() * 10.0
    if chosen(0.2, "stuck"):
        for begin, end in _stretches(random, rows):
            values[begin:end] = values[begin]
    if chosen(0.15, "integers"):
        values = values.round()
    if chosen(0.4, "gaps"):
        for begin, end in _stretches(random, rows):
            values[begin:end] = np.nan
    return Stream(values * 10.0 ** random.integers(-3, 7), tuple(made_of) or ("noise",))


def _autoregression(random: np.random.Generator, rows: int) -> F64:
    phi, value = random.uniform(0.3, 0.99), 0.0
    noise = random.normal(size=rows) * 10.0 ** random.uniform(-1, 0.5)
    made = np.empty(rows)
    for n in range(rows):
        value = phi * value + noise[n]
        made[n] = value
    return made


def _stretches(random: np.random.Generator, rows: int) -> list[tuple[int, int]]:
    begins = random.integers(1, rows, random.integers(1, 8))
    return [(int(begin), int(begin + random.integers(1, 100))) for begin in begins]


def judge(streams: Sequence[Stream], settings: Group) -> Judged:
    """Run them all and add up squared errors, where the mix and every expert had a forecast and a value came.

    The experts are those that the engine tells of (`Outcome.experts`, [B, E, H, C]); persistence is worked out here as
    well, so that there is always one. An expert that is not ready has to say what it falls back on: where one says
    nothing (NaN), nobody is judged.
    """
    values = np.stack([stream.values for stream in streams])  # [B, N]
    B, N = values.shape
    H = settings.horizon_steps
    engine = Engine(settings, InlineTrainer())
    names = tuple(f"s{b}" for b in range(B))
    waiting: F64 = np.empty((0,))  # [H ticks, B, 1 + E, H], the mix first
    mix, experts, told, counts = np.zeros(B), np.zeros(0), 0, np.zeros(B, int)
    last = np.full(B, np.nan)
    steps = np.arange(H)
    for n in range(N):
        present = np.flatnonzero(np.isfinite(values[:, n]))
        if n and waiting.size:
            made = waiting[(n - 1 - steps) % H, :, :, steps]  # [H, B, 1 + E], step h made h + 1 ticks ago
            errors = made - values[None, :, n, None]
            known = np.isfinite(errors).all(axis=2)  # [H, B]
            squares = np.where(known[..., None], errors**2, 0.0).sum(axis=0)  # [B, 1 + E]
            mix += squares[:, 0]
            experts += squares[:, 1:]
            counts += known.sum(axis=0)
        last[present] = values[present, n]
        outcome = None
        if len(present):
            times = np.full(len(present), START_S + n * STEP_S)
            outcome = engine.apply(Batch(tuple(names[b] for b in present), times, values[present, n, None]))
        made_now = _forecasts(outcome, present, last, H)
        if not waiting.size:
            if outcome is None:
                continue
            told = made_now.shape[1] - 1
            waiting = np.full((H, *made_now.shape), np.nan)
            experts = np.zeros((B, told))
        waiting[n % H] = np.nan
        waiting[n % H, :, : made_now.shape[1]] = made_now
    labels = ("persistence", *EXPERTS[1:])
    rounding = np.maximum(counts, 1) * (PRECISION * np.nanmax(np.abs(values), axis=1)) ** 2
    return Judged(mix, experts, rounding, labels, int(counts.sum()))


def _forecasts(outcome: Outcome | None, present: np.ndarray[tuple[int], np.dtype[np.intp]], last: F64, H: int) -> F64:
    """Of all streams [B, 1 + E, H]: the mix and the experts, persistence as it is here; NaN for absent streams."""
    made = np.full((len(last), 1 + len(EXPERTS), H), np.nan)
    if outcome is not None:
        made[present, 0] = outcome.mean[:, :, 0]
        made[present, 1] = last[present, None]
        made[present, 2:] = outcome.experts[:, 1:, :, 0]
    return made


def show(streams: Sequence[Stream], judged: Judged, listed: int) -> None:
    ratios = judged.ratios
    within: Bool = ratios <= ALLOWED
    worst = np.argsort(-ratios)
    print(f"{len(streams)} streams, {judged.forecasts:,} forecasts; experts: {', '.join(judged.names)}")
    print(f"squared error of the mix over the best expert's: median {np.median(ratios):.4f}, worst {ratios.max():.4g}")
    print(f"at most {ALLOWED}: {int(within.sum())} of {len(streams)}: {'ok' if within.all() else 'missed'}")
    for b in worst[:listed]:
        best = judged.names[int(judged.experts[b].argmin())]
        print(f"  stream {b:>4}  {ratios[b]:<10.4g}  best: {best:<12} made of {', '.join(streams[b].made_of)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--horizon", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", type=int, default=10, help="of the worst")
    parser.add_argument("--network", choices=("on", "off"), default="on")
    asked = parser.parse_args()
    streams = [generate(asked.seed, number, asked.rows) for number in range(asked.streams)]
    settings = Group(channels=("value",), horizon_steps=asked.horizon, training=Training(enabled=asked.network == "on"))
    show(streams, judge(streams, settings), asked.list)


if __name__ == "__main__":
    main()
