"""What the page says in words: the summary, what each number means, names made safe to show.

Knows the measures of a backtest; not how they are drawn.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from streamd.recording import Recording

UNITS: Final = ((86_400.0 * 365.25, "year"), (86_400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure that is worth large letters."""

    title: str
    value: str
    note: str


def span(seconds: float) -> str:
    """A length of time as people say it.

    >>> span(3600.0), span(2 * 86_400.0), span(900.0), span(0.25), span(129_600.0)
    ('1 hour', '2 days', '15 minutes', '0.25 seconds', '36 hours')
    """
    for size, name in UNITS:
        count = seconds / size
        if count >= 1.0 and (abs(count - round(count)) < 0.01 or count >= 3.0):
            return f"{count:.3g} {name}{'' if abs(count - 1) < 0.01 else 's'}"
    return f"{seconds:.3g} seconds"


def when(time: float, *, clock: bool) -> str:
    """A moment, or the number of a row where the file told no times."""
    if not clock:
        return f"row {time:.0f}"
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00")
    except (ValueError, OverflowError, OSError):
        return f"{time:g} s"


def share(part: float) -> str:
    """
    >>> share(0.9), share(0.995), share(0.8954)
    ('90 %', '99.5 %', '89.5 %')
    """
    return f"{100 * part:.3g} %"


def plain(name: str) -> str:
    """A name out of the data as text that is only text, in HTML and in Plotly's labels."""
    return html.escape(name)


def ratios(summary: Mapping[str, Any], step: int) -> dict[str, float]:
    """Per channel the error at a step ahead over that of persistence, after the first quarter of the file."""
    found = {name: steps[step - 1] for name, steps in summary["settled"]["mase"].items()}
    return {name: ratio for name, ratio in found.items() if ratio is not None}


def inside(summary: Mapping[str, Any], step: int) -> dict[str, float]:
    """Per channel the share of values inside their interval, likewise."""
    found = {name: steps[step - 1] for name, steps in summary["settled"]["coverage"].items()}
    return {name: covered for name, covered in found.items() if covered is not None}


def compared(ratio: float) -> str:
    """
    >>> compared(0.64), compared(1.25), compared(1.0), compared(3.2)
    ('36 % smaller', '25 % larger', 'as large', '3.2 times as large')
    """
    if ratio >= 2.0:
        return f"{ratio:.2g} times as large"
    percent = round(100 * (1 - ratio))
    return "as large" if percent == 0 else f"{abs(percent)} % {'smaller' if percent > 0 else 'larger'}"


def sentences(summary: Mapping[str, Any], recording: Recording, *, clock: bool) -> list[str]:
    """The summary: what was done, and what came of it. Plain text."""
    N, H, C = recording.mean.shape
    known = recording.interval[np.isfinite(recording.interval)]
    step = float(np.median(known)) if len(known) else 0.0
    every = f", usually one every {span(step)}" if clock and step > 0 else ""
    reach = f" ({span(H * step)})" if every else ""
    told = [
        f"streamd read {N:,} readings of {C} channel{'s' * (C != 1)}, from {when(recording.time[0], clock=clock)} to "
        f"{when(recording.time[-1], clock=clock)}{every}, once, in their order, knowing nothing before the first. "
        f"After each one it forecast the next {H}{reach}, and said how strange the reading was."
    ]
    told += _about_errors(summary, recording.steps)
    told += _about_coverage(summary, recording)
    told.append(_about_incidents(summary, recording, clock=clock))
    told += _about_failures(summary)
    return told


def tiles(summary: Mapping[str, Any], recording: Recording) -> list[Tile]:
    """The few figures to look at first."""
    found = []
    for step in dict.fromkeys((recording.steps[0], recording.steps[-1])):
        if ratio := _mean(ratios(summary, step)):
            ahead = f"{step} step{'s' * (step != 1)} ahead"
            found.append(
                Tile(f"Error, {ahead}", f"{100 * (ratio - 1):+.0f} %".replace("-", "−"), "against the last value")
            )
    if (covered := _mean(inside(summary, recording.steps[0]))) is not None:
        found.append(Tile("Inside the interval", share(covered), f"promised: {share(recording.coverage)}"))
    found.append(Tile("Incidents", f"{summary['incidents']:,}", f"{summary['alarms']:,} readings over the alarm line"))
    if summary["readings_per_s"]:
        found.append(Tile("Speed", f"{summary['readings_per_s']:,.0f}", "readings per second, learning included"))
    return found


def _about_errors(summary: Mapping[str, Any], steps: Sequence[int]) -> list[str]:
    known = [(step, ratio) for step in steps if (ratio := _mean(ratios(summary, step))) is not None]
    if not known:
        return []
    parts = [f"{compared(ratio)} {step} step{'s' * (step != 1)} ahead" for step, ratio in known]
    told = [
        "Compared with those of simply repeating the last value, its errors on the last three quarters of the file "
        f"were, on average over the channels, {_and(parts)}."
    ]
    rivals = {
        name: one for name, one in summary.get("against", {}).items() if "settled" in one and name != "persistence"
    }
    if rivals:
        told.append(_about_rivals(summary, rivals, [step for step, _ in known]))
    return told


def _about_rivals(summary: Mapping[str, Any], rivals: Mapping[str, Any], steps: Sequence[int]) -> str:
    parts = []
    for step in steps:
        errors = {name: _mean(ratios(one, step)) for name, one in rivals.items()}
        known = {name: error for name, error in errors.items() if error is not None}
        ours = _mean(ratios(summary, step))
        if known and ours:
            best = min(known, key=known.__getitem__)
            parts.append(
                f"{best} {step} step{'s' * (step != 1)} ahead (streamd's error is {compared(ours / known[best])})"
            )
    return f"The best of the other methods that ran beside it: {_and(parts)}." if parts else ""


def _about_coverage(summary: Mapping[str, Any], recording: Recording) -> list[str]:
    known = [(step, covered) for step in recording.steps if (covered := _mean(inside(summary, step))) is not None]
    if not known:
        return []
    parts = [f"{share(covered)} at {step} step{'s' * (step != 1)}" for step, covered in known]
    kept = all(abs(covered - recording.coverage) <= 0.02 for _, covered in known)
    return [
        f"Each forecast comes with an interval that is to hold {share(recording.coverage)} of the values. It held "
        f"{_and(parts)}: the promise was {'kept' if kept else 'not kept everywhere'}."
    ]


def _about_incidents(summary: Mapping[str, Any], recording: Recording, *, clock: bool) -> str:
    if not recording.incidents:
        return "Nothing was strange enough to raise an incident."
    worst = max(recording.incidents, key=lambda incident: incident.score)
    blamed = max(worst.channels, key=worst.channels.__getitem__) if worst.channels else None
    which = f", where channel {blamed} had the largest part" if blamed is not None and len(worst.channels) > 1 else ""
    count = len(recording.incidents)
    began = when(worst.start, clock=clock)
    return f"It raised {count:,} incident{'s' * (count != 1)}; the strongest began at {began}{which}."


def _about_failures(summary: Mapping[str, Any]) -> list[str]:
    told = []
    for name, one in summary.get("against", {}).items():
        broken = sum(one.get("not_finite", {}).values())
        if broken:
            told.append(f"Of {name}, {broken:,} forecasts were no finite numbers; they are left out of its errors.")
    if dropped := sum(summary["dropped"].values()):
        told.append(f"{dropped:,} rows came late or twice and were left out.")
    return told


def _mean(values: Mapping[str, float]) -> float | None:
    return sum(values.values()) / len(values) if values else None


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
