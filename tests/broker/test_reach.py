"""How the daemon reaches its broker: when that comes late, and over TLS with certificates of one's own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.broker.certificates import make
from tests.broker.daemon import Bystander, Daemon
from tests.broker.mosquitto import Certificates, Mosquitto

SOURCE = """
[http]
port = 0
[[source]]
topic = "plant/{stream}/telemetry"
[group.default]
network = { hidden = 8, layers = 1 }
"""


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Callable[[str], Daemon]]:
    made: list[Daemon] = []

    def write(mqtt: str) -> Daemon:
        made.append(Daemon(tmp_path / f"daemon-{len(made)}", f"[mqtt]\n{mqtt}\n{SOURCE}"))
        return made[-1]

    yield write
    for daemon in made:
        daemon.end()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def answers(daemon: Daemon, port: int) -> None:
    """The daemon answers a reading, as seen by somebody on a plain listener of its broker."""
    bystander = Bystander(port)
    try:
        before = len(bystander.of("streamd/default/p1/score"))
        bystander.publish("plant/p1/telemetry", {"flow": 1.5})
        bystander.wait("streamd/default/p1/score", before + 1)
        bystander.wait("streamd/default/p1/forecast", before + 1)
    finally:
        bystander.close()
    assert daemon.stop() == 0


def test_without_a_broker_the_daemon_stays_up_says_why_it_is_not_ready_and_is_ready_when_the_broker_comes(
    mosquitto: Callable[..., Mosquitto], daemons: Callable[[str], Daemon]
) -> None:
    broker = mosquitto()  # once, so that it has a port
    broker.stop()
    daemon = daemons(f"port = {broker.port}\nreconnect_min_s = 0.05\nreconnect_max_s = 0.2").launch()
    daemon.wait_for("action=connect_failed")
    status, text = daemon.http("/readyz")
    assert status == 503
    assert f"no connection to the broker at 127.0.0.1:{broker.port}" in text
    assert daemon.http("/livez")[0] == 200
    assert daemon.metric("streamd_broker_connected") == 0
    broker.start()
    daemon.wait_until_ready()
    assert daemon.metric("streamd_broker_connected") == 1
    answers(daemon, broker.port)


def test_a_daemon_that_never_finds_its_broker_still_ends_in_good_order(daemons: Callable[[str], Daemon]) -> None:
    daemon = daemons(f"port = {free_port()}").launch()
    daemon.wait_for("action=connect_failed")
    assert daemon.stop() == 0


def test_readings_go_in_and_answers_out_over_tls_with_certificates_of_ones_own(
    mosquitto: Callable[..., Mosquitto], daemons: Callable[[str], Daemon], tmp_path: Path
) -> None:
    folder = make(tmp_path)
    plain = free_port()
    served = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    broker = mosquitto(tls=served, extra=["use_identity_as_username true", f"listener {plain} 127.0.0.1"])
    daemon = daemons(
        f"""port = {broker.port}
        [mqtt.tls]
        ca_file = "{folder}/ca.crt"
        cert_file = "{folder}/client.crt"
        key_file = "{folder}/client.key"
        """
    ).start()
    connected = [line for line in broker.log.splitlines() if "New client connected" in line]
    assert len(connected) == 1
    assert "as streamd (" in connected[0]
    assert "u'client'" in connected[0]  # the name in our certificate: TLS was spoken, and both ends were known
    answers(daemon, plain)


def test_a_daemon_with_somebody_elses_certificate_is_kept_out_and_says_so(
    mosquitto: Callable[..., Mosquitto], daemons: Callable[[str], Daemon], tmp_path: Path
) -> None:
    folder = make(tmp_path)
    served = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    broker = mosquitto(tls=served)
    daemon = daemons(
        f"""port = {broker.port}
        [mqtt.tls]
        ca_file = "{folder}/ca.crt"
        cert_file = "{folder}/stranger.crt"
        key_file = "{folder}/stranger.key"
        """
    ).launch()
    daemon.wait_for("action=connect_failed")
    assert daemon.http("/readyz")[0] == 503
    assert daemon.stop() == 0
