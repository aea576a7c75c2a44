import asyncio
import json
import logging
import shutil
import socket
import subprocess
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientSession
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from streamd import metrics
from streamd.config import Http
from streamd.edge.web import Web, WebError
from tests.edge.desk import Echo


def serve(use: Callable[[ClientSession], Awaitable[None]], reasons: list[str] | None = None) -> None:
    """Runs `use` with a client of a server on a free port."""

    async def main() -> None:
        async with (
            Web(Http(port=0), lambda: reasons or [], Echo()) as web,
            ClientSession(f"http://127.0.0.1:{web.port}") as client,
        ):
            await use(client)

    asyncio.run(main())


def sample_everything() -> None:
    """Gives every metric a value with labels."""
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            child = metric.labels(*("x" for _ in metric._labelnames)) if metric._labelnames else metric
            child.observe(0.1) if hasattr(child, "observe") else child.inc()


def test_it_is_alive_while_the_event_loop_turns():
    async def use(client):
        async with client.get("/livez") as response:
            assert (response.status, await response.text()) == (200, "ok\n")

    serve(use, reasons=["broker is away"])


def test_it_is_ready_without_a_reason_against_it():
    async def use(client):
        async with client.get("/readyz") as response:
            assert response.status == 200
            assert await response.json() == {"ready": True, "reasons": []}

    serve(use)


def test_it_is_not_ready_and_says_why():
    reasons = ["broker is away"]

    async def use(client):
        async with client.get("/readyz") as response:
            assert response.status == 503
            assert await response.json() == {"ready": False, "reasons": ["broker is away"]}
        reasons.clear()
        async with client.get("/readyz") as response:
            assert response.status == 200

    serve(use, reasons)


def test_the_index_names_the_pages():
    async def use(client):
        async with client.get("/") as response:
            assert response.content_type == "text/html"
            text = await response.text()
            for page in ("/metrics", "/livez", "/readyz"):
                assert f'href="{page}"' in text
                async with client.get(page) as linked:
                    assert linked.status == 200

    serve(use)


def test_what_is_not_there_is_refused():
    async def use(client):
        async with client.get("/other") as response:
            assert response.status == 404
        for page in ("/", "/metrics", "/livez", "/readyz"):
            async with client.post(page, data=b"x") as response:
                assert response.status == 405
            async with client.head(page) as response:
                assert response.status == 200

    serve(use)


def test_no_answer_tells_a_version_of_the_server():
    async def use(client):
        for page in ("/", "/metrics", "/livez", "/readyz", "/other"):
            async with client.get(page) as response:
                assert response.headers.getall("Server") == ["streamd"]

    serve(use)


def test_metrics_are_in_the_format_that_is_asked_for():
    async def use(client):
        async with client.get("/metrics") as response:
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert "streamd_messages_total " in await response.text()
        accept = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        async with client.get("/metrics", headers={"Accept": accept}) as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            families = {family.name for family in text_string_to_metric_families(await response.text())}
            assert "streamd_messages" in families

    serve(use)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        ",;=,",
        "application/openmetrics-text;version=x",
        "text/plain;version=1.x.y;escaping=no",
        "*/*",
        "é",
        "a" * 8000,
    ],
)
def test_an_odd_accept_header_gets_metrics_all_the_same(accept):
    async def use(client):
        async with client.get("/metrics", headers={"Accept": accept}) as response:
            assert response.status == 200
            assert "streamd_messages_total" in await response.text()

    serve(use)


def test_promtool_finds_nothing_to_say_against_the_metrics():
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is missing: apt install prometheus"
    sample_everything()
    texts = []

    async def use(client):
        async with client.get("/metrics") as response:
            texts.append(await response.read())

    serve(use)
    (text,) = texts
    assert text.count(b'="x"') > 20
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_requests_leave_no_line_in_the_log(caplog):
    caplog.set_level(logging.DEBUG, "aiohttp.access")

    async def use(client):
        async with client.get("/livez") as response:
            assert response.status == 200

    serve(use)
    assert not [entry for entry in caplog.records if entry.name.startswith("aiohttp")]


@pytest.mark.parametrize("request_line", [b"garbage", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", b"\x16\x03\x01\x00"])
def test_what_is_not_http_is_refused_without_a_line_in_the_log(caplog, request_line):
    async def main() -> None:
        async with Web(Http(port=0), list, Echo()) as web:
            reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
            writer.write(request_line + b"\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 30)
            assert answer.startswith(b"HTTP/1.0 400")
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())
    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]


def test_an_error_of_ours_is_answered_with_500_and_logged(caplog):
    def broken() -> list[str]:
        raise ZeroDivisionError

    async def main() -> None:
        async with (
            Web(Http(port=0), broken, Echo()) as web,
            ClientSession(f"http://127.0.0.1:{web.port}") as client,
            client.get("/readyz") as response,
        ):
            assert response.status == 500
            assert "ZeroDivision" not in await response.text()

    asyncio.run(main())
    assert "ZeroDivisionError" in caplog.text


def test_a_header_that_is_too_long_is_refused():
    async def use(client):
        async with client.get("/livez", headers={"X": "y" * 100_000}) as response:
            assert response.status == 400
        async with client.get("/livez") as response:
            assert response.status == 200

    serve(use)


def test_a_port_in_use_is_told_with_its_address():
    async def main() -> None:
        async with Web(Http(port=0), list, Echo()) as web:
            with pytest.raises(WebError, match=rf"can't listen on 127\.0\.0\.1:{web.port}: .*in use"):
                await Web(Http(port=web.port), list, Echo()).start()

    asyncio.run(main())


def test_an_address_that_is_not_ours_is_told():
    async def main() -> None:
        with pytest.raises(WebError, match=r"can't listen on 203\.0\.113\.7:0"):
            await Web(Http(host="203.0.113.7", port=0), list, Echo()).start()

    asyncio.run(main())


def test_it_listens_on_the_loopback_only_and_on_a_given_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def main() -> None:
        async with Web(Http(port=port), list, Echo()) as web:
            assert web.port == port
            assert [address[0] for address in web._runner.addresses] == ["127.0.0.1"]

    asyncio.run(main())


def test_after_the_stop_the_port_is_free_and_an_idle_connection_does_not_hold_it_up():
    async def main() -> None:
        web = Web(Http(port=0), list, Echo())
        await web.start()
        port = web.port
        async with ClientSession(f"http://127.0.0.1:{port}") as client:
            async with client.get("/readyz") as response:
                assert json.loads(await response.read())["ready"]
            await asyncio.wait_for(web.stop(), 30)
        await web.stop()
        with pytest.raises(RuntimeError, match="not started"):
            _ = web.port
        async with Web(Http(port=port), list, Echo()):
            pass

    asyncio.run(main())
