from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Any

import pytest

from streamd import loadtest
from streamd.config import Config, Mqtt, Source, load
from streamd.loadtest import LoadError
from tests.broker.daemon import Daemon
from tests.broker.mosquitto import Mosquitto

GOOD: dict[str, Any] = {"topic": "plant/{stream}/telemetry", "time": "ts"}


def a_free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.mark.parametrize(
    "source",
    [
        GOOD | {"topic": "plant/{stream}/{channel}"},
        GOOD | {"topic": "plant/+/{stream}"},
        GOOD | {"format": "columns"},
        GOOD | {"time": None},
        GOOD | {"time_unit": "ms"},
    ],
)
def test_a_source_that_is_not_written_here_is_refused(source: dict[str, Any]) -> None:
    with pytest.raises(LoadError, match="source #1"):
        loadtest.run(Config(source=(Source(**source),)), streams=1, rate=1.0, seconds=1.0)


def test_a_load_on_another_machine_has_to_be_asked_for() -> None:
    config = Config(mqtt=Mqtt(host="192.0.2.1"), source=(Source(**GOOD),))
    with pytest.raises(LoadError, match=r"192\.0\.2\.1 is not this machine"):
        loadtest.run(config, streams=1, rate=1.0, seconds=1.0)


def test_without_a_broker_the_reason_is_told() -> None:
    config = Config(mqtt=Mqtt(port=a_free_port()), source=(Source(**GOOD),))
    with pytest.raises(LoadError, match="can't connect"):
        loadtest.run(config, streams=1, rate=1.0, seconds=1.0)


def test_every_reading_is_answered_and_what_it_cost_is_told(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker", log_packets=False).start()
    text = f"[mqtt]\nport = {broker.port}\n[http]\nport = {a_free_port()}\n"
    daemon = Daemon(tmp_path / "daemon", text + '[[source]]\ntopic = "plant/{stream}/telemetry"\ntime = "ts"\n')
    try:
        daemon.start()
        report = loadtest.run(load(daemon.config), streams=3, rate=20.0, seconds=2.0)
        daemon.stop()
    finally:
        daemon.end()
        broker.stop()
    assert report.sent == report.answered > 10
    assert report.forecasts <= report.sent
    assert report.gaps == 0
    assert 0.0 < report.latency_s["p50"] <= report.latency_s["p99"] <= report.latency_s["p99.9"]
    assert 0.0 < report.inside_s["p50"] <= report.inside_s["p99"] <= report.inside_s["p99.9"]
    assert report.inside_s["p50"] < report.latency_s["p50"]
    assert report.cpu_us > 0.0
    assert report.rss_mb > 10.0


def test_quantiles_of_a_histogram_lie_on_straight_lines_within_its_buckets() -> None:
    head = "streamd_latency_seconds_bucket"
    counted = {f'{head}{{le="{end}"}}': many for end, many in (("+Inf", 100.0), ("0.1", 99.0), ("0.01", 50.0))}
    buckets = loadtest._buckets(counted | {"streamd_latency_seconds_count": 100.0})
    assert buckets == [(0.01, 50.0), (0.1, 99.0), (math.inf, 100.0)]
    assert loadtest._quantile_of(buckets, 0.25) == pytest.approx(0.005)
    assert loadtest._quantile_of(buckets, 0.99) == pytest.approx(0.1)
    assert math.isnan(loadtest._quantile_of(buckets, 0.999))
    assert math.isnan(loadtest._quantile_of([], 0.5))


def test_a_broker_that_does_not_keep_up_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Owed:
        def is_published(self) -> bool:
            return False

        def wait_for_publish(self, limit_s: float) -> None:
            pass

    class Deaf:
        asked = 0

        def publish(self, topic: str, payload: bytes, qos: int) -> Owed:
            self.asked += 1
            return Owed()

    class Calm:
        def look(self) -> None:
            pass

    monkeypatch.setattr(loadtest, "AHEAD", 50)
    deaf: Any = Deaf()
    calm: Any = Calm()
    assert loadtest._send(deaf, ["plant/a"], "ts", 1e6, 0.3, 1, calm) == 0
    assert deaf.asked == 50
