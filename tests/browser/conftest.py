"""A browser for the tests of a module, and windows that have nothing to complain of at their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import ChromiumMissingError, Window, launched


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ended with the module: while it runs, nothing else in this thread may have a loop of its own."""
    try:
        with launched() as browser:
            yield browser
    except ChromiumMissingError as error:
        pytest.fail(str(error))


@pytest.fixture
def window(browser: Browser) -> Iterator[Callable[..., Window]]:
    """Opens windows; nothing may have gone wrong in them but what the test took out of `wrong`."""
    windows: list[Window] = []

    def open_window(**options: Any) -> Window:
        windows.append(Window(browser, **options))
        return windows[-1]

    yield open_window
    for one in windows:
        one.close()
    assert [what for one in windows for what in one.wrong] == []
