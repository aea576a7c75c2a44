"""The other end of NOTIFY_SOCKET: what a service manager would hear."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path


class Ear:
    """A socket that datagrams come to, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def hear(self, limit_s: float) -> str:
        """The next datagram.

        Raises:
            TimeoutError: none comes.
        """
        self._socket.settimeout(limit_s)
        return self._socket.recv(4096).decode()

    def wait_for(self, start: str, limit_s: float) -> str:
        """The next datagram that starts so; those before it are forgotten.

        Raises:
            TimeoutError: none comes.
        """
        until = time.monotonic() + limit_s
        while not (heard := self.hear(max(until - time.monotonic(), 0.001))).startswith(start):
            pass
        return heard

    def all_within(self, seconds: float) -> list[str]:
        """Whatever comes in so long a time."""
        heard = []
        until = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while (left := until - time.monotonic()) > 0:
                heard.append(self.hear(left))
        return heard

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def ear(path: Path) -> Iterator[Ear]:
    one = Ear(path)
    try:
        yield one
    finally:
        one.close()
