"""The page in a real browser, on a real daemon and a real broker: what it shows, what it may do; what it must not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.broker.mosquitto import Mosquitto, MosquittoMissingError
from tests.browser.chromium import LIMIT_MS, Window
from tests.browser.plant import GROUP, TOKEN, WARM, Plant

expect.set_options(timeout=LIMIT_MS)

Open = Callable[..., Window]
HOSTILE = (
    "<img src=x onerror=window.hacked=1>",
    "\"'><svg onload=window.hacked=2>",
    "javascript:window.hacked=3",
    "&lt;b&gt;%3Cscript%3E",
    "\u202egnirts \u200bd",
    "__proto__",
    "x" * 256,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """One for all tests that need nothing else, each with streams of its own; a daemon takes its time to start."""
    folder = tmp_path_factory.mktemp("shared")
    try:
        broker = Mosquitto(folder / "mosquitto", log_packets=False).start()
    except MosquittoMissingError as error:
        pytest.fail(str(error))
    training = "{ every_frames = 8, lag_frames = 2, burn_in_frames = 2, train_frames = 8, memory_windows = 16 }"
    plant = Plant(folder / "daemon", broker.port, training=training)
    plant.daemon.start()
    yield plant
    plant.end()
    broker.stop()


@pytest.fixture(scope="module")
def warm(shared: Plant) -> Plant:
    """The same, with a stream p1 whose score is calibrated and that is calm."""
    shared.speak("p1", WARM)
    return shared


@pytest.fixture
def plant(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> Iterator[Callable[..., Plant]]:
    plants: list[Plant] = []

    def start(**options: Any) -> Plant:
        plants.append(Plant(tmp_path / f"daemon-{len(plants)}", mosquitto(log_packets=False).port, **options))
        plants[-1].daemon.start()
        return plants[-1]

    yield start
    for one in plants:
        one.end()


def exact(page: Page, key: str, channel: str) -> float:
    text = page.locator(f"[data-key={key}][data-channel={channel}]").get_attribute("data-exact")
    assert text is not None
    return float(text)


def give_token(page: Page, token: str) -> None:
    page.locator("#given").fill(token)
    page.get_by_role("button", name="Use it").click()


def card(page: Page, incident: str) -> Any:
    return page.locator(f"[data-incident='{incident}']")


def test_the_numbers_are_those_told_over_mqtt_for_the_same_reading(shared: Plant, window: Open):
    world, page = shared, (first := window()).page
    world.speak("numbers", 40)
    page.goto(f"{world.address}#/stream/{GROUP}/numbers")
    facts = page.locator("#facts")
    expect(facts).to_have_attribute("data-seq", "39")
    for step in range(4):  # the first is from the rings, the others from the stream of events
        score = world.speak("numbers") if step else world.told("numbers", "score", 39) | {"values": {}}
        expect(facts).to_have_attribute("data-seq", str(score["seq"]))
        assert float(facts.get_attribute("data-score") or "nan") == score["score"]
        forecast = world.told("numbers", "forecast", score["seq"])
        for channel, band in forecast["channels"].items():
            assert exact(page, "part", channel) == score["channels"][channel]
            for key in ("mean", "lower", "upper"):
                # what waits to be judged is kept in single precision
                near = band[key][0] if step else pytest.approx(band[key][0], rel=1e-6)
                assert exact(page, key, channel) == near
        for channel, value in score["values"].items():
            assert exact(page, "value", channel) == value
            shown = page.locator(f"[data-key=value][data-channel={channel}]").inner_text()
            assert float(shown) == pytest.approx(value, rel=1e-4)
    page.goto(f"{world.address}#/streams")
    row = page.locator("[data-stream=numbers]")
    expect(row).to_have_attribute("data-seq", str(score["seq"]))
    assert float(row.get_attribute("data-score") or "nan") == pytest.approx(score["score"], rel=1e-5)
    assert row.locator(".score .number").inner_text() == f"{score['score']:.2f}"
    assert all(url.startswith(world.address) for url in first.asked)  # nothing comes from elsewhere


def test_an_incident_is_in_sight_two_seconds_after_it_was_told_over_mqtt_and_goes_over(warm: Plant, window: Open):
    world, page = warm, window().page
    page.goto(f"{world.address}#/incidents")
    expect(page.locator("#pulse")).to_have_class("pulse ok")
    incident, told = world.disturb()
    expect(card(page, incident)).to_have_class("card open")
    shown = page.evaluate(f"window.seen['{incident}']") / 1000.0
    assert shown - told <= 2.0
    expect(page.locator("#open")).to_have_text("1")
    world.calm()
    expect(card(page, incident)).to_have_class("card over")
    page.goto(f"{world.address}#/streams")
    expect(page.locator("[data-stream=p1] .badge")).to_have_text(re.compile("ok|uneasy"))


def test_a_verdict_takes_the_token_and_arrives_at_the_engine(warm: Plant, window: Open):
    world, page = warm, (first := window()).page
    incident, _ = world.disturb()
    world.calm()
    page.goto(f"{world.address}#/incidents")
    button = card(page, incident).get_by_role("button", name="False alarm")
    button.click()
    give_token(page, "a-wrong-token-of-some-length")
    expect(page.locator("#notice")).to_have_text("feedback: wrong token or none")
    assert world.bystander.command("taught")["taught"] == []
    assert [what for what in first.wrong if "401" not in what] == []
    first.wrong.clear()

    button.click()  # it asks anew
    give_token(page, TOKEN)
    expect(card(page, incident).locator(".verdict")).to_have_text("false alarm")
    (taught,) = world.bystander.command("taught")["taught"]
    assert (taught["incident"], taught["verdict"]) == (incident, "false")
    assert page.context.cookies() == []

    card(page, incident).get_by_role("button", name="Take back").click()
    expect(card(page, incident).locator(".verdict")).to_have_count(0)
    assert len(world.bystander.command("taught")["taught"]) == 0


def test_an_incident_is_explained_with_words_and_pictures(warm: Plant, window: Open):
    world, page = warm, window().page
    world.disturb()
    world.calm()
    incident, _ = world.disturb()
    world.calm()
    page.goto(f"{world.address}#/incident/{GROUP}/{incident}")
    expect(page.locator(".said li").first).to_contain_text("highest score")
    expect(page.locator(".chart .main-svg").first).to_be_visible()
    expect(page.get_by_role("cell", name="alike").first).to_be_visible()


def test_the_model_tells_of_its_training_and_of_what_the_memory_keeps(warm: Plant, window: Open):
    world, page = warm, window().page
    page.goto(f"{world.address}#/model/{GROUP}")
    expect(page.get_by_text("jobs since the start")).to_be_visible()
    jobs = page.locator(".tile", has_text="jobs since the start").locator("b")
    assert int(jobs.inner_text()) > 3
    expect(page.locator("input[aria-label=Stream]")).not_to_have_value("")
    expect(page.locator(".chart .heatmaplayer image")).to_have_count(1)
    page.get_by_role("button", name="Freeze").click()
    give_token(page, TOKEN)
    expect(page.get_by_role("button", name="Thaw")).to_be_visible()
    expect(page.locator(".tile", has_text="state").first.locator("b")).to_have_text("frozen")
    page.get_by_role("button", name="Thaw").click()
    expect(page.get_by_role("button", name="Freeze")).to_be_visible()


def test_without_a_token_in_the_config_it_only_shows_and_says_so(plant: Callable[..., Plant], window: Open):
    world, page = plant(token=False), window().page
    world.speak("p1", 3)
    page.goto(f"{world.address}#/stream/{GROUP}/p1")
    expect(page.locator("#token")).to_have_text("Read-only")
    page.get_by_role("button", name="Freeze").click()
    expect(page.locator("#notice")).to_contain_text("names no token_file")
    expect(page.locator("#ask")).not_to_be_visible()


def test_names_that_are_markup_are_text(plant: Callable[..., Plant], window: Open):
    world, page = plant(), window().page
    world.channels = ("<img src=x onerror=window.hacked=4>", "<a href='javascript:window.hacked=5'>b</a>")
    for name in HOSTILE:
        world.speak(name, 3)
    page.goto(f"{world.address}#/streams")
    expect(page.locator(".space .row:not([hidden])")).to_have_count(len(HOSTILE))
    assert {*page.locator(".space .row:not([hidden]) .stream").all_inner_texts()} == {*HOSTILE}
    for name in HOSTILE:
        page.goto(f"{world.address}#/streams")
        page.locator("#search").fill(name)
        expect(page.locator(".space .row:not([hidden])")).to_have_count(1)
        page.locator(".space .row:not([hidden])").click()
        expect(page.locator("h1 span").first).to_have_text(name)
        expect(page.locator(".chart .main-svg").first).to_be_visible()
        expect(page.locator(".channels button").first).to_have_text(world.channels[0])
        page.get_by_role("link", name="What the memory keeps").click()
        expect(page.locator(".chart .heatmaplayer image")).to_have_count(1)
    page.goto(f"{world.address}#/incident/{GROUP}/{'%3Cimg src=x onerror=window.hacked=6%3E'}")
    expect(page.get_by_text("no such incident in the archive")).to_be_visible()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img:not([src='/page/icon.svg'])").count() == 0
    assert page.locator("a[href^=javascript]").count() == 0


def test_the_keyboard_is_enough(shared: Plant, window: Open):
    world, page = shared, window().page
    for name in ("key 1", "key 2", "other"):
        world.speak(name, 3)
    page.goto(f"{world.address}#/streams")
    rows = page.locator(".space .row:not([hidden])")
    expect(page.locator("[data-stream=other]")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("KEY")
    expect(rows).to_have_count(2)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".row[aria-selected=true]")).to_have_attribute("data-stream", "key 2")
    page.keyboard.press("Enter")
    expect(page.locator("h1 span").first).to_have_text("key 2")
    selected = page.locator(".channels tr[aria-selected=true]")
    before = selected.inner_text()
    page.keyboard.press("ArrowDown")
    expect(selected).not_to_have_text(before)
    page.keyboard.press("Escape")
    expect(page.locator("[data-stream=other]")).to_be_visible()


def test_dark_follows_the_system_and_the_switch(shared: Plant, window: Open):
    world, page = shared, window(color_scheme="dark").page
    page.goto(f"{world.address}#/streams")
    back = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(back) == "rgb(15, 20, 26)"
    page.locator("#theme").click()
    assert page.evaluate(back) == "rgb(246, 247, 249)"
    page.reload()
    expect(page.locator("#theme")).to_have_text("Light")
    assert page.evaluate(back) == "rgb(246, 247, 249)"


def test_no_view_is_wider_than_a_phone(warm: Plant, window: Open):
    world, page = warm, window(viewport={"width": 360, "height": 700}).page
    incident, _ = world.disturb()
    world.calm()
    for view in ("streams", f"stream/{GROUP}/p1", "incidents", f"incident/{GROUP}/{incident}", "model", "health"):
        page.goto(f"{world.address}#/{view}")
        expect(page.locator("#pulse")).to_have_class("pulse ok")
        if view.startswith(("stream/", "incident/", "model")):
            expect(page.locator(".chart .main-svg").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view


def test_a_daemon_that_comes_back_is_followed_again(plant: Callable[..., Plant], window: Open):
    world, page = plant(), (first := window()).page
    world.speak("p1", 3)
    page.goto(f"{world.address}#/streams")
    expect(page.locator("[data-stream=p1]")).to_have_attribute("data-seq", "2")
    port = world.daemon.http_port
    assert world.daemon.stop() == 0
    expect(page.locator("#pulse")).to_have_text("no connection to the daemon")
    config = world.daemon.config.read_text()
    world.daemon.config.write_text(config.replace("port = 0", f"port = {port}"))
    world.daemon.start()
    world.speak("p1", 1)
    expect(page.locator("[data-stream=p1]")).to_have_attribute("data-seq", "3")
    assert [what for what in first.wrong if "net::ERR" not in what] == []
    first.wrong.clear()
