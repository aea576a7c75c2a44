"""Tables for the terminal: what a state folder holds, what a backtest measured.

Knows how to draw; where the figures come from is the business of others.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streamd.inspection import GroupState, Inspection
from streamd.records import HELD
from streamd.store.checkpoint import Description

if TYPE_CHECKING:
    from streamd.loadtest import Report
    from streamd.rerun import Comparison

LONGEST = 60  # characters of a value


def console() -> Console:
    """Standard output."""
    return Console(highlight=False)


def inspection(found: Inspection, console: Console) -> None:
    """A state folder: what is in it, then what is wrong with it."""
    console.print(f"{escape(str(found.folder))}: {'in use by ' + found.holder if found.holder else 'not in use'}")
    if found.checkpoints:
        console.print(_checkpoints(found.checkpoints))
    else:
        console.print("no checkpoints")
    if (journal := found.journal) is None:
        console.print("no journal")
    else:
        span = f"positions {journal.first} to {journal.last}, " if journal.records else ""
        console.print(
            f"journal: {journal.records:,} records, {span}{journal.bytes:,} bytes ({journal.file_bytes:,} on disk), "
            f"outcomes published up to {journal.published}"
        )
    if (spill := found.spill) is not None:
        console.print(
            f"spill: {spill.streams:,} streams in {spill.versions:,} versions, {spill.bytes:,} bytes "
            f"({spill.file_bytes:,} on disk)"
        )
    if found.groups:
        console.print(_groups(found.groups, f"groups at position {found.position}"))
    for aside in found.quarantine:
        reason = f": {aside.reason}" if aside.reason else ""
        console.print(f"in quarantine: {escape(aside.path.name)}, {aside.size:,} bytes{escape(reason)}")
    for problem in found.problems:
        console.print(f"[bold red]bad:[/] {escape(problem)}")
    if not found.problems:
        console.print("every checksum is right")


def load(report: Report, console: Console) -> None:
    """What a load test measured."""
    table = Table(show_header=False, box=None)
    late = f", the last {report.late_s:.1f} s after its reading" if report.answered else ""
    rows = {
        "sent": f"{report.sent:,} readings of {report.streams:,} streams in {report.seconds:.0f} s: "
        f"{report.sent_per_s:,.0f}/s, asked {report.asked_per_s:,.0f}/s",
        "answered": f"{report.answered:,} scores, {report.answered_per_s:,.0f}/s{late}; {report.forecasts:,} forecasts",
        "lost": f"{report.sent - report.answered:,} readings without a score, {report.gaps:,} gaps in seq",
        "latency": f"{_milliseconds(report.latency_s)} from the payload's time to the forecast",
        "of it inside": f"{_milliseconds(report.inside_s)} from the arrival at the daemon to the answer at its socket",
        "the daemon": f"{report.cpu_us:,.0f} us CPU per reading, {report.cores:.2f} cores, {report.rss_mb:,.0f} MB",
    }
    for name, text in (rows | {name: f"{value:,.0f}" for name, value in report.metrics.items()}).items():
        table.add_row(escape(name), escape(text))
    console.print(table)


def _milliseconds(quantiles: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds * 1000:,.1f} ms" for name, seconds in quantiles.items())


def comparison(compared: Comparison, console: Console) -> None:
    """What came of applying a journal again."""
    console.print(
        f"replayed {compared.records:,} records, from the checkpoint at {compared.begin} to the one at {compared.end}: "
        f"{compared.arrays:,} arrays and {compared.streams:,} streams compared"
    )
    if not compared.findings:
        console.print("equal, bit for bit")
        return
    grid = Table(
        "group", "what", "stream", "at", "replayed", "checkpoint", "values", "moved by records", title="differs"
    )
    for finding in compared.findings:
        one = finding.difference
        grid.add_row(
            escape(finding.group),
            escape(one.name),
            escape(one.stream or ""),
            ", ".join(map(str, one.index)),
            escape(_short(one.replayed)),
            escape(_short(one.kept)),
            f"{one.count:,}",
            "none" if finding.records is None else f"{finding.records[0]} to {finding.records[1]}",
        )
    console.print(grid)


def summary(measured: dict[str, Any], console: Console) -> None:
    """The settled part: the last three quarters of the file, per horizon, over all channels."""
    settled = measured["settled"]
    console.print(
        f"{measured['rows']:,} rows, {len(measured['channels'])} channels, {measured['readings_per_s']:,.0f} "
        f"readings/s, {measured['alarms']} alarms in {measured['incidents']} incidents"
    )
    against = {name: one for name, one in measured.get("against", {}).items() if "settled" in one}
    grid = Table("step", "MASE (mean)", "best", "worst", "coverage", title="after the first quarter of the file")
    rivals = Table("step", "streamd", *map(escape, against), title="MASE (mean) beside the baselines")
    H = measured["horizon"]
    for h in sorted({1, 2, 3, 6, 12, 24, 48, H} & set(range(1, H + 1))):
        mase = _known(settled["mase"], h)
        inside = _known(settled["coverage"], h)
        if mase and inside:
            best, worst = min(mase, key=mase.__getitem__), max(mase, key=mase.__getitem__)
            grid.add_row(
                str(h),
                _mean(mase),
                escape(f"{best} {mase[best]:.3f}"),
                escape(f"{worst} {mase[worst]:.3f}"),
                _mean(inside),
            )
            theirs = [_known(one["settled"]["mase"], h) for one in against.values()]
            rivals.add_row(str(h), *map(_mean, (mase, *theirs)))
    console.print(grid)
    if against:
        console.print(rivals)
    console.print("MASE: mean absolute error over that of persistence; below 1 is better than the last value.")
    for name, one in measured.get("against", {}).items():
        broken = sum(one.get("not_finite", {}).values())
        rate = "no" if one["readings_per_s"] is None else f"{one['readings_per_s']:,.0f}"
        told = f"; [bold red]{broken:,} forecasts were no finite numbers[/] and are left out" if broken else ""
        console.print(f"{escape(name)}: {rate} readings/s{told}")


def _known(measure: dict[str, list[float | None]], step: int) -> dict[str, float]:
    """Per channel, where there is one, the measure at a step ahead."""
    return {name: value for name, steps in measure.items() if (value := steps[step - 1]) is not None}


def _mean(values: dict[str, float]) -> str:
    if not values:
        return "none"
    mean = sum(values.values()) / len(values)
    return f"{mean:.3f}" if mean < 1000 else f"{mean:.3g}"


def _checkpoints(described: tuple[Description, ...]) -> Table:
    grid = Table("checkpoint", "bytes", "made", "by", "holds", "state")
    for one in described:
        made = "" if one.created is None else _moment(datetime.fromtimestamp(one.created, UTC))
        holds = f"{one.arrays} arrays; groups: {one.meta.get('groups', '')}"
        state = "good" if one.ok else f"bad: {one.reason}"
        grid.add_row(one.path.name, f"{one.size:,}", made, one.streamd, escape(holds), escape(state))
    return grid


def _groups(groups: tuple[GroupState, ...], title: str) -> Table:
    """A column for each group: their figures are many, groups are few."""
    grid = Table("", *(escape(group.name) for group in groups), title=title)
    rows = {
        "channels": [f"{len(group.channels)}: {_short(', '.join(group.channels))}" for group in groups],
        "profile": [group.profile for group in groups],
        "frames": [f"{group.frames:,}" for group in groups],
        "streams": [f"{group.known:,}, {group.in_memory:,} of them in memory" for group in groups],
        "last times": [f"{_moment(group.oldest)} to {_moment(group.newest)}" for group in groups],
        "weights": [_weights(group) for group in groups],
        "training": [_training(group) for group in groups],
    }
    for word, cells in rows.items():
        grid.add_row(word, *map(escape, cells))
    return grid


def _weights(group: GroupState) -> str:
    age = "" if group.weights_age is None else f", last candidate {group.weights_age:,} frames ago"
    return f"{group.optimizer_steps:,} optimizer steps, generation {group.generation}{age}"


def _training(group: GroupState) -> str:
    words = ["frozen"] if group.frozen else []
    if group.install_in is not None:
        words.append(f"a candidate is judged in {group.install_in:,} frames")
    words.append(f"next job in {group.due_in:,} frames")
    if group.stretch == HELD:
        words.append("held while readings are late")
    elif group.stretch != 1.0:
        words.append(f"schedule stretched {group.stretch:.3g} times")
    return ", ".join(words)


def _moment(moment: datetime | None) -> str:
    return "none" if moment is None else moment.isoformat(timespec="seconds")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
