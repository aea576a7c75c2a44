"""`streamd loadtest` against a daemon and a broker of its own; then a second, lighter load, to see it recover.

    python tests/benchmarks/load.py [--rate 1000] [--streams 200] [--seconds 60] [--then 50] [--stock]

Generator, broker and daemon share the machine. Over capacity the figures say what gave way, and how long it took until
all was answered; the lighter load (`--then`, readings per second; 0: none) follows when that is done.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # where `tests` is, also when this file is run as a script
from streamd import loadtest, show
from streamd.config import load
from tests.benchmarks.end_to_end import SHIPPED, STOCK
from tests.broker.daemon import Daemon
from tests.broker.mosquitto import Mosquitto


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def main(rate: float, streams: int, seconds: float, then: float, extra: list[str]) -> None:
    """Print both reports."""
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder) / "broker", log_packets=False, extra=extra).start()
        text = (
            f"[mqtt]\nport = {broker.port}\n[http]\nport = {_free_port()}\n"
            '[[source]]\ntopic = "plant/{stream}/telemetry"\ntime = "ts"\n'
        )
        daemon = Daemon(Path(folder) / "daemon", text)
        try:
            daemon.start()
            settings = load(daemon.config)
            show.load(loadtest.run(settings, streams=streams, rate=rate, seconds=seconds), show.console())
            if then:
                found = loadtest.run(settings, streams=min(streams, 10), rate=then, seconds=min(seconds, 30.0))
                show.load(found, show.console())
            for line in daemon.lines:
                if "action=pressure" in line or "action=stretch" in line:
                    sys.stdout.write(line)
            daemon.stop()
        finally:
            daemon.end()
            broker.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--then", type=float, default=50.0)
    parser.add_argument("--stock", action="store_true", help="the broker's own window instead of ours")
    asked = parser.parse_args()
    main(asked.rate, asked.streams, asked.seconds, asked.then, STOCK if asked.stock else SHIPPED)
