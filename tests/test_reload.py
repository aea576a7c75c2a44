"""The daemon in this process, without a broker, while its config file changes; tests/broker has one with a broker."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamd import metrics, reload
from streamd.app import App
from streamd.config import Alarm, load
from streamd.edge.systemd import ServiceManager
from streamd.reload import Reloader
from tests.broker.peers import Ear, ear

LIMIT_S = 60.0  # only a broken test waits so long
BASE = """
[mqtt]
port = 1
[http]
port = 0
[[source]]
topic = "plant/{stream}/telemetry"
group = "pumps"
time = "ts"
[group.pumps]
horizon_steps = 2
network = { hidden = 8, layers = 1 }
training = { enabled = false }
"""
ALARM = "[group.pumps.alarm]\nper_week = 5.0\n"
RESULTS = ("applied", "unchanged", "waiting", "refused", "rolled_back")


class Place:
    """A daemon and its config file."""

    def __init__(self, app: App, file: Path, heard: Ear) -> None:
        self.app = app
        self.file = file
        self.heard = heard

    async def takes(self, text: str) -> str:
        """What is said in the end of a file that somebody wants to be read."""
        self.file.write_text(text)
        self.app.reload()
        return await self.heard.hears("action=reload ")

    @property
    def reloader(self) -> Reloader:
        assert self.app._reloader is not None
        return self.app._reloader


def subjects(reasons):
    """What is wrong, without why: meanwhile the broker was tried once more."""
    return [reason.partition(": ")[0] for reason in reasons]


@asynccontextmanager
async def running(folder: Path, text: str = BASE) -> AsyncIterator[Place]:
    file = folder / "streamd.toml"
    file.write_text(text)
    with ear("streamd.reload") as heard:
        app = App(load(file), file)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(app.run())
            await app.started.wait()
            try:
                yield Place(app, file, heard)
            finally:
                app.stop()
                await task


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, LIMIT_S))


def count(result: str) -> float:
    return metrics.registry.get_sample_value("streamd_config_reloads_total", {"result": result}) or 0.0


def successful() -> float | None:
    return metrics.registry.get_sample_value("streamd_config_last_reload_successful")


def waiting() -> float | None:
    return metrics.registry.get_sample_value("streamd_config_keys_waiting")


def test_what_can_be_changed_is_everywhere_at_once_and_said_key_by_key(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as place:
            before = count("applied")
            text = BASE.replace("port = 0", "port = 0\nstream_series = 3") + "max_batch = 7\nmax_resident_streams = 9\n"
            text = text.replace("enabled = false", "enabled = false, cpu_share = 0.25")
            text += ALARM + "[state]\ncommit_ms = 50.0\ncommit_frames = 3\ncheckpoint_s = 7.0\n[log]\nsample_s = 4.0\n"
            done = await place.takes(text)
            assert "result=applied" in done
            assert "applied=9 waiting=0" in done
            app = place.app
            worker = app._workers["pumps"]
            assert worker.engine.settings.alarm == Alarm(per_week=5.0)
            assert worker.engine.judge.alarm == Alarm(per_week=5.0)
            assert worker._align.settings.max_batch == 7
            assert worker._residency.limit == 9
            assert worker._series_limit == 3
            assert app._budget is not None
            assert app._budget._share == 0.25
            assert (app._keeper._pace._commit_s, app._keeper._pace._commit_frames) == (0.05, 3)
            assert app._checkpointer.settings.checkpoint_s == 7.0
            assert app._sampler._period_s == 4.0
            assert (count("applied"), successful(), waiting()) == (before + 1, 1.0, 0.0)

    run(body())


def test_each_key_is_said_with_what_it_was_and_is(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as place:
            place.file.write_text(BASE + ALARM)
            place.app.reload()
            said = await place.heard.hears("action=reload_key")
            assert "result=applied change='group.pumps.alarm.per_week from 1.0 to 5.0'" in said

    run(body())


def test_what_can_not_be_changed_is_said_with_what_to_do_and_the_rest_is_taken(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as place:
            place.file.write_text((BASE + ALARM).replace("horizon_steps = 2", "horizon_steps = 3"))
            place.app.reload()
            said = await place.heard.hears("result=waiting")
            assert "change='group.pumps.horizon_steps from 2 to 3' do=restart" in said
            assert "applied=1 waiting=1" in await place.heard.hears("action=reload ")
            settings = place.app._workers["pumps"].engine.settings
            assert (settings.horizon_steps, settings.alarm.per_week) == (2, 5.0)
            assert (successful(), waiting()) == (1.0, 1.0)
            assert "result=unchanged" not in await place.takes(BASE)
            assert waiting() == 0.0

    run(body())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BASE + ALARM.replace("5.0", "-5"), "group.pumps.alarm.per_week: expected float > 0.0, got -5"),
        (BASE + ALARM.replace("per_week", "per_month"), "group.pumps.alarm.per_month: unknown key, expected one of"),
        (BASE + "[", "not TOML"),
        ("", "source: expected at least one [[source]]"),
        (BASE.replace("{stream}", "{machine}"), "source.topic: topic template"),
        (BASE + "[group.fans]\n", "group.fans: no [[source]] names this group"),
        (
            BASE.replace("port = 1", 'port = 1\nusername = "u"\npassword_file = "none"'),
            "mqtt.password_file: secret file ",
        ),
        (BASE + '[mqtt.tls]\nca_file = "none.pem"\n', "mqtt.tls: certificates can't be used"),
    ],
    ids=["value", "key", "toml", "no-source", "template", "group", "secret", "certificate"],
)
def test_a_bad_file_is_refused_as_a_whole_by_file_and_key_and_the_one_before_stays(
    tmp_path: Path, text: str, told: str
) -> None:
    async def body() -> None:
        async with running(tmp_path, BASE + ALARM) as place:
            before, unready = count("refused"), subjects(place.app._unready())
            in_force, settings = place.reloader.config, place.app._workers["pumps"].engine.settings
            said = await place.takes(text)
            assert "result=refused" in said
            assert str(place.file) in said
            assert told in said
            assert place.reloader.config is in_force
            assert place.app._workers["pumps"].engine.settings is settings
            assert subjects(place.app._unready()) == unready
            assert told in place.app._describe()
            assert (count("refused"), successful()) == (before + 1, 0.0)
            assert "result=unchanged" in await place.takes(BASE + ALARM)
            assert (successful(), place.reloader.refusal) == (1.0, "")

    run(body())


def test_a_file_that_is_gone_or_no_text_is_refused(tmp_path: Path) -> None:
    async def body() -> None:
        async with running(tmp_path) as place:
            place.file.write_bytes(b"\xff\xfe")
            place.app.reload()
            assert "can't be read" in await place.heard.hears("result=refused")
            place.file.unlink()
            place.app.reload()
            assert "can't be read" in await place.heard.hears("result=refused")

    run(body())


def test_the_file_is_taken_over_when_its_content_changes_without_anybody_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "LOOK_S", 0.01)

    async def body() -> None:
        async with running(tmp_path) as place:
            place.file.write_text(BASE + ALARM)
            assert "result=applied" in await place.heard.hears("action=reload ")
            place.file.write_text(BASE + ALARM + "# a remark\n")
            assert "result=unchanged" in await place.heard.hears("action=reload ")

    run(body())


def test_what_is_half_written_is_not_taken_and_the_file_of_the_start_is_not_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = BASE + ALARM
    contents = [BASE, BASE, BASE, whole[:-20], whole[:-5], whole]
    monkeypatch.setattr(reload, "LOOK_S", 0.001)
    monkeypatch.setattr(Reloader, "_content", lambda _: (contents.pop(0) if contents else whole).encode())

    async def body() -> None:
        async with running(tmp_path) as place:
            assert "result=applied" in await place.heard.hears("action=reload ")
            assert place.app._workers["pumps"].engine.settings.alarm.per_week == 5.0

    tally = {result: count(result) for result in RESULTS}
    run(body())
    assert {result: count(result) - was for result, was in tally.items()} == dict.fromkeys(RESULTS, 0) | {"applied": 1}


def test_a_file_that_had_changed_before_the_daemon_was_up_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "LOOK_S", 0.01)
    loaded = load

    def then_changed(file: Path) -> Any:
        config = loaded(file)
        file.write_text(BASE + ALARM)
        return config

    monkeypatch.setitem(globals(), "load", then_changed)

    async def body() -> None:
        async with running(tmp_path) as place:
            assert "result=applied" in await place.heard.hears("action=reload ")

    run(body())


def test_the_service_manager_hears_of_each_one_from_its_beginning_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(ServiceManager, "reloading", lambda _: told.append("reloading"))
    monkeypatch.setattr(ServiceManager, "reloaded", lambda _: told.append("reloaded"))

    async def body() -> None:
        async with running(tmp_path) as place:
            await place.takes(BASE + ALARM)
            await place.takes("nonsense")

    run(body())
    assert told == ["reloading", "reloaded"] * 2


def test_the_level_of_the_log_changes(tmp_path: Path) -> None:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]

    async def body() -> None:
        async with running(tmp_path) as place:
            await place.takes(BASE + '[log]\nlevel = "error"\n')
            assert root.level == logging.ERROR

    try:
        run(body())
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def test_nothing_is_changed_any_more_when_all_is_about_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = Reloader._stage

    async def body() -> None:
        async with running(tmp_path) as place:
            loop = asyncio.get_running_loop()

            def stage_and_stop(*arguments: Any) -> Any:
                found = staged(*arguments)
                stopped = threading.Event()
                loop.call_soon_threadsafe(lambda: (place.app.stop(), stopped.set()))
                stopped.wait(LIMIT_S)
                return found

            monkeypatch.setattr(Reloader, "_stage", stage_and_stop)
            place.file.write_text(BASE + ALARM)
            place.app.reload()
            await place.app._stop.wait()
            settings = place.app._workers["pumps"].engine.settings
        assert settings.alarm.per_week == 1.0
        assert place.reloader.config.group["pumps"].alarm.per_week == 1.0

    run(body())


def test_a_daemon_without_a_file_runs_without_one(tmp_path: Path) -> None:
    async def body() -> None:
        file = tmp_path / "streamd.toml"
        file.write_text(BASE)
        app = App(load(file))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(app.run())
            await app.started.wait()
            app.reload()
            app.stop()
        assert app._reloader is None

    run(body())
