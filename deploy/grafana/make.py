"""Writes the Grafana dashboards; what is changed by hand in dashboards/ is lost.

    python deploy/grafana/make.py

Knows panels and expressions; which metrics there are is in streamd/metrics.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "streamd-prometheus"}  # as provisioned in provisioning/datasources
WIDTH, HEIGHT, STAT_HEIGHT = 24, 8, 4  # of Grafana's grid
AT = 'job="streamd", instance=~"$instance"'
OF = f'{AT}, group=~"$group"'
RED, AMBER, GREEN = "red", "orange", "green"

Steps = Sequence[tuple[float | None, str]]
GOOD_IS_ONE: Steps = ((None, RED), (1, GREEN))
GOOD_IS_NONE: Steps = ((None, GREEN), (1, RED))
ALARM_LINE: Steps = ((None, GREEN), (0.7, AMBER), (1, RED))


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: expressions with the legend of each."""

    title: str
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"  # or "stat", "table"
    unit: str = "short"
    width: int = 8
    steps: Steps = ()
    said: str = ""  # what to read from it


@dataclass(frozen=True, slots=True)
class Dashboard:
    name: str
    title: str
    variables: Sequence[tuple[str, str]]  # name, query of its values
    panels: Sequence[Panel]


INSTANCE = ("instance", 'label_values(streamd_broker_connected{job="streamd"}, instance)')
GROUP = ("group", 'label_values(streamd_streams{job="streamd", instance=~"$instance"}, group)')
STREAM = ("stream", 'label_values(streamd_stream_score{job="streamd", instance=~"$instance", group=~"$group"}, stream)')


def rate(metric: str, by: str, more: str = "", within: str = OF) -> str:
    return f"sum by ({by}) (rate({metric}{{{within}{more}}}[$__rate_interval]))"


def quantile(share: float, metric: str, within: str = AT) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{{{within}}}[$__rate_interval])))"


OVERVIEW = Dashboard(
    "overview",
    "streamd: overview",
    (INSTANCE, GROUP),
    (
        Panel("Daemons up", ((f"sum(up{{{AT}}})", "up"),), "stat", width=4, steps=GOOD_IS_ONE),
        Panel("Broker", ((f"min(streamd_broker_connected{{{AT}}})", "connected"),), "stat", width=4, steps=GOOD_IS_ONE),
        Panel("Streams", ((f"sum(streamd_streams{{{OF}}})", "known"),), "stat", width=4),
        Panel("Silent", ((f"sum(streamd_streams_silent{{{OF}}})", "silent"),), "stat", width=4, steps=GOOD_IS_NONE),
        Panel("Warming", ((f"sum(streamd_streams_warming{{{OF}}})", "warming"),), "stat", width=4),
        Panel(
            "Open incidents", ((f"sum(streamd_incidents_open{{{OF}}})", "open"),), "stat", width=4, steps=GOOD_IS_NONE
        ),
        Panel("Readings", ((rate("streamd_readings_total", "group, outcome"), "{{group}} {{outcome}}"),), unit="cps"),
        Panel("Incidents open", ((f"sum by (group) (streamd_incidents_open{{{OF}}})", "{{group}}"),)),
        Panel(
            "Incidents told in an hour",
            (
                (f"sum by (group, state) (increase(streamd_incidents_total{{{OF}}}[1h]))", "{{group}} {{state}}"),
                (
                    f"sum by (group, state) (increase(streamd_group_incidents_total{{{OF}}}[1h]))",
                    "{{group}} {{state}}, many streams",
                ),
            ),
        ),
        Panel(
            "Alarms over the promise",
            ((f"max by (group) (streamd_alarm_rate_ratio{{{OF}}})", "{{group}}"),),
            steps=((None, GREEN), (2, AMBER)),
            said="1: as many incidents as alarm.per_week promises, true ones too.",
        ),
        Panel(
            "Silent and warming streams",
            (
                (f"sum by (group) (streamd_streams_silent{{{OF}}})", "{{group}} silent"),
                (f"sum by (group) (streamd_streams_warming{{{OF}}})", "{{group}} warming"),
            ),
        ),
        Panel("Drifts in an hour", ((f"sum by (group) (increase(streamd_drifts_total{{{OF}}}[1h]))", "{{group}}"),)),
        Panel(
            "Strangest streams",
            ((f"topk(10, streamd_stream_score{{{OF}}})", "{{group}} {{stream}}"),),
            "table",
            width=12,
            steps=ALARM_LINE,
            said="Of the streams that have series of their own: http.stream_series.",
        ),
        Panel(
            "Whom the forecasts trust",
            ((f"avg by (expert) (streamd_expert_weight{{{OF}}})", "{{expert}}"),),
            unit="percentunit",
            width=12,
        ),
    ),
)

STREAM_BOARD = Dashboard(
    "stream",
    "streamd: one stream",
    (INSTANCE, GROUP, STREAM),
    (
        Panel(
            "Score now",
            ((f'max(streamd_stream_score{{{OF}, stream=~"$stream"}})', "score"),),
            "stat",
            width=6,
            steps=ALARM_LINE,
            said="1.0 is the alarm line of every stream.",
        ),
        Panel(
            "Highest in a day",
            ((f'max(max_over_time(streamd_stream_score{{{OF}, stream=~"$stream"}}[1d]))', "score"),),
            "stat",
            width=6,
            steps=ALARM_LINE,
        ),
        Panel(
            "Share of the day over the line",
            ((f'max(avg_over_time((streamd_stream_score{{{OF}, stream=~"$stream"}} >= bool 1)[1d:1m]))', "share"),),
            "stat",
            unit="percentunit",
            width=6,
        ),
        Panel(
            "Open in its group",
            ((f"sum(streamd_incidents_open{{{OF}}})", "open"),),
            "stat",
            width=6,
            steps=GOOD_IS_NONE,
        ),
        Panel(
            "Score",
            ((f'streamd_stream_score{{{OF}, stream=~"$stream"}}', "{{group}} {{stream}}"),),
            width=24,
            steps=ALARM_LINE,
            said="As of the last scrape. Each frame's score, with its terms and channels, is on MQTT.",
        ),
        Panel(
            "Beside its group",
            (
                (f'max(streamd_stream_score{{{OF}, stream=~"$stream"}})', "this stream"),
                (f"quantile(0.5, streamd_stream_score{{{OF}}})", "median of those with a series"),
                (f"max(streamd_stream_score{{{OF}}})", "highest"),
            ),
            width=24,
        ),
    ),
)

DAEMON = Dashboard(
    "daemon",
    "streamd: the daemon itself",
    (INSTANCE, GROUP),
    (
        Panel("Messages in", ((rate("streamd_messages_total", "instance", within=AT), "{{instance}}"),), unit="cps"),
        Panel("Published", ((rate("streamd_published_total", "kind", within=AT), "{{kind}}"),), unit="cps"),
        Panel(
            "Refused and dropped",
            (
                (rate("streamd_refused_total", "reason", within=AT), "refused: {{reason}}"),
                (rate("streamd_dropped_total", "queue, reason", within=AT), "dropped: {{queue}} {{reason}}"),
            ),
            unit="cps",
        ),
        Panel(
            "From arrival to answer",
            tuple((quantile(share, "streamd_latency_seconds"), f"{share:.0%}") for share in (0.5, 0.9, 0.99)),
            unit="s",
        ),
        Panel(
            "One batch",
            tuple((quantile(share, "streamd_apply_seconds", OF), f"{share:.0%}") for share in (0.5, 0.99)),
            unit="s",
        ),
        Panel(
            "Frames in a batch, mean",
            (
                (
                    f"{rate('streamd_batch_frames_sum', 'group')} / {rate('streamd_batch_frames_count', 'group')}",
                    "{{group}}",
                ),
            ),
        ),
        Panel("Queues", ((f"max by (queue) (streamd_queue_length{{{AT}}})", "{{queue}}"),)),
        Panel(
            "Broker",
            (
                (f"min by (instance) (streamd_broker_connected{{{AT}}})", "{{instance}} connected"),
                (f"sum by (result) (increase(streamd_broker_connects_total{{{AT}}}[10m]))", "attempts: {{result}}"),
            ),
        ),
        Panel(
            "CPU",
            (
                (rate("process_cpu_seconds_total", "instance", within=AT), "{{instance}} all"),
                (rate("streamd_training_cpu_seconds_total", "group"), "{{group}} training"),
            ),
            unit="percentunit",
        ),
        Panel(
            "Memory", ((f"sum by (instance) (process_resident_memory_bytes{{{AT}}})", "{{instance}}"),), unit="bytes"
        ),
        Panel("Training loss", ((f"max by (group) (streamd_training_loss{{{OF}}})", "{{group}}"),)),
        Panel(
            "Candidates in an hour",
            ((f"sum by (group, verdict) (increase(streamd_candidates_total{{{OF}}}[1h]))", "{{group}} {{verdict}}"),),
        ),
        Panel(
            "Schedule stretched",
            ((f"max by (group) (streamd_training_stretch_ratio{{{OF}}})", "{{group}}"),),
            said="1: as configured; above, training would take more CPU than its share.",
        ),
        Panel("Commits", ((rate("streamd_commits_total", "result", within=AT), "{{result}}"),), unit="cps"),
        Panel("One commit", ((quantile(0.99, "streamd_commit_seconds"), "99%"),), unit="s"),
        Panel(
            "State on the disk",
            (
                (f"sum by (instance) (streamd_journal_bytes{{{AT}}})", "{{instance}} journal"),
                (f"sum by (instance) (streamd_checkpoint_bytes{{{AT}}})", "{{instance}} newest checkpoint"),
            ),
            unit="bytes",
        ),
        Panel(
            "Age of the newest checkpoint",
            ((f"time() - max by (instance) (streamd_checkpoint_timestamp_seconds{{{AT}}})", "{{instance}}"),),
            unit="s",
        ),
        Panel(
            "Up for", ((f"time() - max by (instance) (process_start_time_seconds{{{AT}}})", "{{instance}}"),), unit="s"
        ),
    ),
)


def variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,  # when the time range changes
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "sort": 1,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def picture(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.steps:
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"value": value, "color": color} for value, color in panel.steps],
        }
        if panel.kind == "timeseries":
            defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    else:
        defaults["color"] = {"mode": "palette-classic"}
    targets = [
        {"refId": chr(ord("A") + n), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
        | ({"instant": True, "range": False} if panel.kind != "timeseries" else {})
        | ({"format": "table"} if panel.kind == "table" else {})
        for n, (expression, legend) in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.said,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": height(panel)},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
    }


def height(panel: Panel) -> int:
    return STAT_HEIGHT if panel.kind == "stat" else HEIGHT


def model(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana reads it: panels from left to right, in rows."""
    panels = []
    x = y = row = 0
    for number, panel in enumerate(dashboard.panels, 1):
        if x + panel.width > WIDTH:
            x, y, row = 0, y + row, 0
        panels.append(picture(panel, number, x, y))
        x, row = x + panel.width, max(row, height(panel))
    return {
        "uid": f"streamd-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["streamd"],
        "schemaVersion": 38,
        "editable": False,
        "refresh": "15s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [variable(*one) for one in dashboard.variables]},
        "links": [
            {"type": "dashboards", "tags": ["streamd"], "title": "streamd", "keepTime": True, "asDropdown": False}
        ],
        "panels": panels,
    }


def files() -> dict[str, str]:
    """Name of each file -> what is in it."""
    return {f"{one.name}.json": json.dumps(model(one), indent=1) + "\n" for one in (OVERVIEW, STREAM_BOARD, DAEMON)}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text)
