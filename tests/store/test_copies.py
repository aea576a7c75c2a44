from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from streamd.store import copies, journal
from streamd.store.copies import CopyError, copied
from streamd.store.journal import Entry, Journal
from tests.state_folder import everything


def entry(position: int) -> Entry:
    return Entry(position, "g", bytes([position % 256]) * 700)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "journal.sqlite"


@pytest.fixture
def opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A journal at work whose log begins anew after a few commits."""
    monkeypatch.setattr(journal, "LAYOUT", dataclasses.replace(journal.LAYOUT, checkpoint_pages=6))
    opened = Journal.open(path)
    opened.commit([entry(position) for position in range(1, 4)], published=0)
    return opened


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], None]], None]:
    """Have something happen right after a file of this name was copied."""

    def arrange(name: str, happen: Callable[[], None]) -> None:
        def copyfile(source: Path, target: Path) -> None:
            shutil.copyfile(source, target)
            if source.name == name:
                happen()

        monkeypatch.setattr(copies, "shutil", type("Shutil", (), {**vars(shutil), "copyfile": copyfile}))

    return arrange


def entries(path: Path) -> list[Entry]:
    """What a copy holds, every byte of it verified."""
    with copied(path) as copy:
        assert copy is not None
        found = Journal.open(copy)
        assert found.rescue is None
        try:
            return list(found.entries(0))
        finally:
            found.close()


def test_a_copy_holds_what_a_writer_at_work_has_committed_and_leaves_no_trace(path, opened):
    before = everything(path.parent)
    assert entries(path) == list(opened.entries(0))
    assert everything(path.parent) == before
    opened.close()


def test_a_log_that_is_written_on_between_the_two_copies_is_in_the_copy(path, opened, meanwhile):
    meanwhile("journal.sqlite", lambda: opened.commit([entry(opened.last + 1)], published=0))
    assert entries(path) == [entry(position) for position in range(1, 5)]
    opened.close()


@pytest.mark.parametrize("name", ["journal.sqlite", "journal.sqlite-wal"])
def test_a_log_that_begins_anew_while_it_is_copied_is_copied_again(path, opened, meanwhile, name):
    left = 40  # commits: the log begins anew several times, and then the writer rests

    def write() -> None:
        nonlocal left
        for _ in range(min(left, 20)):
            left -= 1
            opened.commit([entry(opened.last + 1)], published=0)

    meanwhile(name, write)
    assert entries(path) == [entry(position) for position in range(1, 44)]
    opened.close()


def test_a_file_that_never_rests_is_given_up_in_the_end(path, opened, meanwhile):
    def write() -> None:
        for _ in range(20):
            opened.commit([entry(opened.last + 1)], published=0)

    meanwhile("journal.sqlite", write)
    with pytest.raises(CopyError, match="changes too fast"), copied(path):
        pass
    opened.close()


def test_where_there_is_no_file_there_is_no_copy(path):
    with copied(path) as copy:
        assert copy is None
    assert list(path.parent.iterdir()) == []


def test_a_file_that_a_power_cut_kept_from_its_place_is_found(path, opened):
    opened.close()
    path.rename(path.with_name("journal.sqlite.new"))
    assert entries(path) == [entry(position) for position in range(1, 4)]
    assert [file.name for file in path.parent.iterdir()] == ["journal.sqlite.new"]


def test_a_copy_that_does_not_fit_is_refused_before_it_is_made(path, opened, monkeypatch):
    opened.close()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 10))
    with pytest.raises(CopyError, match="TMPDIR"), copied(path):
        pass


def test_no_copy_is_left_behind(path, opened):
    opened.close()
    with copied(path) as copy:
        assert copy is not None
        assert copy.exists()
    assert not copy.parent.exists()
