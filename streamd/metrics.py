"""Every Prometheus metric, declared once.

Knows names, labels and units; whoever handles an event counts it here. Label values are closed sets, but for
`group`, which the config bounds, and the opt-in per-stream series, which `http.stream_series` caps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from streamd.records import F64

registry = CollectorRegistry()
ProcessCollector(registry=registry)
PlatformCollector(registry=registry)


class Durations(Collector):
    """A histogram that is told of a whole batch at once; one by one they cost two microseconds each. One thread's."""

    def __init__(self, name: str, documentation: str, buckets: tuple[float, ...]) -> None:
        self._name, self._documentation = name, documentation
        self._edges = np.array(buckets)
        self._counts = np.zeros(len(buckets) + 1, np.int64)
        self._sum = 0.0
        registry.register(self)

    def observe(self, seconds: F64) -> None:
        """Count each of them, [N]."""
        places = np.searchsorted(self._edges, seconds)
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._sum += float(seconds.sum())

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """What `collect` gives, without figures."""
        yield HistogramMetricFamily(self._name, self._documentation)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """For the registry."""
        upto = [*map(str, self._edges.tolist()), "+Inf"]
        buckets = list(zip(upto, np.cumsum(self._counts).tolist(), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)


# --- in ---
messages = Counter("streamd_messages", "Messages received from the broker.", registry=registry)
readings = Counter("streamd_readings", "Readings by what became of them.", ["group", "outcome"], registry=registry)
refused = Counter(
    "streamd_refused", "Messages, or readings inside one, that could not be used.", ["reason"], registry=registry
)
dropped = Counter("streamd_dropped", "What was given up, by queue and reason.", ["queue", "reason"], registry=registry)

commands = Counter("streamd_commands", "Commands carried out.", ["verb"], registry=registry)

# --- config ---
config_reloads = Counter(
    "streamd_config_reloads",
    "Times that the config file was read anew, by what came of it.",
    ["result"],
    registry=registry,
)
config_last_reload_successful = Gauge(
    "streamd_config_last_reload_successful",
    "0 when the config file as it is now was refused, and the settings before are in force.",
    registry=registry,
)
config_last_reload_successful.set(1)
config_keys_waiting = Gauge(
    "streamd_config_keys_waiting", "Keys of the config file that take a restart to be in force.", registry=registry
)

# --- queues ---
queue_length = Gauge("streamd_queue_length", "Items waiting.", ["queue"], registry=registry)
batch_size = Histogram(
    "streamd_batch_frames",
    "Frames applied at once.",
    ["group"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    registry=registry,
)
latency = Durations(
    "streamd_latency_seconds",
    "From the arrival of a reading to its outcome handed to the socket.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
apply_seconds = Histogram(
    "streamd_apply_seconds",
    "Time to apply one batch.",
    ["group"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
    registry=registry,
)

# --- engine ---
streams = Gauge("streamd_streams", "Streams known.", ["group"], registry=registry)
streams_silent = Gauge(
    "streamd_streams_silent", "Streams that nothing was heard of for too long.", ["group"], registry=registry
)
streams_warming = Gauge(
    "streamd_streams_warming",
    "Streams whose score is not calibrated yet, of those heard since the start.",
    ["group"],
    registry=registry,
)
incidents_open = Gauge(
    "streamd_incidents_open", "Incidents that are open, of streams in memory.", ["group"], registry=registry
)
incidents = Counter("streamd_incidents", "Incidents of single streams, as told.", ["group", "state"], registry=registry)
group_incidents = Counter(
    "streamd_group_incidents", "Incidents of many streams at once, as told.", ["group", "state"], registry=registry
)
alarm_rate = Gauge(
    "streamd_alarm_rate_ratio",
    "Incidents raised over those that the budget promises, true ones too, of streams past their warm-up.",
    ["group"],
    registry=registry,
)
repaired = Counter(
    "streamd_repaired_states", "Hidden states that were not finite or out of bounds.", ["group"], registry=registry
)
drifts = Counter("streamd_drifts", "Streams whose errors have changed for good.", ["group"], registry=registry)
expert_weight = Gauge(
    "streamd_expert_weight",
    "What an expert counts in the forecasts of the last batch, mean; the network: how far its correction is followed.",
    ["group", "expert"],
    registry=registry,
)
scores_muted = Counter(
    "streamd_scores_muted",
    "Scores over the line that were lowered because people called the like of them false alarms.",
    ["group"],
    registry=registry,
)
taught = Gauge("streamd_incidents_taught", "Incidents whose verdict by people counts.", ["group"], registry=registry)
stream_score = Gauge("streamd_stream_score", "Last score of a stream.", ["group", "stream"], registry=registry)

# --- training ---
training_steps = Counter("streamd_training_steps", "Gradient steps made.", ["group"], registry=registry)
training_loss = Gauge("streamd_training_loss", "Loss of the last training job.", ["group"], registry=registry)
training_cpu_seconds = Counter("streamd_training_cpu_seconds", "CPU spent training.", ["group"], registry=registry)
training_wait_seconds = Counter(
    "streamd_training_wait_seconds",
    "Time the engine waited for a candidate that was due.",
    ["group"],
    registry=registry,
)
pressure = Gauge(
    "streamd_pressure_level",
    "What gives way as too much comes in: 0 nothing, 1 training, 2 also outdated forecasts.",
    ["group"],
    registry=registry,
)
withheld = Counter(
    "streamd_withheld",
    "Forecasts and scores that were not published: by the `publish` settings, or outdated while too much came in.",
    ["group", "kind"],
    registry=registry,
)
training_stretch = Gauge(
    "streamd_training_stretch_ratio",
    "How far the training schedule is stretched; 1 is the config's, 0: no job begins.",
    ["group"],
    registry=registry,
)
candidates = Counter("streamd_candidates", "Training candidates by verdict.", ["group", "verdict"], registry=registry)

# --- broker ---
broker_connected = Gauge("streamd_broker_connected", "1 while the broker connection is up.", registry=registry)
broker_connects = Counter("streamd_broker_connects", "Connection attempts by result.", ["result"], registry=registry)
filters_refused = Gauge(
    "streamd_broker_refused_filters", "Subscriptions that the broker does not grant.", registry=registry
)
published = Counter("streamd_published", "Messages handed to the socket.", ["kind"], registry=registry)

# --- state ---
checkpoint_time = Gauge(
    "streamd_checkpoint_timestamp_seconds",
    "When the newest checkpoint was written, s since the epoch.",
    registry=registry,
)
checkpoint_bytes = Gauge("streamd_checkpoint_bytes", "Size of the newest checkpoint.", registry=registry)
checkpoint_seconds = Histogram(
    "streamd_checkpoint_seconds",
    "Time to write a checkpoint.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30),
    registry=registry,
)
checkpoint_written_bytes = Counter("streamd_checkpoint_written_bytes", "Bytes of all checkpoints.", registry=registry)
checkpoint_pause_seconds = Histogram(
    "streamd_checkpoint_pause_seconds",
    "Time that one slice of a checkpoint's copy held up the live path.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
    registry=registry,
)
commits = Counter("streamd_commits", "Journal commits by result.", ["result"], registry=registry)
commit_seconds = Histogram(
    "streamd_commit_seconds",
    "Time of one journal commit, fsync included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
    registry=registry,
)
journal_bytes = Gauge("streamd_journal_bytes", "Size of the records in the journal.", registry=registry)
broker_window = Gauge(
    "streamd_broker_window_messages",
    "Messages that the broker seems to send ahead of acknowledgements.",
    registry=registry,
)
window_commits = Gauge(
    "streamd_broker_window_limited_commits",
    "Commits made early because the broker's window stood still.",
    registry=registry,
)
spilled = Counter("streamd_spilled_streams", "Streams that left memory for the disk.", ["group"], registry=registry)
recovered = Counter("streamd_recovered_records", "Journal records applied again at the start.", registry=registry)
checkpoints = Counter("streamd_checkpoints", "Checkpoints by result.", ["result"], registry=registry)

# --- the page ---
page_clients = Gauge("streamd_page_clients", "Browsers that follow the page live.", registry=registry)
page_missed = Counter(
    "streamd_page_missed", "Events that a browser was too slow for; it was told so.", ["kind"], registry=registry
)
page_refused = Counter("streamd_page_refused", "Requests over HTTP that were refused.", ["reason"], registry=registry)
