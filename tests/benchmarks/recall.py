"""Faults of graded size: how many are noticed and how soon, beside detectors that may alarm as often for nothing.

Knows faults, incidents and scores of others. A fault counts as noticed if an incident is raised from its first reading
to GRACE readings after its last. The others' lines are set in hindsight, each to the one that notices most with no more
false alarms on the same right readings than we have; their alarms are one event until CALM readings in a row are below
the line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from streamd.against.contest import DETECTORS
from streamd.config import Group
from streamd.records import F64, Bool
from tests.benchmarks import crowd, faults
from tests.benchmarks.faults import Fault
from tests.benchmarks.signals import Signal

SIZES: Final[dict[str, tuple[float, ...]]] = {
    "spike": (4, 8, 16),
    "shift": (1, 2, 4),
    "drift": (1, 2, 4),
    "stuck": (30, 100, 300),
    "noise": (1, 2, 4),
    "lost coupling": (0.5, 0.8, 1.0),
    "phase": (5, 10, 20),
}
COUPLED_ONLY: Final = {"lost coupling", "phase"}
BASES: Final = ("apart", "coupled", "machine")
STEP_S: Final = 60.0
ROWS: Final = 4000
FIRST, LAST = 1500, 3600  # rows where faults begin
SETTLED: Final = 500  # rows from which on a false alarm counts, if we are warm by then
GRACE, CALM = 20, 10  # readings
LINES: Final = np.concatenate([np.linspace(0.0, 0.99, 100), 1.0 - np.geomspace(0.01, 1e-6, 200), [1.0]])  # quantiles
OTHERS: Final = ("zscore", "halfspacetrees")


def cases(base: str, seed: int, each: int) -> list[tuple[Signal, Fault]]:
    """So many streams with a fault for each kind and size, the same each time."""
    found = []
    cells = [(kind, size) for kind, sizes in SIZES.items() for size in sizes]
    if base == "apart":
        cells = [(kind, size) for kind, size in cells if kind not in COUPLED_ONLY]
    for number in range(each * len(cells)):
        kind, size = cells[number % len(cells)]
        random = np.random.default_rng([seed, number, 7])
        right = faults.base(base, seed, number, ROWS, STEP_S)
        twin = faults.base(base, seed + 1, number, ROWS, STEP_S)
        found.append(faults.inject(right, twin, kind, size, int(random.integers(FIRST, LAST)), random))
    return found


def ours(base: str, settings: Group, seed: int, each: int) -> list[dict[str, Any]]:
    """Of each case: when we were warm and the rows where incidents were raised."""
    made = cases(base, seed, each)
    found = crowd.watch([signal for signal, _ in made], settings)
    return [{"warm": one.warm, "raised": sorted(one.raised.values())} for one in found.streams]


def scores(base: str, name: str, seed: int, each: int) -> F64:
    """Of each case what a baseline of `--against` scores each row, [cases, ROWS]."""
    made = cases(base, seed, each)
    found = np.zeros((len(made), ROWS))
    for b, (signal, _) in enumerate(made):
        detector = DETECTORS[name](signal.values.shape[1])
        for n, row in enumerate(signal.values):
            found[b, n] = detector.score(row)
            detector.learn(row)
    return found


def events(over: Bool) -> list[int]:
    """Rows where an alarm begins, of rows over a line.

    >>> events(np.array([False, True, False, True] + [False] * CALM + [True]))
    [1, 14]
    """
    rows = np.flatnonzero(over)
    return rows[np.append(True, np.diff(rows) > CALM)].tolist() if len(rows) else []


def best_line(found: F64, right: Bool, known: Sequence[Fault], allowed: int) -> float:
    """The line that notices most faults with no more false alarms than allowed; the highest of equals.

    Every line is tried, not only down to the first that has too many: further below alarms run into each other.

    Args:
        found: [cases, N] scores.
        right: [cases, N] rows that count.
        known: the fault of each case.
    """
    best, line = 0, np.inf
    for candidate in np.unique(np.quantile(found, LINES, method="nearest"))[::-1].tolist():
        begun = [events(row >= candidate) for row in found]
        if sum(int(right[b, row]) for b, rows in enumerate(begun) for row in rows) > allowed:
            continue
        noticed = sum(_delay(rows, fault) is not None for rows, fault in zip(begun, known, strict=True))
        if noticed > best:
            best, line = noticed, candidate
    return line


def figures(gave: Mapping[str, Any], seed: int, each: int) -> dict[str, Any]:
    """By detector, kind and size: recall and delay; and the false alarms that it was allowed.

    Args:
        gave: what `ours` and `scores` gave, by "base, name".
    """
    noticed: dict[str, list[tuple[str, float, float | None]]] = {name: [] for name in ("streamd", *OTHERS)}
    false = dict.fromkeys(noticed, 0)
    for base in BASES:
        if f"{base}, streamd" not in gave:
            continue
        known = [fault for _, fault in cases(base, seed, each)]
        mine = gave[f"{base}, streamd"]
        right = np.zeros((len(known), ROWS), np.bool_)
        for b, (fault, one) in enumerate(zip(known, mine, strict=True)):
            right[b, max(SETTLED, ROWS if one["warm"] is None else one["warm"]) : fault.begin] = True
        allowed = sum(int(right[b, row]) for b, one in enumerate(mine) for row in one["raised"])
        begun: dict[str, list[list[int]]] = {"streamd": [one["raised"] for one in mine]}
        for name in OTHERS:
            found = gave[f"{base}, {name}"]
            line = best_line(found, right, known, allowed)
            begun[name] = [events(row >= line) for row in found]
        for name, rows in begun.items():
            false[name] += sum(int(right[b, row]) for b, one in enumerate(rows) for row in one)
            noticed[name] += [
                (fault.kind, fault.size, _delay(one, fault)) for fault, one in zip(known, rows, strict=True)
            ]
    return {
        name: {
            "false": false[name],
            "faults": {
                kind: {str(size): _cell([d for k, s, d in found if (k, s) == (kind, size)]) for size in sizes}
                for kind, sizes in SIZES.items()
            },
        }
        for name, found in noticed.items()
    }


def show(found: Mapping[str, Any]) -> None:
    names = list(found)
    print(f"\nFaults at the default budget, readings a minute apart, on {', '.join(BASES)}")
    false = ", ".join(f"{name} {one['false']}" for name, one in found.items())
    print(f"  false alarms before them, the others' line, best in hindsight, with no more: {false}")
    print("  recall, and median delay in readings of those noticed")
    print(f"  {'':<34}{'cases':>6}" + "".join(f"{name:>18}" for name in names))
    for kind, sizes in SIZES.items():
        for size in sizes:
            cells = [found[name]["faults"][kind][str(size)] for name in names]
            title = f"{kind} {size:g} {faults.UNIT[kind]}"
            print(f"  {title[:33]:<34}{cells[0]['cases']:>6}" + "".join(map(_told, cells)))
        recalls = {name: _mean([one["recall"] for one in found[name]["faults"][kind].values()]) for name in names}
        above = all(recalls["streamd"] > recall for name, recall in recalls.items() if name != "streamd")
        mean = "".join(f"{recall:>11.2f}{'':7}" for recall in recalls.values())
        print(f"  {kind + ', mean':<40}{mean}   above both: {'ok' if above else 'missed'}")


def _told(cell: Mapping[str, Any]) -> str:
    delay = "" if cell["delay"] is None else f"{cell['delay']:.0f}"
    return f"{cell['recall']:>11.2f}{delay:>7}"


def _delay(rows: Sequence[int], fault: Fault) -> float | None:
    """Readings from a fault's first one to the first alarm that begins in its time; None: there was none."""
    inside = [row - fault.begin for row in rows if fault.begin <= row < fault.end + GRACE]
    return float(min(inside)) if inside else None


def _cell(delays: Sequence[float | None]) -> dict[str, Any]:
    known = [delay for delay in delays if delay is not None]
    return {
        "cases": len(delays),
        "recall": len(known) / len(delays) if delays else 0.0,
        "delay": float(np.median(known)) if known else None,
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


WORK: Final[dict[str, Callable[..., Any]]] = {"streamd": ours, **dict.fromkeys(OTHERS, scores)}
