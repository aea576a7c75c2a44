from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamd.edge.systemd import ServiceManager
from tests.deploy.notify import ear

LIMIT_S = 20.0  # only a broken test waits so long
WATCHDOG_S = 0.1


class Work:
    """Turns when it is nudged, unless it is stuck."""

    def __init__(self, stuck: bool = False) -> None:
        self.turns = 0
        self.stuck = stuck

    def nudge(self) -> None:
        self.turns += not self.stuck


def environment(path: Path, watchdog_s: float | None = WATCHDOG_S, **more: str) -> dict[str, str]:
    watchdog = {} if watchdog_s is None else {"WATCHDOG_USEC": str(int(watchdog_s * 1e6))}
    return {"NOTIFY_SOCKET": str(path), **watchdog, **more}


def run(
    manager: ServiceManager,
    work: list[Work],
    during: Callable[[], object],
    describe: Callable[[], str] = lambda: "well",
) -> None:
    """The manager at work while something is done on another thread."""

    async def body() -> None:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(manager.run(stop, work, describe))
            await asyncio.to_thread(during)
            stop.set()

    asyncio.run(asyncio.wait_for(body(), LIMIT_S))


def test_it_says_ready_how_it_goes_feeds_the_watchdog_and_says_that_it_stops(tmp_path: Path) -> None:
    with ear(tmp_path / "notify") as heard:
        said: list[str] = []

        def listen() -> None:
            said.extend(heard.hear(LIMIT_S) for _ in range(5))

        run(ServiceManager(environment(heard.path), os.getpid()), [Work(), Work()], listen)
        assert said == ["READY=1", "STATUS=well", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]
        assert heard.wait_for("STOPPING", LIMIT_S) == "STOPPING=1"


def test_the_watchdog_hears_nothing_while_one_of_the_workers_is_stuck_and_again_when_it_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ear(tmp_path / "notify") as heard, caplog.at_level(logging.WARNING):
        well, bad = Work(), Work(stuck=True)

        def listen() -> None:
            assert heard.all_within(6 * WATCHDOG_S) == ["READY=1", "STATUS=well"]
            bad.stuck = False
            assert heard.hear(LIMIT_S) == "WATCHDOG=1"

        run(ServiceManager(environment(heard.path), os.getpid()), [well, bad], listen)
    assert "action=stuck workers=1" in caplog.text


@pytest.mark.parametrize(
    "settings",
    [{"watchdog_s": None}, {"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}],
    ids=["none", "of-another", "off", "no-number"],
)
def test_a_watchdog_that_is_not_ours_is_not_fed(tmp_path: Path, settings: dict[str, str]) -> None:
    with ear(tmp_path / "notify") as heard:
        manager = ServiceManager(environment(heard.path, **settings), os.getpid())  # type: ignore[arg-type]
        run(manager, [Work()], lambda: heard.wait_for("STATUS", LIMIT_S))
        assert heard.hear(LIMIT_S) == "STOPPING=1"


def test_status_is_one_line_and_said_only_when_it_is_news(tmp_path: Path) -> None:
    with ear(tmp_path / "notify") as heard:
        manager = ServiceManager(environment(heard.path), os.getpid())
        for text in ("recovering", "recovering", "no broker\nREADY=1"):
            manager.status(text)
        manager.status("ready")
        assert [heard.hear(LIMIT_S) for _ in range(3)] == [
            "STATUS=recovering",
            "STATUS=no broker READY=1",
            "STATUS=ready",
        ]


def test_an_abstract_socket_is_meant_by_the_at_sign() -> None:
    name = f"streamd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        sock.settimeout(LIMIT_S)
        ServiceManager({"NOTIFY_SOCKET": "@" + name}, os.getpid()).status("well")
        assert sock.recv(100) == b"STATUS=well"


def test_a_reload_is_told_with_the_time_by_which_systemd_knows_the_answer_and_ended_with_ready(tmp_path: Path) -> None:
    with ear(tmp_path / "notify") as heard:
        manager = ServiceManager(environment(heard.path), os.getpid())
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        manager.reloading()
        manager.reloaded()
        first, second = heard.hear(LIMIT_S).splitlines()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert first == "RELOADING=1"
        assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= after
        assert heard.hear(LIMIT_S) == "READY=1"


@pytest.mark.parametrize("place", [{}, {"NOTIFY_SOCKET": ""}], ids=["unset", "empty"])
def test_without_a_service_manager_it_waits_for_the_end_and_says_nothing(
    place: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run(ServiceManager(place, os.getpid()), [Work()], lambda: None)
    assert not caplog.text


def test_a_manager_that_is_away_or_of_a_kind_we_do_not_know_stops_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run(ServiceManager(environment(tmp_path / "nobody"), os.getpid()), [Work()], lambda: None)
        ServiceManager({"NOTIFY_SOCKET": "vsock:2:1234"}, os.getpid()).status("well")
    assert caplog.text.count("action=notify_failed") == 1
    assert caplog.text.count("action=notify_off") == 1
