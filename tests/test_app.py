"""The daemon in this process, against a real mosquitto: how the parts are put together, begun and ended."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamd import metrics
from streamd.app import App
from streamd.config import Config, ConfigError, parse
from streamd.edge.web import WebError
from streamd.store import checkpoint, lock
from streamd.store.checkpoint import Checkpoint
from streamd.store.journal import Journal, JournalError
from streamd.store.lock import StateLocked
from streamd.worker import Worker
from tests.broker.mosquitto import Mosquitto
from tests.broker.peers import Peer, ear

Start = Callable[..., Mosquitto]

LIMIT_S = 30.0  # only a broken test waits so long
NOBODY = 1  # a port where no broker listens
NOW = 1_700_000_000.0


def config(folder: Path, port: int = NOBODY, *, hidden: int = 8, state: str = "", source: str = "plant") -> Config:
    return parse(
        f"""
        [mqtt]
        port = {port}
        reconnect_min_s = 0.01
        reconnect_max_s = 0.05
        [http]
        port = 0
        [state]
        {state}
        [[source]]
        topic = "{source}/{{stream}}/telemetry"
        group = "pumps"
        time = "ts"
        [group.pumps]
        horizon_steps = 2
        network = {{ hidden = {hidden}, layers = 1 }}
        training = {{ enabled = false }}
        """,
        folder / "streamd.toml",
    )


@asynccontextmanager
async def running(settings: Config) -> AsyncIterator[App]:
    """The daemon, stopped in good order at the end."""
    app = App(settings)
    task = asyncio.create_task(app.run())
    started = asyncio.create_task(app.started.wait())
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    try:
        yield app
    finally:
        app.stop()
        await task


@asynccontextmanager
async def online(settings: Config, peer: Peer) -> AsyncIterator[App]:
    """The daemon, once the broker has its subscriptions."""
    async with running(settings) as app:
        while (await told(peer, "streamd/status"))["state"] != "online":
            pass
        yield app


async def told(peer: Peer, topic: str) -> dict[str, Any]:
    """What comes next on a topic; what comes on others before it is forgotten."""
    while True:
        seen, payload = await peer.sees()
        if seen == topic and payload:
            found = json.loads(payload)
            assert isinstance(found, dict)
            return found


async def score(peer: Peer) -> dict[str, Any]:
    return await told(peer, "streamd/pumps/p1/score")


async def seq_of(peer: Peer, number: int) -> object:
    """What a reading was counted as; scores of readings before it may come once more after a restart."""
    while True:
        payload = await score(peer)
        if payload["epoch"] == NOW + number:
            return payload["seq"]


def publish(peer: Peer, *numbers: int) -> None:
    peer.publish("plant/p1/telemetry", *(json.dumps({"ts": NOW + n, "flow": n % 5}) for n in numbers))


async def ask(peer: Peer, verb: str, payload: str = "{}") -> dict[str, Any]:
    """The answer to a command."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "streamd/answers"
    peer.client.publish(f"streamd/command/{verb}", payload, 1, properties=properties)
    return await told(peer, "streamd/answers")


async def page(app: App, path: str) -> tuple[int, str]:
    def fetch() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{app.http_port}{path}", timeout=LIMIT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(fetch)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, LIMIT_S))


def count(name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"streamd_{name}", labels) or 0.0


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "state").glob("checkpoint-*"))


# --- what keeps it from beginning ---


def test_without_a_source_there_is_nothing_to_do() -> None:
    with pytest.raises(ConfigError, match="source: expected at least one"):
        App(Config())


def test_a_topic_template_that_can_not_be_read_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source\.topic: .*machine"):
        App(config(tmp_path, source="{machine}"))


def test_a_state_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    async def body() -> None:
        with lock.hold(tmp_path / "state"):
            with pytest.raises(StateLocked):
                await App(config(tmp_path)).run()
            assert [path.name for path in (tmp_path / "state").iterdir()] == ["lock"]

    run(body())


def test_a_port_that_is_taken_ends_it_and_frees_the_state_folder(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(config(tmp_path / "one")) as first:
            http = f"[http]\nport = {first.http_port}\n"
            settings = parse(f'{http}[[source]]\ntopic = "a/{{stream}}"\n', tmp_path / "two" / "streamd.toml")
            with pytest.raises(WebError):
                await App(settings).run()
        with lock.hold(tmp_path / "two" / "state"):
            pass

    run(body())


def test_a_state_that_can_not_be_read_is_told_and_kept(tmp_path: Path) -> None:
    async def body() -> None:
        (tmp_path / "state").mkdir()
        meta = {"groups": {"pumps": {}}, "settings": {"pumps": {}}, "filters": [], "marks": [], "unsent": []}
        path = checkpoint.save(tmp_path / "state", Checkpoint(5, {}, meta), 3, created=NOW)
        content = path.read_bytes()
        with pytest.raises(ConfigError, match="group pumps"):
            await App(config(tmp_path)).run()
        assert path.read_bytes() == content

    run(body())


def test_stopped_before_it_began_it_leaves_without_calling_the_broker(tmp_path: Path, mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        app = App(config(tmp_path, broker.port))
        app.stop()
        await app.run()
        assert "New connection" not in broker.log
        assert not app.started.is_set()

    run(body())


# --- what is kept from run to run ---


@pytest.mark.parametrize("durability", ["journal", "checkpoint"])
def test_the_next_run_goes_on_where_the_last_one_stopped(tmp_path: Path, mosquitto: Start, durability: str) -> None:
    async def body() -> None:
        broker = mosquitto()
        settings = config(tmp_path, broker.port, state=f'durability = "{durability}"')
        with Peer(broker.port, "streamd/#") as peer:
            async with online(settings, peer):
                publish(peer, 0, 1, 2)
                assert [(await score(peer))["seq"] for _ in range(3)] == [0, 1, 2]
            publish(peer, 3)  # kept by the broker's session meanwhile
            async with online(settings, peer):
                assert await seq_of(peer, 3) == 3
                assert count("streams", group="pumps") == 1

    run(body())


def test_readings_that_come_while_it_stops_are_all_answered_in_one_run_or_the_other(
    tmp_path: Path, mosquitto: Start
) -> None:
    async def body() -> None:
        broker = mosquitto()
        settings = config(tmp_path, broker.port)
        with Peer(broker.port, "streamd/#") as peer, Peer(broker.port, "streamd/pumps/p1/score") as listener:
            async with online(settings, peer):
                publish(peer, *range(300))
            async with online(settings, peer):
                publish(peer, 300)
                seqs = []
                while 300 not in seqs:
                    seqs.append((await score(listener))["seq"])
        assert sorted(set(seqs)) == list(range(301))

    run(body())


def test_a_checkpoint_is_written_only_when_something_happened_since_the_last(tmp_path: Path, mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        settings = config(tmp_path, broker.port)
        with Peer(broker.port, "streamd/#") as peer:
            async with online(settings, peer):
                publish(peer, 0)
                await score(peer)
            before = checkpoints(tmp_path)
            written = count("checkpoints_total", result="written")
            async with online(settings, peer):
                assert (await ask(peer, "checkpoint"))["ok"]
            assert checkpoints(tmp_path) == before
            assert count("checkpoints_total", result="written") == written
            async with online(settings, peer):
                publish(peer, 1)
                await seq_of(peer, 1)
                assert (await ask(peer, "checkpoint"))["ok"]
                assert len(checkpoints(tmp_path)) == len(before) + 1

    run(body())


@pytest.mark.parametrize(("durability", "goes_on_at"), [("journal", 4), ("checkpoint", 2)])
def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_is_used(
    tmp_path: Path, mosquitto: Start, durability: str, goes_on_at: int
) -> None:
    async def body() -> None:
        broker = mosquitto()
        settings = config(tmp_path, broker.port, state=f'durability = "{durability}"')
        quarantined = count("checkpoints_total", result="quarantined")
        with Peer(broker.port, "streamd/#") as peer:
            for first in (0, 2):
                async with online(settings, peer):
                    publish(peer, first, first + 1)
                    assert [await seq_of(peer, n) for n in (first, first + 1)] == [first, first + 1]
            newest = tmp_path / "state" / checkpoints(tmp_path)[-1]
            content = bytearray(newest.read_bytes())
            content[len(content) // 2] ^= 1
            newest.write_bytes(content)
            async with online(settings, peer):
                publish(peer, 4)
                assert await seq_of(peer, 4) == goes_on_at  # the journal knows what the lost one knew
        assert count("checkpoints_total", result="quarantined") == quarantined + 1
        assert (tmp_path / "state" / "quarantine" / newest.name).read_bytes() == content

    run(body())


def test_a_network_of_another_shape_begins_anew_and_says_so_and_the_streams_go_on(
    tmp_path: Path, mosquitto: Start
) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "streamd/#") as peer:
            async with online(config(tmp_path, broker.port), peer):
                publish(peer, 0, 1)
                await score(peer)
                await score(peer)
            with ear("streamd.recovery") as heard:
                async with online(config(tmp_path, broker.port, hidden=12), peer):
                    assert "group=pumps" in await heard.hears("action=refit")
                    publish(peer, 2)
                    assert await seq_of(peer, 2) == 2

    run(body())


def test_incidents_that_had_not_gone_out_are_published_by_the_next_run(tmp_path: Path, mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        settings = config(tmp_path, broker.port)
        with Peer(broker.port, "streamd/#") as peer:
            async with online(settings, peer):
                publish(peer, 0)
                await score(peer)
            kept = checkpoint.load_newest(tmp_path / "state").checkpoint
            assert kept is not None
            kept.meta["unsent"] = [["streamd/pumps/p1/incident", '{"id": "p1-0"}', True, 1]]
            checkpoint.save(tmp_path / "state", kept, 3, created=NOW)
            async with online(settings, peer):
                assert (await told(peer, "streamd/pumps/p1/incident"))["id"] == "p1-0"
        with Peer(broker.port, "streamd/+/+/incident") as late:
            assert await late.sees() == ("streamd/pumps/p1/incident", '{"id": "p1-0"}')  # it was retained

    run(body())


def test_topics_that_are_not_configured_any_more_are_given_up(tmp_path: Path, mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "streamd/#") as peer:
            async with online(config(tmp_path, broker.port), peer):
                pass
            async with online(config(tmp_path, broker.port, source="works"), peer):
                await asyncio.to_thread(broker.wait_for_log, "Received UNSUBSCRIBE")
                received = count("messages_total")
                publish(peer, 0)
                assert (await ask(peer, "status"))["ok"]
                assert count("messages_total") == received + 1

    run(body())


# --- while it runs ---


def test_it_is_alive_but_not_ready_while_there_is_no_broker(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(config(tmp_path)) as app:
            assert (await page(app, "/livez"))[0] == 200
            status, text = await page(app, "/readyz")
            assert status == 503
            assert f"no connection to the broker at 127.0.0.1:{NOBODY}" in text

    run(body())


def test_what_can_not_be_used_is_counted_by_reason_and_the_next_reading_is_answered(
    tmp_path: Path, mosquitto: Start
) -> None:
    async def body() -> None:
        broker = mosquitto()
        bad = {"not_json": b"{", "empty": b"", "no_values": b'{"ts": 1}'}
        with Peer(broker.port, "streamd/#") as peer:
            async with online(config(tmp_path, broker.port), peer) as app:
                before = {reason: count("refused_total", reason=reason) for reason in bad}
                for payload in bad.values():
                    peer.client.publish("plant/p1/telemetry", payload, 1)
                publish(peer, 0)
                await score(peer)
                assert {
                    reason: count("refused_total", reason=reason) - before[reason] for reason in bad
                } == dict.fromkeys(bad, 1)
                assert (await page(app, "/readyz"))[0] == 200
                await asyncio.to_thread(broker.wait_for_log, "Received PUBACK from streamd ", len(bad) + 1)

    run(body())


def test_commands_are_answered_good_or_bad(tmp_path: Path, mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "streamd/#") as peer:
            async with online(config(tmp_path, broker.port), peer) as app:
                publish(peer, 0)
                await score(peer)
                status = await ask(peer, "status")
                assert status["ok"]
                assert "1 streams" in status["text"]
                unknown = await ask(peer, "explode")
                assert not unknown["ok"]
                foreign = await ask(peer, "freeze", '{"group": "nobody"}')
                assert "pumps" in foreign["text"]
                assert (await ask(peer, "freeze"))["ok"]
                assert (await page(app, "/readyz"))[0] == 200
                await asyncio.to_thread(broker.wait_for_log, "Received PUBACK from streamd ", 5)

    run(body())


def test_a_retained_command_is_not_carried_out(tmp_path: Path, mosquitto: Start) -> None:
    async def body() -> None:
        broker = mosquitto()
        with Peer(broker.port, "streamd/#") as peer:
            peer.publish("streamd/command/freeze", "{}", retain=True)
            before = count("refused_total", reason="retained_command"), count("commands_total", verb="freeze")
            async with online(config(tmp_path, broker.port), peer):
                assert (await ask(peer, "status"))["ok"]
            assert count("refused_total", reason="retained_command") == before[0] + 1
            assert count("commands_total", verb="freeze") == before[1]

    run(body())


def test_a_disk_that_refuses_holds_up_no_forecast_no_command_and_no_stop(
    tmp_path: Path, mosquitto: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise JournalError("disk full")

    async def body() -> None:
        broker = mosquitto()
        settings = config(tmp_path, broker.port, state="commit_ms = 1.0")
        with Peer(broker.port, "streamd/#") as peer:
            with monkeypatch.context() as broken:
                broken.setattr(Journal, "commit", full)
                async with online(settings, peer) as app:
                    publish(peer, 0, 1)
                    assert (await score(peer))["seq"] == 0
                    answer = await ask(peer, "checkpoint")
                    assert not answer["ok"]
                    assert "disk full" in answer["text"]
                    publish(peer, 2)
                    assert (await score(peer))["seq"] == 2
                    status, text = await page(app, "/readyz")
                    assert status == 503
                    assert "disk full" in text
                assert "Received PUBACK from streamd " not in broker.log
            async with online(settings, peer):  # the broker sends all of it again, and it counts on from the start
                assert [(await score(peer))["seq"] for _ in range(3)] == [0, 1, 2]

    run(body())


# --- what ends it ---


@pytest.mark.parametrize("fault", [None, RuntimeError("out of tokens")])
def test_a_part_that_ends_by_itself_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception | None
) -> None:
    async def end(_: Worker) -> None:
        if fault is not None:
            raise fault

    async def body() -> None:
        monkeypatch.setattr(Worker, "run", end)
        with pytest.raises(ExceptionGroup) as ended:
            await App(config(tmp_path)).run()
        texts = [str(error) for error in ended.value.exceptions]
        assert any("out of tokens" in text if fault else "ended by itself: worker-pumps" in text for text in texts)
        with lock.hold(tmp_path / "state"):
            pass

    run(body())


def test_the_page_sees_what_is_applied_and_what_it_orders_is_carried_out(tmp_path: Path, mosquitto: Start) -> None:
    token = "a token of some length"

    def post(app: App, verb: str, **headers: str) -> tuple[int, str]:
        address = f"http://127.0.0.1:{app.http_port}/api/command/{verb}"
        headers["Content-Type"] = "application/json"
        request = urllib.request.Request(address, b'{"group": "pumps"}', headers)
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    async def body() -> None:
        broker = mosquitto()
        (tmp_path / "token").write_text(token)
        settings = config(tmp_path, broker.port)
        http = msgspec.structs.replace(settings.http, token_file=str(tmp_path / "token"))
        settings = msgspec.structs.replace(settings, http=http)
        with Peer(broker.port, "streamd/#") as peer:
            async with online(settings, peer) as app:
                publish(peer, 0)
                found = await score(peer)
                status, text = await page(app, "/api/stream?group=pumps&stream=p1")
                frames = json.loads(text)["frames"]
                assert (status, frames["seq"], frames["score"]) == (200, 0, [found["score"]])
                assert (await asyncio.to_thread(post, app, "freeze"))[0] == 401
                assert json.loads((await page(app, "/api/model?group=pumps"))[1])["frozen"] is False
                right = {"Authorization": f"Bearer {token}"}
                status, text = await asyncio.to_thread(lambda: post(app, "freeze", **right))
                assert (status, json.loads(text)["ok"]) == (200, True)
                assert json.loads((await page(app, "/api/model?group=pumps"))[1])["frozen"] is True
            async with online(settings, peer) as app:  # it is a record like any other: it survives
                assert json.loads((await page(app, "/api/model?group=pumps"))[1])["frozen"] is True

    run(body())
