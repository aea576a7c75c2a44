"""Daemons for crash tests, started within milliseconds, and how each of them ended.

Knows processes and what they say; the forking is done by `launcher`, in a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from tests.crash.faults import TOLD, Fault
from tests.crash.launcher import READY, Start, Wait

LIMIT_S = 180.0
ROOT = Path(__file__).parent.parent.parent


class Child:
    """One daemon: alive until `ended` is set.

    Args:
        pid: of the process.
        errors: its standard error, to read from.
        ask: for its exit code, when it has ended.
        on_end: is called then, from another thread.
    """

    def __init__(self, pid: int, errors: int, ask: Callable[[], int], on_end: Callable[[], None]) -> None:
        self.pid = pid
        self.lines: list[str] = []
        self.ended = threading.Event()
        self._ask = ask
        self._on_end = on_end
        self._said = threading.Condition()
        self._code: int | None = None
        self._reader = threading.Thread(target=self._read, args=(errors,), daemon=True)
        self._reader.start()

    def find(self, text: str) -> str | None:
        """The first line so far that holds the text."""
        return next((line for line in list(self.lines) if text in line), None)

    def wait_for(self, text: str) -> str | None:
        """The first line that holds the text; None if it ended without."""
        with self._said:
            heard = self._said.wait_for(lambda: self.find(text) or self.ended.is_set(), LIMIT_S)
        assert heard, f"no {text!r} in:\n{self.log}"
        return self.find(text)

    def wait_until_ready(self) -> None:
        """Until the broker has granted it all subscriptions, so that it misses nothing published from now on."""
        started = self.wait_for("action=started")
        assert started is not None, self.log
        url = f"http://127.0.0.1:{started.partition('http_port=')[2].split()[0]}/readyz"
        for _ in range(2000):  # each question takes a few milliseconds
            with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=LIMIT_S):
                return
        raise AssertionError(f"not ready:\n{self.log}")

    @property
    def struck(self) -> bool:
        """Whether its fault's call has come."""
        return self.find(TOLD) is not None

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def send(self, number: signal.Signals) -> None:
        """A signal, if it is still there: nobody has asked for its exit code, so its number can't be another's."""
        if self._code is None:
            os.kill(self.pid, number)

    def join(self) -> int:
        """Its exit code, when it has ended; minus the number of the signal that ended it."""
        assert self.ended.wait(LIMIT_S), f"process {self.pid} does not end:\n{self.log}"
        self._reader.join()
        if self._code is None:
            self._code = self._ask()
        return self._code

    def _read(self, errors: int) -> None:
        with os.fdopen(errors, errors="replace") as file:
            for line in file:
                with self._said:
                    self.lines.append(line)
                    self._said.notify_all()
        self.ended.set()
        with self._said:
            self._said.notify_all()
        self._on_end()


class Nursery:
    """Starts daemons; a context manager that leaves none behind."""

    def __enter__(self) -> Self:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.launcher"],
                stdin=theirs.fileno(),
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        assert self._control.recv(100) == READY
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.wait(LIMIT_S)

    def start(
        self,
        config: Path,
        fault: Fault | None = None,
        audit: Path | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> Child:
        """A daemon with a config file that may be told to die, and to write down what it commits."""
        reader, writer = os.pipe()
        request = Start(str(config), fault, None if audit is None else str(audit))
        pid = self._request(request, [writer])
        os.close(writer)
        return Child(pid, reader, lambda: self._request(Wait(pid), []), on_end)

    def _request(self, request: Start | Wait, descriptors: list[int]) -> int:
        with self._lock:
            socket.send_fds(self._control, [msgspec.json.encode(request)], descriptors)
            return int(self._control.recv(100))
