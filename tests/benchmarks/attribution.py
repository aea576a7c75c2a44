"""Faults in known channels of correlated data: how often the right one has the largest share of the incident.

Knows faults and the shares that incidents tell. Of a case in which no incident was raised nothing can be said; how many
these are is told beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from streamd.config import Group
from tests.benchmarks import crowd, faults
from tests.benchmarks.faults import Fault
from tests.benchmarks.recall import FIRST, GRACE, LAST, ROWS, STEP_S
from tests.benchmarks.signals import Signal

SIZES: Final[dict[str, float]] = {"spike": 16, "drift": 4, "stuck": 300, "swap": 1, "noise": 4, "scale": 3}
BASES: Final = ("coupled", "machine")
EACH: Final = 20  # cases of a fault and a base
FIRST_WANTED, THIRD_WANTED = 0.90, 0.97


def cases(base: str, seed: int, each: int = EACH) -> list[tuple[Signal, Fault]]:
    """So many streams with each of the faults, the same each time."""
    found, kinds = [], list(SIZES)
    for number in range(each * len(kinds)):
        kind = kinds[number % len(kinds)]
        random = np.random.default_rng([seed, number, 8])
        right = faults.base(base, seed + 10, number, ROWS, STEP_S)
        found.append(faults.inject(right, right, kind, SIZES[kind], int(random.integers(FIRST, LAST)), random))
    return found


def run(base: str, settings: Group, seed: int, each: int = EACH) -> list[dict[str, Any]]:
    """Of each case: its fault, and the place of the right channel among the shares; 1 is first, None: no incident."""
    made = cases(base, seed, each)
    found = crowd.watch([signal for signal, _ in made], settings)
    figures = []
    for (_, fault), seen in zip(made, found.streams, strict=True):
        inside = [name for name, row in seen.raised.items() if fault.begin <= row < fault.end + GRACE]
        place = place_of(fault, seen.told[min(inside, key=seen.raised.__getitem__)].channels) if inside else None
        figures.append({"base": base, "kind": fault.kind, "place": place})
    return figures


def place_of(fault: Fault, shares: Mapping[str, float]) -> int:
    """
    >>> place_of(Fault("spike", 4, 0, 1, (2,)), {"c0": 0.2, "c1": 0.5, "c2": 0.3})
    2
    """
    mine = max(shares[f"c{c}"] for c in fault.channels)
    return 1 + sum(share > mine or (share == mine and int(name[1:]) not in fault.channels)
                   for name, share in shares.items())  # fmt: skip


def show(found: Sequence[Mapping[str, Any]]) -> None:
    print(f"\nAttribution: place of the right channel among the shares, on {', '.join(BASES)}")
    print(f"  {'':<40}{'cases':>8}{'raised':>8}{'first':>8}{'in 3':>8}{'first of all':>14}")
    for kind, size in SIZES.items():
        title = kind if kind == "swap" else f"{kind} {size:g} {faults.UNIT[kind]}"
        _line(title, [one for one in found if one["kind"] == kind])
    first, third = _line("all", found)
    good = first >= FIRST_WANTED and third >= THIRD_WANTED
    print(f"  wanted first {FIRST_WANTED:.0%}, in the top three {THIRD_WANTED:.0%}: {'ok' if good else 'missed'}")


def _line(title: str, ones: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    places = [one["place"] for one in ones if one["place"] is not None]
    first, third = (sum(place <= most for place in places) / max(len(places), 1) for most in (1, 3))
    of_all = sum(place == 1 for place in places) / max(len(ones), 1)
    print(f"  {title:<40}{len(ones):>8}{len(places):>8}{first:>8.0%}{third:>8.0%}{of_all:>14.0%}")
    return first, third
