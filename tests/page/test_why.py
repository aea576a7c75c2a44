import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from streamd import explaining
from streamd.page import why
from streamd.store import folders
from streamd.store.archive import Archive
from tests.incidents import GROUP, state_folder


def asked(folder, group: str, incident: str) -> tuple[why.Why | None, int]:
    """What is told, and how many turns it took at the archive."""
    archive = Archive.open(folder / folders.ARCHIVE)
    turns = 0

    async def read(work: Callable[[Archive], Any]) -> Any:
        nonlocal turns
        turns += 1
        return work(archive)

    try:
        return asyncio.run(why.explain(read, group, incident)), turns
    finally:
        archive.close()


def test_it_says_what_streamd_explain_says(tmp_path):
    last = state_folder(tmp_path)
    found, _ = asked(tmp_path, GROUP, last)
    explained = explaining.explain(tmp_path, last)
    assert found is not None
    assert found.incident == explained.incident
    assert "highest score" in found.sentences[0]
    assert len(found.like) == len(explained.like) == found.compared == 3
    assert [row[0] for row in found.like] == [one.incident.id for one in explained.like]
    assert found.around is not None
    assert len(found.around.time) == len(explained.frames.times)
    assert found.around.channels[0] == max(found.incident.channels, key=found.incident.channels.get)
    assert {*found.around.scores} == {"score", "novelty", "deviation", "surprise", "silence"}
    assert b"NaN" not in msgspec.json.encode(found)


def test_each_earlier_incident_is_read_in_a_turn_of_its_own(tmp_path):
    last = state_folder(tmp_path)
    _, turns = asked(tmp_path, GROUP, last)
    assert turns == 2 + 3


def test_no_more_than_a_bounded_number_is_compared(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(why, "OTHERS", 2)
    last = state_folder(tmp_path)
    found, turns = asked(tmp_path, GROUP, last)
    assert found is not None
    assert (found.compared, turns) == (2, 4)


def test_an_unknown_one_and_one_of_another_group_are_not_there(tmp_path):
    last = state_folder(tmp_path)
    assert asked(tmp_path, GROUP, "nobody-1")[0] is None
    assert asked(tmp_path, "others", last)[0] is None
