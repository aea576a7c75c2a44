"""The demo: a broker, a simulated plant, the daemon and a board, started together and stopped together.

Knows the order of start and stop and what counts as success; the daemon is handed in and known by its few verbs.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import signal
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, Protocol

import msgspec
from paho.mqtt.client import Client
from rich.console import Console
from rich.live import Live

from streamd.config import Config, Group, Http, Log, Mqtt, Source, State
from streamd.demo.board import Board
from streamd.demo.broker import HOST, BrokerMissingError, broker
from streamd.demo.client import connected
from streamd.demo.ledger import Ledger
from streamd.demo.orders import OrderError, listen, parse
from streamd.demo.plant import CALM_TICKS, CHANNELS, MACHINES, Plant, Sample
from streamd.demo.watcher import PREFIX, TELEMETRY, TOPICS, Watcher

SEED = 7
HURRY_S = 0.05  # between readings of a machine before the first fault: the daemon has to learn what is usual first
STEADY_S = 0.2  # between readings of a machine from then on: a simulated day in 58 s
ONLINE_S = 60.0  # torch may take its time to load
SETTLE_S = 2.0  # for the answers that are still on their way at the end
STOP_S = 20.0  # for the daemon to drain and to write its checkpoint
AHEAD = 5  # readings that a machine may be ahead of its scores before the plant waits for them ...
PATIENCE_S = 1.0  # ... for so long
DRAW_S = 0.25
LINE_S = 5.0
HTTP_PORT = Http().port


class Daemon(Protocol):
    """What the demo asks of the daemon."""

    @property
    def http_port(self) -> int:
        """Where it serves its metrics; known once it is online."""

    async def run(self) -> None:
        """Serve until stop is called."""

    def stop(self) -> None:
        """Make run drain and return."""


async def demo(
    seconds: float | None, build: Callable[[Config], Daemon], console: Console, orders: int | None = None
) -> int:
    """Run everything for so many seconds of readings, or until interrupted; show it on the console.

    Args:
        seconds: from the first reading on; None: until SIGINT or SIGTERM.
        build: makes the daemon from its settings.
        console: takes the board, or lines where it is no terminal.
        orders: descriptor whose lines are faults to be done, see `orders`; None: there are none.

    Returns:
        the exit code: 0 when forecasts and scores came back over MQTT for every machine, else 1.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="streamd-demo-") as folder:
            async with broker() as port:
                settings = _settings(port, folder)
                problems = await _play(seconds, build(settings), settings, console, orders)
    except BrokerMissingError as error:
        problems = [str(error)]
        console.print(f"failed: {error}", style="red", markup=False, soft_wrap=True)
    return 1 if problems else 0


async def _play(
    seconds: float | None, daemon: Daemon, settings: Config, console: Console, orders: int | None
) -> list[str]:
    """The demo between the broker's start and stop; gives what went wrong."""
    port = settings.mqtt.port
    clock = asyncio.get_running_loop().time
    ledger = Ledger.of(MACHINES)
    watcher = Watcher(ledger)
    async with (
        connected(port, "streamd-demo-watcher", topics=TOPICS, on_message=watcher.on_message),
        connected(port, "streamd-demo-plant") as plant,
        asyncio.TaskGroup() as tasks,
    ):
        running = tasks.create_task(daemon.run(), name="daemon")
        online = tasks.create_task(watcher.online.wait(), name="online")
        await asyncio.wait({running, online}, timeout=ONLINE_S, return_when=asyncio.FIRST_COMPLETED)
        if online.cancel():
            how = "ended before it came online" if running.done() else f"did not come online within {ONLINE_S:.0f} s"
            console.print(f"failed: the daemon {how}", style="red")
            return [how, *await _stop(daemon, running)]
        address = f"http://{HOST}:{daemon.http_port}"
        _introduce(address, settings, console, orders)
        board = Board(ledger, address, clock)
        machinery = Plant(SEED)
        if orders is not None:
            listen(orders, _obeying(machinery, console))
        showing = tasks.create_task(_show(board, console), name="board")
        publishing = tasks.create_task(_publish(machinery, plant, ledger, watcher), name="plant")
        problems = await _until_the_end(seconds, running)
        publishing.cancel()
        await asyncio.wait({publishing})
        if not running.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await watcher.wait_until(lambda: ledger.settled)
        problems += await _stop(daemon, running)
        showing.cancel()
        await asyncio.wait({showing})
        problems += ledger.missing()
        console.print(board.summary(problems))
    return problems


async def _until_the_end(seconds: float | None, running: asyncio.Task[None]) -> list[str]:
    """Wait until the time is over, a signal comes or the daemon ends, which it should not do by itself."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()
    running.add_done_callback(lambda _: interrupted.set())
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, interrupted.set)
    try:
        async with asyncio.timeout(seconds):
            await interrupted.wait()
    except TimeoutError:
        pass
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
    return ["the daemon ended by itself"] if running.done() else []


def _introduce(address: str, settings: Config, console: Console, orders: int | None) -> None:
    """Say where everything is, before the board takes the screen."""
    token = "" if settings.http.token_file is None else Path(settings.http.token_file).read_text(encoding="utf-8")
    lines = [
        f"the page: {address}    token for its buttons: {token}",
        f"the broker: {HOST}:{settings.mqtt.port}",
    ]
    if orders is not None:
        lines.append("Enter does a machine a fault now; or say which: pump-2 stuck flow")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _obeying(plant: Plant, console: Console) -> Callable[[str], None]:
    """What is done with a line that somebody typed."""
    count = itertools.count()

    def take(line: str) -> None:
        try:
            order = parse(line, next(count))
        except OrderError as error:
            console.print(f"not understood: {error}", markup=False, highlight=False, soft_wrap=True)
            return
        plant.spoil(order.kind, order.machine, order.channel)
        console.print(f"a fault: {order.kind}, {order.channel} of {order.machine}", markup=False, highlight=False)

    return take


async def _publish(plant: Plant, client: Client, ledger: Ledger, watcher: Watcher) -> NoReturn:
    """Publish what the plant's sensors say, all machines at once, as fast as the plan has it and no faster."""
    clock = asyncio.get_running_loop().time
    due = clock()
    for tick in itertools.count():
        for sample in plant.tick():
            ledger.on_sample(sample)
            client.publish(TELEMETRY.format(machine=sample.machine), _encode(sample), qos=1)
        # All share one loop. On a machine too slow for the pace, the plant keeps to what can be answered, and time that
        # was lost is not made up for.
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await watcher.wait_until(lambda: ledger.behind <= AHEAD)
        due = max(due + (HURRY_S if tick < CALM_TICKS else STEADY_S), clock())
        await asyncio.sleep(due - clock())
    raise AssertionError("a count has no end")


async def _show(board: Board, console: Console) -> NoReturn:
    """Keep the board up to date on a terminal; elsewhere print a line now and then."""
    if not console.is_terminal:
        while True:
            await asyncio.sleep(LINE_S)
            console.print(board.line(), soft_wrap=True, highlight=False)
    # Gone at the end, for the summary says it all. Redrawn from here only, so that no thread of rich's is needed.
    with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        while True:
            live.update(board.screen(), refresh=True)
            await asyncio.sleep(DRAW_S)


async def _stop(daemon: Daemon, running: asyncio.Task[None]) -> list[str]:
    """Stop the daemon, if it runs, and wait for it."""
    if not running.done():
        daemon.stop()
        await asyncio.wait({running}, timeout=STOP_S)
    if running.done():
        return []
    running.cancel()
    return [f"the daemon did not stop within {STOP_S:.0f} s"]


def _encode(sample: Sample) -> bytes:
    """A sample as a device would send it."""
    time = datetime.fromtimestamp(sample.time, UTC).isoformat()
    return msgspec.json.encode({"time": time, **sample.values})


def _settings(port: int, folder: str) -> Config:
    """The daemon's settings for the embedded broker at `port`, with its state in `folder`."""
    token = Path(folder, "token")
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(12), encoding="utf-8")
    ten_years_s = 3.2e8  # the plant's clock runs 1,500 times as fast as ours, and may overtake it
    return Config(
        mqtt=Mqtt(host=HOST, port=port, client_id="streamd-demo", protocol="3.1.1", prefix=PREFIX),
        source=(Source(topic=TELEMETRY.replace("{machine}", "{stream}"), group="plant", time="time"),),
        group={"plant": Group(channels=CHANNELS, max_future_s=ten_years_s)},
        http=Http(host=HOST, port=_free(HTTP_PORT), token_file=str(token)),
        state=State(folder=folder),
        log=Log(level="warning"),
    )


def _free(port: int) -> int:
    """The port, or 0 (any) where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was left a moment ago is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return 0
    return port
