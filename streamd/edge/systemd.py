"""Tells the service manager how it goes: ready, a line of status, stopping, and a watchdog fed only while work goes on.

Knows the datagrams of sd_notify(3); does not know what the work is, it looks whether it turns.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

log = logging.getLogger("streamd.systemd")

STATUS_S = 10.0  # between two looks where there is no watchdog


class Work(Protocol):
    """Something that comes round again and again while it is well."""

    @property
    def turns(self) -> int:
        """How often it came round."""

    def nudge(self) -> None:
        """Have it come round soon, also where there is nothing to do."""


class ServiceManager:
    """The one that started us, if one did; without one nothing is sent.

    Args:
        environment: holds `NOTIFY_SOCKET`, and `WATCHDOG_USEC` and `WATCHDOG_PID` where the unit has a watchdog.
        pid: ours; a watchdog that is another process's is not fed.
    """

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = _watchdog_s(environment, pid) if self._address is not None else None
        self._told = ""
        self._failed = False

    def status(self, text: str) -> None:
        """Say how it goes, in one line, if that is news."""
        if text != self._told:
            self._told = text
            self._send("STATUS=" + " ".join(text.split()))

    def reloading(self) -> None:
        """Say that the config is being read anew; `reloaded` has to follow."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Say that it is done, whatever came of it."""
        self._send("READY=1")

    async def run(self, stop: asyncio.Event, work: Sequence[Work], describe: Callable[[], str]) -> None:
        """Say that we are ready, then at each half of the watchdog's time how it goes, until `stop`.

        The watchdog is fed where all the work came round since the last look. So it hears nothing when the event loop
        is held up, and nothing when a part of the work waits for what does not come while the loop turns.

        Args:
            describe: gives the line of status.
        """
        self._send("READY=1")
        interval_s = STATUS_S if self._watchdog_s is None else self._watchdog_s / 2
        while not stop.is_set():
            self.status(describe())
            before = [one.turns for one in work]
            for one in work:
                one.nudge()
            try:
                async with asyncio.timeout(interval_s):
                    await stop.wait()
            except TimeoutError:
                still = sum(one.turns == turns for one, turns in zip(work, before, strict=True))
                if still:
                    log.warning("action=stuck workers=%d seconds=%.1f", still, interval_s)
                elif self._watchdog_s is not None:
                    self._send("WATCHDOG=1")
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(text.encode(), self._address)
        except OSError as error:  # the manager is away or its queue is full: it will ask by its own means
            if not self._failed:
                log.warning("action=notify_failed error=%r", error.strerror or str(error))
            self._failed = True
        else:
            self._failed = False


def _address(path: str) -> str | None:
    if not path:
        return None
    if path[0] not in "/@":
        log.warning("action=notify_off socket=%r reason='neither a path nor abstract'", path)
        return None
    return "\0" + path[1:] if path[0] == "@" else path


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and int(text) else None
