"""The whole demo over its real embedded broker, with daemons of several characters, the real one among them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from datetime import datetime
from io import StringIO
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from rich.console import Console

from streamd.config import Config
from streamd.demo import run
from streamd.demo.client import connected
from streamd.demo.plant import MACHINES
from streamd.demo.run import Daemon, demo


class Echo:
    """A daemon that answers each reading at once with a forecast and a score, unless it is told not to."""

    http_port = 4711

    def __init__(self, config: Config) -> None:
        self.config = config
        self.heard = 0
        self._stop = asyncio.Event()

    async def run(self) -> None:
        mqtt = self.config.mqtt
        topics = [(self.config.source[0].topic.replace("{stream}", "+"), 1)]
        async with connected(mqtt.port, "echo", topics=topics, on_message=self._answer) as self.client:
            self.client.publish(f"{mqtt.prefix}/status", b'{"state": "online"}', qos=1, retain=True)
            await self._stop.wait()

    def stop(self) -> None:
        self._stop.set()

    def answers(self, stream: str) -> bool:
        return True

    def _answer(self, topic: str, payload: bytes) -> None:
        self.heard += 1
        stream = topic.split("/")[1]
        reading = json.loads(payload)
        epoch = datetime.fromisoformat(reading.pop("time")).timestamp()
        head = {"stream": stream, "epoch": epoch}
        bands = {channel: {"mean": [v], "lower": [v - 9], "upper": [v + 9]} for channel, v in reading.items()}
        if self.answers(stream):
            publish(self.client, f"{stream}/forecast", {**head, "times": [epoch + 300], "channels": bands})
            score = {"score": 0.25, "alarm": False, "warming": 0.5, "channels": dict.fromkeys(reading, 0.25)}
            publish(self.client, f"{stream}/score", {**head, **score})


class Silent(Echo):
    def answers(self, stream: str) -> bool:
        return False


class DeafToOne(Echo):
    def answers(self, stream: str) -> bool:
        return stream != "pump-2"


class Interrupted(Echo):
    """Somebody presses Ctrl-C after some readings."""

    def answers(self, stream: str) -> bool:
        if self.heard == 5 * len(MACHINES):
            os.kill(os.getpid(), signal.SIGINT)
        return True


class Quitter(Echo):
    """Ends by itself after some readings."""

    def answers(self, stream: str) -> bool:
        if self.heard == 5 * len(MACHINES):
            self.stop()
        return True


class Slow(Echo):
    """Answers what it has heard in one go, now and then."""

    most_unanswered = 0

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.waiting: list[tuple[str, bytes]] = []

    def _answer(self, topic: str, payload: bytes) -> None:
        self.waiting.append((topic, payload))
        Slow.most_unanswered = max(Slow.most_unanswered, len(self.waiting))
        if len(self.waiting) == 1:
            asyncio.get_running_loop().call_later(0.5, self._catch_up)

    def _catch_up(self) -> None:
        for topic, payload in self.waiting:
            super()._answer(topic, payload)
        self.waiting.clear()


class Stubborn(Echo):
    def stop(self) -> None:
        """No."""


class Broken(Echo):
    async def run(self) -> None:
        raise RuntimeError("a bug")


class Absent(Echo):
    """Runs, and never says that it is online."""

    async def run(self) -> None:
        await self._stop.wait()


def publish(client: Client, topic: str, document: dict[str, object]) -> None:
    client.publish(f"streamd/plant/{topic}", json.dumps(document))


def play(build: Callable[[Config], Daemon], seconds: float | None = 0.5, *, terminal: bool = False) -> tuple[int, str]:
    """The exit code, and what stood on the console."""
    console = Console(file=StringIO(), width=100, force_terminal=terminal)

    async def scenario() -> int:
        async with asyncio.timeout(30):
            code = await demo(seconds, build, console)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        loop = asyncio.get_running_loop()
        assert not any(loop.remove_signal_handler(number) for number in (signal.SIGINT, signal.SIGTERM))
        return code

    code = asyncio.run(scenario())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return code, text


def test_a_daemon_that_answers_every_reading_passes() -> None:
    code, text = play(Echo)
    assert code == 0
    assert "ok: " in text
    assert all(name in text for name in MACHINES)


def test_the_real_daemon_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamd.app import App  # here, for torch takes its time to load and the other tests can do without

    monkeypatch.setattr(run, "HTTP_PORT", 0)
    code, text = play(App, 1.0)
    assert code == 0, text


def test_a_silent_daemon_fails_and_every_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SETTLE_S", 0.1)
    code, text = play(Silent)
    assert code == 1
    for name in MACHINES:
        assert f"failed: {name}: 0 forecasts came back" in text
        assert f"failed: {name}: 0 scores came back" in text


def test_one_machine_without_answers_is_enough_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SETTLE_S", 0.1)
    code, text = play(DeafToOne)
    assert code == 1
    assert text.count("failed: ") == 2
    assert "failed: pump-2: 0 scores came back" in text


def test_an_interrupt_ends_it_in_good_order_with_a_summary() -> None:
    code, text = play(Interrupted, None)
    assert code == 0
    assert "ok: " in text


def test_on_a_terminal_the_board_is_drawn_and_the_summary_stays() -> None:
    code, text = play(Echo, terminal=True)
    assert code == 0
    assert "the page: http://127.0.0.1:4711" in text
    assert "warming 50%" in text
    assert "ok: " in text


def test_without_a_terminal_a_line_is_printed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LINE_S", 0.1)
    _, text = play(Echo)
    lines = [line for line in text.splitlines() if line.startswith("0:00") and "incidents 0" in line]
    assert len(lines) >= 2
    assert "\x1b" not in text


def test_the_plant_does_not_run_away_from_a_slow_daemon() -> None:
    code, text = play(Slow, 1.0)
    assert code == 0, text
    # in 0.5 s the plant could send far more than it may be ahead
    assert Slow.most_unanswered <= (run.AHEAD + 1) * len(MACHINES) < 0.5 / run.HURRY_S * len(MACHINES)


def test_a_daemon_that_ends_by_itself_fails() -> None:
    code, text = play(Quitter, None)
    assert code == 1
    assert "failed: the daemon ended by itself" in text


def test_a_daemon_that_never_comes_online_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "ONLINE_S", 0.1)
    code, text = play(Absent)
    assert code == 1
    assert "failed: the daemon did not come online" in text


def test_a_daemon_that_does_not_stop_is_cut_off_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "STOP_S", 0.1)
    code, text = play(Stubborn)
    assert code == 1
    assert "failed: the daemon did not stop" in text


def test_a_bug_in_the_daemon_is_not_hidden() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        play(Broken)
    assert caught.group_contains(RuntimeError, match="a bug")


def test_without_the_embedded_broker_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "amqtt" or name.startswith("amqtt.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "amqtt", None)
    code, text = play(Echo)
    assert code == 1
    assert "pip install 'streamd[demo]'" in text


def test_the_state_folder_is_its_own_and_gone_at_the_end() -> None:
    configs: list[Config] = []

    def build(config: Config) -> Echo:
        configs.append(config)
        assert Path(config.state.folder).is_dir()
        return Echo(config)

    play(build)
    assert not Path(configs[0].state.folder).exists()


def test_the_page_gets_a_token_that_is_told_and_that_nobody_else_can_read() -> None:
    tokens: list[str] = []

    def build(config: Config) -> Echo:
        path = Path(config.http.token_file or "")
        assert path.stat().st_mode & 0o077 == 0
        tokens.append(path.read_text())
        return Echo(config)

    _, text = play(build)
    assert len(tokens[0]) >= 16
    assert f"token for its buttons: {tokens[0]}" in text


class Ordering(Echo):
    """Somebody types lines after some readings."""

    lines = b""
    write = -1

    def answers(self, stream: str) -> bool:
        if self.heard == 2 * len(MACHINES):
            os.write(self.write, self.lines)
        return True


def test_a_line_does_a_machine_a_fault_and_a_wrong_one_is_told() -> None:
    read, Ordering.write = os.pipe()
    Ordering.lines = b"pump-3 stuck flow\n\nfire\n"
    console = Console(file=StringIO(), width=100)
    try:
        assert asyncio.run(asyncio.wait_for(demo(1.0, Ordering, console, read), 30)) == 0
    finally:
        os.close(Ordering.write)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "a fault: stuck, flow of pump-3" in text
    assert "a fault: spike, vibration of pump-2" in text
    assert "not understood: 'fire' is none of pump-1, " in text
    assert "faults 2 (" in text


def test_a_metrics_port_that_is_taken_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[Config] = []

    def build(config: Config) -> Echo:
        configs.append(config)
        return Echo(config)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(run, "HTTP_PORT", taken.getsockname()[1])
        play(build)
    play(build)
    assert configs[0].http.port == 0
    assert configs[1].http.port == run.HTTP_PORT
