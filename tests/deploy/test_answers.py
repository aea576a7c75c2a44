"""A real Prometheus on a running daemon: every panel and every rule is answered, with data where there is some."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.broker.daemon import SMALL, Bystander, Daemon, pumps
from tests.broker.mosquitto import Mosquitto

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
LIMIT_S = 60.0
STEP_S = 1.0  # between scrapes
MAY_BE_EMPTY = {
    "Refused and dropped": "a daemon that is well has none",
    "Incidents told in an hour": "the same",
    "Share of the day over the line": "asks at full minutes, and this daemon is younger",
}
NO_NUMBER_YET = {"Alarms over the promise"}  # until a stream is past its warm-up


class Prometheus:
    """The server, on a free port of loopback, with the shipped config but for the target and the interval."""

    def __init__(self, folder: Path, target: str) -> None:
        program = shutil.which("prometheus")
        assert program is not None, "prometheus is missing: apt install prometheus"
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{sock.getsockname()[1]}"
        folder.mkdir()
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": f"{STEP_S:.0f}s", "evaluation_interval": f"{STEP_S:.0f}s"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
        (folder / "prometheus.yml").write_text(json.dumps(config))
        shutil.copy(DEPLOY / "prometheus" / "alerts.yml", folder)
        arguments = [
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={self.address}",
        ]
        self._process = subprocess.Popen([program, *arguments], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "Server is ready" in line:
                return
        raise AssertionError("prometheus did not start")

    def get(self, path: str, **parameters: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            return json.load(answer)["data"]

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def wait_for(self, expression: str) -> None:
        """Until it gives something; asked again at each scrape."""
        until = time.monotonic() + LIMIT_S
        while not self.ask(expression):
            assert time.monotonic() < until, expression
            time.sleep(STEP_S)  # there is nothing to wait on: it is the server that polls

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(scope="module")
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """One that has seen a daemon take readings, train and save."""
    broker = Mosquitto(folder / "mosquitto").start()
    daemon = Daemon(
        folder / "daemon",
        pumps(broker.port, f"horizon_steps = 2\n{SMALL}", http="stream_series = 5"),
    )
    server = None
    bystander = None
    try:
        daemon.start()
        status, _ = daemon.http("/metrics")
        assert status == 200
        server = Prometheus(folder / "prometheus", f"127.0.0.1:{daemon.http_port}")
        bystander = Bystander(broker.port)
        for part in range(3):
            rows = [{"ts": 1_700_000_000.0 + n, "flow": float(n % 5)} for n in range(40 * part, 40 * part + 40)]
            bystander.publish_all("plant/p1/telemetry", rows)
            bystander.wait("streamd/pumps/p1/score", 40 * part + 40)
            server.wait_for(f'streamd_readings_total{{outcome="taken"}} >= {40 * part + 40}')
        assert bystander.command("checkpoint")["ok"]
        server.wait_for("increase(streamd_training_steps_total[1m]) > 0")
        server.wait_for('rate(streamd_published_total{kind="score"}[1m]) > 0')
        yield server
    finally:
        if bystander is not None:
            bystander.close()
        if server is not None:
            server.end()
        daemon.end()
        broker.stop()


def panels() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{path.stem}: {panel['title']}", panel)
        for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
        for panel in json.loads(path.read_text())["panels"]
    ]


@pytest.mark.parametrize("panel", [panel for _, panel in panels()], ids=[name for name, _ in panels()])
def test_every_panel_gets_data(panel: dict[str, Any], prometheus: Prometheus) -> None:
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "1m")
        for variable in ("instance", "group", "stream"):
            expression = expression.replace(f"${variable}", ".*")
        found = prometheus.ask(expression)
        assert found or panel["title"] in MAY_BE_EMPTY, expression
        if panel["type"] == "stat":
            assert len(found) <= 1, "a stat is one number"
        if panel["title"] not in NO_NUMBER_YET:
            assert all(math.isfinite(float(series["value"][1])) for series in found), expression


def test_every_rule_is_evaluated_and_a_daemon_that_is_well_sets_none_off(prometheus: Prometheus) -> None:
    rules = prometheus.get("rules")["groups"][0]["rules"]
    assert {rule["health"] for rule in rules} == {"ok"}
    assert {rule["name"]: rule["state"] for rule in rules if rule["state"] != "inactive"} == {}
