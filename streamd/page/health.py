"""How the daemon itself is doing, in the words and numbers of its metrics.

Knows which metrics matter to somebody who looks; they are counted where things happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from prometheus_client.metrics import MetricWrapperBase

from streamd import metrics

SECTIONS: Final[tuple[tuple[str, tuple[MetricWrapperBase, ...]], ...]] = (
    ("Coming in", (metrics.messages, metrics.readings, metrics.refused, metrics.dropped, metrics.commands)),
    ("Queues", (metrics.queue_length, metrics.broker_window)),
    ("Broker", (metrics.broker_connected, metrics.broker_connects, metrics.published)),
    (
        "State on the disk",
        (
            metrics.journal_bytes,
            metrics.commits,
            metrics.checkpoint_time,
            metrics.checkpoint_bytes,
            metrics.checkpoints,
            metrics.spilled,
            metrics.recovered,
        ),
    ),
    (
        "Scores",
        (
            metrics.streams,
            metrics.streams_warming,
            metrics.streams_silent,
            metrics.incidents_open,
            metrics.alarm_rate,
            metrics.scores_muted,
            metrics.taught,
            metrics.drifts,
            metrics.repaired,
        ),
    ),
    ("This page", (metrics.page_clients, metrics.page_missed, metrics.page_refused)),
)


class Sample(msgspec.Struct, frozen=True):
    labels: dict[str, str]
    value: float


class Figure(msgspec.Struct, frozen=True):
    """One metric and all its series."""

    name: str
    help: str
    samples: list[Sample]


class Section(msgspec.Struct, frozen=True):
    title: str
    figures: list[Figure]


class Health(msgspec.Struct, frozen=True):
    ready: bool
    reasons: list[str]
    version: str
    time: float  # s since the epoch
    since: float  # ... of the start
    sections: list[Section]


def look(reasons: Sequence[str], version: str, time: float, since: float) -> Health:
    """Everything at once.

    Args:
        reasons: why the daemon is not ready; none when it is.
    """
    sections = [Section(title, [_figure(metric) for metric in some]) for title, some in SECTIONS]
    return Health(not reasons, list(reasons), version, time, since, sections)


def _figure(metric: MetricWrapperBase) -> Figure:
    (family,) = metric.collect()
    samples = [Sample(one.labels, one.value) for one in family.samples if not one.name.endswith("_created")]
    return Figure(family.name, family.documentation, samples)
