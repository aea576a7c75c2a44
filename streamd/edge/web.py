"""A small HTTP server: metrics, liveness, readiness, and the page.

Knows aiohttp and the metrics registry; does not know why the daemon is not ready, it asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client.exposition import choose_encoder

from streamd import metrics
from streamd.config import Http
from streamd.edge.guard import Guard, add_headers
from streamd.edge.site import LONGEST_BODY, Desk, Site

log = logging.getLogger(__name__)
requests_log = logging.getLogger(f"{__name__}.requests")
requests_log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))


class WebError(Exception):
    """The address can't be listened on; the text names it and the reason."""


class Web:
    """Serves `/metrics`, `/livez`, `/readyz` and the page; in and out by `async with` or `start` and `stop`.

    `readiness` gives the reasons why the daemon is not ready, none when it is; it is asked on the event loop
    for every request to `/readyz`. `desk` answers the page's questions.

    Raises:
        ConfigError: there is something wrong with the token.
    """

    def __init__(self, settings: Http, readiness: Callable[[], Sequence[str]], desk: Desk) -> None:
        self._settings = settings
        self._readiness = readiness
        self._guard = Guard(settings)
        self._site = Site(desk, self._guard)
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port in use, also where the settings left the choice to the system."""
        if self._runner is None:
            raise RuntimeError("not started")
        port: int = self._runner.addresses[0][1]
        return port

    async def start(self) -> None:
        """Listens and answers from now on.

        Raises:
            WebError: the port is in use, or the address is not ours.
        """
        app = web.Application(client_max_size=LONGEST_BODY, middlewares=[self._guard.middleware])
        app.on_response_prepare.append(add_headers)
        self._site.add_to(app)
        app.router.add_get("/metrics", _metrics)
        app.router.add_get("/livez", _livez)
        app.router.add_get("/readyz", self._readyz)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=requests_log,  # our own errors; what a client does wrong is told to the client
            keepalive_timeout=75.0,  # longer than the usual scrape interval of 60 s
            lingering_time=1.0,
            shutdown_timeout=1.0,  # a scraper's idle connection must not hold up the stop
        )
        await runner.setup()
        host, port = self._settings.host, self._settings.port
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise WebError(f"http: can't listen on {host}:{port}: {error.strerror or error}") from error
        self._runner = runner
        log.info("http listens on %s:%s", host, self.port)

    async def stop(self) -> None:
        """Closes the port and the connections; a request in flight has a second to end."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = list(self._readiness())
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)


async def _livez(_: web.Request) -> web.Response:
    """That this is answered at all says that the event loop turns."""
    return web.Response(text="ok\n")


async def _metrics(request: web.Request) -> web.Response:
    try:
        encode, content_type = choose_encoder(",".join(request.headers.getall("Accept", [])))
    except TypeError:  # what the library does with a version like "x"
        encode, content_type = choose_encoder("")
    return web.Response(body=encode(metrics.registry), headers={"Content-Type": content_type})
