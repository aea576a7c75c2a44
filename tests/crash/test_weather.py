"""Bad weather around the daemon: broker, disk, a signal at the wrong moment. It stays up, says so, and heals."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.broker.daemon import Daemon
from tests.broker.mosquitto import Mosquitto
from tests.crash.faults import Fault, Moment
from tests.crash.kills import TRIES
from tests.crash.nursery import LIMIT_S, Nursery
from tests.crash.plant import GROUPS, Plant, Witness
from tests.crash.trial import SHIPPED, Trial, settings
from tests.crash.verdict import kept, left_with_broker

QUICK = (*SHIPPED, "set_tcp_nodelay true")  # else one reading at a time takes 40 ms each
NEVER = "commit_ms = 1e9"  # no commit but where one is made early


class World:
    """A broker, a daemon of its own process, and readings for it."""

    def __init__(self, folder: Path, broker: Mosquitto, config: Callable[[str], str] = lambda text: text) -> None:
        self.folder = folder
        self.broker = broker
        self.daemon = Daemon(folder, config(settings(broker.port, "weather", timed=True))).start()
        self.witness = Witness(broker.port, "weather", timed=True)
        self.published = 0
        self._plant = Plant(1, timed=True)

    def publish(self, count: int) -> None:
        """Readings, as soon as there is a broker."""
        for _ in range(count):
            self.witness.publish(*self._plant.reading(self.published))
            self.published += 1

    def answered(self) -> None:
        """Every reading so far gets its forecast and its score."""
        found = self.witness.wait(self.published)
        assert found, f"{self.witness.answered()} of {self.published} readings are answered:\n{self.daemon.log}"

    def acknowledged(self) -> int:
        """Messages that the daemon has acknowledged to the broker, in all its lives."""
        return len(re.findall(r"Received PUBACK from weather ", self.broker.log))

    def unready(self) -> str:
        """Why the daemon says that it is not ready; empty when it is."""
        status, text = self.daemon.http("/readyz")
        assert (status == 200) == ('"ready": true' in text)
        return "" if status == 200 else text

    def ready(self) -> None:
        """Until the daemon says that it is ready: a question takes a few milliseconds, what it waits for, less."""
        for _ in range(2000):
            if not self.unready():
                return
        raise AssertionError(self.unready())

    def over(self) -> None:
        """Stop the daemon: nothing is lost, nothing doubled, and the broker has nothing left."""
        assert self.daemon.stop() == 0, self.daemon.log
        assert self.witness.wrong == []
        assert self.witness.answered() == self.published
        arrays = kept(self.folder / "state").arrays
        held = [int(arrays[f"{group}/timing.seq"][0]) for group in GROUPS]
        assert held == [len(range(at, self.published, len(GROUPS))) for at in range(len(GROUPS))]
        assert left_with_broker(self.broker.port, "weather") == 0

    def close(self) -> None:
        self.witness.close()
        self.daemon.end()


@pytest.fixture
def world(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def begin(config: Callable[[str], str] = lambda text: text, **broker: object) -> World:
        worlds.append(World(tmp_path / "daemon", mosquitto(extra=QUICK, **broker), config))
        return worlds[-1]

    yield begin
    for one in worlds:
        one.close()


def limit_files(pid: int, size: int) -> None:
    """The disk is full for a process (0), or not."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def seldom(text: str) -> str:
    return text.replace("commit_ms = 10", NEVER)


def test_a_broker_that_kept_its_sessions_sends_again_and_nothing_is_doubled(world: Callable[..., World]) -> None:
    here = world(seldom, persistence=True)
    here.publish(14)  # fewer than the window that the daemon takes for granted, so that no commit is made early
    here.answered()
    assert here.acknowledged() == 0
    here.witness.settle()
    saving = "Saving in-memory database"
    saved = here.broker.log.count(saving)
    for number in range(1, 3):  # a retained message makes it save, which it tells before: the first of two is done
        here.witness.publish("elsewhere", b"%d" % number, retain=True)
        here.broker.wait_for_log(saving, saved + number)
    here.broker.kill()
    here.publish(20)
    here.broker.start()
    here.publish(20)
    here.answered()
    # they are known as messages that are still held or, if an early commit has let them go meanwhile, by their times
    again = here.daemon.metric('streamd_dropped_total{queue="inbox",reason="received_before"}') + sum(
        here.daemon.metric(f'streamd_readings_total{{group="{group}",outcome="{outcome}"}}')
        for group in GROUPS
        for outcome in ("double", "late")
    )
    assert again >= 14
    here.over()


def test_a_broker_that_forgot_everything_is_subscribed_to_again(world: Callable[..., World]) -> None:
    here = world()
    here.publish(30)
    here.answered()
    here.witness.settle()
    here.witness.listening.clear()
    here.broker.kill()
    here.daemon.wait_for("action=disconnected")
    assert "no connection to the broker" in here.daemon.http("/readyz")[1]
    here.broker.start()
    assert here.witness.listening.wait(LIMIT_S)
    here.ready()  # before that nobody subscribes, and the broker drops what comes
    here.publish(30)
    here.answered()
    here.over()


def test_on_a_full_disk_forecasts_go_on_and_acknowledgements_wait_until_there_is_room(
    world: Callable[..., World],
) -> None:
    here = world()
    here.publish(10)
    here.answered()
    here.broker.wait_for_log("Received PUBACK from weather ", 10)
    limit_files(here.daemon.pid, 0)
    here.publish(20)
    here.answered()
    here.daemon.wait_for("action=commit_failed")
    assert "can't be written" in here.unready()
    assert here.acknowledged() == 10
    here.witness.publish("weather/command/checkpoint", b"{}")  # nor does this hold up what comes after
    here.publish(20)
    here.answered()
    assert here.acknowledged() == 10
    limit_files(here.daemon.pid, resource.RLIM_INFINITY)
    here.daemon.wait_for("action=commit_healed")
    here.ready()
    here.broker.wait_for_log("Received PUBACK from weather ", 50)
    here.over()


def test_sigterm_on_a_full_disk_ends_in_good_order_and_the_broker_keeps_what_was_not_acknowledged(
    world: Callable[..., World],
) -> None:
    here = world()
    here.publish(10)
    here.answered()
    here.broker.wait_for_log("Received PUBACK from weather ", 10)
    limit_files(here.daemon.pid, 0)
    here.witness.publish("weather/command/checkpoint", b"{}")
    here.publish(20)
    here.answered()
    here.daemon.wait_for("action=commit_failed")
    assert here.daemon.stop() == 0, here.daemon.log
    here.daemon.start()
    here.publish(10)
    here.answered()
    here.over()


def test_a_folder_that_takes_no_new_file_stops_checkpoints_only(world: Callable[..., World]) -> None:
    here = world()
    here.publish(10)
    here.answered()
    state = here.folder / "state"
    state.rename(here.folder / "elsewhere")  # as after a mount has gone; whoever is root may write anywhere else
    here.witness.publish("weather/command/checkpoint", b"{}")
    here.daemon.wait_for("action=checkpoint_failed")
    assert "can't be written" in here.unready()
    here.publish(20)
    here.answered()
    here.broker.wait_for_log("Received PUBACK from weather ", 31)
    (here.folder / "elsewhere").rename(state)
    here.witness.publish("weather/command/checkpoint", b"{}")
    here.daemon.wait_for("action=checkpoint ")
    here.ready()
    here.over()


def test_of_two_daemons_on_one_state_folder_the_second_one_goes(world: Callable[..., World]) -> None:
    here = world()
    here.publish(10)
    second = subprocess.run(
        [sys.executable, "-m", "streamd", "run", "-c", str(here.daemon.config)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert second.returncode == 75
    assert f"in use by process {here.daemon.pid}" in second.stderr
    here.publish(10)
    here.answered()
    here.over()


class Untold:
    """A daemon that was killed when it was about to tell of its first incident, whose record is on the disk."""

    def __init__(self, folder: Path, broker: Mosquitto, nursery: Nursery) -> None:
        self.config = folder / "streamd.toml"
        self.config.write_text(settings(broker.port, "weather", timed=True))
        self.witness = Witness(broker.port, "weather", timed=True)
        self._nursery, self._plant, self._published = nursery, Plant(1, timed=True), 0
        child = nursery.start(self.config, Fault("incident"), on_end=self.witness.look_again)
        child.wait_until_ready()
        while not child.ended.is_set():
            self.witness.publish(*self._plant.reading(self._published))
            self._published += 1
            self.witness.wait(self._published, child.ended.is_set)
            if child.struck:
                assert child.join() == -signal.SIGKILL
        assert not any(self.witness.incidents.values())

    def is_told_now(self) -> bool:
        """Whether a last life, in good order, begins with telling of it."""
        child = self._nursery.start(self.config, on_end=self.witness.look_again)
        child.wait_until_ready()
        for number in range(self._published, self._published + 10):
            self.witness.publish(*self._plant.reading(number))
        assert self.witness.wait(self._published + 10, child.ended.is_set)
        child.send(signal.SIGTERM)
        assert child.join() == 0, child.log
        self.witness.close()
        told = [json.loads(incident) for incidents in self.witness.incidents.values() for incident in incidents]
        return any(one["state"] == "raised" and one["seq"] * len(GROUPS) < self._published for one in told)


def test_an_incident_that_was_not_told_is_told_after_a_stop_for_want_of_a_broker(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto(persistence=True, extra=QUICK)
    with Nursery() as nursery:
        untold = Untold(tmp_path, broker, nursery)
        untold.witness.listening.clear()
        broker.stop()  # in good order: the reading after the incident's, which no life has acknowledged, is its to keep
        child = nursery.start(untold.config)
        assert child.wait_for("action=connect_failed")
        child.send(signal.SIGTERM)
        assert child.join() == 0, child.log
        broker.start()
        assert untold.witness.listening.wait(LIMIT_S)
        assert untold.is_told_now()


def test_an_incident_that_was_not_told_is_told_after_a_kill_at_a_checkpoint_for_new_settings(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    with Nursery() as nursery:
        untold = Untold(tmp_path, mosquitto(extra=QUICK), nursery)
        untold.config.write_text(untold.config.read_text().replace("horizon_steps = 2", "horizon_steps = 3"))
        child = nursery.start(untold.config, Fault("rename", "after"))
        assert child.join() == -signal.SIGKILL, child.log
        assert not any(untold.witness.incidents.values())
        assert untold.is_told_now()


def test_sigterm_in_recovery_training_or_a_checkpoint_ends_in_good_order_and_loses_nothing(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    moments: tuple[tuple[str, Moment, int], ...] = (
        ("replayed", "before", 3),
        ("train", "before", 1),
        ("write", "before", 1),
        ("rename", "after", 1),
    )
    with Nursery() as nursery:
        trial = Trial(tmp_path, mosquitto(extra=QUICK), nursery, 1, timed=True)
        trial.begin()
        for point, moment, call in moments:
            trial.live(None)  # is killed, so that there is something to recover
            fault = Fault(point, moment, call, signal=int(signal.SIGTERM))
            assert any(trial.live(fault) for _ in range(TRIES)), f"never {moment} {point}"
        report = trial.finish()
    assert report.wrong == []
    assert len(report.struck) == len(moments)
