"""The container stack, as far as it goes without an engine: its files, and broker and daemon set up by them."""

from __future__ import annotations

import os
import re
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from tests.broker.daemon import Daemon
from tests.broker.mosquitto import Mosquitto
from tests.deploy.promtool import promtool

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
LIMIT_S = 60.0
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


def make_secrets(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(DEPLOY / "make_secrets.py"), "--folder", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "secrets"
    made = make_secrets(folder, "--device", "pump1", "--name", "192.0.2.7")
    assert made.returncode == 0, made.stderr
    return folder


# --- files ---


def test_each_file_that_compose_mounts_exists_or_is_made_by_the_script(secrets: Path) -> None:
    for service in services().values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./secrets/"):
                assert (secrets / source.removeprefix("./secrets/")).is_file(), source
            elif source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["volumes"]


def test_each_service_is_confined_and_what_it_publishes_stays_on_loopback_by_default() -> None:
    for name, service in services().items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        for port in service["ports"]:
            assert port.startswith(("127.0.0.1:", "${BIND:-127.0.0.1}:")), port


def test_nothing_in_the_stack_is_privileged_floating_or_reaches_what_it_has_no_business_with() -> None:
    known = {
        "cap_drop",
        "depends_on",
        "environment",
        "healthcheck",
        "image",
        "networks",
        "ports",
        "read_only",
        "restart",
    }
    known |= {"build", "security_opt", "stop_grace_period", "tmpfs", "user", "volumes"}
    for name, service in services().items():
        # not privileged, no capability, device, or namespace of the host, and nothing that the schema does not know
        assert service.keys() <= known, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert "build" in service or re.fullmatch(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?", service["image"]), name
        for volume in service["volumes"]:
            source, _, options = volume.split(":") if volume.count(":") == 2 else (*volume.split(":"), "")
            assert options == "ro" or "/" not in source, f"{name} may write {source} of this machine"
        assert name == "streamd" or service["healthcheck"]["test"][0] == "CMD", name  # streamd's is in its image
    networks = {name: set(service["networks"]) for name, service in services().items()}
    assert not networks["mosquitto"] & (networks["prometheus"] | networks["grafana"])
    assert networks["streamd"] >= networks["mosquitto"] | networks["prometheus"]


def test_each_path_that_a_config_names_is_mounted_there() -> None:
    for service, config in (("mosquitto", "mosquitto.conf"), ("streamd", "streamd.toml")):
        targets = [volume.split(":")[1] for volume in services()[service]["volumes"]]
        for path in re.findall(
            r"(?<![\w.])/(?:mosquitto|etc|run|var)/[\w./-]+", (DEPLOY / "container" / config).read_text()
        ):
            assert path.rstrip("/") in targets, path


def test_the_image_is_run_by_nobody_who_may_anything_has_one_volume_and_a_health_check() -> None:
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.findall(r"^VOLUME (.*)$", last, re.MULTILINE) == ["/var/lib/streamd"]
    assert "/readyz" in last
    assert "pip install" not in last


def test_what_the_dockerfile_copies_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        for name in line.split():
            assert f"!{name.removeprefix('./')}" in ignored
            assert (ROOT / name).exists()


def test_no_registry_is_named() -> None:
    for text in (DOCKERFILE, (DEPLOY / "compose.yaml").read_text()):
        assert not re.search(r"https?://(?!127\.0\.0\.1)", text)


def test_prometheus_finds_nothing_wrong_with_its_config(tmp_path: Path) -> None:
    for source in (DEPLOY / "container" / "prometheus.yml", DEPLOY / "prometheus" / "alerts.yml"):
        (tmp_path / source.name).write_text(source.read_text())
    judged = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert judged.returncode == 0, judged.stdout + judged.stderr


# --- secrets ---


def test_secrets_are_for_their_owner_and_are_kept_when_one_more_device_is_added(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert make_secrets(folder, "--device", "pump1").returncode == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "passwords"}
    assert make_secrets(folder, "--device", "pump2").returncode == 0
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "passwords"}
    assert after == before | {"pump2.password": after["pump2.password"]}
    assert len({after[name] for name in after if name.endswith(".password")}) == 6
    users = [line.split(":")[0] for line in (folder / "passwords").read_text().splitlines()]
    assert users == ["operator", "pump1", "pump2", "streamd", "viewer"]


def test_a_device_whose_name_would_be_more_than_one_level_of_a_topic_is_refused(tmp_path: Path) -> None:
    made = make_secrets(tmp_path / "secrets", "--device", "a/b")
    assert made.returncode == 2
    assert "--device a/b" in made.stderr
    assert not (tmp_path / "secrets").exists()


# --- broker and daemon, set up by the stack's own files ---


@pytest.fixture
def broker(tmp_path: Path, secrets: Path) -> Iterator[Mosquitto]:
    """A real mosquitto with the stack's config: other paths and port, all else as it is."""
    one = Mosquitto(tmp_path / "mosquitto")
    text = (DEPLOY / "container" / "mosquitto.conf").read_text()
    (tmp_path / "data").mkdir()
    for there, here in {
        "listener 8883": f"listener {one.port} 127.0.0.1" + ("\nuser root" if os.geteuid() == 0 else ""),
        "/mosquitto/config/acl": str(DEPLOY / "container" / "acl"),
        "/mosquitto/config": str(secrets),
        "/mosquitto/data": str(tmp_path / "data"),
        "log_dest stdout": "log_dest stderr\nlog_type all",
    }.items():
        assert there in text
        text = text.replace(there, here)
    (tmp_path / "mosquitto" / "mosquitto.conf").write_text(text)
    yield one.start()
    one.stop()


class Person:
    """Somebody at the broker, by name and password."""

    def __init__(self, broker: Mosquitto, secrets: Path, name: str, password: str | None = None) -> None:
        self.seen: list[str] = []
        self._came = threading.Condition()
        self._answer: list[str] = []
        self._answered = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.tls_set(str(secrets / "ca.crt"), tls_version=ssl.PROTOCOL_TLS_CLIENT)
        self._client.username_pw_set(name, password or (secrets / f"{name}.password").read_text())
        self._client.on_message = self._note
        self._client.on_connect = lambda _c, _u, _f, reason, _p: self._tell(str(reason))
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._answered.wait(LIMIT_S)

    @property
    def answer(self) -> str:
        """What the broker said to the login."""
        return self._answer[0]

    def subscribe(self, topic: str) -> None:
        granted = threading.Event()
        self._client.on_subscribe = lambda *_: granted.set()
        self._client.subscribe(topic, qos=1)
        assert granted.wait(LIMIT_S)

    def publish(self, topic: str, payload: str) -> str:
        """The broker's answer to it."""
        answers: list[str] = []
        came = threading.Event()
        self._client.on_publish = lambda _c, _u, _m, reason, _p: (answers.append(str(reason)), came.set())
        self._client.publish(topic, payload, qos=1)
        assert came.wait(LIMIT_S)
        return answers[0]

    def sees(self, topic: str) -> None:
        with self._came:
            assert self._came.wait_for(lambda: topic in self.seen, LIMIT_S), self.seen

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _tell(self, reason: str) -> None:
        self._answer.append(reason)
        self._answered.set()

    def _note(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        with self._came:
            self.seen.append(message.topic)
            self._came.notify_all()


@pytest.fixture
def person(broker: Mosquitto, secrets: Path) -> Iterator[Callable[..., Person]]:
    made: list[Person] = []

    def make(name: str, password: str | None = None) -> Person:
        made.append(Person(broker, secrets, name, password))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_device_is_answered_over_tls_and_none_can_speak_for_another(
    broker: Mosquitto, secrets: Path, person: Callable[..., Person], tmp_path: Path
) -> None:
    text = (DEPLOY / "container" / "streamd.toml").read_text()
    for there, here in {
        'host = "mosquitto"': 'host = "127.0.0.1"',
        "port = 8883": f"port = {broker.port}",
        "/run/secrets/mqtt-password": str(secrets / "streamd.password"),
        "/etc/streamd/ca.crt": str(secrets / "ca.crt"),
        'host = "0.0.0.0"': "port = 0\n",
        "/var/lib/streamd": str(tmp_path / "state"),
    }.items():
        assert there in text
        text = text.replace(there, here)
    daemon = Daemon(tmp_path / "daemon", text)
    try:
        daemon.start()
        viewer, device = person("viewer"), person("pump1")
        viewer.subscribe("streamd/#")
        assert device.publish("plant/pump2/telemetry", '{"ts": 1700000000, "flow": 1}') == "Not authorized"
        assert device.publish("streamd/command/reset", "{}") == "Not authorized"
        assert viewer.publish("streamd/command/reset", "{}") == "Not authorized"
        assert device.publish("plant/pump1/telemetry", '{"ts": 1700000000, "flow": 1}') != "Not authorized"
        viewer.sees("streamd/default/pump1/score")
        assert "streamd/default/pump2/score" not in viewer.seen
        assert daemon.metric("streamd_messages_total") == 1
        assert person("operator").publish("streamd/command/checkpoint", "{}") != "Not authorized"
        assert daemon.stop() == 0
    finally:
        daemon.end()


def test_a_wrong_password_does_not_get_in(person: Callable[..., Person]) -> None:
    assert person("pump1", "guessed").answer == "Not authorized"
    assert person("pump1").answer == "Success"
