"""The floor: how fast a bare paho loop on asyncio answers each QoS-1 message with a QoS-0 one, and does nothing else.

    python tests/benchmarks/bare_paho.py [--messages 20000] [--bytes 120] [--protocol 5]

Broker and publisher are processes of their own, in C; what is measured is this process alone. What streamd takes
beyond it is its own work.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `tests` is, also when this file is run as a script
from tests.broker.mosquitto import Mosquitto, program

RUNS = 3
WINDOW = 2000  # messages that the broker may send ahead; as streamd's default
PACKETS_PER_TURN = 64
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Floor:
    """Medians over the runs."""

    protocol: str
    messages: int  # of each run
    size: int  # bytes of a payload
    messages_per_s: float
    cpu_us: float  # of this process, per message


class Answerer:
    """Takes `count` messages on in/#, and answers each with the same payload."""

    def __init__(self, client: Client, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._count = count
        self._writing = False
        self.received = 0
        self.subscribed, self.done = asyncio.Event(), asyncio.Event()
        client.on_connect = lambda *_: client.subscribe("in/#", 1)
        client.on_subscribe = lambda *_: self.subscribed.set()
        client.on_message = self._answer
        client.on_socket_register_write = lambda *_: None  # written after each read
        sock = client.socket()
        assert sock is not None
        self._fileno = sock.fileno()
        self._loop.add_reader(self._fileno, self._read)
        self._write()

    def close(self) -> None:
        """Leave the loop."""
        self._client.disconnect()
        self._write()

    def _answer(self, client: Client, _data: Any, message: Any) -> None:
        if self.received == 0:
            self._begun, self._cpu = time.perf_counter(), time.process_time()
        self.received += 1
        client.publish("out/a", message.payload)
        if self.received == self._count:
            self.done.set()

    def spent(self) -> tuple[float, float]:
        """Wall and CPU time since the first message, s."""
        return time.perf_counter() - self._begun, time.process_time() - self._cpu

    def _read(self) -> None:
        for _ in range(PACKETS_PER_TURN):
            before = self.received
            self._client.loop_read()
            if self.received == before:
                break
        self._write()

    def _write(self) -> None:
        self._client.loop_write()
        blocked = self._client.want_write()
        if self._client.socket() is None:
            self._loop.remove_reader(self._fileno)
            self._loop.remove_writer(self._fileno)
        elif blocked != self._writing:
            self._writing = blocked
            if blocked:
                self._loop.add_writer(self._fileno, self._write)
            else:
                self._loop.remove_writer(self._fileno)


def measure(messages: int = 20_000, size: int = 120, protocol: str = "5") -> Floor:
    """Medians over some runs, each against a broker of its own.

    Raises:
        TimeoutError: not all messages came.
    """
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "lines"
        lines.write_text(("x" * size + "\n") * messages)
        for run in range(RUNS):
            broker = Mosquitto(Path(folder) / f"{run}", log_packets=False, extra=["max_queued_messages 0"])
            broker.start()
            try:
                spent.append(asyncio.run(_one(broker.port, lines, messages, protocol)))
            finally:
                broker.stop()
    wall_s, cpu_s = (statistics.median(column) for column in zip(*spent, strict=True))
    return Floor(protocol, messages, size, messages / wall_s, cpu_s / messages * 1e6)


async def _one(port: int, lines: Path, messages: int, protocol: str) -> tuple[float, float]:
    client = Client(
        CallbackAPIVersion.VERSION2,
        protocol=MQTTProtocolVersion.MQTTv5 if protocol == "5" else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
    )
    properties = None
    if protocol == "5":
        properties = Properties(PacketTypes.CONNECT)
        properties.ReceiveMaximum = WINDOW
    client.connect("127.0.0.1", port, properties=properties)
    answerer = Answerer(client, messages)
    async with asyncio.timeout(LIMIT_S):
        await answerer.subscribed.wait()
        command = [program("mosquitto_pub"), "-p", str(port), "-t", "in/a", "-q", "1", "-l"]
        with lines.open("rb") as stdin:
            publisher = await asyncio.create_subprocess_exec(*command, stdin=stdin)
        await answerer.done.wait()
        spent = answerer.spent()
        await publisher.wait()
    answerer.close()
    return spent


def show(floor: Floor) -> None:
    """One line, for people."""
    print(
        f"bare paho loop, MQTT {floor.protocol}, {floor.messages:,} messages of {floor.size} bytes: "
        f"{floor.messages_per_s:,.0f} messages/s, {floor.cpu_us:.1f} us CPU per message"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=120)
    parser.add_argument("--protocol", choices=("5", "3.1.1"), default="5")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = measure(asked.messages, asked.bytes, asked.protocol)
    if asked.json:
        import msgspec

        print(msgspec.json.encode(asdict(found)).decode())
    else:
        show(found)
