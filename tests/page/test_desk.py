import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamd import metrics
from streamd.config import Config, Source, State
from streamd.edge.mailbox import Mailbox
from streamd.edge.site import NotFoundError, NotYetError
from streamd.engine.engine import Engine
from streamd.page.desk import Desk
from streamd.records import Batch, Command, Effect, Teach
from streamd.store import folders
from streamd.store.archive import Archive
from streamd.wire import commands
from tests.engine.runs import Plant, small_engine
from tests.incidents import GROUP, SETTINGS, SPIKE, WARM, Scene, state_folder


class World:
    """A desk over one engine, an archive, and a daemon that remembers what it was asked to do."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.engine = engine
        self.archive = Archive.open(folder / folders.ARCHIVE)
        self.turns = 0
        self.reasons: list[str] = []
        self.asked: list[commands.Request] = []
        config = Config(source=(Source(topic="a/{stream}", group=GROUP),), state=State(folder=str(folder)))
        self.desk = Desk(config, lambda: self.reasons, self._carry_out)

    def begin(self, unarchived: Any = ()) -> Desk:
        self.desk.begin({GROUP: self.engine}, self.archive, self._disk, unarchived)
        return self.desk

    def apply(self, batch: Batch) -> None:
        self.desk.hear(GROUP, self.engine.apply(batch))

    async def _disk(self, work: Callable[[], Any]) -> Any:
        self.turns += 1
        return work()

    async def _carry_out(self, request: commands.Request) -> bytes:
        self.asked.append(request)
        if request.command == Teach("nobody-1", "real"):
            raise commands.CommandError("no such incident")
        return commands.reply(True, "done", request)


@contextmanager
def world(folder: Path, engine: Engine | None = None) -> Iterator[World]:
    made = World(folder, engine or small_engine())
    try:
        yield made
    finally:
        made.archive.close()


def run(question: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await question

    return asyncio.run(asyncio.wait_for(main(), 30))


def test_before_the_state_is_recovered_only_the_pulse_answers(tmp_path):
    with world(tmp_path) as it:
        desk = it.desk
        it.reasons = ["recovering"]
        assert json.loads(desk.pulse())["reasons"] == ["recovering"]
        for ask in (
            desk.about,
            lambda: desk.streams(None, ""),
            lambda: desk.stream(GROUP, "s"),
            lambda: desk.model(GROUP),
        ):
            with pytest.raises(NotYetError, match="recovering"):
                ask()
        for question in (desk.incidents(), desk.incident(GROUP, "s-1"), desk.command("freeze", b"{}")):
            with pytest.raises(NotYetError, match="recovering"):
                run(question)


def test_it_tells_the_groups_and_how_it_goes(tmp_path):
    with world(tmp_path) as it:
        desk = it.begin()
        for batch in Plant(1).batches(5):
            it.apply(batch)
        about = json.loads(desk.about())
        (group,) = about["groups"]
        assert (group["name"], group["channels"], group["horizon"], group["frozen"]) == (GROUP, ["a", "b"], 3, False)
        it.engine.learner.freeze()
        pulse = json.loads(desk.pulse())
        assert (pulse["known"], pulse["open"], pulse["frozen"]) == (it.engine.known, 0, [GROUP])


def test_the_table_is_made_once_for_however_many_browsers(tmp_path):
    with world(tmp_path) as it:
        desk = it.begin()
        it.apply(Plant(1).batch())
        first, news = desk.streams(None, "")
        assert json.loads(news)["whole"]
        again, news = desk.streams(first, "")
        assert again is first
        assert json.loads(news)["id"] == []
        other, _ = desk.streams(None, "nobody")
        assert len(other.id) == 0


def test_only_who_watches_a_stream_gets_its_frames_and_after_that_nobody(tmp_path):
    with world(tmp_path) as it:
        desk, watching, other = it.begin(), Mailbox(), Mailbox()
        plant = Plant(1)
        with desk.follow(watching, GROUP, "s1"), desk.follow(other):
            assert metrics.registry.get_sample_value("streamd_page_clients") == 2.0
            seqs = []
            for _ in range(30):
                batch = plant.batch()
                it.apply(batch)
                if "s1" in batch.streams:
                    seqs.append(int(it.engine.timing.seq[it.engine.slots.get("s1")]) - 1)
        events = watching.take()
        assert [name for name, _ in events] == ["frame"] * len(seqs)
        assert [json.loads(data)["seq"] for _, data in events] == seqs
        assert other.take() == []
        assert metrics.registry.get_sample_value("streamd_page_clients") == 0.0
        it.apply(plant.batch())
        assert watching.take() == []
        assert desk._watched == {}


def test_while_nobody_looks_no_array_is_read_and_nothing_encoded(tmp_path, monkeypatch: pytest.MonkeyPatch):
    with world(tmp_path) as it:
        desk = it.begin()
        outcomes = [it.engine.apply(batch) for batch in Plant(1).batches(30)]
        it.desk._engines = {}  # whoever reads an engine fails
        for outcome in outcomes:
            desk.hear(GROUP, dataclasses.replace(outcome, reports=()))
        assert desk._table is None
        assert desk._watched == {}


def test_an_incident_goes_to_everybody_and_what_people_say_of_it_too(tmp_path):
    scene = Scene(small_engine(SETTINGS))
    scene.calm(WARM)
    with world(tmp_path, scene.engine) as it:
        desk, boxes = it.begin(), (Mailbox(), Mailbox())
        with desk.follow(boxes[0]), desk.follow(boxes[1], GROUP, "another"):
            outcome = scene.give(SPIKE)
            desk.hear(GROUP, outcome)
            id_ = outcome.incidents[0].id
            desk.hear(GROUP, Teach(id_, "real"))
        for box in boxes:
            told = [(name, json.loads(data)) for name, data in box.take()]
            assert [name for name, _ in told] == ["incident", "incident"]
            assert [one["incident"]["id"] for _, one in told] == [id_, id_]
            assert [one["verdict"] for _, one in told] == ["", "real"]


def test_incidents_of_the_archive_are_read_once_and_explained(tmp_path):
    last = state_folder(tmp_path)
    with world(tmp_path) as it:
        desk = it.begin()
        found = json.loads(run(desk.incidents()))
        assert found[0]["incident"]["id"] == last
        assert (len(found), it.turns) == (4, 1)
        run(desk.incidents())
        assert it.turns == 1
        assert json.loads(run(desk.incident(GROUP, last)))["incident"]["id"] == last
        assert run(desk.incident(GROUP, "nobody-1")) == b"null"


def test_what_the_last_run_had_not_archived_is_told(tmp_path):
    scene = Scene(small_engine(SETTINGS))
    scene.calm(WARM)
    outcome = scene.give(SPIKE)
    with world(tmp_path) as it:
        desk = it.begin([(GROUP, Effect(outcome.incidents))])
        (found,) = json.loads(run(desk.incidents()))
        assert found["incident"]["id"] == outcome.incidents[0].id


def test_training_is_told_from_the_outcomes(tmp_path):
    with world(tmp_path) as it:
        desk = it.begin()
        for batch in Plant(1).batches(60):
            it.apply(batch)
        assert len(json.loads(desk.model(GROUP))["jobs"]) > 1
        assert json.loads(desk.memory(GROUP, "s1", 0))["layers"] == 2
        assert json.loads(desk.stream(GROUP, "s1"))["frames"]["parts"] is not None
        assert json.loads(desk.health())["ready"]


def test_what_is_not_there_is_said(tmp_path):
    with world(tmp_path) as it:
        desk = it.begin()
        it.apply(Plant(1).batch())
        for ask in (
            lambda: desk.stream(GROUP, "nobody"),
            lambda: desk.stream("nogroup", "s"),
            lambda: desk.model("nogroup"),
            lambda: desk.memory(GROUP, "nobody", 0),
            lambda: desk.memory(GROUP, it.engine.streams[0], 9),
        ):
            with pytest.raises(NotFoundError):
                ask()


@pytest.mark.parametrize(
    ("verb", "body", "command"),
    [
        ("feedback", b'{"group": "pumps", "incident": "s-1", "verdict": "false"}', Teach("s-1", "false")),
        ("freeze", b'{"group": "pumps"}', None),
    ],
)
def test_a_command_is_carried_out_as_over_mqtt(tmp_path, verb: str, body: bytes, command: Command | None):
    with world(tmp_path) as it:
        done, answer = run(it.begin().command(verb, body))
        assert (done, json.loads(answer)["ok"]) == (True, True)
        (request,) = it.asked
        assert (request.verb, request.group) == (verb, GROUP)
        assert command is None or request.command == command


def test_a_command_that_is_refused_says_why_and_others_than_the_pages_are_not_taken(tmp_path):
    with world(tmp_path) as it:
        desk = it.begin()
        done, answer = run(desk.command("feedback", b'{"incident": "nobody-1", "verdict": "real"}'))
        assert (done, json.loads(answer)["text"]) == (False, "no such incident")
        done, answer = run(desk.command("freeze", b"{"))
        assert not done
        assert "bad payload" in json.loads(answer)["text"]
        for verb in ("reset", "checkpoint", "status", "../freeze", ""):
            with pytest.raises(NotFoundError):
                run(desk.command(verb, b"{}"))
        assert len(it.asked) == 1


def test_while_it_stops_it_takes_no_command_and_leaves_the_archive_alone(tmp_path):
    with world(tmp_path) as it:
        desk = it.begin()
        desk.close()
        for question in (desk.command("freeze", b"{}"), desk.incidents(), desk.incident(GROUP, "s-1")):
            with pytest.raises(NotYetError, match="stopping"):
                run(question)
        assert (it.asked, it.turns) == ([], 0)
