"""An incident for the terminal: what was expected, what came, what was to blame, and what earlier was like it.

Knows how to say and draw it; what there is to say comes from `explaining`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streamd.chart import chart, limits, marks
from streamd.engine.score import TERMS
from streamd.explaining import ExplainError, Explanation, Frames, Like, is_alike, spoke
from streamd.report.incident import Picture
from streamd.store.archive import Kept
from streamd.wire.times import EARLIEST, LATEST, utc

DRAWN = 3  # channels, those that are blamed most
BLAMED = 0.05  # share of the blame below which a channel is not drawn
PANELS = 8  # channels of a page
DAYS_S = 1e8  # earlier times are numbers of something else
PEAK_HEAD = ("channel", "blame", "came", "expected", "between")
LIKE_HEAD = ("incident", "began", "score", "distance", "said to be")
HEIGHT, WIDEST = 9, 96  # characters of a chart
VERDICTS = {"false": "a false alarm", "real": "real"}


def incidents(found: Sequence[Kept], console: Console) -> None:
    """A line for each incident."""
    grid = Table("incident", "group", "began", "ended", "score", "blamed most", "said to be", title="latest incidents")
    for one in found:
        last = one.told[-1]
        grid.add_row(
            escape(last.id),
            escape(one.group),
            moment(last.start),
            "still open" if last.end is None else moment(last.end),
            f"{last.score:.3g}",
            escape(next(iter(blamed(last.channels)), "")),
            VERDICTS.get(one.verdict, ""),
        )
    console.print(grid)


def explanation(found: Explanation, console: Console) -> None:
    """All that is known of one."""
    incident, frames = found.incident, found.frames
    console.print(f"[bold]{escape(incident.id)}[/] of group {escape(found.group)}: {escape(headline(found))}")
    for sentence in sentences(found):
        console.print(escape(sentence))
    if frames is not None:
        table = at_the_peak(found)
        grid = Table(*PEAK_HEAD, title=f"at the peak, {moment(incident.peak)}")
        for row in table:
            grid.add_row(*map(escape, row))
        console.print(grid)
        for name in blamed(incident.channels)[:DRAWN]:
            if name in frames.channels:
                _draw(found, frames, name, console)
    if found.like:
        grid = Table(*LIKE_HEAD, title="earlier incidents, nearest first")
        for one in found.like:
            grid.add_row(*map(escape, like_row(one)))
        console.print(grid)
    for calm in found.calm[:1]:
        console.print(
            f"the nearest window that was normal: {moment(calm.start)} to {moment(calm.end)}, "
            f"{calm.distance:.2g} of its standard deviations away"
        )


def picture(found: Explanation) -> Picture:
    """What a page draws of it.

    Raises:
        ExplainError: no frames were kept.
    """
    incident, frames = found.incident, found.frames
    if frames is None:
        raise ExplainError(f"{incident.id}: no frames of it were kept, so there is nothing to draw")
    names = [name for name in blamed(incident.channels, 0.0) if name in frames.channels][:PANELS]
    columns = [frames.channels.index(name) for name in names]
    terms = {name: frames.terms[:, at] for at, name in enumerate(TERMS[: frames.terms.shape[1]])}
    return Picture(
        title=f"{incident.id} of {found.group}",
        sentences=[headline(found), *sentences(found)],
        channels=names,
        times=frames.times,
        values=frames.values[:, columns],
        mean=frames.mean[:, columns],
        lower=frames.lower[:, columns],
        upper=frames.upper[:, columns],
        scores={"score": frames.score, **terms},
        start=incident.start,
        end=float(frames.times[-1]) if incident.end is None else incident.end,
        clock=bool((frames.times >= EARLIEST).all()) and float(frames.times[0]) > DAYS_S,
        peak=(PEAK_HEAD, at_the_peak(found)),
        like=(LIKE_HEAD, [like_row(one) for one in found.like]),
    )


def headline(found: Explanation) -> str:
    """When, how long and how strange."""
    incident = found.incident
    ended = "still open" if incident.end is None else f"until {moment(incident.end)}"
    return f"from {moment(incident.start)} {ended}, highest score {incident.score:.3g} (1 is the alarm line)"


def sentences(found: Explanation) -> list[str]:
    """What spoke, and what people said."""
    said = [
        f"term {name}: over its line from {moment(first)} to {moment(last)}, highest {highest:.3g}"
        for name, first, last, highest in spoke(found)
    ]
    if found.frames is None:
        said.append("no frames of it were kept")
    elif not said:
        said.append("no term was over its line in the frames that were kept")
    if found.verdict:
        said.append(f"somebody said that it was {VERDICTS[found.verdict]}")
    near = [one for one in found.like if is_alike(one)]
    if near:
        false, real = (sum(one.verdict == verdict for one in near) for verdict in ("false", "real"))
        said.append(f"{len(near)} earlier ones shown here are like it; {false} were called false alarms, {real} real")
    return said


def at_the_peak(found: Explanation) -> list[tuple[str, str, str, str, str]]:
    """Channel, its share of the blame, what came, what was expected, and between what; most blamed first."""
    frames, incident = found.frames, found.incident
    if frames is None:
        return []
    at = int(np.argmin(np.abs(frames.times - incident.peak)))
    rows = []
    for name in [*blamed(incident.channels, 0.0), *(one for one in frames.channels if one not in incident.channels)]:
        if name not in frames.channels:
            continue
        c = frames.channels.index(name)
        value, mean, low, high = (float(a[at, c]) for a in (frames.values, frames.mean, frames.lower, frames.upper))
        between = f"{number(low)} and {number(high)}"
        rows.append((name, f"{incident.channels.get(name, 0.0):.0%}", number(value), number(mean), between))
    return rows


def like_row(one: Like) -> tuple[str, str, str, str, str]:
    """Id, when, score, distance and verdict."""
    distance = f"{one.distance:.2f}{', alike' if is_alike(one) else ''}"
    verdict = VERDICTS.get(one.verdict, "")
    return one.incident.id, moment(one.incident.start), f"{one.incident.score:.3g}", distance, verdict


def blamed(channels: dict[str, float], least: float = BLAMED) -> list[str]:
    """The channels with at least so much of the blame, most first."""
    return [name for name, share in sorted(channels.items(), key=lambda one: -one[1]) if share >= least]


def moment(epoch: float) -> str:
    """A time, UTC; a number of s where it is no time of day."""
    return f"{utc(epoch):%Y-%m-%d %H:%M:%S}" if EARLIEST <= epoch < LATEST else f"{epoch:g} s"


def number(value: float) -> str:
    """A reading; nothing where there was none."""
    return f"{value:.5g}" if np.isfinite(value) else "none"


def _draw(found: Explanation, frames: Frames, name: str, console: Console) -> None:
    """One channel: values against the band that was forecast, and where the incident began and stood highest."""
    c = frames.channels.index(name)
    values, lower, upper = frames.values[:, c], frames.lower[:, c], frames.upper[:, c]
    low, high = limits(values, lower, upper)
    width = max(min(console.width - 14, WIDEST), 10)
    console.print(f"\n{escape(name)}: dots are what came, shade is the interval that was expected")
    edges = {0: number(high), HEIGHT - 1: number(low)}
    for row, line in enumerate(chart(values, lower, upper, width=width, height=HEIGHT)):
        console.print(f"{edges.get(row, ''):>11} │{line}", markup=False, no_wrap=True)
    begin = int(np.searchsorted(frames.times, found.incident.start))
    peak = int(np.argmin(np.abs(frames.times - found.incident.peak)))
    count, later = len(frames.times), peak - begin
    console.print(f"{'':>11} └{marks([min(begin, count - 1)], count, width=width, sign='┴')}", markup=False)
    console.print(
        f"{moment(float(frames.times[0]))} to {moment(float(frames.times[-1]))}, {count} frames; "
        f"┴ it began{f', the peak came {later} frames later' if later > 0 else ''}",
        markup=False,
    )
