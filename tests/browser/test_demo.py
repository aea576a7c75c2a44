"""What a new user does first: the demo, its page, a fault, and a verdict on it."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.chromium import LIMIT_MS, Window
from tests.browser.demo import Demo

expect.set_options(timeout=LIMIT_MS)


def test_a_fault_that_is_typed_shows_on_the_page_two_seconds_after_it_was_told_and_can_be_judged(
    window: Callable[..., Window],
) -> None:
    demo = Demo()
    page = window().page
    try:
        page.goto(f"{demo.address}/#/incidents")
        demo.wait_until_warm()
        before = {one["id"] for one in demo.told}
        demo.type("pump-1 spike vibration")
        incident = demo.incident("pump-1")
        told = time.time()
        card = page.locator(f"[data-incident='{incident['id']}']")
        expect(card).to_be_visible()
        if incident["id"] not in before:
            assert page.evaluate(f"window.seen['{incident['id']}']") / 1000.0 - told <= 2.0
        card.get_by_role("button", name="False alarm").click()
        page.locator("#given").fill(demo.token)
        page.get_by_role("button", name="Use it").click()
        expect(card.locator(".verdict")).to_have_text("false alarm")
    finally:
        page.close()  # before what it follows ends
        code = demo.end()
    assert code == 0
