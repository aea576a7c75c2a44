"""The page with thousands of streams in a real browser: how soon something is seen, and how smoothly it goes on.

Broker, daemon, devices and browser are processes of their own on the same cores. All streams speak once in so many
seconds. Nothing is asserted: it prints what was measured.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from playwright.sync_api import Page

from tests.broker.daemon import Daemon
from tests.broker.mosquitto import Mosquitto
from tests.browser.chromium import Window, launched

CONFIG = """
[mqtt]
port = {port}
[http]
port = 0
[[source]]
topic = "plant/{{stream}}/telemetry"
group = "pumps"
[group.pumps]
channels = ["flow", "pressure"]
horizon_steps = 3
network = {{ hidden = 8, layers = 1 }}
training = {{ enabled = false, burn_in_frames = 2, train_frames = 8 }}
[log]
level = "info"
"""
# frames that the browser draws, ms between two of them, over so many seconds; it scrolls meanwhile where it is told to
FRAMES = """
([seconds, scroll]) => new Promise((done) => {
  const port = document.querySelector(".port"), gaps = [];
  let before = performance.now(), end = before + 1000 * seconds;
  const next = (now) => {
    gaps.push(now - before);
    before = now;
    if (scroll) port.scrollTop = (port.scrollTop + 90) % (port.scrollHeight - port.clientHeight);
    if (now < end) requestAnimationFrame(next); else done(gaps);
  };
  requestAnimationFrame(next);
})
"""
PAINTS = "performance.getEntriesByType('paint').map((one) => [one.name, one.startTime])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--round", type=float, default=10.0, help="seconds in which every stream speaks once")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.streams, options.round, options.seconds)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:<58}{value:>12,.4g}")


def measure(folder: Path, streams: int, round_s: float, seconds: float) -> dict[str, float]:
    broker = Mosquitto(folder / "mosquitto", log_packets=False, extra=["max_queued_messages 0"]).start()
    daemon = Daemon(folder / "daemon", CONFIG.format(port=broker.port))
    try:
        daemon.start()
        with devices(broker.port, streams, round_s), launched() as browser:
            wait_for(daemon, streams)
            figures: dict[str, float] = {"streams": streams, "readings a second": streams / round_s}
            figures["daemon CPU, nobody looks, cores"] = cores(daemon, seconds)
            window = Window(browser, viewport={"width": 1280, "height": 800})
            page = window.page
            address = f"http://127.0.0.1:{daemon.http_port}/"
            figures |= loading(page, address, "first visit")
            figures |= loading(page, address, "again")
            begun = marks(page)
            gaps = page.evaluate(FRAMES, [seconds, False])
            ended = marks(page)
            figures["updates a second"] = (ended["events"] - begun["events"]) / seconds
            figures["rows updated a second"] = (ended["rows"] - begun["rows"]) / seconds
            figures |= smoothness("standing", gaps)
            figures |= smoothness("scrolling", page.evaluate(FRAMES, [seconds, True]))
            page.locator("#search").fill("pump-49")
            page.locator(".counts [role=status]", has_text=" of ").wait_for()
            page.locator("#search").fill("")
            figures["daemon CPU, one looks, cores"] = cores(daemon, seconds)
            figures["daemon RSS, MB"] = daemon.metric("process_resident_memory_bytes") / 1e6
            window.close()
            if window.wrong:
                print("\n".join(window.wrong), file=sys.stderr)
            return figures
    finally:
        daemon.end()
        broker.stop()


def loading(page: Page, address: str, name: str) -> dict[str, float]:
    """From the start of the navigation until something, and until all rows that fit are seen, ms."""
    page.goto("about:blank")
    page.goto(f"{address}#/streams", wait_until="commit")
    page.locator(".space .row:not([hidden])").nth(10).wait_for()
    rows = page.evaluate("performance.now()")
    paints = dict(page.evaluate(PAINTS))
    return {
        f"{name}: first contentful paint, ms": paints["first-contentful-paint"],
        f"{name}: rows are there, ms": rows,
    }


def marks(page: Page) -> dict[str, float]:
    found: dict[str, float] = page.evaluate("({...window.streamd.marks})")
    return found


def smoothness(name: str, gaps: list[float]) -> dict[str, float]:
    ordered = sorted(gaps)
    return {
        f"{name}: frames drawn a second": 1000.0 * len(gaps) / sum(gaps),
        f"{name}: between frames, median, ms": ordered[len(ordered) // 2],
        f"{name}: between frames, 99 %, ms": ordered[int(0.99 * len(ordered))],
        f"{name}: between frames, longest, ms": ordered[-1],
    }


def cores(daemon: Daemon, seconds: float) -> float:
    """What the daemon takes of the machine's cores, over so many seconds."""
    before, begun = daemon.metric("process_cpu_seconds_total"), time.monotonic()
    time.sleep(seconds)
    return (daemon.metric("process_cpu_seconds_total") - before) / (time.monotonic() - begun)


def wait_for(daemon: Daemon, streams: int) -> None:
    """Until all of them have spoken."""
    while daemon.metric('streamd_streams{group="pumps"}') < streams:
        time.sleep(1.0)


@contextmanager
def devices(port: int, streams: int, round_s: float) -> Iterator[None]:
    """Streams that speak evenly, from a thread of its own."""
    stop = threading.Event()

    def speak() -> None:
        chance = random.Random(1)
        client = Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", port)
        client.loop_start()
        due = time.monotonic()
        while not stop.is_set():
            for number in range(streams):
                values = {name: round(20.0 + chance.uniform(-1.5, 1.5), 3) for name in ("flow", "pressure")}
                client.publish(f"plant/pump-{number:04}/telemetry", json.dumps(values), qos=0)
                if number % 20 == 0:
                    due += 20 * round_s / streams
                    if stop.wait(max(due - time.monotonic(), 0.0)):
                        break
        client.disconnect()
        client.loop_stop()

    thread = threading.Thread(target=speak, name="devices")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    main()
