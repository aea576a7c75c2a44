import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from streamd import metrics
from streamd.config import ConfigError, Http
from streamd.edge import guard
from streamd.edge.guard import ADDRESSES, Allowance, Guard, add_headers, host_of

TOKEN = "a token of some length"
JSON = {"Content-Type": "application/json"}
RIGHT = JSON | {"Authorization": f"Bearer {TOKEN}"}


def settings(folder: Path, token: str | None = TOKEN, host: str = "127.0.0.1") -> Http:
    if token is None:
        return Http(host=host)
    (folder / "token").write_text(f"{token}\n")
    return Http(host=host, token_file=str(folder / "token"))


def refused(reason: str) -> float:
    return metrics.registry.get_sample_value("streamd_page_refused_total", {"reason": reason}) or 0.0


def ask(http: Http, *requests: tuple[str, dict[str, str]]) -> list[tuple[int, str]]:
    """Status and text of each answer; GET is let through, POST is a change."""

    async def main() -> list[tuple[int, str]]:
        made = Guard(http)

        async def read(_: web.Request) -> web.Response:
            return web.Response(text="read")

        async def change(request: web.Request) -> web.Response:
            made.check_change(request)
            return web.Response(text="changed")

        app = web.Application(middlewares=[made.middleware])
        app.on_response_prepare.append(add_headers)
        app.router.add_get("/", read)
        app.router.add_post("/", change)
        found = []
        async with TestClient(TestServer(app)) as client:
            for method, headers in requests:
                async with client.request(
                    method, "/", headers=headers, data=b"{}" if method == "POST" else None
                ) as one:
                    found.append((one.status, await one.text()))
        return found

    return asyncio.run(asyncio.wait_for(main(), 30))


def one(http: Http, method: str, headers: dict[str, str]) -> tuple[int, str]:
    (answer,) = ask(http, (method, headers))
    return answer


def test_the_right_token_changes_something(tmp_path):
    assert one(settings(tmp_path), "POST", RIGHT) == (200, "changed")
    assert one(settings(tmp_path), "POST", JSON | {"Authorization": f"bearer  {TOKEN}"}) == (200, "changed")


@pytest.mark.parametrize(
    "given",
    [None, "", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer é"],
)
def test_a_wrong_token_or_none_changes_nothing(tmp_path, given):
    before = refused("token")
    headers = JSON if given is None else JSON | {"Authorization": given}
    status, text = one(settings(tmp_path), "POST", headers)
    assert status == 401
    assert TOKEN not in text
    assert refused("token") == before + 1


def test_without_a_token_in_the_config_nothing_can_be_changed(tmp_path):
    status, text = one(settings(tmp_path, None), "POST", RIGHT)
    assert status == 403
    assert text.startswith("read-only")
    assert not Guard(settings(tmp_path, None)).writable
    assert one(settings(tmp_path, None), "GET", {}) == (200, "read")


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "text/json", ""]
)
def test_what_another_sites_form_can_send_changes_nothing(tmp_path, kind):
    assert one(settings(tmp_path), "POST", RIGHT | {"Content-Type": kind})[0] == 415


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        (
            {"Host": "localhost:1", "Origin": "https://plant.example", "Sec-Fetch-Site": "same-origin"},
            200,
        ),  # by a proxy
        ({}, 200),
    ],
)
def test_only_our_own_page_or_no_page_changes_anything(tmp_path, headers, status):
    assert one(settings(tmp_path), "POST", RIGHT | headers)[0] == status


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9108", "127.0.0.1.evil.example", "localhost.evil.example", "["]
)
def test_a_name_that_was_pointed_at_the_loopback_gets_no_answer(tmp_path, host):
    before = refused("host")
    assert one(settings(tmp_path), "GET", {"Host": host})[0] == 403
    assert refused("host") == before + 1


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9108", "127.0.0.1:9108", "127.9.9.9", "[::1]:9108"])
def test_names_of_the_loopback_are_answered(tmp_path, host):
    assert one(settings(tmp_path), "GET", {"Host": host}) == (200, "read")


def test_bound_to_the_network_any_name_is_answered(tmp_path):
    assert one(settings(tmp_path, host="0.0.0.0"), "GET", {"Host": "plant.example"}) == (200, "read")


def test_wrong_tokens_are_tried_only_so_often_and_then_the_right_one_waits_too(tmp_path, caplog):
    wrong = JSON | {"Authorization": "Bearer guess"}
    answers = ask(settings(tmp_path), *[("POST", wrong)] * 12, ("POST", RIGHT), ("GET", {}))
    assert [status for status, _ in answers] == [401] * 10 + [429] * 3 + [200]
    assert caplog.text.count("action=wrong_token address=127.0.0.1") == 10
    assert "guess" not in caplog.text


def test_one_address_gets_no_more_than_its_share_of_answers(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guard, "BURST", 5.0)
    monkeypatch.setattr(guard, "RATE", 1e-6)
    before = refused("rate")
    answers = ask(settings(tmp_path), *[("GET", {})] * 7)
    assert [status for status, _ in answers] == [200] * 5 + [429] * 2
    assert refused("rate") == before + 2


def test_an_allowance_comes_back_with_time_up_to_its_burst():
    allowance = Allowance(rate=2.0, burst=3.0)
    assert [allowance.spend("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert allowance.spend("b", 0.0)
    assert allowance.spend("a", 0.6)
    assert not allowance.spend("a", 0.7)
    assert allowance.left("a", 100.0) == 3.0


def test_only_so_many_addresses_are_remembered():
    allowance = Allowance(rate=1.0, burst=1.0)
    for number in range(3 * ADDRESSES):
        allowance.spend(str(number), 0.0)
    assert len(allowance._left) == ADDRESSES


@pytest.mark.parametrize("token", ["short", "x" * 15])
def test_a_token_that_can_be_guessed_is_refused_at_the_start(tmp_path, token):
    with pytest.raises(ConfigError, match=r"http\.token_file: .*expected at least 16 characters, got \d+; make one"):
        Guard(settings(tmp_path, token))


def test_a_token_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="nowhere: can't be read"):
        Guard(Http(token_file=str(tmp_path / "nowhere")))


def test_every_answer_tells_the_browser_what_it_must_not_do(tmp_path):
    seen: list[Any] = []

    async def main() -> None:
        app = web.Application(middlewares=[Guard(settings(tmp_path)).middleware])
        app.on_response_prepare.append(add_headers)
        async with TestClient(TestServer(app)) as client, client.get("/nothing") as response:
            seen.append(response.headers)

    asyncio.run(asyncio.wait_for(main(), 30))
    (headers,) = seen
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["Server"] == "streamd"


def test_the_host_is_read_from_whatever_a_header_holds():
    found = [host_of(header) for header in ("a.b:1", "[::1]", "", ":", "a@b:1", "[", "x" * 5000)]
    assert found == ["a.b", "::1", "", "", "b", "", "x" * 5000]
