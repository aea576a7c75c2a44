"""What durability costs: recovery time, throughput, fsyncs and bytes per hour.

    python tests/benchmarks/durability.py [--seconds 30] [--json]

Default settings, readings of six channels. The daemon, the broker and whoever publishes share this machine; figures
per hour are taken from a shorter run, and the table says which are computed.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from rich.progress import Progress

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `tests` is, also when this file is run as a script
from streamd import checkpointer, config, recovery
from streamd.config import State
from streamd.edge.disk import Disk
from streamd.edge.training import TrainingThread
from streamd.model.training import Candidate, Job, train
from streamd.records import Batch, Widen
from streamd.store import codec, folders
from streamd.store.journal import Entry, Journal
from tests.broker.daemon import Daemon
from tests.broker.mosquitto import Mosquitto

CHANNELS = tuple(f"c{i}" for i in range(6))
SHIPPED = ("max_inflight_messages 2000", "max_queued_messages 1000000")  # of the broker, as in deploy/mosquitto.conf
RUNS = 3
SATURATION = (64, 20_000)  # streams, readings
FLEETS = ((10, 1.0), (1000, 1.0), (10_000, 10.0))  # streams, seconds between two readings of a stream
POLL_S = 0.1  # between two looks at the metrics, which cost the daemon milliseconds
Row = dict[str, float]


def walk(streams: int) -> Iterator[tuple[float, np.ndarray]]:
    """Time and values [streams, C], one step after the other."""
    random = np.random.default_rng(0)
    values, now = np.zeros((streams, len(CHANNELS))), 1.7e9
    while True:
        values = values + random.normal(size=values.shape)
        now += 1.0
        yield now, values


def batches(streams: int, size: int) -> Iterator[Batch]:
    """Of so many frames each, every stream in its turn."""
    names = [f"machine-{i:05d}" for i in range(streams)]
    for now, values in walk(streams):
        for begin in range(0, streams, size):
            chosen = slice(begin, begin + size)
            part = tuple(names[chosen])
            yield Batch(part, np.full(len(part), now), values[chosen])


def recovery_time(streams: int, size: int, seconds: float, folder: Path) -> Row:
    """Of a journal whose records are batches of `size` frames, in a process that does nothing else."""
    settings = config.parse(
        f'[[source]]\ntopic = "{{stream}}"\n[state]\nfolder = "{folder}"\n', folder / "streamd.toml"
    )
    count = max(int(seconds * 100 / max(size / 64, 1.0)), 200)
    found = batches(streams, size)
    journal = Journal.open(folder / folders.JOURNAL)
    journal.commit([Entry(1, "default", codec.encode(Widen(CHANNELS)))], 0)
    frames = 0
    entries = []
    for position in range(2, count + 2):
        batch = next(found)
        frames += len(batch)
        entries.append(Entry(position, "default", codec.encode(batch)))
    journal.commit(entries, count + 1)  # all outcomes were published: they are not encoded again
    journal.close()

    async def recover() -> tuple[float, float]:
        with TrainingThread[Job, Candidate](train) as thread, Disk("journal") as disk:
            begun, cpu_s = time.perf_counter(), time.process_time()
            state = await recovery.recover(settings, thread, disk, asyncio.Event())
            took, cpu_s = time.perf_counter() - begun, time.process_time() - cpu_s
            assert state.position == count + 1
            await disk(state.close)
            return took, cpu_s

    took, cpu_s = asyncio.run(recover())
    return {
        "streams": streams,
        "batch": size,
        "readings": frames,
        "s": took,
        "s_per_100000": took / frames * 1e5,
        "cpu_s_per_100000": cpu_s / frames * 1e5,
    }


class Publisher:
    """Publishes readings of many streams at QoS 1."""

    def __init__(self, port: int, streams: int) -> None:
        self._steps = walk(streams)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.max_queued_messages_set(0)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._last: mqtt.MQTTMessageInfo | None = None
        self._rest: list[tuple[int, dict[str, float]]] = []  # of this step, the last one first

    def publish(self, count: int) -> None:
        """So many readings, every stream in its turn."""
        for _ in range(count):
            if not self._rest:
                now, values = next(self._steps)
                self._rest = [
                    (i, {"ts": now, **dict(zip(CHANNELS, row, strict=True))}) for i, row in enumerate(values.tolist())
                ]
                self._rest.reverse()
            i, body = self._rest.pop()
            self._last = self._client.publish(f"plant/machine-{i:05d}", msgspec.json.encode(body), qos=1)

    def settle(self) -> None:
        """Until the broker has all of it."""
        assert self._last is not None
        self._last.wait_for_publish(120.0)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def daemon_settings(port: int, durability: str) -> str:
    return (
        f'[mqtt]\nport = {port}\n[http]\nport = 0\n[state]\ndurability = "{durability}"\n'
        '[[source]]\ntopic = "plant/{stream}"\ntime = "ts"\n'
    )


def frames_applied(daemon: Daemon) -> float:
    return daemon.metric('streamd_batch_frames_sum{group="default"}')


def saturation(durability: str, folder: Path) -> tuple[float, float]:
    """Readings per second that the daemon works off, of those that wait at the broker, and its CPU of each, µs."""
    streams, readings = SATURATION
    broker = Mosquitto(folder / "broker", log_packets=False, extra=SHIPPED).start()
    daemon = Daemon(folder, daemon_settings(broker.port, durability))
    publisher = Publisher(broker.port, streams)
    try:
        daemon.start()
        daemon.stop()  # the broker keeps its session
        publisher.publish(readings)
        publisher.settle()
        daemon.start()
        begun, first, cpu_s = time.perf_counter(), frames_applied(daemon), daemon.metric("process_cpu_seconds_total")
        while (now := frames_applied(daemon)) < readings:
            time.sleep(POLL_S)
        spent_s, cpu_s = time.perf_counter() - begun, daemon.metric("process_cpu_seconds_total") - cpu_s
        return (now - first) / spent_s, 1e6 * cpu_s / (now - first)
    finally:
        publisher.close()
        daemon.end()
        broker.stop()


def throughput(folder: Path) -> Row:
    """Medians, with the journal and without, taken in turn."""
    runs: dict[str, list[tuple[float, float]]] = {"journal": [], "checkpoint": []}
    for run in range(RUNS):
        for durability, found in runs.items():
            found.append(saturation(durability, folder / f"{durability}-{run}"))
    journal, without = (np.median(found, axis=0).tolist() for found in runs.values())
    return {
        "journal_readings_per_s": journal[0],
        "without_readings_per_s": without[0],
        "ratio": journal[0] / without[0],
        "journal_cpu_us": journal[1],
        "without_cpu_us": without[1],
        "cpu_ratio": without[1] / journal[1],
    }


@contextmanager
def traced(daemon: Daemon, log: Path) -> Iterator[bool]:
    """Watch the daemon's fsyncs; false where strace is not installed."""
    strace = shutil.which("strace")
    if strace is None:
        yield False
        return
    calls = "trace=fsync,fdatasync,sync_file_range"
    tracer = subprocess.Popen(
        [strace, "-f", "-q", "-e", calls, "-o", str(log), "-p", str(daemon.pid)], stderr=subprocess.DEVNULL
    )
    try:
        yield True
    finally:
        tracer.terminate()
        tracer.wait()


def disk_use(streams: int, period_s: float, seconds: float, folder: Path) -> Row:
    """fsyncs and bytes of a daemon in its steady state per hour, and when its checkpoints are due."""
    broker = Mosquitto(folder / "broker", log_packets=False, extra=SHIPPED).start()
    daemon = Daemon(folder, daemon_settings(broker.port, "journal"))
    publisher = Publisher(broker.port, streams)
    try:
        daemon.start()
        for _ in range(2):  # all streams are known, and their rows made
            publisher.publish(streams)
            publisher.settle()
        while frames_applied(daemon) < 2 * streams:
            time.sleep(POLL_S)
        with traced(daemon, folder / "strace") as is_traced:
            before, written = _costs(daemon), _written(daemon.pid)
            begun, wanted = time.perf_counter(), 0
            for second in range(1, int(seconds) + 1):
                due = int(second * streams / period_s)
                publisher.publish(due - wanted)
                wanted = due
                time.sleep(max(begun + second - time.perf_counter(), 0.0))
            spent_s = time.perf_counter() - begun
            written = _written(daemon.pid) - written
            costs = {name: value - before[name] for name, value in _costs(daemon).items()}
        journaled = written - costs["checkpoint_bytes"]
        syncs = len(re.findall(r"sync\(\d", (folder / "strace").read_text())) if is_traced else float("nan")
        daemon.stop()
        file_bytes = max((folder / "state").glob("checkpoint-*")).stat().st_size
        per_h = 3600 / spent_s
        grown_s = max(file_bytes, checkpointer.LEAST_BYTES) * spent_s / _record_bytes(costs["frames"], costs["batches"])
        every_s = min(grown_s, State().recovery_s * spent_s / costs["replay_s"])
        return {
            "streams": streams,
            "period_s": period_s,
            "readings_per_s": costs["frames"] / spent_s,
            "fsyncs_per_h": syncs * per_h,
            "commits_per_h": costs["commits"] * per_h,
            "journal_mb_per_h": journaled * per_h / 1e6,
            "checkpoints_seen": costs["checkpoints"],
            "checkpoint_mb": file_bytes / 1e6,
            "kb_per_stream": file_bytes / streams / 1e3,
            "every_s": every_s,
            "checkpoint_mb_per_h": 3600 / every_s * file_bytes / 1e6,
        }
    finally:
        publisher.close()
        daemon.end()
        broker.stop()


def _costs(daemon: Daemon) -> Row:
    """What the daemon has done since its start."""
    group = '{group="default"}'
    return {
        "commits": daemon.metric('streamd_commits_total{result="written"}'),
        "checkpoints": daemon.metric('streamd_checkpoints_total{result="written"}'),
        "checkpoint_bytes": daemon.metric("streamd_checkpoint_written_bytes_total"),
        "frames": frames_applied(daemon),
        "batches": daemon.metric(f"streamd_batch_frames_count{group}"),
        "replay_s": daemon.metric(f"streamd_apply_seconds_sum{group}")
        + daemon.metric(f"streamd_training_cpu_seconds_total{group}"),
    }


def _record_bytes(frames: float, in_batches: float) -> float:
    """Of the journal's records for so many frames."""
    size = max(round(frames / in_batches), 1)
    return frames / size * len(codec.encode(next(batches(size, size))))


def _written(pid: int) -> int:
    """Bytes that a process has caused to be written, by the kernel's count."""
    found = re.search(r"^write_bytes: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def measure(seconds: float) -> dict[str, Any]:
    """All tables."""
    with tempfile.TemporaryDirectory() as place, Progress(transient=True) as progress:
        bar = progress.add_task("durability", total=7)

        def fresh(name: str) -> Path:
            progress.advance(bar)
            folder = Path(place, name)
            folder.mkdir()
            return folder

        return {
            "recovery": [
                recovery_time(streams, size, seconds, fresh(f"recovery-{streams}"))
                for streams, size in ((1, 1), (64, 64), (1000, 256))
            ],
            "throughput": throughput(fresh("throughput")),
            "disk_use": [
                disk_use(streams, period_s, 2 * seconds, fresh(f"use-{streams}")) for streams, period_s in FLEETS
            ],
        }


def show(found: dict[str, Any]) -> None:
    print("recovery of a journal (measured, scaled to 100,000 readings; training included)")
    print(f"{'streams':>8} {'batch':>6} {'readings':>9} {'s':>7} {'s per 100,000':>14} {'CPU':>7}")
    for row in found["recovery"]:
        print(
            f"{row['streams']:>8} {row['batch']:>6} {row['readings']:>9,} {row['s']:>7.1f} {row['s_per_100000']:>14.1f}"
            f" {row['cpu_s_per_100000']:>7.1f}"
        )
    row = found["throughput"]
    print(
        f"\nthroughput, {SATURATION[0]} streams (measured, medians of {RUNS}):"
        f" {row['journal_readings_per_s']:,.0f} readings/s with journal,"
        f" {row['without_readings_per_s']:,.0f} without: {row['ratio']:.2f};"
        f" CPU {row['journal_cpu_us']:.0f} and {row['without_cpu_us']:.0f} µs per reading: {row['cpu_ratio']:.2f}"
    )
    print(
        "\nthe daemon at defaults, per hour (scaled from a shorter run; when a checkpoint is due: the policy's answer"
    )
    print("to the measured cost of replaying, size of records and size of the checkpoint; seen: in the run itself)")
    print(
        f"{'streams':>8} {'each':>6} {'readings/s':>10} {'fsyncs/h':>9} {'commits/h':>10} {'journal MB/h':>13}"
        f" {'checkpoint':>11} {'kB/stream':>10} {'every':>8} {'seen':>5} {'MB/h':>8}"
    )
    for row in found["disk_use"]:
        print(
            f"{row['streams']:>8,} {row['period_s']:>4.0f} s {row['readings_per_s']:>10,.0f}"
            f" {row['fsyncs_per_h']:>9,.0f} {row['commits_per_h']:>10,.0f} {row['journal_mb_per_h']:>13,.0f}"
            f" {row['checkpoint_mb']:>8.1f} MB {row['kb_per_stream']:>10.1f} {row['every_s']:>6.0f} s"
            f" {row['checkpoints_seen']:>5.0f} {row['checkpoint_mb_per_h']:>8,.0f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run that waits for real time")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    tables = measure(asked.seconds)
    if asked.json:
        print(msgspec.json.encode(tables).decode())
    else:
        show(tables)
