"""Incidents on streams in which nothing is wrong, over those that the budget promises.

Knows kinds of streams and budgets; how a stream is made is in `signals`, how it is run in `crowd`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from streamd.config import Group
from tests.benchmarks import crowd, signals

WEEK_S: Final = 604_800.0
STREAMS: Final = 8  # of a kind
ROWS: Final = 6250  # of a stream: a million readings of twenty kinds
WANTED: Final = (0.5, 1.5)
AT_BEST: Final = (0.8, 1.25)


@dataclass(frozen=True, slots=True)
class Plan:
    """A budget, and how far apart the readings are of the streams that it is tried on."""

    per_week: float | None  # None: as the default config has it
    steps_s: tuple[float, ...]  # of the first stream, the second ...; then from the start again


PLANS: Final = {
    "default": Plan(None, (600.0, 60.0, 10.0)),
    # so dense that short streams tell something; ten minutes apart it would be one reading in a hundred
    "ten a week": Plan(10.0, (60.0, 10.0)),
}


def run(
    kinds: Sequence[str], plan: str, settings: Group, seed: int, streams: int = STREAMS, rows: int = ROWS
) -> list[dict[str, Any]]:
    """Of each stream: what was promised and what came, plain numbers; several kinds at once are one group."""
    chosen = PLANS[plan]
    if chosen.per_week is not None:
        alarm = msgspec.structs.replace(settings.alarm, per_week=chosen.per_week)
        settings = msgspec.structs.replace(settings, alarm=alarm)
    steps = [chosen.steps_s[number % len(chosen.steps_s)] for number in range(streams)]
    names = [(kind, number) for kind in kinds for number in range(streams)]
    made = [signals.stream(kind, seed, number, rows, steps[number]) for kind, number in names]
    found = crowd.watch(made, settings)
    figures = []
    for (kind, number), signal, seen in zip(names, made, found.streams, strict=True):
        weeks = 0.0 if seen.warm is None else (signal.times[-1] - signal.times[seen.warm]) / WEEK_S
        counted = seen.after_warming()
        terms = Counter(_term(seen.told[name]) for name in counted)
        figures.append(
            {
                "kind": kind,
                "step_s": steps[number],
                "readings": int((signal.values == signal.values).any(axis=1).sum()),
                "warm": seen.warm,
                "promised": settings.alarm.per_week * float(weeks),
                "incidents": len(counted),
                "before": len(seen.raised) - len(counted),
                "terms": dict(terms),
                "group": 0 if figures else found.group_incidents,
            }
        )
    return figures


def _term(incident: Any) -> str:
    """The term that was highest at the peak, where incidents tell of it."""
    terms: Mapping[str, float] = getattr(incident, "terms", None) or {}
    return max(terms, key=terms.__getitem__) if terms else "-"


def show(plan: str, figures: Sequence[Mapping[str, Any]]) -> None:
    """By kind, by step, and in total."""
    readings = sum(one["readings"] for one in figures)
    print(f"\nNormal streams, budget {plan}: incidents after the warm-up over those promised ({readings:,} readings)")
    print(f"  {'':<22}{'streams':>8}{'promised':>10}{'came':>7}{'ratio':>8}{'worst':>7}{'in warm-up':>12}   terms")
    by_kind, by_step = _grouped(figures, "kind"), _grouped(figures, "step_s")
    for kind, ones in by_kind.items():
        _line(kind, ones)
    for step, ones in sorted(by_step.items()):
        _line(f"each {step:.0f} s", ones)
    total = _line("all", figures)
    inside = sum(WANTED[0] <= ratio(ones) <= WANTED[1] for ones in by_kind.values())
    verdict = "ok" if WANTED[0] <= total <= WANTED[1] else "missed"
    print(
        f"  wanted {WANTED[0]} to {WANTED[1]}: {verdict} in all, {inside} of {len(by_kind)} kinds;"
        f" at best {AT_BEST[0]} to {AT_BEST[1]}"
    )
    cold = sum(one["warm"] is None for one in figures)
    group = sum(one["group"] for one in figures)
    print(f"  streams that never were warm: {cold}; incidents of a whole group: {group}")


def ratio(ones: Sequence[Mapping[str, Any]]) -> float:
    """Incidents over promised, of some streams together; infinite where nothing was promised but something came."""
    promised, came = sum(one["promised"] for one in ones), sum(one["incidents"] for one in ones)
    return float(came / promised) if promised else (float("inf") if came else 0.0)


def _line(name: str, ones: Sequence[Mapping[str, Any]]) -> float:
    promised, came = sum(one["promised"] for one in ones), sum(one["incidents"] for one in ones)
    terms = sum((Counter(one["terms"]) for one in ones), Counter[str]())
    told = ", ".join(f"{term} {count}" for term, count in terms.most_common())
    worst, early = max(one["incidents"] for one in ones), sum(one["before"] for one in ones)
    print(f"  {name:<22}{len(ones):>8}{promised:>10.1f}{came:>7}{ratio(ones):>8.2f}{worst:>7}{early:>12}   {told}")
    return ratio(ones)


def _grouped(figures: Sequence[Mapping[str, Any]], key: str) -> dict[Any, list[Mapping[str, Any]]]:
    found: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for one in figures:
        found[one[key]].append(one)
    return dict(found)
