"""Streams in which nothing is wrong, of twenty kinds, as sensors of a plant, a building or a server send them.

Seeded: a kind, a seed and a number give the same stream each time. Knows nothing of detectors. Levels, units and
spreads differ from stream to stream by orders of magnitude, for a detector has to find them out by itself. Whatever is
in these streams belongs to them from the start on: bursts, resets and gaps are normal here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from streamd.records import F64

START_S: Final = 1_700_006_400.0  # a midnight
DAY_S: Final = 86_400.0
Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Signal:
    """One stream; a row of which no value is there is a reading that does not come."""

    times: F64  # [N] s since the epoch
    values: F64  # [N, C] NaN where missing


def stream(kind: str, seed: int, number: int, rows: int, step_s: float) -> Signal:
    """The stream of that number of a kind, a reading each `step_s`."""
    random = np.random.default_rng([seed, list(KINDS).index(kind), number])
    times = START_S + step_s * (int(random.integers(0, 1 + int(DAY_S / step_s))) + np.arange(rows))
    made = KINDS[kind](random, times, number)
    values = made[:, None] if made.ndim == 1 else made
    unit, level = 10.0 ** random.uniform(-2, 4), random.normal() * 10.0 ** random.uniform(0, 2)
    return Signal(times, values if kind in FIXED_UNIT else unit * (values + level))


def white(random: Random, times: F64, number: int) -> F64:
    """Noise about a level."""
    return random.normal(size=len(times))


def autoregressive(random: Random, times: F64, number: int) -> F64:
    """Noise with a memory of two to a hundred readings."""
    return ar(random, len(times), 1.0 - 0.5 ** random.uniform(1, 6.6))


def walk(random: Random, times: F64, number: int) -> F64:
    """A random walk."""
    return random.normal(size=len(times)).cumsum()


def seasons(random: Random, times: F64, number: int) -> F64:
    """A day of some harmonics, calmer at weekends, and noise with a memory."""
    day = daily(random, times)
    weekend = np.floor(times / DAY_S + 3) % 7 >= 5
    return 3.0 * day * np.where(weekend, random.uniform(0.3, 0.7), 1.0) + 0.3 * ar(random, len(times), 0.8)


def heavy(random: Random, times: F64, number: int) -> F64:
    """Heavy tails: Student's t of two degrees, or in every other stream log-normal, each with some memory."""
    if number % 2:
        return np.exp(ar(random, len(times), 0.7))
    return filtered(random.standard_t(2, len(times)), 0.5)


def bursts(random: Random, times: F64, number: int) -> F64:
    """Quiet, and every some hundred readings a burst that dies away, as a compressor's or a batch job's."""
    rows = len(times)
    begins = random.random(rows) < 1.0 / random.uniform(100, 400)
    sizes = np.where(begins, random.gamma(4.0, 5.0, rows), 0.0)
    return filtered(sizes, random.uniform(0.5, 0.9)) + 0.3 * random.normal(size=rows)


def counts(random: Random, times: F64, number: int) -> F64:
    """How many events came in the interval: Poisson, by day more than by night."""
    rate = 10.0 ** random.uniform(-0.5, 1.5) * np.exp(0.7 * daily(random, times))
    return random.poisson(rate).astype(np.float64)


def states(random: Random, times: F64, number: int) -> F64:
    """On or off, for as long as chance will have it."""
    leave = 1.0 / random.uniform(10, 200, size=2)
    on, chance = np.empty(len(times)), random.random(len(times))
    state = 0
    for n in range(len(times)):
        state = 1 - state if chance[n] < leave[state] else state
        on[n] = state
    return on


def constant(random: Random, times: F64, number: int) -> F64:
    """One value, now and then one step of the converter more or less."""
    rows = len(times)
    blip = random.random(rows) < 1.0 / random.uniform(50, 300)
    return np.where(blip, random.choice([-1.0, 1.0], rows), 0.0)


def counter(random: Random, times: F64, number: int) -> F64:
    """A meter that counts up by more or less, and begins anew at a limit or, in every other stream, at midnight."""
    total = random.poisson(random.uniform(2, 30), len(times)).cumsum().astype(np.float64)
    if number % 2:
        return total % (total[-1] / random.uniform(5, 40))
    before = np.append(0, np.flatnonzero(np.diff(np.floor(times / DAY_S)) > 0) + 1)
    at_midnight = total[before[np.searchsorted(before, np.arange(len(times)), side="right") - 1]]
    return np.asarray(total - at_midnight)


def angle(random: Random, times: F64, number: int) -> F64:
    """A direction in degrees that wanders and begins anew after 360; nobody has said that it does."""
    return np.asarray((random.uniform(0, 360) + 5.0 * ar(random, len(times), 0.98).cumsum()) % 360.0)


def duty(random: Random, times: F64, number: int) -> F64:
    """A machine that switches between two levels; each spell lasts much the same, but not quite."""
    rows, value, made = len(times), 0.0, np.empty(0)
    spells = random.uniform(8, 80, size=2)
    parts, done = [], 0
    while done < rows:
        length = max(1, round(spells[len(parts) % 2] * random.normal(1.0, 0.1)))
        parts.append(np.full(length, value))
        value, done = 10.0 - value, done + length
    made = np.concatenate(parts)[:rows]
    return made + 0.2 * random.normal(size=rows)


def trend(random: Random, times: F64, number: int) -> F64:
    """A steady rise or fall or, in every other stream, a drift that turns now and then; noise about it."""
    rows = len(times)
    if number % 2:
        slow = ar(random, rows, 0.999).cumsum()
        return 20.0 * slow / np.ptp(slow) + ar(random, rows, 0.5)
    return random.choice([-1, 1]) * random.uniform(5, 50) * np.arange(rows) / rows + random.normal(size=rows)


def by_level(random: Random, times: F64, number: int) -> F64:
    """Noise that grows with the level, as a flow meter's."""
    level = np.exp(0.8 * daily(random, times) + 0.3 * ar(random, len(times), 0.95))
    return level * (1.0 + 0.1 * random.normal(size=len(times)))


def garch(random: Random, times: F64, number: int) -> F64:
    """Calm times and wild ones: each error makes the next ones larger (GARCH(1, 1))."""
    rows = len(times)
    made, noise, variance = np.empty(rows), random.normal(size=rows), 1.0
    for n in range(rows):
        made[n] = noise[n] * np.sqrt(variance)
        variance = 0.05 + 0.12 * made[n] ** 2 + 0.83 * variance
    return made


def held(random: Random, times: F64, number: int) -> F64:
    """A slow sensor behind a fast sender: each value comes several times over, in coarse steps."""
    every = int(random.integers(3, 15))
    made = ar(random, len(times) // every + 1, 0.9)
    return np.asarray(np.repeat(made, every)[: len(times)].round(1))


def gaps(random: Random, times: F64, number: int) -> F64:
    """A day's course in two channels, of which values are missing, readings are lost, and hours fall out."""
    rows = len(times)
    values = np.stack([daily(random, times) + 0.2 * ar(random, rows, 0.7) for _ in range(2)], axis=1)
    values[random.random((rows, 2)) < 0.05] = np.nan
    values[random.random(rows) < 0.05] = np.nan
    for begin in random.integers(20, rows, rows // 400):
        values[begin : begin + random.integers(5, 100)] = np.nan
    return values


def saturating(random: Random, times: F64, number: int) -> F64:
    """A measurement that ends at its limits, where it often is: a valve's position, a load in percent."""
    return np.clip(1.2 * daily(random, times) + 0.5 * ar(random, len(times), 0.9), -1.0, 1.0)


def machine(random: Random, times: F64, number: int) -> F64:
    """A machine of varying speed: speed, current, vibration and two shafts that turn in step."""
    rows = len(times)
    speed = 1.0 + 0.4 * np.tanh(ar(random, rows, 0.995))
    turn = 2 * np.pi * (0.04 * speed).cumsum()
    noise = 0.05 * random.normal(size=(rows, 5))
    first, second = np.sin(turn), np.sin(turn + random.uniform(0.5, 2.5))
    vibration = speed**2 * np.exp(0.2 * random.normal(size=rows))
    return np.asarray(np.stack([speed, speed**1.5, vibration, first, second], axis=1) + noise)


def coupled(random: Random, times: F64, number: int) -> F64:
    """Six channels that follow two causes and have a little noise of their own."""
    rows = len(times)
    causes = np.stack([daily(random, times) + 0.5 * ar(random, rows, 0.9), ar(random, rows, 0.97)], axis=1)
    angles = random.uniform(0, 2 * np.pi, 6)
    shares = np.stack([np.cos(angles), np.sin(angles)])
    own = np.stack([ar(random, rows, 0.5) for _ in range(6)], axis=1)
    return np.asarray(causes @ shares + 0.2 * own) * 10.0 ** random.uniform(-1, 2, 6)


def daily(random: Random, times: F64) -> F64:
    """A day's course of three harmonics, about from -1 to 1."""
    day = 2 * np.pi * times / DAY_S
    made = sum(np.sin(k * day + random.uniform(0, 2 * np.pi)) * random.uniform(0.5, 1.0) / k**1.5 for k in (1, 2, 3))
    return np.asarray(made)


def ar(random: Random, rows: int, memory: float) -> F64:
    """An autoregression of the first order that begins as it goes on, with spread 1."""
    noise = random.normal(size=rows) * np.sqrt(1.0 - memory**2)
    noise[0] = random.normal()
    return filtered(noise, memory)


def filtered(noise: F64, memory: float) -> F64:
    """[N] each value plus `memory` times the one made before."""
    made, value = np.empty(len(noise)), 0.0
    for n, each in enumerate(noise.tolist()):
        value = memory * value + each
        made[n] = value
    return made


KINDS: Final[dict[str, Callable[[Random, F64, int], F64]]] = {
    "white noise": white,
    "autoregressive": autoregressive,
    "random walk": walk,
    "day and week": seasons,
    "heavy tails": heavy,
    "bursts": bursts,
    "counts": counts,
    "on and off": states,
    "constant": constant,
    "counter": counter,
    "angle": angle,
    "duty cycle": duty,
    "trend and drift": trend,
    "noise by level": by_level,
    "calm and wild": garch,
    "sampled and held": held,
    "gaps": gaps,
    "saturating": saturating,
    "machine": machine,
    "coupled": coupled,
}
SEVERAL_CHANNELS: Final = {"gaps", "machine", "coupled"}
FIXED_UNIT: Final = {"counts", "on and off", "counter", "angle"}  # what they count in is part of their kind
