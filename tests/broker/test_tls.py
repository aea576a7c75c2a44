"""Certificates, passwords and rights against a real mosquitto: good ones work, each wrong one is told and retried."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streamd import metrics
from streamd.config import Mqtt, Tls
from streamd.edge.mqtt import Link
from tests.broker.certificates import issue, make
from tests.broker.daemon import Bystander, Daemon
from tests.broker.mosquitto import Certificates, Mosquitto, free_port
from tests.broker.peers import LIMIT_S, Ear, ear

Start = Callable[..., Mosquitto]

MIN_S, MAX_S = 0.05, 0.4
ATTEMPTS = 6
CALL = "onnection from 127.0.0.1"  # in one line for each, which begins as New or, where TLS failed early, as Client
RIGHT, WRONG = "the right words", "what somebody guessed"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With certificates and passwords."""
    made = make(tmp_path_factory.mktemp("credentials"))
    for name, text in (("right", RIGHT), ("wrong", WRONG)):
        (made / f"{name}.password").write_text(text + "\n")
    return made


@dataclass(frozen=True)
class Wrong:
    """A credential that is wrong, and the words that name what is wrong, where, and what to do."""

    result: str
    words: tuple[str, ...]
    server: str | None = "server"  # the broker's certificate; None: it speaks no TLS
    client: str | None = "client"
    authority: str | None = "ca"  # None: we speak no TLS
    username: str | None = None
    password: str | None = None
    passwords: dict[str, str] | None = None  # that the broker knows
    calls: int = 1  # to the broker, for each failure that is told


ALERT = "the broker does not accept our certificate, mqtt.tls.cert_file = "
CLOCK = "clock"
EACH_WRONG = {
    "a client certificate of another authority": Wrong(
        "client_certificate", (ALERT, "/stranger.crt", "unknown ca", "authority"), client="stranger"
    ),
    "an expired client certificate": Wrong(
        "client_certificate", (ALERT, "/expired.crt", "it is expired", CLOCK), client="expired"
    ),
    "a client certificate that is not valid yet": Wrong(
        "client_certificate", (ALERT, "/early.crt", "it is not yet valid", CLOCK), client="early"
    ),
    "no client certificate": Wrong(
        "client_certificate", ("the broker wants a client certificate", "mqtt.tls.cert_file"), client=None
    ),
    "a broker of another authority": Wrong(
        "server_certificate",
        ("the broker's certificate is not accepted", "mqtt.tls.ca_file", "/other-ca.crt"),
        authority="other-ca",
    ),
    "a broker whose certificate has expired": Wrong(
        "server_certificate", ("the broker's certificate", "has expired", "renew it", CLOCK), server="expired"
    ),
    "a broker whose certificate is not valid yet": Wrong(
        "server_certificate", ("the broker's certificate", "not yet valid", CLOCK), server="early"
    ),
    "a broker of another name": Wrong(
        "server_certificate", ("not valid for '127.0.0.1'", "mqtt.host = 127.0.0.1", "name"), server="elsewhere"
    ),
    "TLS to a port that speaks none": Wrong(
        "tls", ("broke in the TLS handshake", "does that port speak TLS?"), server=None
    ),
    "no TLS to a port that wants it": Wrong(
        "closed", ("want TLS?", "[mqtt.tls]"), authority=None, calls=2  # once more in 3.1.1, which may be the reason
    ),
    "a wrong password": Wrong(
        "refused",
        ("Not authorized", 'mqtt.username = "ada"', "mqtt.password_file = ", "/wrong.password"),
        username="ada",
        password="wrong",
        passwords={"ada": RIGHT},
    ),
    "a name that the broker does not know": Wrong(
        "refused", ('mqtt.username = "eve"',), username="eve", password="right", passwords={"ada": RIGHT}
    ),
    "no name where one is wanted": Wrong("refused", ("Not authorized", "mqtt.username"), passwords={"ada": RIGHT}),
}  # fmt: skip


class Jitter(random.Random):
    """Remembers the pauses that it gave."""

    def __init__(self) -> None:
        super().__init__(1)
        self.given: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.given.append(super().uniform(a, b))
        return self.given[-1]


def served(folder: Path, name: str | None) -> Certificates | None:
    return None if name is None else Certificates(folder / "ca.crt", folder / f"{name}.crt", folder / f"{name}.key")


def trusted(folder: Path, client: str | None = "client", authority: str = "ca") -> Tls:
    def at(name: str, kind: str) -> str:
        return str(folder / f"{name}.{kind}")

    own = {} if client is None else {"cert_file": at(client, "crt"), "key_file": at(client, "key")}
    return Tls(ca_file=at(authority, "crt"), **own)


@asynccontextmanager
async def running(mqtt: Mqtt, jitter: random.Random | None = None) -> AsyncIterator[tuple[Link, Ear]]:
    with ear() as heard:
        link = Link(mqtt, ["in/#"], birth=b"on", will=b"off", status_topic="streamd/status", random=jitter)
        async with asyncio.timeout(3 * LIMIT_S), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(link.run(), name="link")
            yield link, heard
            task.cancel()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def calls(broker: Mosquitto, at_least: int) -> int:
    """Connections that were made to the broker, by its own log; it may yet have to write that of the last."""
    await asyncio.to_thread(broker.wait_for_log, CALL, at_least)
    return sum(CALL in line for line in broker.log.splitlines())


def count(name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize("what", EACH_WRONG)
def test_each_wrong_credential_is_told_and_counted_and_tried_seldom(mosquitto: Start, folder: Path, what: str) -> None:
    wrong = EACH_WRONG[what]

    async def body() -> None:
        broker = mosquitto(tls=served(folder, wrong.server), passwords=wrong.passwords)
        tls = trusted(folder, wrong.client, wrong.authority) if wrong.authority is not None else None
        login = {} if wrong.username is None else {"username": wrong.username}
        if wrong.password is not None:
            login["password_file"] = str(folder / f"{wrong.password}.password")
        jitter = Jitter()
        mqtt = Mqtt(port=broker.port, tls=tls, reconnect_min_s=MIN_S, reconnect_max_s=MAX_S, **login)
        before = count("streamd_broker_connects_total", result=wrong.result)
        begun = asyncio.get_running_loop().time()
        async with running(mqtt, jitter) as (link, heard):
            lines = [await heard.hears("action=connect_failed") for _ in range(ATTEMPTS)]
            took = asyncio.get_running_loop().time() - begun
            counted = count("streamd_broker_connects_total", result=wrong.result) - before
            assert not link.connected
            (told,) = link.trouble
        assert counted == ATTEMPTS * wrong.calls
        assert await calls(broker, at_least=ATTEMPTS * wrong.calls) == ATTEMPTS * wrong.calls
        # each names what is wrong, where, and what to do; never a secret
        for line in (*lines, told):
            for word in wrong.words:
                assert word in line
            assert str(broker.port) in line
            assert RIGHT not in line
            assert WRONG not in line
        assert all(f"result={wrong.result} " in line for line in lines)
        # no storm: each pause was kept, none is shorter than the least, and no two are alike
        pauses = jitter.given[: ATTEMPTS - 1]
        assert took >= sum(pauses)
        assert min(pauses) >= (MAX_S / 2 if wrong.result == "refused" else MIN_S)
        assert len(set(pauses)) == len(pauses)

    run(body())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_good_client_certificate_is_a_way_in(mosquitto: Start, folder: Path, protocol: str) -> None:
    async def body() -> None:
        broker = mosquitto(tls=served(folder, "server"), extra=["use_identity_as_username true"])
        mqtt = Mqtt(port=broker.port, tls=trusted(folder), protocol=protocol)  # type: ignore[arg-type]
        async with running(mqtt) as (link, heard):
            await heard.hears("action=connected")
            link.publish("in/a", b"1", qos=1, droppable=False, kind="forecast")
            assert [message.payload for message in await link.receive()] == [b"1"]
            assert link.trouble == []
        assert "u'client'" in broker.log

    run(body())


def test_credentials_that_are_put_right_are_found_without_a_restart(
    mosquitto: Start, folder: Path, tmp_path: Path
) -> None:
    """A whole daemon: each wrong certificate in turn as the log, /readyz and the metrics tell it, and then the good."""

    def put(name: str) -> None:
        for kind in ("key", "crt"):
            shutil.copy(folder / f"{name}.{kind}", tmp_path / f"ours.{kind}.new")
            (tmp_path / f"ours.{kind}.new").rename(tmp_path / f"ours.{kind}")

    plain = free_port()
    broker = mosquitto(tls=served(folder, "server"), extra=[f"listener {plain} 127.0.0.1"])
    put("stranger")
    config = f"""
[mqtt]
port = {broker.port}
reconnect_min_s = 0.05
reconnect_max_s = 0.4
[mqtt.tls]
ca_file = "{folder}/ca.crt"
cert_file = "{tmp_path}/ours.crt"
key_file = "{tmp_path}/ours.key"
[http]
port = 0
[[source]]
topic = "plant/{{stream}}/telemetry"
[group.default]
network = {{ hidden = 8, layers = 1 }}
"""
    daemon = Daemon(tmp_path / "daemon", config).launch()
    bystander = Bystander(plain)
    try:
        for name, words in (("stranger", "unknown ca"), ("expired", "it is expired"), ("early", "it is not yet valid")):
            put(name)
            line = daemon.wait_for(words)
            assert "action=connect_failed" in line
            assert "result=client_certificate" in line
            status, text = daemon.http("/readyz")
            assert status == 503
            (reason,) = json.loads(text)["reasons"]
            assert reason.startswith(
                f"no connection to the broker at 127.0.0.1:{broker.port}: the broker does not accept"
            )
            assert f"{tmp_path}/ours.crt" in reason
        assert daemon.metric('streamd_broker_connects_total{result="client_certificate"}') >= 3
        assert daemon.metric("streamd_broker_connected") == 0
        put("client")
        daemon.wait_until_ready()
        bystander.publish("plant/p1/telemetry", {"flow": 1.5})
        bystander.wait("streamd/default/p1/score", 1)
        assert daemon.stop() == 0
    finally:
        bystander.close()
        daemon.end()


# --- rights ---


def test_a_broker_that_lets_us_publish_nothing_is_told_on_readyz(
    mosquitto: Start, folder: Path, tmp_path: Path
) -> None:
    """Mosquitto's acl_file says so of what is published; a subscription it grants, and then sends nothing."""

    async def body() -> None:
        rights = tmp_path / "acl"
        rights.write_text("user ada\ntopic read in/#\n")
        broker = mosquitto(passwords={"ada": RIGHT}, extra=[f"acl_file {rights}"])
        mqtt = Mqtt(port=broker.port, username="ada", password_file=str(folder / "right.password"))
        before = count("streamd_dropped_total", queue="outbox", reason="refused")
        async with running(mqtt) as (link, heard):
            await heard.hears("action=publish_refused")
            (told,) = link.trouble
            for word in ("does not let us publish on streamd/status", "Not authorized", 'user "ada"', "acl_file"):
                assert word in told
            assert count("streamd_dropped_total", queue="outbox", reason="refused") == before + 1
            rights.write_text("user ada\ntopic readwrite #\n")
            broker.reload()
            link.publish("streamd/status", b"on", qos=1, retain=True, droppable=False, kind="status")
            link.publish("in/a", b"here", kind="forecast")
            assert [message.payload for message in await link.receive()] == [b"here"]
            assert link.trouble == []

    run(body())


class Rights:
    """The rights in Mosquitto's plugin for dynamic security, which refuses subscriptions, too."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "rights.json"
        self.subscribe(allowed=False)
        library = next(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"))
        self.lines = ["per_listener_settings false", f"plugin {library}", f"plugin_opt_config_file {self.file}"]

    def subscribe(self, *, allowed: bool) -> None:
        salt, iterations = b"twelve bytes", 101
        digest = hashlib.pbkdf2_hmac("sha512", RIGHT.encode(), salt, iterations)
        acls = [
            {"acltype": kind, "topic": "#", "allow": allowed if kind == "subscribePattern" else True}
            for kind in ("publishClientSend", "publishClientReceive", "subscribePattern")
        ]
        secret = {"password": base64.b64encode(digest).decode(), "salt": base64.b64encode(salt).decode()}
        client = {"username": "ada", **secret, "iterations": iterations, "roles": [{"rolename": "all"}]}
        self.file.write_text(json.dumps({"clients": [client], "roles": [{"rolename": "all", "acls": acls}]}))


def test_a_broker_that_refuses_a_subscription_is_told_and_asked_again(
    mosquitto: Start, folder: Path, tmp_path: Path
) -> None:
    async def body() -> None:
        rights = Rights(tmp_path)
        broker = mosquitto(extra=rights.lines)
        mqtt = Mqtt(
            port=broker.port,
            username="ada",
            password_file=str(folder / "right.password"),
            reconnect_min_s=MIN_S,
            reconnect_max_s=MAX_S,
        )
        async with running(mqtt) as (link, heard):
            for _ in range(2):
                line = await heard.hears("action=subscription_refused")
                assert "filter='in/#' reason='Not authorized'" in line
                assert 'user "ada"' in line
            assert count("streamd_broker_refused_filters") == 1
            (told,) = link.trouble
            assert "does not let us read in/#: Not authorized" in told
            assert link.connected
            assert not link.ready
            broker.stop()
            rights.subscribe(allowed=True)
            broker.start()
            await heard.hears("action=connected")
            link.publish("in/a", b"here", qos=1, droppable=False, kind="forecast")
            assert [message.payload for message in await link.receive()] == [b"here"]
            assert link.trouble == []
            assert count("streamd_broker_refused_filters") == 0

    run(body())


def test_a_broker_whose_certificate_is_renewed_is_connected_to_again(
    mosquitto: Start, folder: Path, tmp_path: Path
) -> None:
    async def body() -> None:
        for name in ("ca.crt", "ca.key"):
            shutil.copy(folder / name, tmp_path / name)
        for kind in ("key", "crt"):
            shutil.copy(folder / f"expired.{kind}", tmp_path / f"server.{kind}")
        broker = mosquitto(tls=served(tmp_path, "server"))
        mqtt = Mqtt(port=broker.port, tls=trusted(folder), reconnect_min_s=MIN_S, reconnect_max_s=MAX_S)
        async with running(mqtt) as (link, heard):
            assert "has expired" in await heard.hears("action=connect_failed")
            issue(tmp_path, "server")
            broker.reload()
            await heard.hears("action=connected")
            link.publish("in/a", b"here", qos=1, droppable=False, kind="forecast")
            assert [message.payload for message in await link.receive()] == [b"here"]
            assert link.trouble == []

    run(body())
