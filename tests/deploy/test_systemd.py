"""The unit file by systemd's own judgement, and the daemon under a NOTIFY_SOCKET and under the unit's restrictions."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamd.config import load
from tests.broker.daemon import SMALL, Bystander, Daemon, pumps
from tests.broker.mosquitto import Mosquitto
from tests.deploy.notify import Ear, ear

HERE = Path(__file__).parent
UNIT = HERE.parent.parent / "deploy" / "streamd.service"
EXPOSURE = 1.5
LIMIT_S = 120.0  # only a broken test waits so long
WATCHDOG_S = 2.0
PATIENCE_S = 5 * WATCHDOG_S  # it is fed at each half of its time; the rest is for a busy machine


@pytest.fixture
def manager(broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ear]:
    """What a daemon that is started from here on says to its service manager; the broker, which would, runs already."""
    with ear(tmp_path / "notify") as heard:
        monkeypatch.setenv("NOTIFY_SOCKET", str(heard.path))
        monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_S * 1e6)))
        yield heard


def config(port: int) -> str:
    return pumps(port, f"horizon_steps = 2\n{SMALL}")


def rows(first: int, count: int) -> list[dict[str, float]]:
    return [{"ts": 1_700_000_000.0 + n, "flow": float(n % 5)} for n in range(first, first + count)]


def settings_of(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program is not None, "systemd-analyze is missing: apt install systemd"
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=LIMIT_S)


def allowed_calls() -> list[str]:
    """Names of the system calls that the unit's filter lets through, its lines taken in order as systemd does."""
    allowed: set[str] = set()
    for line in settings_of(UNIT, "SystemCallFilter"):
        names = {name for word in line.removeprefix("~").split() for name in members(word)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return sorted(allowed)


def members(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    lines = analyze("syscall-filter", word).stdout.splitlines()
    assert lines[0] == word, lines
    words = [line.strip() for line in lines[1:]]
    return {name for word in words if word and not word.startswith("#") for name in members(word)}


# --- the unit ---


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "streamd.service"
    program = Path(sys.executable).with_name("streamd")
    # the one thing that is not here: the program where the walk-through installs it
    unit.write_text(UNIT.read_text().replace("/opt/streamd/bin/streamd", str(program)))
    judged = analyze("verify", str(unit))
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_a_unit_with_a_key_that_does_not_exist_is_found_out(tmp_path: Path) -> None:
    unit = tmp_path / "streamd.service"
    unit.write_text(UNIT.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in analyze("verify", str(unit)).stderr


def test_the_unit_is_exposed_little() -> None:
    judged = analyze("security", "--offline=true", str(UNIT))
    found = re.search(r"exposure level for streamd\.service: ([\d.]+)", judged.stdout)
    assert found is not None, judged.stderr
    assert float(found[1]) <= EXPOSURE


def test_the_unit_has_what_the_daemon_counts_on() -> None:
    for key, value in {
        "Type": "notify",
        "DynamicUser": "yes",
        "StateDirectory": "streamd",
        "MemoryDenyWriteExecute": "yes",
        "ExecReload": "/bin/kill -HUP $MAINPID",
        "RestartPreventExitStatus": "2 75",
    }.items():
        assert settings_of(UNIT, key) == [value]
    assert int(settings_of(UNIT, "WatchdogSec")[0]) >= 30
    assert settings_of(UNIT, "LoadCredential")


def test_the_config_that_comes_with_the_unit_is_good_and_names_the_units_places() -> None:
    shipped = load(UNIT.with_suffix(".toml"))
    assert shipped.state.folder == f"/var/lib/{settings_of(UNIT, 'StateDirectory')[0]}"
    credential = settings_of(UNIT, "LoadCredential")[0].split(":")[0]
    assert shipped.mqtt.password_file == f"/run/credentials/{UNIT.name}/{credential}"
    assert shipped.http.host == "127.0.0.1"


# --- what the daemon says to its service manager ---


def test_the_daemon_says_ready_keeps_feeding_the_watchdog_and_says_that_it_stops(
    broker: Mosquitto, manager: Ear, daemons: Callable[..., Daemon]
) -> None:
    daemon = daemons(config(broker.port)).launch()
    assert manager.hear(LIMIT_S) == "STATUS=recovering"
    assert manager.hear(LIMIT_S) == "READY=1"
    for _ in range(3):
        manager.wait_for("WATCHDOG=1", PATIENCE_S)
    assert daemon.stop(signal.SIGTERM) == 0
    assert manager.wait_for("STOPPING", LIMIT_S) == "STOPPING=1"


def test_a_reload_is_told_from_its_beginning_to_its_end_and_a_wrong_config_in_the_status(
    broker: Mosquitto, manager: Ear, daemons: Callable[..., Daemon]
) -> None:
    daemon = daemons(config(broker.port)).start()
    manager.wait_for("READY=1", LIMIT_S)
    for text in (config(broker.port) + "max_batch = 9\n", config(broker.port) + "max_batch = 0\n"):
        daemon.config.write_text(text)
        os.kill(daemon.pid, signal.SIGHUP)
        begun = manager.wait_for("RELOADING=1", LIMIT_S)
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", begun)
        manager.wait_for("READY=1", LIMIT_S)
    said = manager.wait_for("STATUS=ready, 0 streams; the config file", LIMIT_S)
    assert "group.pumps.max_batch: expected int >= 1, got 0" in said
    assert daemon.http("/readyz")[0] == 200
    assert daemon.stop(signal.SIGTERM) == 0


def test_it_is_ready_without_a_broker_and_its_status_says_what_is_missing(
    manager: Ear, daemons: Callable[..., Daemon]
) -> None:
    daemons(config(port=1)).launch()
    manager.wait_for("READY=1", LIMIT_S)
    assert "no connection to the broker" in manager.wait_for("STATUS", LIMIT_S)
    manager.wait_for("WATCHDOG=1", PATIENCE_S)  # to restart would not bring the broker back


@pytest.mark.parametrize("part", ["engine", "training"])
def test_a_part_that_hangs_silences_the_watchdog(
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broker: Mosquitto,
    manager: Ear,
    daemons: Callable[..., Daemon],
) -> None:
    monkeypatch.chdir(tmp_path)
    daemon = daemons(config(broker.port), program=(str(HERE / "stuck.py"), part)).start()
    bystander = Bystander(broker.port)
    bystander.publish_all("plant/p1/telemetry", rows(0, 40))
    bystander.wait("streamd/pumps/p1/score", 40)
    manager.wait_for("WATCHDOG=1", PATIENCE_S)
    (tmp_path / "hang").touch()
    bystander.publish_all("plant/p1/telemetry", rows(40, 40))
    daemon.wait_for("hangs")
    manager.all_within(WATCHDOG_S)  # what was under way
    assert "WATCHDOG=1" not in manager.all_within(2.5 * WATCHDOG_S)
    if part == "training":  # it was not the event loop that kept it from speaking
        assert daemon.http("/livez")[0] == 200
        assert "action=stuck workers=1" in daemon.log
    bystander.close()


# --- under the unit's restrictions ---


def test_a_process_that_may_not_make_memory_executable_breaks_onednn() -> None:
    """Else the next test would show nothing."""
    program = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import confined, torch; confined.deny_write_execute()\n"
        "torch.nn.LSTM(1, 1)(torch.zeros(1, 1, 1))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT_S)
    assert "could not create a primitive" in ended.stderr


def test_the_daemon_learns_and_saves_under_the_units_restrictions(
    broker: Mosquitto, manager: Ear, daemons: Callable[..., Daemon]
) -> None:
    calls = allowed_calls()
    assert {"read", "setpriority"} <= set(calls)
    assert not {"mount", "ptrace", "bpf", "setuid"} & set(calls)
    daemon = daemons(config(broker.port), program=(str(HERE / "confined.py"), ",".join(calls))).start()
    manager.wait_for("READY=1", LIMIT_S)
    bystander = Bystander(broker.port)
    bystander.publish_all("plant/p1/telemetry", rows(0, 60))
    bystander.wait("streamd/pumps/p1/score", 60)
    assert daemon.metric('streamd_training_steps_total{group="pumps"}') > 0
    assert bystander.command("checkpoint")["ok"]
    bystander.close()
    assert daemon.stop(signal.SIGTERM) == 0
    assert "Traceback" not in daemon.log
