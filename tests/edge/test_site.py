import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from streamd.config import Http
from streamd.edge import site
from streamd.edge.guard import Guard, add_headers
from streamd.edge.site import LONGEST, LONGEST_BODY, MOST_LIVE, Site
from tests.edge.desk import Echo

TOKEN = "a token of some length"
ORDER = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}

Client = TestClient[web.Request, web.Application]


def serve(folder: Path, use: Callable[[Client, Echo], Awaitable[None]]) -> None:
    """The site alone, with a desk that echoes."""
    (folder / "token").write_text(TOKEN)

    async def main() -> None:
        desk, guard = Echo(), Guard(Http(token_file=str(folder / "token")))
        app = web.Application(client_max_size=LONGEST_BODY, middlewares=[guard.middleware])
        app.on_response_prepare.append(add_headers)
        Site(desk, guard).add_to(app)
        async with TestClient(TestServer(app)) as client:
            await use(client, desk)

    asyncio.run(asyncio.wait_for(main(), 60))


async def events(response: object, count: int) -> list[tuple[str, str]]:
    """The next so many events."""
    found: list[tuple[str, str]] = []
    name = ""
    while len(found) < count:
        line = (await response.content.readline()).decode().rstrip("\n")  # type: ignore[attr-defined]
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, line.removeprefix("data: ")))
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Let the server have its turns."""
    while not condition():  # noqa: ASYNC110  # nothing tells when it has noticed
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("about", ["about"]),
        ("incidents", ["incidents"]),
        ("incident?group=g&id=s-1", ["incident", "g", "s-1"]),
        ("stream?group=g&stream=%3Cb%3E%20%E2%82%AC", ["stream", "g", "<b> €"]),
        ("model?group=g", ["model", "g"]),
        ("memory?group=g&stream=s&layer=1", ["memory", "g", "s", 1]),
        ("health", ["health"]),
        ("rights", {"writable": True, "charts": True}),
    ],
)
def test_each_question_is_answered_as_json_that_nobody_keeps(tmp_path, path, answer):
    async def use(client: Client, _: Echo) -> None:
        async with client.get(f"/api/{path}") as response:
            assert response.content_type == "application/json"
            assert await response.json() == answer
            if not path.startswith("rights"):
                assert response.headers["Cache-Control"] == "no-store"

    serve(tmp_path, use)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("model", 400),
        ("model?group=", 400),
        (f"model?group={'x' * (LONGEST + 1)}", 400),
        ("memory?group=g&stream=s&layer=x", 400),
        ("memory?group=g&stream=s&layer=-1", 400),
        ("memory?group=g&stream=s&layer=%C2%B2", 400),
        ("live", 400),
        ("live?view=stream&group=g", 400),
        ("live?view=stream&group=g&stream=nobody", 404),
        ("stream?group=g&stream=nobody", 404),
        ("other", 404),
        ("command/freeze", 405),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(tmp_path, path, status):
    async def use(client: Client, desk: Echo) -> None:
        async with client.get(f"/api/{path}") as response:
            assert response.status == status
        assert desk.following == []

    serve(tmp_path, use)


def test_what_can_not_be_answered_yet_is_said_with_503(tmp_path):
    async def use(client: Client, desk: Echo) -> None:
        desk.away = True
        async with client.get("/api/model?group=g") as response:
            assert (response.status, await response.text()) == (503, "recovering\n")

    serve(tmp_path, use)


@pytest.mark.parametrize(
    "name", ["..%2fweb.py", "%2e%2e/web.py", "..%5cweb.py", "index.html%00", "/etc/passwd", "page", "", "main.js/"]
)
def test_no_path_reaches_a_file_that_is_not_in_the_table(tmp_path, name):
    async def use(client: Client, _: Echo) -> None:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(f"GET /page/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        assert answer.split(b" ")[1] in (b"404", b"400")
        writer.close()
        await writer.wait_closed()

    serve(tmp_path, use)


def test_the_page_and_its_files_are_served(tmp_path):
    async def use(client: Client, _: Echo) -> None:
        for path, kind in (("/", "text/html"), ("/page/main.js", "text/javascript"), ("/page/page.css", "text/css")):
            async with client.get(path) as response:
                assert (response.status, response.content_type) == (200, kind)
                mark = response.headers["Etag"]
            async with client.get(path, headers={"If-None-Match": mark}) as response:
                assert response.status == 304

    serve(tmp_path, use)


def test_a_command_gets_to_the_desk_with_the_token_only(tmp_path):
    async def use(client: Client, desk: Echo) -> None:
        async with client.post("/api/command/freeze", json={"group": "g"}) as response:
            assert response.status == 401
        assert desk.commands == []
        async with client.post("/api/command/freeze", data=b'{"group": "g"}', headers=ORDER) as response:
            assert (response.status, await response.json()) == (200, ["freeze"])
        assert desk.commands == [("freeze", b'{"group": "g"}')]
        async with client.post("/api/command/refuse", data=b"{}", headers=ORDER) as response:
            assert response.status == 422

    serve(tmp_path, use)


def test_a_body_that_is_too_large_is_refused_also_where_it_does_not_say_its_size(tmp_path):
    async def pieces():
        for _ in range(LONGEST_BODY):
            yield b"xx"

    async def use(client: Client, desk: Echo) -> None:
        for body in (b"x" * (LONGEST_BODY + 1), pieces()):
            async with client.post("/api/command/freeze", data=body, headers=ORDER) as response:
                assert response.status == 413
        assert desk.commands == []

    serve(tmp_path, use)


def test_a_browser_that_follows_gets_the_table_and_then_what_is_new(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(site, "TICK_S", 0.01)

    async def use(client: Client, _: Echo) -> None:
        async with client.get("/api/live?view=streams&search=p") as response:
            assert response.content_type == "text/event-stream"
            found = await events(response, 6)
            assert found == [("pulse", '{"pulse": true}'), ("streams", '[0, "p"]')] + [
                one for n in (1, 2) for one in (("pulse", '{"pulse": true}'), ("streams", f'[{n}, "p"]'))
            ]

    serve(tmp_path, use)


def test_a_browser_that_looks_at_a_stream_gets_it_and_each_event_at_once(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(site, "TICK_S", 3600.0)

    async def use(client: Client, desk: Echo) -> None:
        async with client.get("/api/live?view=stream&group=g&stream=s") as response:
            assert await events(response, 2) == [("stream", '["stream", "g", "s"]'), ("pulse", '{"pulse": true}')]
            ((mailbox, group, stream),) = desk.following
            assert (group, stream) == ("g", "s")
            mailbox.put("frame", b"1")
            mailbox.put("incident", b"2")
            assert await events(response, 2) == [("frame", "1"), ("incident", "2")]

    serve(tmp_path, use)


def test_while_the_state_is_recovered_a_browser_that_follows_hears_why_and_then_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "TICK_S", 0.01)

    async def use(client: Client, desk: Echo) -> None:
        desk.away = True
        async with client.get("/api/live?view=streams") as response:
            assert [name for name, _ in await events(response, 3)] == ["pulse"] * 3
            desk.away = False
            found = await events(response, 20)
            assert next(data for name, data in found if name == "streams") == '[0, ""]'

    serve(tmp_path, use)


def test_only_so_many_browsers_follow_and_one_that_leaves_makes_room(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(site, "TICK_S", 0.01)

    async def use(client: Client, desk: Echo) -> None:
        url = client.make_url("/api/live?view=health")
        async with ClientSession() as many:
            following = [await many.get(url) for _ in range(MOST_LIVE)]
            async with client.get("/api/live?view=health") as response:
                assert response.status == 503
            following[0].close()
            await until(lambda: len(desk.following) < MOST_LIVE)
            async with client.get("/api/live?view=health") as response:
                assert response.status == 200
            for one in following:
                one.close()

    serve(tmp_path, use)


def test_a_browser_that_takes_nothing_is_let_go(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(site, "STUCK_S", 0.1)

    async def use(client: Client, desk: Echo) -> None:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET /api/live?view=health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"pulse")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        (followed,) = [mailbox for mailbox, *_ in desk.following]
        while desk.following:
            followed.put("frame", b"x" * 1_000_000)
            await asyncio.sleep(0)
        assert not writer.transport.is_closing(), "by the server, not by us"
        writer.close()

    serve(tmp_path, use)


def test_the_end_of_the_server_lets_everybody_go_at_once(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(site, "TICK_S", 3600.0)

    async def use(client: Client, desk: Echo) -> None:
        async with client.get("/api/live?view=health") as response:
            await events(response, 1)
            begun = asyncio.get_running_loop().time()
            await client.server.close()
            assert await response.content.read() == b"\n"
            assert asyncio.get_running_loop().time() - begun < 30.0  # aiohttp waits a minute for a handler
        assert desk.following == []

    serve(tmp_path, use)
