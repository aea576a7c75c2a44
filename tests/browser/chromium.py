"""A real Chromium without a screen: pages that note whatever goes wrong in them, and when incidents came into sight.

Knows the browser; knows nothing of what a test looks at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
LIMIT_MS = 60_000.0  # for what has to happen; a test that waits so long has failed

# when each card of an incident was first there, in ms since the epoch
_WATCH = """
window.seen = {};
const note = () => {
  for (const card of document.querySelectorAll("[data-incident]"))
    window.seen[card.dataset.incident] ??= Date.now();
};
new MutationObserver(note).observe(document, {childList: true, subtree: true});
"""


class ChromiumMissingError(Exception):
    """The program is not installed."""


def program() -> str:
    """Where it is."""
    for name in NAMES:
        if (path := shutil.which(name)) is not None:
            return path
    raise ChromiumMissingError("chromium is missing: apt install chromium")


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser, ended at the end."""
    path = program()
    # root has no user namespace to put a sandbox into; what is shown comes from ourselves
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*arguments, "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """One page in a context of its own, and what went wrong in it."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self._context: BrowserContext = browser.new_context(**options)
        self._context.set_default_timeout(LIMIT_MS)
        self._context.add_init_script(_WATCH)
        self.page: Page = self._context.new_page()
        self.wrong: list[str] = []
        self.asked: list[str] = []  # addresses of all requests
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def close(self) -> None:
        self._context.close()

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.wrong.append(f"{kind}: {text}")
