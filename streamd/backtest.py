"""A file through the engine, row by row as if it came in live, and what the forecasts were worth.

One pass in the file's order with no look at the future: a forecast for row n + h is judged when row n + h has come.
Knows rows and measures; how a forecast is made is the engine's business, and it is the same as in the daemon.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from streamd.against.contest import Contest
from streamd.config import Group
from streamd.edge.training import TrainingThread
from streamd.engine.align import Align
from streamd.engine.engine import Engine
from streamd.model.training import Candidate, Job, train
from streamd.recording import Recorder
from streamd.records import F64, Batch, Outcome, Reading
from streamd.report.page import page, require_plotly
from streamd.table import Table
from streamd.tally import Tally, Waiting

STREAM = "backtest"
SETTLED_FROM = 0.25  # of the file: measures are also given from there on, without the cold start


def backtest(
    table: Table,
    settings: Group,
    *,
    out: Path | None = None,
    report: Path | None = None,
    against: Sequence[str] = (),
    on_row: Callable[[float], None] = lambda _share: None,
) -> dict[str, Any]:
    """Run a file through an engine with these settings.

    Args:
        table: the file; its channels take the place of the settings' own.
        out: where to write every row's outcome, as .npz.
        report: where to write a page about it, as .html.
        against: names of baselines to run beside the engine.
        on_row: told the share of the file that is done, after each row.

    Returns:
        the summary: plain numbers, ready for JSON.

    Raises:
        AgainstError: a baseline is unknown, not installed, or can't run on this file.
        ReportError: what the page is drawn with is not installed.
    """
    if report is not None:
        require_plotly()  # now, not after hours of work
    engine_settings, channels, H = _with_channels(settings, table.channels), table.channels, settings.horizon_steps
    everything, settled = Tally(H, len(channels)), Tally(H, len(channels))
    recorder = Recorder(engine_settings, channels) if out is not None or report is not None else None
    contest = Contest(against, H, channels)
    alarms = incidents = accepted = rejected = 0
    dropped = Counter[str]()
    waiting = Waiting(H, len(channels))
    begun = time.perf_counter()
    with TrainingThread[Job, Candidate](train, on_cpu=lambda _seconds: None) as thread:
        engine = Engine(engine_settings, thread.client())
        for share, at, values, outcome in _outcomes(table, engine, dropped):
            error, persistence, inside = waiting.judge(values)
            everything.add(error, persistence, inside)
            if share >= SETTLED_FROM:
                settled.add(error, persistence, inside)
            waiting.keep(values, outcome.mean[0], outcome.lower[0], outcome.upper[0])
            alarms += int((outcome.score >= 1.0).sum())
            incidents += sum(incident.state == "raised" for incident in outcome.incidents)
            accepted += sum(report.accepted for report in outcome.reports)
            rejected += sum(not report.accepted for report in outcome.reports)
            paused = time.perf_counter()
            scores = contest.step(at, values, settled=share >= SETTLED_FROM)
            begun += time.perf_counter() - paused  # the baselines' time is told apart
            if recorder is not None:
                recorder.add(at, values, outcome, scores)
            on_row(share)
    seconds = time.perf_counter() - begun
    summary = {
        "file": str(table.path),
        "channels": list(channels),
        "horizon": H,
        "seconds": seconds,
        "readings_per_s": everything.rows / seconds if seconds else None,
        "dropped": dict(dropped),
        "alarms": alarms,
        "incidents": incidents,
        "candidates": {"accepted": accepted, "rejected": rejected},
        **everything.measures(channels),
        "settled": settled.measures(channels),
        **({"against": contest.measures()} if against else {}),
    }
    if recorder is not None and len(recorder):
        recording = recorder.taken()
        if out is not None:
            recording.save(out)
        if report is not None:
            report.write_text(page(summary, recording, clock=table.time_column is not None), encoding="utf-8")
    return summary


def _outcomes(table: Table, engine: Engine, dropped: Counter[str]) -> Iterator[tuple[float, float, F64, Outcome]]:
    """Share of the file read, time, values [C] and outcome of each row that was not late or double."""
    align = Align(engine.settings, engine.channels, engine.last_time, streams=0)
    for row in table.rows():
        present = {name: value for name, value in zip(table.channels, row.values, strict=True) if value == value}
        refusal = align.push(Reading(STREAM, row.time, present), row.time, ticket=0)
        if refusal is not None:
            dropped[refusal] += 1
            continue
        work = align.next()
        if work is not None and isinstance(work.record, Batch):
            outcome = engine.apply(work.record)
            yield table.position / table.size, row.time, work.record.values[0], outcome


def _with_channels(settings: Group, channels: tuple[str, ...]) -> Group:
    return msgspec.structs.replace(settings, channels=channels)
