from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

import streamd
from streamd import inspection
from streamd.inspection import inspect
from streamd.records import Freeze, Stretch
from streamd.store import checkpoint, journal, lock, spill, sqlite
from streamd.store.checkpoint import Checkpoint
from streamd.store.journal import Journal
from tests.engine.runs import SETTINGS, STREAMS, Plant
from tests.incidents import state_folder
from tests.state_folder import StateFolder, everything, flip

FEW = msgspec.structs.replace(SETTINGS, max_resident_streams=4)
JOURNAL, SPILL = "journal.sqlite", "spill.sqlite"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFolder]:
    """Two checkpoints and a journal that goes on beyond them; the files are in use."""
    state = StateFolder(tmp_path / "state", FEW)
    plant = Plant(seed=3)
    for count in (20, 30):
        state.apply(plant.batches(count))
        state.checkpoint()
    state.apply([*plant.batches(4), Stretch(2.0)])
    yield state
    state.close()


def resting(state: StateFolder) -> Path:
    """The folder when nobody uses the files, and all is in the file that is named after it."""
    state.close()
    return state.folder


def test_a_sound_folder_is_told_in_figures(state: StateFolder) -> None:
    found = inspect(state.folder)
    assert found.problems == ()
    assert found.position == 50
    assert [(one.position, one.ok) for one in found.checkpoints] == [(50, True), (20, True)]
    assert found.journal is not None
    assert (found.journal.first, found.journal.last, found.journal.records) == (21, 55, 35)
    assert (found.journal.bytes, found.journal.published) == (state.journal.bytes, 55)
    assert found.spill is not None
    assert found.spill.streams == state.spill.count() > 0
    assert found.spill.versions >= found.spill.streams
    assert found.spill.bytes > 0
    assert found.quarantine == ()


def test_a_group_is_told_as_the_newest_checkpoint_has_it(state: StateFolder) -> None:
    state.apply([Freeze()])
    state.checkpoint()
    (group,) = inspect(state.folder).groups
    engine = state.engine
    learner = engine.learner
    slots = [engine.last_time(name) for name in engine.slots.names]
    assert (group.name, group.channels, group.frames) == ("pumps", ("a", "b"), engine.frames)
    assert (group.known, group.in_memory) == (len(STREAMS), engine.resident)
    assert group.oldest == datetime.fromtimestamp(min(slots), UTC)
    assert group.newest == datetime.fromtimestamp(max(slots), UTC)
    assert group.profile == "full"
    assert (group.stretch, group.frozen) == (2.0, True)
    assert group.optimizer_steps == learner.state_dict()[1]["optimizer_step"] > 0
    assert group.generation == learner.generation
    assert group.due_in == max(learner.due_at - engine.frames, 0)
    if learner.state_dict()[1]["job_batches"] is None:
        assert (group.weights_age, group.install_in) == (engine.frames - learner.install_at, None)
    else:
        assert (group.weights_age, group.install_in) == (None, max(learner.install_at - engine.frames, 0))


def test_a_compact_group_is_told_to_be_one(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state", settings=msgspec.structs.replace(SETTINGS, profile="compact"))
    state.checkpoint()
    (group,) = inspect(resting(state)).groups
    assert group.profile == "compact"


def test_weights_age_from_the_frame_at_which_their_last_candidate_was_due(state: StateFolder) -> None:
    state.apply([Freeze(), *Plant(seed=3).batches(4)])  # the job under way ends, and no other begins
    state.checkpoint()
    (group,) = inspect(state.folder).groups
    assert group.install_in is None
    assert group.weights_age == state.engine.frames - state.engine.learner.install_at > 0


def test_a_group_that_has_seen_nothing_has_no_times_and_no_age(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.checkpoint()
    (group,) = inspect(resting(state)).groups
    assert (group.frames, group.known, group.oldest, group.newest) == (0, 0, None, None)
    assert (group.optimizer_steps, group.weights_age, group.install_in) == (0, None, None)


def test_looking_changes_nothing_while_a_daemon_is_at_work(state: StateFolder) -> None:
    with lock.hold(state.folder):
        before = everything(state.folder)
        assert inspect(state.folder).holder is not None
        assert everything(state.folder) == before
    state.apply(Plant(seed=9).batches(0))
    state.checkpoint()  # the files are still whole in the hands of their owner


def test_looking_changes_nothing_where_everything_is_damaged(state: StateFolder) -> None:
    folder = resting(state)
    for path in folder.iterdir():
        flip(path, path.stat().st_size // 2 if path.suffix == ".safetensors" else 100)  # there SQLite's first page is
    before = everything(folder)
    assert len(inspect(folder).problems) == 4
    assert everything(folder) == before


def test_a_folder_that_nobody_works_in_says_so(state: StateFolder) -> None:
    assert inspect(state.folder).holder is None
    assert not (state.folder / "lock").exists()


def test_an_empty_folder_is_sound(tmp_path: Path) -> None:
    found = inspect(tmp_path)
    assert (found.position, found.checkpoints, found.journal, found.spill, found.groups) == (None, (), None, None, ())
    assert found.problems == ()
    assert list(tmp_path.iterdir()) == []


# --- damage of each kind ---


def test_a_damaged_checkpoint_is_a_problem_and_the_one_before_is_shown(state: StateFolder) -> None:
    newest, *_ = checkpoint.describe(state.folder)
    flip(newest.path)
    found = inspect(state.folder)
    (problem,) = found.problems
    assert newest.path.name in problem
    assert found.position == 20
    assert found.groups[0].frames < state.engine.frames


def test_a_checkpoint_of_a_newer_streamd_is_told_apart(state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(checkpoint, "VERSION", 99)
        newer.setattr(streamd, "__version__", "99.0")
        state.checkpoint()
    (problem,) = inspect(state.folder).problems
    assert "99.0" in problem


def test_a_checkpoint_that_does_not_say_what_its_groups_are_is_a_problem(state: StateFolder) -> None:
    state.checkpoint(lambda kept: Checkpoint(kept.position, kept.arrays, {"groups": {"pumps": {"frames": "many"}}}))
    found = inspect(state.folder)
    assert found.groups == ()
    (problem,) = found.problems
    assert "groups" in problem


def spoil(folder: Path, position: int) -> None:
    """One record of the journal has another content than its checksum says."""
    with sqlite3.connect(folder / JOURNAL) as connection:
        connection.execute("UPDATE entry SET record = zeroblob(length(record)) WHERE position = ?", (position,))
    connection.close()


def test_damage_to_what_a_start_would_replay_is_told_with_what_it_would_keep(state: StateFolder) -> None:
    folder = resting(state)
    spoil(folder, 53)
    found = inspect(folder)
    assert found.problems == ("journal.sqlite: entry 53 has a wrong checksum",)
    assert found.journal is not None
    assert (found.journal.first, found.journal.last) == (51, 52)


def test_damage_to_what_a_checkpoint_covers_is_told_and_loses_nothing(state: StateFolder) -> None:
    folder = resting(state)
    spoil(folder, 30)
    found = inspect(folder)
    assert found.problems == ("journal.sqlite: entry 30 has a wrong checksum",)
    assert found.journal is not None
    assert (found.journal.first, found.journal.last) == (51, 55)


def test_a_file_that_is_no_journal_is_a_problem(state: StateFolder) -> None:
    folder = resting(state)
    (folder / JOURNAL).write_bytes(b"something else" * 1000)
    found = inspect(folder)
    (problem,) = found.problems
    assert problem.startswith("journal.sqlite: ")  # not the copy's path


def test_a_journal_of_a_newer_streamd_is_told_apart(state: StateFolder) -> None:
    folder = resting(state)
    with sqlite3.connect(folder / JOURNAL) as connection:
        connection.execute(f"PRAGMA user_version = {sqlite.stamp(journal.LAYOUT.version + 1)}")
    connection.close()
    (problem,) = inspect(folder).problems
    assert "this streamd reads" in problem


def test_a_journal_whose_checkpoint_is_missing_is_a_problem(state: StateFolder) -> None:
    for one in checkpoint.describe(state.folder):
        one.path.unlink()
    found = inspect(state.folder)
    (problem,) = found.problems
    assert "begins at 21" in problem
    assert found.groups == ()


def test_every_row_that_left_memory_is_verified(state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "_PAGE_ROWS", 3)
    folder = resting(state)
    with sqlite3.connect(folder / SPILL) as connection:
        connection.execute('UPDATE version SET "row" = zeroblob(length("row")) WHERE id % 2')
    connection.close()
    found = inspect(folder)
    assert found.spill is not None
    assert found.spill.versions > found.spill.damaged > 3
    (problem,) = found.problems
    assert f"{found.spill.damaged} of {found.spill.versions} rows" in problem


def test_pages_that_hold_no_row_are_verified_too(state: StateFolder) -> None:
    folder = resting(state)
    with sqlite3.connect(folder / SPILL) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'by_position'").fetchall()
    connection.close()
    flip(folder / SPILL, (page - 1) * spill.LAYOUT.page_size)
    (problem,) = inspect(folder).problems
    assert problem.startswith("spill.sqlite: ")


def test_rows_that_are_gone_are_missed(state: StateFolder) -> None:
    folder = resting(state)
    with sqlite3.connect(folder / SPILL) as connection:
        connection.execute("DELETE FROM version WHERE stream = (SELECT min(stream) FROM version)")
    connection.close()
    (problem,) = inspect(folder).problems
    assert "holds" in problem


def test_the_note_of_damage_that_a_daemon_left_is_seen(state: StateFolder) -> None:
    (state.folder / f"{SPILL}.damaged").touch()
    (problem,) = inspect(state.folder).problems
    assert "by a daemon" in problem


def test_what_a_start_set_aside_is_a_problem_until_somebody_takes_it_away(state: StateFolder) -> None:
    newest, *_ = checkpoint.describe(state.folder)
    flip(newest.path)
    folder = resting(state)
    spoil(folder, 53)
    checkpoint.load_newest(folder)
    Journal.open(folder / JOURNAL, after=20).close()
    found = inspect(folder)
    assert [one.path.name for one in found.quarantine] == [newest.path.name, JOURNAL]
    assert "digest" in found.quarantine[0].reason
    assert found.quarantine[0].size == newest.size
    assert len(found.problems) == 2
    assert all("quarantine" in problem for problem in found.problems)
    assert [one.position for one in found.checkpoints] == [20]


def test_a_sound_archive_is_no_problem_and_a_damaged_one_is(tmp_path: Path) -> None:
    state_folder(tmp_path)
    assert inspect(tmp_path).problems == ()
    path = tmp_path / "incidents.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("UPDATE kept SET body = x'00' WHERE kind = 'told'")
    connection.commit()
    connection.close()
    before = everything(tmp_path)
    (problem,) = inspect(tmp_path).problems
    assert problem.startswith("incidents.sqlite: ")
    assert "wrong checksum" in problem
    path.write_bytes(b"\xa5" * 9000)
    (problem,) = inspect(tmp_path).problems
    assert "incidents.sqlite" in problem
    assert set(before) == set(everything(tmp_path))
