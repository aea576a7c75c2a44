"""What may go wrong with a sensor or a plant, put into streams that were right.

Knows values and sizes; not who has to notice. A size is in the channel's own measure up to the fault: `spread`, the
deviation of its values, or `step`, that of its changes from reading to reading. What is put in says so in UNIT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from streamd.records import F64
from tests.benchmarks import signals
from tests.benchmarks.signals import Signal

LASTS: Final = 300  # readings, but for a spike and what is as long as its size
UNIT: Final = {
    "spike": "steps, one reading",
    "shift": "spreads",
    "drift": "spreads at its end",
    "stuck": "readings long",
    "noise": "steps, added",
    "lost coupling": "of it a course of its own",
    "phase": "readings late",
    "scale": "times the distance from the mean",
    "swap": "two channels exchanged",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One disturbance of one channel of one stream."""

    kind: str
    size: float
    begin: int  # first row that is wrong
    end: int  # row after the last one
    channels: tuple[int, ...]  # that are wrong; one, but for a swap


def inject(signal: Signal, twin: Signal, kind: str, size: float, begin: int, random: np.random.Generator) -> tuple[
    Signal, Fault
]:  # fmt: skip
    """The stream with one fault in it, and what it is.

    Args:
        twin: another stream of the same kind, to take a course from that has nothing to do with this one.
        begin: first row that is wrong.
        random: chooses the channels and the direction.
    """
    values = signal.values.copy()
    order = random.permutation(values.shape[1])
    c, other = int(order[0]), int(order[-1])
    length = {"spike": 1, "stuck": int(size)}.get(kind, LASTS)
    rows = slice(begin, min(begin + length, len(values)))
    before = values[:begin, c]
    mean, spread, step = np.nanmean(before), np.nanstd(before), np.nanstd(np.diff(before))
    sign, count = random.choice([-1.0, 1.0]), rows.stop - begin
    match kind:
        case "spike":
            values[rows, c] += sign * size * step
        case "shift":
            values[rows, c] += sign * size * spread
        case "drift":
            values[rows, c] += sign * size * spread * np.arange(1, count + 1) / count
        case "stuck":
            values[rows, c] = values[begin - 1, c]
        case "noise":
            values[rows, c] += size * step * random.normal(size=count)
        case "lost coupling":
            course = twin.values[:, c]
            alone = mean + (course[rows] - np.nanmean(course)) / np.nanstd(course) * spread
            values[rows, c] = mean + np.sqrt(1.0 - size**2) * (values[rows, c] - mean) + size * (alone - mean)
        case "phase":
            values[rows, c] = signal.values[begin - int(size) : rows.stop - int(size), c]
        case "scale":
            values[rows, c] = mean + size * (values[rows, c] - mean)
        case "swap":
            values[rows, c], values[rows, other] = signal.values[rows, other], signal.values[rows, c]
        case _:
            raise ValueError(f"no fault {kind!r}; there are {', '.join(UNIT)}")
    channels = (c, other) if kind == "swap" else (c,)
    return Signal(signal.times, values), Fault(kind, size, begin, rows.stop, channels)


def apart(random: np.random.Generator, times: F64, number: int) -> F64:
    """Four channels that have nothing to do with each other: noise, memory, a day's course, two levels."""
    of = (signals.white, signals.autoregressive, signals.seasons, signals.duty)
    return np.asarray(np.stack([one(random, times, number) for one in of], axis=1))


def base(name: str, seed: int, number: int, rows: int, step_s: float) -> Signal:
    """A stream to put faults into: of a kind of `signals`, or "apart"."""
    if name != "apart":
        return signals.stream(name, seed, number, rows, step_s)
    random = np.random.default_rng([seed, 1000, number])
    times = signals.START_S + step_s * (int(random.integers(0, 1440)) + np.arange(rows))
    return Signal(times, apart(random, times, number) * 10.0 ** random.uniform(-2, 4, 4))
