"""The link against a real mosquitto: what only a broker can show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamd import metrics
from streamd.config import Mqtt, Tls
from streamd.edge.inbox import Incoming
from streamd.edge.mqtt import Link
from tests.broker.certificates import make
from tests.broker.mosquitto import Certificates, Mosquitto
from tests.broker.peers import LIMIT_S, Ear, Peer, Wire, ear

Start = Callable[..., Mosquitto]
STATUS = "streamd/status"


def settings(port: int, **others: Any) -> Mqtt:
    return Mqtt(**{"port": port, "reconnect_min_s": 0.01, "reconnect_max_s": 0.05, **others})


def a_link(mqtt: Mqtt, *filters: str, known: tuple[str, ...] = ()) -> Link:
    wanted = filters or ("in/#",)
    return Link(mqtt, wanted, birth=b"online", will=b"offline", status_topic=STATUS, known_filters=known)


@asynccontextmanager
async def running(mqtt: Mqtt, *filters: str, known: tuple[str, ...] = ()) -> AsyncIterator[tuple[Link, Ear]]:
    """A link that runs; at the end it dies without a goodbye unless the test has closed it."""
    with ear() as heard:
        link = a_link(mqtt, *filters, known=known)
        async with asyncio.timeout(3 * LIMIT_S), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(link.run(), name="link")
            yield link, heard
            task.cancel()


async def receive(link: Link, count: int) -> list[Incoming]:
    messages: list[Incoming] = []
    while len(messages) < count:
        messages += await link.receive()
    return messages


def payloads(messages: list[Incoming]) -> list[str]:
    return [message.payload.decode() for message in messages]


async def passed(link: Link, peer: Peer, mark: str) -> None:
    """Until the broker has what the link sent so far: packets keep their order."""
    link.publish("mark", mark.encode(), kind="forecast")
    while await peer.sees() != ("mark", mark):
        pass


def acknowledged(broker: Mosquitto, client: str = "streamd") -> list[int]:
    """Packet ids in the order in which the broker got their acknowledgements."""
    lines = [line for line in broker.log.splitlines() if f"Received PUBACK from {client} " in line]
    return [int(line.split("Mid: ")[1].split(",")[0]) for line in lines]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def count(name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_messages_arrive_in_order_and_are_acknowledged_in_order_once_all_before_them_are_done(
    mosquitto: Start, protocol: str
) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "mark") as peer:
            async with running(settings(broker.port, protocol=protocol)) as (link, heard):
                assert f"protocol={protocol} session=new" in await heard.hears("action=connected")
                await passed(link, peer, "subscribed")
                peer.publish("in/a", "0", "1", "2", "3")
                messages = await receive(link, 4)
                assert payloads(messages) == ["0", "1", "2", "3"]
                assert {message.qos for message in messages} == {1}
                for message in reversed(messages[1:]):
                    link.done(message.ticket)
                await passed(link, peer, "nothing acknowledged")
                assert acknowledged(broker) == []
                link.done(messages[0].ticket)
                await passed(link, peer, "all acknowledged")
                await asyncio.to_thread(broker.wait_for_log, "Received PUBACK from streamd", 4)
                assert acknowledged(broker) == [1, 2, 3, 4]

    run(body())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_was_not_done_comes_again_in_order_to_the_next_run(mosquitto: Start, protocol: str) -> None:
    async def body() -> None:
        broker = mosquitto()
        mqtt = settings(broker.port, protocol=protocol)
        with Peer(broker.port, "mark") as peer:
            async with running(mqtt) as (link, _):
                await online(link, peer)
                peer.publish("in/a", "0", "1", "2", "3", "4")
                messages = await receive(link, 5)
                for message in (*messages[:2], messages[3]):
                    link.done(message.ticket)
                await passed(link, peer, "two acknowledged")
            peer.publish("in/a", "5")
            async with running(mqtt) as (link, heard):
                assert "session=resumed" in await heard.hears("action=connected")
                assert payloads(await receive(link, 4)) == ["2", "3", "4", "5"]

    run(body())


async def online(link: Link, peer: Peer) -> None:
    """Until the link is connected, and its subscriptions with it."""
    await passed(link, peer, "online")


def test_what_is_sent_again_while_it_is_dealt_with_comes_once_and_is_acknowledged_when_it_is_done(
    mosquitto: Start,
) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "mark") as peer:
            async with Wire(broker.port) as wire, running(settings(wire.port)) as (link, heard):
                await online(link, peer)
                peer.publish("in/a", "0", "1")
                first, second = await receive(link, 2)
                await wire.cut()
                await heard.hears("action=disconnected")
                link.done(second.ticket)
                peer.publish("in/a", "2")
                await wire.mend()
                assert "session=resumed" in await heard.hears("action=connected")
                (third,) = await receive(link, 1)
                assert third.payload == b"2"
                link.done(third.ticket)
                await passed(link, peer, "the first is not done")
                assert acknowledged(broker) == []
                link.done(first.ticket)
                await passed(link, peer, "all are done")
                assert acknowledged(broker) == [1, 2, 3]

    run(body())


def test_what_was_not_fetched_when_the_connection_broke_comes_once(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "mark") as peer:
            async with Wire(broker.port) as wire, running(settings(wire.port)) as (link, heard):
                await online(link, peer)
                peer.publish("in/a", "0", "1", "2")
                await passed(link, peer, "they have arrived")
                await wire.cut()
                await heard.hears("action=disconnected")
                fetching = asyncio.create_task(link.receive(), name="fetch while there is no connection")
                await wire.mend()
                assert "redelivered=3" in await heard.hears("action=connected")
                messages = await fetching
                assert messages, "an empty list would mean that the link was stopped"
                messages += await receive(link, 3 - len(messages))
                for message in messages:
                    link.done(message.ticket)
                peer.publish("in/a", "3")
                assert payloads(messages + await receive(link, 1)) == ["0", "1", "2", "3"]

    run(body())


def test_the_status_is_online_after_connecting_and_offline_when_the_daemon_dies(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, STATUS) as peer:
            async with running(settings(broker.port)):
                assert await peer.sees() == (STATUS, "online")
            assert await peer.sees() == (STATUS, "offline")
            async with running(settings(broker.port)):
                assert await peer.sees() == (STATUS, "online")
        with Peer(broker.port, STATUS) as late:
            assert await late.sees() == (STATUS, "offline"), "it is retained"

    run(body())


def test_closing_sends_what_is_left_says_offline_and_goodbye_and_leaves_the_session(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        mqtt = settings(broker.port)
        with Peer(broker.port, STATUS, "out/#", "mark") as peer:
            async with running(mqtt) as (link, heard):
                await online(link, peer)
                peer.publish("in/a", "0")
                (message,) = await receive(link, 1)
                link.stop_receiving()
                assert await link.receive() == []
                peer.publish("in/a", "1")
                for n in range(200):
                    link.publish("out/forecast", str(n).encode(), kind="forecast")
                link.publish("out/incident", b"raised", qos=1, droppable=False, kind="incident")
                link.done(message.ticket)
                await link.close(LIMIT_S)
                assert "goodbye" in await heard.hears("action=disconnected")
            seen = [await peer.sees() for _ in range(202)]
            assert seen[0] == ("out/incident", "raised")
            assert [payload for _, payload in seen[1:201]] == [str(n) for n in range(200)]
            assert seen[201] == (STATUS, "offline")
            await asyncio.to_thread(broker.wait_for_log, "Received DISCONNECT from streamd")
            async with running(mqtt) as (link, _):
                assert payloads(await receive(link, 1)) == ["1"]

    run(body())


def test_closing_in_time_though_the_broker_hangs(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "mark") as peer:
            async with running(settings(broker.port)) as (link, heard):
                await online(link, peer)
                broker.pause()
                link.publish("out/incident", b"raised", qos=1, droppable=False, kind="incident")
                begun = asyncio.get_running_loop().time()
                await link.close(0.1)
                assert 0.1 <= asyncio.get_running_loop().time() - begun < LIMIT_S / 2
                assert "unsent=1" in await heard.hears("action=close_timeout")
                broker.go_on()

    run(body())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_it_subscribes_anew_when_the_broker_has_lost_the_session(mosquitto: Start, protocol: str) -> None:
    async def body() -> None:
        broker = mosquitto()
        async with running(settings(broker.port, protocol=protocol)) as (link, heard):
            with Peer(broker.port, "mark") as peer:
                await online(link, peer)
            broker.stop()
            await heard.hears("action=disconnected")
            assert not link.connected
            assert count("streamd_broker_connected") == 0
            broker.start()
            assert "session=new" in await heard.hears("action=connected")
            assert count("streamd_broker_connected") == 1
            with Peer(broker.port, "mark") as peer:
                await passed(link, peer, "subscribed")
                peer.publish("in/a", "0")
                assert payloads(await receive(link, 1)) == ["0"]

    run(body())


def test_messages_received_before_a_broker_forgot_them_are_not_lost(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        async with running(settings(broker.port)) as (link, heard):
            with Peer(broker.port, "mark") as peer:
                await online(link, peer)
                peer.publish("in/a", "0", "1")
                await passed(link, peer, "they have arrived")
            broker.kill()
            await heard.hears("action=disconnected")
            broker.start()
            assert "session=new" in await heard.hears("action=connected")
            messages = await receive(link, 2)
            assert payloads(messages) == ["0", "1"]
            for message in messages:
                link.done(message.ticket)
            assert acknowledged(broker) == []

    run(body())


def test_after_a_restart_of_the_broker_the_session_goes_on_from_its_disk(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto(persistence=True)
        async with Wire(broker.port) as wire, running(settings(wire.port)) as (link, heard):
            with Peer(broker.port, "mark") as peer:
                await online(link, peer)
                await wire.cut()
                await heard.hears("action=disconnected")
                peer.publish("in/a", "0", "1")
            broker.stop()
            broker.start()
            await wire.mend()
            assert "session=resumed" in await heard.hears("action=connected")
            assert payloads(await receive(link, 2)) == ["0", "1"]

    run(body())


def test_a_qos_1_message_on_its_way_when_the_broker_dies_is_sent_again(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        async with running(settings(broker.port)) as (link, heard):
            with Peer(broker.port, "mark") as peer:
                await online(link, peer)
            broker.pause()
            for n in range(50):
                link.publish(f"out/incident/{n}", b"raised", qos=1, retain=True, droppable=False, kind="incident")
            broker.kill()
            await heard.hears("action=disconnected")
            broker.start()
            await heard.hears("action=connected")
            with Peer(broker.port, "out/#", "mark") as peer:
                seen = {(await peer.sees())[0] for _ in range(50)}
                assert seen == {f"out/incident/{n}" for n in range(50)}

    run(body())


def test_while_the_broker_is_away_forecasts_are_coalesced_and_incidents_kept(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "out/#") as peer:
            async with Wire(broker.port) as wire, running(settings(wire.port)) as (link, heard):
                await heard.hears("action=connected")
                await wire.cut()
                await heard.hears("action=disconnected")
                before = count("streamd_dropped_total", queue="outbox", reason="coalesced")
                for n in range(1000):
                    link.publish(f"out/forecast/{n % 2}", str(n).encode(), kind="forecast")
                    if n % 100 == 0:
                        link.publish("out/incident", str(n).encode(), qos=1, droppable=False, kind="incident")
                assert count("streamd_dropped_total", queue="outbox", reason="coalesced") == before + 998
                assert count("streamd_queue_length", queue="outbox") == 12
                await wire.mend()
                seen = [await peer.sees() for _ in range(12)]
                assert seen[:10] == [("out/incident", str(n)) for n in range(0, 1000, 100)]
                assert seen[10:] == [("out/forecast/0", "998"), ("out/forecast/1", "999")]

    run(body())


def test_a_broker_that_is_down_at_the_start_is_tried_until_it_is_there(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        broker.stop()
        async with running(settings(broker.port)) as (link, heard):
            for _ in range(3):
                assert "result=unreachable" in await heard.hears("action=connect_failed")
            assert not link.connected
            broker.start()
            await heard.hears("action=connected")

    run(body())


def test_subscriptions_of_former_runs_are_taken_back(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        mqtt = settings(broker.port)
        with Peer(broker.port, "mark") as peer:
            async with running(mqtt, "old/#", "both/#") as (link, _):
                await online(link, peer)
            async with running(mqtt, "new/#", "both/#", known=("old/#", "both/#")) as (link, _):
                await online(link, peer)
                for topic in ("old/a", "both/a", "new/a"):
                    peer.publish(topic, "x")
                messages = await receive(link, 2)
                assert [message.topic for message in messages] == ["both/a", "new/a"]

    run(body())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_retained_messages_come_once_and_not_after_each_reconnect(mosquitto: Start, protocol: str) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "mark") as peer:
            peer.publish("in/kept", "old", retain=True)
            async with Wire(broker.port) as wire, running(settings(wire.port, protocol=protocol)) as (link, heard):
                await heard.hears("action=connected")
                (message,) = await receive(link, 1)
                assert message.retain
                link.done(message.ticket)
                await passed(link, peer, "acknowledged")
                await wire.cut()
                await heard.hears("action=disconnected")
                await wire.mend()
                await heard.hears("action=connected")
                await passed(link, peer, "subscribed")
                peer.publish("in/a", "new")
                assert payloads(await receive(link, 1)) == ["new"]

    run(body())


def test_ten_thousand_messages_come_through_in_order(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto(extra=["max_queued_messages 0"])
        with Peer(broker.port, "mark") as peer:
            async with running(settings(broker.port)) as (link, _):
                await online(link, peer)
                sending = asyncio.create_task(
                    asyncio.to_thread(peer.publish, "in/a", *(str(n) for n in range(10_000))), name="device"
                )
                received: list[str] = []
                while len(received) < 10_000:
                    messages = await link.receive()
                    received += payloads(messages)
                    for message in messages:
                        link.publish("out/a", message.payload, kind="forecast")
                        link.done(message.ticket)
                await sending
                assert received == [str(n) for n in range(10_000)]

    run(body())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("certificates"))


def served(folder: Path) -> Certificates:
    return Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")


def tls(folder: Path, client: str = "client", authority: str = "ca") -> Tls:
    def at(name: str) -> str:
        return str(folder / name)

    return Tls(ca_file=at(f"{authority}.crt"), cert_file=at(f"{client}.crt"), key_file=at(f"{client}.key"))


def test_tls_with_an_authority_of_ones_own_and_a_client_certificate(mosquitto: Start, certificates: Path) -> None:
    async def body() -> None:
        broker = mosquitto(tls=served(certificates), extra=["max_queued_messages 0"])
        mqtt = settings(broker.port, tls=tls(certificates))
        async with running(mqtt) as (link, heard):
            await heard.hears("action=connected")
            for n in range(500):
                link.publish("in/loop", b"x" * n, qos=n % 2, droppable=False, kind="forecast")
            messages = await receive(link, 500)
            assert sorted(len(message.payload) for message in messages) == list(range(500))
            await link.close(LIMIT_S)

    run(body())


def test_a_client_certificate_of_another_authority_is_no_way_in(mosquitto: Start, certificates: Path) -> None:
    async def body() -> None:
        broker = mosquitto(tls=served(certificates))
        async with running(settings(broker.port, tls=tls(certificates, client="stranger"))) as (link, heard):
            await heard.hears("action=connect_failed")
            assert not link.connected

    run(body())


def test_a_server_of_an_unknown_authority_is_not_spoken_to(mosquitto: Start, certificates: Path) -> None:
    async def body() -> None:
        broker = mosquitto(tls=served(certificates))
        async with running(settings(broker.port, tls=tls(certificates, authority="other-ca"))) as (_, heard):
            assert "result=server_certificate" in await heard.hears("action=connect_failed")
        assert "CONNACK" not in broker.log

    run(body())


def test_certificate_files_that_are_missing_do_not_end_the_daemon(mosquitto: Start, tmp_path: Path) -> None:
    async def body() -> None:
        missing = Tls(ca_file=str(tmp_path / "nowhere.crt"))
        async with running(settings(mosquitto().port, tls=missing)) as (_, heard):
            assert "result=tls" in await heard.hears("action=connect_failed")

    run(body())


def test_a_wrong_password_is_tried_seldom_and_a_rotated_one_is_found(mosquitto: Start, tmp_path: Path) -> None:
    async def body() -> None:
        broker = mosquitto(passwords={"ada": "right secret"})
        secret = tmp_path / "password"
        secret.write_text("wrong secret\n")
        mqtt = settings(broker.port, username="ada", password_file=str(secret), reconnect_max_s=0.4)
        async with running(mqtt) as (_, heard):
            line = await heard.hears("action=connect_failed")
            assert "result=refused" in line
            assert "secret" not in line
            assert float(line.split("retry_s=")[1]) >= 0.2
            secret.write_text("right secret\n")
            await heard.hears("action=connected")

    run(body())


def test_a_password_file_that_is_missing_is_told_and_waited_for(mosquitto: Start, tmp_path: Path) -> None:
    async def body() -> None:
        broker = mosquitto(passwords={"ada": "right secret"})
        secret = tmp_path / "password"
        async with running(settings(broker.port, username="ada", password_file=str(secret))) as (_, heard):
            assert "result=secret" in await heard.hears("action=connect_failed")
            secret.write_text("right secret\n")
            await heard.hears("action=connected")

    run(body())


def test_a_request_brings_its_reply_address_and_the_reply_its_correlation(mosquitto: Start) -> None:
    async def body() -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        broker = mosquitto()
        replies: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        with Peer(broker.port, "mark", "reply/#") as peer:
            async with running(settings(broker.port)) as (link, _):
                await online(link, peer)
                peer.client.on_message = lambda _c, _d, message: loop.call_soon_threadsafe(replies.put_nowait, message)
                properties = Properties(PacketTypes.PUBLISH)
                properties.ResponseTopic = "reply/me"
                properties.CorrelationData = b"\x00\xff"
                peer.client.publish("in/command", b"do", 1, properties=properties)
                (request,) = await receive(link, 1)
                assert request.response_topic == "reply/me"
                link.publish("reply/me", b"done", qos=1, droppable=False, kind="reply", correlation=request.correlation)
                reply = await replies.get()
                assert (reply.payload, reply.properties.CorrelationData) == (b"done", b"\x00\xff")

    run(body())


# --- other topics and settings while it runs ---


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_topics_come_and_go_while_it_runs_and_those_that_stay_lose_nothing(mosquitto: Start, protocol: str) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "mark") as peer:
            async with running(settings(broker.port, protocol=protocol), "a/#", "b/#") as (link, _):
                await online(link, peer)
                peer.publish("a/1", "0")
                link.want(["b/#", "c/#"])
                peer.publish("b/1", "1")
                await passed(link, peer, "subscribed")
                peer.publish("a/1", "gone")
                peer.publish("c/1", "2")
                assert payloads(await receive(link, 3)) == ["0", "1", "2"]
                assert link.ready
                link.want(["a/#"])
                await passed(link, peer, "changed")
                peer.publish("c/1", "gone")
                peer.publish("a/1", "3")
                assert payloads(await receive(link, 1)) == ["3"]

    run(body())


def test_topics_that_were_changed_without_a_connection_are_those_of_the_next(mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "mark") as peer:
            async with Wire(broker.port) as wire, running(settings(wire.port), "a/#") as (link, heard):
                await online(link, peer)
                await wire.cut()
                await heard.hears("action=disconnected")
                link.want(["b/#"])
                await wire.mend()
                await heard.hears("action=connected")
                await passed(link, peer, "again")
                peer.publish("a/1", "gone")
                peer.publish("b/1", "0")
                assert payloads(await receive(link, 1)) == ["0"]

    run(body())


def never_refused(_: Mqtt, reason: str) -> None:
    raise AssertionError(reason)


def login(port: int, folder: Path, user: str, secret: str, **others: Any) -> Mqtt:
    """Settings with a password of their own file."""
    file = folder / f"{user} {secret}"
    file.write_text(secret)
    return settings(port, username=user, password_file=str(file), **others)


SELDOM = {"reconnect_min_s": 3600.0, "reconnect_max_s": 7200.0}


def test_another_login_is_used_at_once_and_what_was_not_acknowledged_comes_again(
    mosquitto: Start, tmp_path: Path
) -> None:
    async def body() -> None:
        broker = mosquitto(passwords={"ada": "right secret", "eve": "other secret"})
        with Peer(broker.port, "mark", login=("ada", "right secret")) as peer:
            async with running(login(broker.port, tmp_path, "ada", "right secret")) as (link, heard):
                await online(link, peer)
                peer.publish("in/a", "0")
                (message,) = await receive(link, 1)
                link.change(login(broker.port, tmp_path, "eve", "other secret"), never_refused)
                assert "goodbye" in await heard.hears("action=disconnected")
                assert "session=resumed" in await heard.hears("action=connected")
                await asyncio.to_thread(broker.wait_for_log, "u'eve'")
                link.done(message.ticket)
                peer.publish("in/a", "1")
                (other,) = await receive(link, 1)
                assert other.payload == b"1", "the first came again, and was known"
                link.done(other.ticket)
                await asyncio.to_thread(broker.wait_for_log, "Received PUBACK from streamd", 2)

    run(body())


def test_a_login_that_is_refused_is_told_and_the_one_before_is_used_again_at_once(
    mosquitto: Start, tmp_path: Path
) -> None:
    async def body() -> None:
        broker = mosquitto(passwords={"ada": "right secret"})
        right = login(broker.port, tmp_path, "ada", "right secret", **SELDOM)
        told: list[tuple[Mqtt, str]] = []
        async with running(right) as (link, heard):
            await heard.hears("action=connected")
            wrong = login(broker.port, tmp_path, "ada", "wrong secret", **SELDOM)
            link.change(wrong, lambda *refusal: told.append(refusal))
            assert "session=resumed" in await heard.hears("action=connected")
            assert [(former, "uthor" in reason) for former, reason in told] == [(right, True)]
            link.publish("in/a", b"0", qos=1, droppable=False, kind="reply")
            assert payloads(await receive(link, 1)) == ["0"]

    run(body())


def test_a_login_that_is_mended_is_tried_at_once_though_the_next_attempt_was_hours_away(
    mosquitto: Start, tmp_path: Path
) -> None:
    async def body() -> None:
        broker = mosquitto(passwords={"ada": "right secret"})
        async with running(login(broker.port, tmp_path, "ada", "wrong secret", **SELDOM)) as (link, heard):
            await heard.hears("action=connect_failed")
            link.change(login(broker.port, tmp_path, "ada", "right secret", **SELDOM), never_refused)
            await heard.hears("action=connected")
            assert link.connected

    run(body())
