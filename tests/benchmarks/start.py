"""From the start of the process to the first forecast, with an empty state and with many streams to restore; and RSS.

    python tests/benchmarks/start.py [--streams 10000] [--readings 3]

A reading is sent every 20 ms until one is answered. All streams fit in memory; they are made by as many readings of
each as asked, then the daemon is stopped and started. Broker, device and daemon share the machine. Medians.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `tests` is, also when this file is run as a script
from tests.benchmarks.end_to_end import SHIPPED, publish
from tests.broker.daemon import Daemon
from tests.broker.mosquitto import Mosquitto

RUNS = 5
EVERY_S = 0.02
LIMIT_S = 120.0
CONFIG = """
[mqtt]
port = {port}
[http]
port = 0
[[source]]
topic = "plant/telemetry"
format = "columns"
stream = "id"
time = "ts"
[group.default]
max_resident_streams = {streams}
"""


def first_forecast_s(daemon: Daemon, port: int, stream: str) -> float:
    """Start the daemon; how long until a reading of the stream is answered by a forecast.

    Raises:
        TimeoutError: none was.
    """
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    answered: list[float] = []
    client.on_message = lambda *_: answered.append(time.perf_counter())
    client.connect("127.0.0.1", port)
    client.subscribe(f"streamd/default/{stream}/forecast")
    client.loop_start()
    begun = time.perf_counter()
    daemon.launch()
    for tick in itertools.count():
        if answered:
            break
        if time.perf_counter() - begun > LIMIT_S:
            raise TimeoutError(f"no forecast in {LIMIT_S:.0f} s:\n{daemon.log}")
        body = {"ts": time.time() + tick * EVERY_S, "id": [stream]} | {f"c{i}": [20.0 + i] for i in range(6)}
        client.publish("plant/telemetry", json.dumps(body))
        time.sleep(EVERY_S)
    client.disconnect()
    client.loop_stop()
    return answered[0] - begun


def rss_mb(daemon: Daemon) -> float:
    """Resident memory of the daemon."""
    return daemon.metric("process_resident_memory_bytes") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--readings", type=int, default=3, help="of each stream before the restart")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        broker = Mosquitto(Path(place) / "broker", log_packets=False, extra=SHIPPED).start()
        config = CONFIG.format(port=broker.port, streams=2 * asked.streams)
        daemon = Daemon(Path(place) / "none", config)
        try:
            took, idle = [], []
            for run in range(RUNS):
                daemon = Daemon(Path(place) / f"empty-{run}", config)
                took.append(first_forecast_s(daemon, broker.port, "p0"))
                idle.append(rss_mb(daemon))
                daemon.stop()
            print(f"empty: first forecast after {statistics.median(took):.2f} s, RSS {statistics.median(idle):.0f} MB")
            daemon = Daemon(Path(place) / "full", config).start()
            publish(broker.port, asked.readings * asked.streams, asked.streams, per_message=50)
            while daemon.metric("streamd_latency_seconds_count") < asked.readings * asked.streams:
                time.sleep(0.2)
            full = rss_mb(daemon)
            daemon.stop()
            size = sum(file.stat().st_size for file in (Path(place) / "full").rglob("*") if file.is_file()) / 1e6
            took = []
            for _ in range(RUNS):
                took.append(first_forecast_s(daemon, broker.port, "p0"))
                daemon.stop()
            print(
                f"{asked.streams:,} streams: first forecast after {statistics.median(took):.2f} s; "
                f"RSS before the restart {full:.0f} MB, {size:.0f} MB on disk"
            )
        finally:
            daemon.end()
            broker.stop()


if __name__ == "__main__":
    main()
