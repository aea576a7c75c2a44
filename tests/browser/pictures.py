"""Pictures of the page for people who have not seen it, drawn from the demo by a real browser: `make pictures`.

Knows what is worth seeing; they are looked at by people, not by a test.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.chromium import Window, launched
from tests.browser.demo import ROOT, Demo

FOLDER = ROOT / "deploy" / "pictures"
DESK = {"viewport": {"width": 1180, "height": 760}}
PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True}
SETTLED_MS = 2500.0  # until charts are drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    demo = Demo()
    try:
        demo.wait_until_warm()
        demo.type("pump-2 shift temperature")
        first = demo.incident("pump-2")["id"]
        demo.type("compressor-1 spike vibration")
        demo.incident("compressor-1")
        with launched() as browser:
            draw(browser, demo, first, folder)
    finally:
        demo.end()
    for path in sorted(folder.glob("*.png")):
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def draw(browser: Browser, demo: Demo, incident: str, folder: Path) -> None:
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
        for view, address in views.items():
            if (look, view) in {("dark", "incident"), ("dark", "health"), ("phone", "health")}:
                continue
            shoot(browser, f"{demo.address}/{address}", folder / f"{view}-{look}.png", options)


def shoot(browser: Browser, address: str, path: Path, options: dict[str, Any]) -> None:
    window = Window(browser, **options)
    page: Page = window.page
    page.goto(address)
    page.locator("#pulse.ok").wait_for()
    if re.search("stream/|incident/|model", address):
        page.locator(".chart .main-svg").first.wait_for()
    page.wait_for_timeout(SETTLED_MS)
    if "model" in address:
        page.get_by_text("What the memory keeps").scroll_into_view_if_needed()
        page.locator(".heatmaplayer image").first.wait_for()
        page.mouse.wheel(0, 420)
        page.wait_for_timeout(SETTLED_MS / 5)
    page.screenshot(path=path)
    window.close()
    assert window.wrong == []


if __name__ == "__main__":
    main()
