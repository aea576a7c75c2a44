"""A small simulated plant: six machines, their daily round, and faults whose truth is known.

Knows physics and chance, both seeded; knows no broker, no clock and nothing of how a fault may be found.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

CHANNELS: Final = ("load", "current", "temperature", "vibration", "pressure", "flow")  # %, A, °C, mm/s, bar, m³/h
STEP_S: Final = 300.0  # s of simulated time between two readings of a machine
DAY: Final = 288  # readings in a simulated day
START: Final = 1_767_225_600.0  # s since the epoch: 2026-01-01, midnight UTC
CALM_TICKS: Final = 330  # before the first fault: time for a daemon that starts cold to learn what is usual

FaultKind: TypeAlias = Literal["spike", "stuck", "shift", "lost coupling", "noise burst", "drop-out"]
LENGTH: Final[dict[FaultKind, int]] = {  # readings
    "spike": 1,
    "stuck": 24,
    "shift": 20,
    "lost coupling": 24,
    "noise burst": 16,
    "drop-out": 12,
}
_GAP: Final = (34, 46)  # ticks between the starts of two faults: longer than one, and than it takes to be judged


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to one channel of one machine, and when."""

    kind: FaultKind
    machine: str
    channel: str
    start: float  # s since the epoch, time of the first faulty reading
    end: float  # s since the epoch, time of the last one


@dataclass(frozen=True, slots=True)
class Sample:
    """What a machine's sensors say at one time."""

    machine: str
    time: float  # s since the epoch
    values: dict[str, float]  # channel -> value; a channel that has dropped out is missing
    faults: tuple[Fault, ...]  # that touch this sample


@dataclass(frozen=True, slots=True)
class _Kind:
    """What sets one sort of machine apart; values at full load unless they say otherwise."""

    resting_a: float
    full_a: float
    warms_k: float  # above the hall
    lag: float  # readings until the temperature has followed its load for two thirds of the way
    resting_mm_s: float
    full_mm_s: float
    closed_bar: float  # pressure without flow
    drop_bar: float  # lost at full flow
    full_m3_h: float


_PUMP: Final = _Kind(4.0, 38.0, 34.0, 10.0, 0.6, 3.1, 6.4, 3.2, 120.0)
_COMPRESSOR: Final = _Kind(9.0, 92.0, 58.0, 22.0, 1.4, 4.6, 9.5, 1.6, 640.0)
MACHINES: Final = {
    "pump-1": _PUMP,
    "pump-2": _PUMP,
    "pump-3": _PUMP,
    "pump-4": _PUMP,
    "compressor-1": _COMPRESSOR,
    "compressor-2": _COMPRESSOR,
}


class Plant:
    """All machines, one reading of each per tick; the same seed gives the same plant.

    Faults have a chance of their own: what they touch is changed, all else is as it would be without them.
    """

    def __init__(self, seed: int) -> None:
        root = np.random.default_rng(seed)
        faults, *machines = root.spawn(1 + len(MACHINES))
        self._machines = {
            name: _Machine(kind, chance) for (name, kind), chance in zip(MACHINES.items(), machines, strict=True)
        }
        self._chance = faults
        self._plan = _plan(faults)
        self._next_fault = next(self._plan)
        self._running: list[tuple[Fault, float]] = []  # and the value that a stuck sensor holds
        self._wanted: list[tuple[FaultKind, str, str]] = []
        self._tick = 0

    def spoil(self, kind: FaultKind, machine: str, channel: str) -> None:
        """Let a fault begin with the next reading, beside those of the plan."""
        self._wanted.append((kind, machine, channel))

    def tick(self) -> list[Sample]:
        """The next reading of every machine, all of one time, STEP_S after those before."""
        time = START + self._tick * STEP_S
        truth = {name: machine.read(self._tick) for name, machine in self._machines.items()}
        self._running = [(fault, held) for fault, held in self._running if fault.end >= time]
        if self._next_fault.start <= time:
            fault, self._next_fault = self._next_fault, next(self._plan)
            self._running.append((fault, truth[fault.machine][fault.channel]))
        for kind, machine, channel in self._wanted:
            fault = Fault(kind, machine, channel, time, time + (LENGTH[kind] - 1) * STEP_S)
            self._running.append((fault, truth[machine][channel]))
        self._wanted.clear()
        self._tick += 1
        return [self._sample(name, time, values) for name, values in truth.items()]

    def _sample(self, name: str, time: float, values: dict[str, float]) -> Sample:
        faults = [(fault, held) for fault, held in self._running if fault.machine == name]
        for fault, held in faults:
            if fault.channel in values:  # it may have dropped out already
                self._spoil(values, fault, held)
        rounded = {channel: round(value, 3) for channel, value in values.items()}
        return Sample(name, time, rounded, tuple(fault for fault, _ in faults))

    def _spoil(self, values: dict[str, float], fault: Fault, held: float) -> None:
        """Do to a machine's values what the fault does; sizes are in swings, the range of the channel's last day."""
        swing, half_a_day_ago = self._machines[fault.machine].lately(fault.channel)
        match fault.kind:
            case "spike":
                values[fault.channel] += 1.2 * swing
            case "stuck":
                values[fault.channel] = held
            case "shift":
                values[fault.channel] += 0.6 * swing
            case "lost coupling":  # a course that was true once: each value is usual, only not together with the others
                values[fault.channel] = half_a_day_ago
            case "noise burst":
                values[fault.channel] += 0.4 * swing * self._chance.standard_normal()
            case "drop-out":
                del values[fault.channel]


class _Machine:
    """The physics of one machine, without faults."""

    def __init__(self, kind: _Kind, chance: np.random.Generator) -> None:
        self._kind = kind
        self._chance = chance
        self._late = chance.uniform(-8.0, 8.0)  # readings by which its day starts late
        self._busy = chance.uniform(50.0, 58.0)  # %, mean load
        self._mood = 0.0  # %, load's slow deviation from its daily round
        self._wear = 0.0  # share of the vibration added so far
        self._fouling = 0.0  # share of the flow lost so far
        self._temperature: float | None = None
        self._day: deque[dict[str, float]] = deque(maxlen=DAY)

    def read(self, tick: int) -> dict[str, float]:
        """The true values of all channels at a tick; ticks must come in order."""
        kind, noise = self._kind, self._chance.standard_normal(len(CHANNELS) + 3)
        angle = 2.0 * math.pi * (tick - self._late) / DAY
        self._mood = 0.95 * self._mood + 0.5 * noise[6]
        load = self._busy - 22.0 * math.cos(angle) + 7.0 * math.sin(2.0 * angle) + self._mood
        duty = min(max(load / 100.0, 0.05), 1.0)
        self._wear += 3e-5 * (1.0 + noise[7])
        self._fouling = 0.999 * self._fouling + 2e-5 * (1.0 + noise[8])

        hall = 21.0 - 3.0 * math.cos(angle)  # °C
        settled = hall + kind.warms_k * duty
        before = settled if self._temperature is None else self._temperature
        self._temperature = before + (settled - before) / kind.lag
        flow = kind.full_m3_h * (duty * (1.0 - self._fouling) + 0.006 * noise[5])
        values = {
            "load": 100.0 * duty + 0.4 * noise[0],
            "current": kind.resting_a + (kind.full_a - kind.resting_a) * (duty + 0.006 * noise[1]),
            "temperature": self._temperature + 0.15 * noise[2],
            "vibration": kind.resting_mm_s
            + (kind.full_mm_s - kind.resting_mm_s) * (duty**2 * (1.0 + self._wear) + 0.012 * noise[3]),
            "pressure": kind.closed_bar - kind.drop_bar * ((flow / kind.full_m3_h) ** 2 + 0.006 * noise[4]),
            "flow": flow,
        }
        values = {channel: float(value) for channel, value in values.items()}
        self._day.append(values)
        return dict(values)

    def lately(self, channel: str) -> tuple[float, float]:
        """A channel's swing over the last day, and its value half a day ago (or as long ago as is known)."""
        day = [values[channel] for values in self._day]
        return max(day) - min(day), day[-min(len(day), DAY // 2)]


def _plan(chance: np.random.Generator) -> Iterator[Fault]:
    """Faults without end, one after the other; each kind and each machine once before any comes again."""
    kinds, machines = list(LENGTH), list(MACHINES)
    tick = CALM_TICKS
    while True:
        orders = zip(chance.permutation(len(kinds)), chance.permutation(len(machines)), strict=True)
        for kind, machine in ((kinds[i], machines[j]) for i, j in orders):
            start = START + tick * STEP_S
            channel = CHANNELS[int(chance.integers(len(CHANNELS)))]
            yield Fault(kind, machine, channel, start, start + (LENGTH[kind] - 1) * STEP_S)
            tick += int(chance.integers(*_GAP))
