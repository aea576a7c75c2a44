"""The daemon end to end through mosquitto, at saturation: readings per second, and CPU per reading.

    python tests/benchmarks/end_to_end.py [--readings 20000] [--streams 200] [--durability journal] [--stock]
                                          [--per-message 50] [--sparse] [--without-engine]

QoS 1 in, the journal on, a forecast of 12 steps x 6 channels and a score out at QoS 0, training on. Broker, publisher
and daemon are processes of their own on the same machine; the CPU is the daemon's own count of itself. Without the
engine (`canned.py`) there is all of the rest, and no training.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `tests` is, also when this file is run as a script
from tests.broker.daemon import Daemon
from tests.broker.mosquitto import Mosquitto

RUNS = 3
CHANNELS = range(6)
LIMIT_S = 120.0
SPARSE = '[group.default.publish]\nforecast_every_s = 60.0\nscore = "change"\n'  # see the README
CANNED = Path(__file__).with_name("canned.py")
SHIPPED = ["max_inflight_messages 2000", "max_queued_messages 0"]  # as in deploy/mosquitto.conf
STOCK = ["max_queued_messages 0"]  # but for the queue, whose stock limit loses messages at saturation


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians over the runs."""

    readings: int
    streams: int
    durability: str
    engine: bool  # false: without it
    per_message: int  # readings in one, in columns
    sparse: bool  # a forecast of a stream each minute, scores on change
    broker: str
    readings_per_s: float
    cpu_us: float  # of the daemon, per reading
    broker_cpu_us: float  # of mosquitto, per reading: one message in, one passed on, two answers taken
    training_steps: float


def measure(
    readings: int = 20_000,
    streams: int = 200,
    durability: str = "journal",
    *,
    stock: bool = False,
    engine: bool = True,
    per_message: int = 1,
    sparse: bool = False,
    runs: int = RUNS,
) -> Speed:
    """Medians over some runs, each with a broker, a state folder and a daemon of its own.

    `streams` must be a multiple of `per_message`, and `readings` of `streams`.

    Raises:
        TimeoutError: not all readings were answered.
    """
    program = ("-m", "streamd") if engine else (str(CANNED),)
    asked = _config(0, durability, per_message, SPARSE if sparse else "")
    found = [_one(readings, streams, asked, STOCK if stock else SHIPPED, program, per_message) for _ in range(runs)]
    wall_s, cpu_s, broker_cpu_s, steps = (statistics.median(column) for column in zip(*found, strict=True))
    return Speed(
        readings=readings,
        streams=streams,
        durability=durability,
        engine=engine,
        per_message=per_message,
        sparse=sparse,
        broker="stock" if stock else "shipped",
        readings_per_s=readings / wall_s,
        cpu_us=cpu_s / readings * 1e6,
        broker_cpu_us=broker_cpu_s / readings * 1e6,
        training_steps=steps,
    )


def _one(
    readings: int, streams: int, config: str, extra: list[str], program: tuple[str, ...], per_message: int
) -> tuple[float, float, float, float]:
    """Wall time of all readings, the daemon's and the broker's CPU time, and the gradient steps made meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder) / "broker", log_packets=False, extra=extra).start()
        daemon = Daemon(Path(folder) / "daemon", config.replace("port = 0", f"port = {broker.port}", 1), program)
        try:
            daemon.start()
            publisher = multiprocessing.get_context("spawn").Process(
                target=publish, args=(broker.port, readings, streams, per_message)
            )
            cpu_s, broker_cpu_s = daemon.metric("process_cpu_seconds_total"), _cpu_s(broker.pid)
            publisher.start()
            while not (answered := daemon.metric("streamd_latency_seconds_count")):
                time.sleep(0.01)
            begun = time.perf_counter()
            first = answered
            while answered < readings:
                if time.perf_counter() - begun > LIMIT_S:
                    raise TimeoutError(f"{answered:.0f} of {readings} readings answered in {LIMIT_S:.0f} s")
                time.sleep(0.1)
                answered = daemon.metric("streamd_latency_seconds_count")
            wall_s = (time.perf_counter() - begun) * readings / (readings - first)
            cpu_s = daemon.metric("process_cpu_seconds_total") - cpu_s
            broker_cpu_s = _cpu_s(broker.pid) - broker_cpu_s
            steps = daemon.metric('streamd_training_steps_total{group="default"}')
            publisher.join()
            daemon.stop()
            return wall_s, cpu_s, broker_cpu_s, steps
        finally:
            daemon.end()
            broker.stop()


def _cpu_s(pid: int) -> float:
    """CPU time of another process so far, s (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc(5): utime, stime


def _config(port: int, durability: str, per_message: int = 1, publish: str = "") -> str:
    source = 'topic = "plant/{stream}/telemetry"'
    if per_message > 1:
        source = 'topic = "plant/telemetry"\nformat = "columns"\nstream = "id"'
    return (
        f'[mqtt]\nport = {port}\n[http]\nport = 0\n[state]\ndurability = "{durability}"\n'
        f'[[source]]\n{source}\ntime = "ts"\n{publish}'
    )


def publish(port: int, readings: int, streams: int, per_message: int = 1) -> None:
    """As fast as the broker takes it, `per_message` streams side by side; returns when it has everything."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    for number in range(0, readings, per_message):
        tick, stream = divmod(number, streams)
        several = range(stream, stream + per_message)
        columns = {f"c{i}": [round(20.0 + i + 0.1 * ((tick * (i + 3) + s) % 17), 3) for s in several] for i in CHANNELS}
        if per_message == 1:
            topic, body = f"plant/p{stream}/telemetry", {name: column[0] for name, column in columns.items()}
        else:
            topic, body = "plant/telemetry", {"id": [f"p{s}" for s in several], **columns}
        sent = client.publish(topic, json.dumps({"ts": 1_700_000_000 + tick, **body}), qos=1)
    sent.wait_for_publish(LIMIT_S)
    client.disconnect()
    client.loop_stop()


def show(speed: Speed) -> None:
    """One line, for people."""
    left_out = "" if speed.engine else " without the engine"
    left_out += f", {speed.per_message} readings a message" if speed.per_message > 1 else ""
    left_out += ", published sparsely" if speed.sparse else ""
    print(
        f"end to end{left_out}, {speed.streams} streams, {speed.durability}, {speed.broker} broker config: "
        f"{speed.readings_per_s:,.0f} readings/s, {speed.cpu_us:.0f} us CPU per reading "
        f"and mosquitto's {speed.broker_cpu_us:.0f} ({speed.training_steps:.0f} gradient steps meanwhile)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=20_000)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--durability", choices=("journal", "checkpoint"), default="journal")
    parser.add_argument("--stock", action="store_true", help="the broker's own window instead of ours")
    parser.add_argument("--without-engine", action="store_true", help="outcomes are looked up: all of the rest")
    parser.add_argument("--per-message", type=int, default=1, help="readings in a message, in columns")
    parser.add_argument("--sparse", action="store_true", help="forecasts each minute, scores on change")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = measure(
        asked.readings,
        asked.streams,
        asked.durability,
        stock=asked.stock,
        engine=not asked.without_engine,
        per_message=asked.per_message,
        sparse=asked.sparse,
        runs=asked.runs,
    )
    print(json.dumps(asdict(found))) if asked.json else show(found)
