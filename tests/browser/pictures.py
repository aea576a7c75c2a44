"""Pictures of the page for people who have not seen it, drawn by a real browser: `make pictures`.

The demo's plant, some simulated days of it as fast as the daemon takes them, then live with two faults. Knows what is
worth seeing; the pictures are looked at by people, not by a test.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from streamd.demo.plant import CHANNELS, START, STEP_S, Plant
from tests.broker.daemon import Bystander, Daemon
from tests.broker.mosquitto import Mosquitto
from tests.browser.chromium import Window, launched

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "pictures"
DESK = {"viewport": {"width": 1080, "height": 640}}
PHONE = {"viewport": {"width": 390, "height": 740}, "has_touch": True}
SETTLED_MS = 2500.0  # until charts are drawn
PAST = 560  # ticks: two days, some faults of the plan among them
AT_ONCE = 40  # ticks: the broker holds no more than 1000 messages for the daemon
LIVE_S = 5.0  # between two ticks while pictures are taken
CONFIG = """
[mqtt]
port = {port}
[http]
port = 0
token_file = "token"
[[source]]
topic = "plant/{{stream}}/telemetry"
group = "plant"
time = "time"
[group.plant]
channels = [{channels}]
max_future_s = 3e8
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, running(Path(place)) as (daemon, bystander):
        plant = Plant(7)
        for _ in range(PAST // AT_ONCE):
            speak(plant, bystander, AT_ONCE)
        plant.spoil("shift", "pump-2", "temperature")
        speak(plant, bystander)
        plant.spoil("spike", "compressor-1", "vibration")
        speak(plant, bystander)
        incident = bystander.wait("streamd/plant/pump-2/incident", 1)
        with live(plant, bystander), launched() as browser:
            known = [one for one in incident if one and one["state"] != "cleared"]
            draw(browser, f"http://127.0.0.1:{daemon.http_port}", known[-1]["id"], folder)
    for path in sorted(folder.glob("*.png")):
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


@contextmanager
def running(folder: Path) -> Iterator[tuple[Daemon, Bystander]]:
    broker = Mosquitto(folder / "mosquitto", log_packets=False).start()
    channels = ", ".join(f'"{name}"' for name in CHANNELS)
    daemon = Daemon(folder / "daemon", CONFIG.format(port=broker.port, channels=channels))
    (folder / "daemon" / "token").write_text("only-for-the-pictures")
    bystander = Bystander(broker.port)
    try:
        daemon.start()
        yield daemon, bystander
    finally:
        bystander.close()
        daemon.end()
        broker.stop()


def speak(plant: Plant, bystander: Bystander, ticks: int = 1) -> None:
    """So many readings of every machine; returns when the last one is answered."""
    for _ in range(ticks):
        samples = plant.tick()
        for sample in samples:
            time = datetime.fromtimestamp(sample.time, UTC).isoformat()
            bystander.publish(f"plant/{sample.machine}/telemetry", {"time": time, **sample.values})
    number = round((samples[-1].time - START) / STEP_S)
    bystander.wait_for_seq(f"streamd/plant/{samples[-1].machine}/score", number)


@contextmanager
def live(plant: Plant, bystander: Bystander) -> Iterator[None]:
    """The plant goes on meanwhile."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(LIVE_S):
            speak(plant, bystander)

    thread = threading.Thread(target=go_on, name="plant")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def draw(browser: Browser, address: str, incident: str, folder: Path) -> None:
    views = {
        "streams": "#/streams",
        "stream": "#/stream/plant/pump-2",
        "incidents": "#/incidents",
        "incident": f"#/incident/plant/{incident}",
        "model": "#/model/plant/pump-2",
        "health": "#/health",
    }
    for look, options in {
        "light": {**DESK, "color_scheme": "light"},
        "dark": {**DESK, "color_scheme": "dark"},
        "phone": {**PHONE, "color_scheme": "light"},
    }.items():
        for view, place in views.items():
            if (look, view) not in {("dark", "incident"), ("dark", "health"), ("phone", "health")}:
                shoot(browser, f"{address}/{place}", folder / f"{view}-{look}.png", options)


def shoot(browser: Browser, address: str, path: Path, options: dict[str, Any]) -> None:
    window = Window(browser, **options)
    page: Page = window.page
    page.goto(address)
    page.locator("#pulse.ok").wait_for()
    if re.search("stream/|incident/|model", address):
        page.locator(".chart .main-svg").first.wait_for()
    page.wait_for_timeout(SETTLED_MS)
    if "model" in address:
        page.locator(".heatmaplayer image").first.wait_for()
        page.mouse.wheel(0, 420)
        page.wait_for_timeout(SETTLED_MS / 5)
    page.screenshot(path=path)
    window.close()
    if window.wrong:
        print("\n".join(window.wrong))


if __name__ == "__main__":
    main()
