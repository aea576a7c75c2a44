"""What stands between a browser and the daemon: whose requests are answered, how many, and what may be done with them.

A token travels in the Authorization header, never in a cookie, so that no other site's page can send it along. Knows
HTTP headers; not what is asked for.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from streamd import metrics
from streamd.config import ConfigError, Http, read_secret

log = logging.getLogger(__name__)

SHORTEST_TOKEN: Final = 16  # characters
RATE, BURST = 40.0, 200.0  # requests a second from one address, on the long run and at once
TRIES_RATE, TRIES = 0.2, 10.0  # wrong tokens from one address, alike
ADDRESSES: Final = 1000  # that are remembered
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Plotly puts its styles into the page by itself
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_LOCAL_NAMES = ("localhost", "localhost.")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Allowance:
    """So many events a second from each address, and some more at once. The longest unheard of are forgotten.

    >>> allowance = Allowance(rate=1.0, burst=2.0)
    >>> [allowance.spend("a", at) for at in (0.0, 0.0, 0.0, 1.0)]
    [True, True, False, True]
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address -> (what is left, when)

    def left(self, address: str, now: float) -> float:
        """How many events are left to an address; `now` in s, only ever goes on."""
        left, then = self._left.get(address, (self._burst, now))
        return min(left + self._rate * (now - then), self._burst)

    def spend(self, address: str, now: float) -> bool:
        """Count an event; false: there is none left."""
        left = self.left(address, now)
        allowed = left >= 1.0
        self._left[address] = left - allowed, now
        self._left.move_to_end(address)
        if len(self._left) > ADDRESSES:
            self._left.popitem(last=False)
        return allowed


class Guard:
    """Of one HTTP server.

    Args:
        settings: where it listens, and where the token is.

    Raises:
        ConfigError: the token can't be read, or is too short to be one.
    """

    def __init__(self, settings: Http) -> None:
        self._token = None if settings.token_file is None else read_secret(settings.token_file).encode()
        if self._token is not None and len(self._token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"http.token_file: {settings.token_file}: expected at least {SHORTEST_TOKEN} characters, "
                f"got {len(self._token)}; make one with: openssl rand -hex 24"
            )
        self._only_local = _is_local(settings.host)
        self._requests = Allowance(RATE, BURST)
        self._tries = Allowance(TRIES_RATE, TRIES)

    @property
    def writable(self) -> bool:
        """Whether anything may be changed over HTTP at all."""
        return self._token is not None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what no handler is to see."""
        if self._only_local and not _is_local(host_of(request.headers.get(hdrs.HOST, ""))):
            # a name that somebody else has pointed here, so that their page may read ours
            raise refused(web.HTTPForbidden, "host", "expected localhost, 127.0.0.1 or [::1] in the Host header")
        if not self._requests.spend(request.remote or "", time.monotonic()):
            raise refused(web.HTTPTooManyRequests, "rate", "too many requests", {hdrs.RETRY_AFTER: "5"})
        return await handler(request)

    def check_change(self, request: web.Request) -> None:
        """Whether a request may change something.

        Raises:
            HTTPException: it may not; the answer says why.
        """
        if request.content_type != "application/json":
            raise refused(web.HTTPUnsupportedMediaType, "content_type", "expected Content-Type: application/json")
        if not _same_origin(request):
            raise refused(web.HTTPForbidden, "origin", "the request comes from another site's page")
        if self._token is None:
            raise refused(web.HTTPForbidden, "read_only", "read-only: http.token_file in the config names no token")
        address, now = request.remote or "", time.monotonic()
        if self._tries.left(address, now) < 1.0:
            raise refused(web.HTTPTooManyRequests, "rate", "too many wrong tokens", {hdrs.RETRY_AFTER: "60"})
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            if given:
                self._tries.spend(address, now)
                log.warning("action=wrong_token address=%s", address)
            raise refused(web.HTTPUnauthorized, "token", "wrong token or none", {hdrs.WWW_AUTHENTICATE: "Bearer"})


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """What every answer tells the browser."""
    response.headers["Server"] = "streamd"  # aiohttp's own would tell its version and Python's
    response.headers.update(HEADERS)


def refused(
    kind: type[web.HTTPException], reason: str, text: str, headers: dict[str, str] | None = None
) -> web.HTTPException:
    """An answer that refuses a request, which is counted."""
    metrics.page_refused.labels(reason).inc()
    return kind(text=f"{text}\n", headers=headers)


def host_of(header: str) -> str:
    """The name or address in a Host header.

    >>> host_of("[::1]:9108"), host_of("Localhost:80"), host_of("[")
    ('::1', 'localhost', '')
    """
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _is_local(host: str) -> bool:
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _same_origin(request: web.Request) -> bool:
    """Whether it comes from our own page, or from no page at all."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:  # the browser knows best, also behind a proxy that changes the Host
        return site == "same-origin"
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is None or (bool(request.host) and urlsplit(origin).netloc.lower() == request.host.lower())
