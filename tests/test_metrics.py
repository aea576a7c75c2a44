import re
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from streamd import metrics

DECLARED = {name: metric for name, metric in vars(metrics).items() if isinstance(metric, MetricWrapperBase)}
CLOSED_LABELS = {"group", "outcome", "reason", "queue", "verdict", "result", "kind", "verb", "expert", "state"}
each = pytest.mark.parametrize("metric", DECLARED.values(), ids=DECLARED)


def test_every_declared_metric_is_in_the_registry_and_nothing_else_of_ours():
    registered = {family.name for family in metrics.registry.collect() if family.name.startswith("streamd_")}
    assert registered == {metric._name for metric in DECLARED.values()} | {"streamd_latency_seconds"}


def test_every_declared_metric_is_counted_somewhere():
    sources = [path.read_text() for path in Path(metrics.__file__).parent.rglob("*.py")]
    used = set(re.findall(r"\bmetrics\.([a-z_]+)\.", "\n".join(sources)))
    assert DECLARED.keys() <= used, DECLARED.keys() - used


@each
def test_a_name_follows_the_conventions(metric):
    assert re.fullmatch(r"streamd(_[a-z]+)+", metric._name)
    # The library appends it to counters; elsewhere it would say something wrong.
    assert not metric._name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
    # Base units only.
    assert not re.search(r"_(ms|us|millis|milliseconds|minutes|hours|kb|mb|kilobytes|percent)(_|$)", metric._name)
    assert not re.search(r"_(counter|gauge|histogram)(_|$)", metric._name)


@each
def test_a_metric_says_what_it_is_in_a_sentence(metric):
    assert metric._documentation.endswith(".")
    assert len(metric._documentation) > 10


@each
def test_labels_are_closed_sets_but_for_the_capped_series_of_streams(metric):
    labels = set(metric._labelnames)
    if metric is metrics.stream_score:
        labels.remove("stream")
    assert labels <= CLOSED_LABELS


@each
def test_buckets_of_a_histogram_rise(metric):
    if isinstance(metric, Histogram):
        assert list(metric._upper_bounds) == sorted(set(metric._upper_bounds))
    else:
        assert isinstance(metric, Counter | Gauge)


def test_durations_told_at_once_are_counted_as_a_histogram_counts_them_one_by_one() -> None:
    registry = CollectorRegistry()
    one_by_one = Histogram("seconds", "", buckets=(0.5, 1, 10), registry=registry)
    seconds = np.array([0.1, 0.5, 0.7, 1.0, 9.0, 10.5, 0.5])
    for value in seconds.tolist():
        one_by_one.observe(value)
    at_once = metrics.Durations("seconds", "", (0.5, 1, 10))
    metrics.registry.unregister(at_once)
    at_once.observe(seconds[:3])
    at_once.observe(seconds[3:])
    at_once.observe(np.empty(0))

    def figures(collector: Collector) -> dict[tuple[str, str | None], float]:
        samples = [sample for family in collector.collect() for sample in family.samples]
        return {(s.name, s.labels.get("le")): s.value for s in samples if not s.name.endswith("_created")}

    assert figures(at_once) == figures(one_by_one)
