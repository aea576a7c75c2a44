from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from streamd import rerun as module
from streamd.records import Array, Configure, Freeze, Reset, Silent, Stretch, Thaw
from streamd.rerun import Comparison, RerunError, rerun
from streamd.store import checkpoint, folders, lock
from streamd.store.checkpoint import Checkpoint
from tests.engine.runs import SETTINGS, Plant, with_training
from tests.state_folder import StateFolder, everything, flip

FEW = msgspec.structs.replace(SETTINGS, max_resident_streams=4)

Spoil = Callable[[dict[str, Array]], None]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFolder]:
    """A checkpoint at 40 with streams on the disk, and a journal that goes on to 87."""
    state = StateFolder(tmp_path / "state", FEW)
    plant = Plant(seed=3)
    state.apply(plant.batches(40))
    state.checkpoint()
    state.apply(
        [
            *plant.batches(20),
            Freeze(),
            Reset("s2"),
            Thaw(),
            *plant.batches(10),
            Stretch(1.5),
            Reset(),
            *plant.batches(12),
        ],
        room_every=5,
    )
    yield state
    state.close()


def spoiled(spoil: Spoil) -> Callable[[Checkpoint], Checkpoint]:
    """A sound checkpoint that holds something else than the engine did."""

    def change(kept: Checkpoint) -> Checkpoint:
        spoil(dict(kept.arrays))
        return kept

    return change


def test_the_journal_gives_the_newest_checkpoint_again_bit_for_bit(state: StateFolder) -> None:
    state.checkpoint()
    found = rerun(state.folder)
    arrays, _ = state.engine.state_dict()
    assert found == Comparison(begin=40, end=87, records=47, arrays=len(arrays), streams=6, findings=())


def test_a_silence_told_of_streams_on_the_disk_is_the_same_again(state: StateFolder) -> None:
    state.apply([Silent(("s0", "s1", "s2", "s3", "s4", "s5"))])
    state.checkpoint()
    assert state.engine.silence.silent.any()
    found = rerun(state.folder)
    assert (found.end, found.records, found.findings) == (88, 48, ())


def test_settings_that_were_changed_in_between_are_the_same_again(state: StateFolder) -> None:
    late = Plant(seed=4)
    for _ in range(200):
        late.batch()
    fewer = msgspec.structs.replace(with_training(learning_rate=0.01), max_resident_streams=2)
    state.apply([Configure(msgspec.to_builtins(fewer)), *late.batches(30)])
    state.checkpoint()
    assert state.engine.settings == fewer
    assert state.engine.resident <= 4
    found = rerun(state.folder)
    assert (found.begin, found.end, found.findings) == (40, 118, ())


def test_records_beyond_the_newest_checkpoint_are_not_applied(state: StateFolder) -> None:
    state.checkpoint()
    late = Plant(seed=4)
    for _ in range(200):
        late.batch()  # later than anything before
    state.apply(late.batches(9))
    found = rerun(state.folder)
    assert (found.end, found.records, found.findings) == (87, 47, ())


def test_the_nearest_checkpoint_that_the_journal_goes_on_from_is_taken(state: StateFolder) -> None:
    state.checkpoint()
    late = Plant(seed=4)
    for _ in range(200):
        late.batch()
    state.apply(late.batches(9))
    state.checkpoint()
    found = rerun(state.folder)
    assert (found.begin, found.end, found.findings) == (87, 96, ())


def test_nothing_in_the_folder_changes_while_a_daemon_is_at_work(state: StateFolder) -> None:
    state.checkpoint()
    with lock.hold(state.folder):
        before = everything(state.folder)
        rerun(state.folder)
        assert everything(state.folder) == before


def test_progress_ends_with_all_of_it(state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECORDS_PER_TURN", 10)
    state.checkpoint()
    shares: list[float] = []
    assert rerun(state.folder, shares.append).findings == ()
    assert shares == sorted(shares)
    assert (len(shares), shares[-1]) == (5, 1.0)


def test_streams_are_compared_some_at_a_time_with_the_same_result(
    state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STREAMS_PER_TURN", 1)

    def spoil(arrays: dict[str, Array]) -> None:
        arrays["pumps/timing.interval"][:] += 1.0

    state.checkpoint(spoiled(spoil))
    found = rerun(state.folder)
    assert found.streams == 6
    (finding,) = found.findings
    assert finding.difference.count == state.engine.resident


# --- what differs is found ---


def test_a_planted_value_is_found_with_its_stream_and_the_records_that_moved_it(state: StateFolder) -> None:
    (stream, *_) = state.engine.slots.names

    def spoil(arrays: dict[str, Array]) -> None:
        arrays["pumps/scale.mean"][0, 1] += 1.0

    state.checkpoint(spoiled(spoil))
    (finding,) = rerun(state.folder).findings
    one = finding.difference
    assert (finding.group, one.name, one.stream, one.index, one.count) == ("pumps", "scale.mean", stream, (1,), 1)
    assert float(one.kept) == float(one.replayed) + 1.0
    assert finding.records is not None
    first, last = finding.records
    assert 40 < first < last <= 87


def test_a_planted_weight_is_found(state: StateFolder) -> None:
    def spoil(arrays: dict[str, Array]) -> None:
        arrays["pumps/learner.weights.w_ih_0"][3, 2] += 1.0

    state.checkpoint(spoiled(spoil))
    (finding,) = rerun(state.folder).findings
    one = finding.difference
    assert (one.name, one.stream, one.index) == ("learner.weights.w_ih_0", None, (3, 2))
    assert finding.records == (41, 87)


def test_a_planted_number_is_found(state: StateFolder) -> None:
    def change(kept: Checkpoint) -> Checkpoint:
        kept.meta["groups"]["pumps"]["frames"] += 1
        return kept

    state.checkpoint(change)
    (finding,) = rerun(state.folder).findings
    assert finding.difference.name == "frames"


def test_a_planted_difference_in_a_row_on_the_disk_is_found(state: StateFolder) -> None:
    state.checkpoint()
    name = next(one for one in ("s0", "s1", "s2", "s3", "s4", "s5") if one not in state.engine.slots)
    key = f"pumps/{name}"
    row = state.spill.get(key, upto=87)
    assert row is not None
    state.spill.put([(key, 87, row[:-1] + bytes([row[-1] ^ 1]))])
    findings = rerun(state.folder).findings
    assert {finding.difference.stream for finding in findings} == {name}
    assert len(findings) == 1


def test_a_stream_that_only_the_daemon_let_go_is_compared(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    plant = Plant(seed=3)
    state.apply(plant.batches(5))
    state.checkpoint()
    state.apply(plant.batches(5))
    ((stream, row),) = state.engine.spill(1)
    state.checkpoint()
    state.spill.put([(f"pumps/{stream}", 10, row)])
    assert rerun(state.folder).findings == ()
    state.spill.put([(f"pumps/{stream}", 10, row[:-1] + bytes([row[-1] ^ 1]))])
    (finding,) = rerun(state.folder).findings
    assert finding.difference.stream == stream
    state.close()


def test_a_record_that_was_applied_otherwise_is_found(state: StateFolder) -> None:
    """What the engine held when it was saved is not what its journal gives."""
    state.engine.apply(Plant(seed=77, streams=("a stranger",)).batch())
    state.checkpoint()
    findings = rerun(state.folder).findings
    names = {finding.difference.name for finding in findings}
    assert {"frames", "known", "streams"} <= names
    (stranger,) = (one for one in findings if one.difference.name == "streams")
    assert (stranger.difference.stream, stranger.difference.kept) == ("a stranger", "there")
    assert stranger.records is None


# --- where there is nothing to compare ---


def test_a_journal_that_does_not_reach_back_is_told_with_positions(state: StateFolder) -> None:
    state.checkpoint()
    state.journal.truncate(60)
    with pytest.raises(RerunError, match=r"begins after 60.*newest, at 87.*there is 40"):
        rerun(state.folder)


def test_one_checkpoint_can_not_be_compared_with_itself(state: StateFolder) -> None:
    with pytest.raises(RerunError, match="there is none"):
        rerun(state.folder)


def test_a_former_checkpoint_that_is_damaged_is_not_gone_on_from(state: StateFolder) -> None:
    state.checkpoint()
    flip(checkpoint.describe(state.folder)[1].path)
    with pytest.raises(RerunError, match="there is none"):
        rerun(state.folder)


def test_a_damaged_journal_is_told(state: StateFolder) -> None:
    state.checkpoint()
    state.close()
    with sqlite3.connect(state.folder / folders.JOURNAL) as connection:
        connection.execute("UPDATE entry SET record = zeroblob(length(record)) WHERE position = 50")
    connection.close()
    with pytest.raises(RerunError, match=r"ends at 49.*entry 50 has a wrong checksum"):
        rerun(state.folder)


def test_a_damaged_row_is_told(state: StateFolder) -> None:
    state.checkpoint()
    state.close()
    with sqlite3.connect(state.folder / folders.SPILL) as connection:
        connection.execute('UPDATE version SET "row" = zeroblob(length("row"))')
    connection.close()
    with pytest.raises(RerunError, match="wrong checksum"):
        rerun(state.folder)


def test_a_folder_without_journal_or_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(RerunError, match="no journal"):
        rerun(tmp_path)
    state = StateFolder(tmp_path / "state")
    state.apply(Plant(seed=1).batches(2))
    with pytest.raises(RerunError, match="no good checkpoint"):
        rerun(state.folder)
    state.close()


def test_a_state_that_does_not_fit_its_settings_is_told(state: StateFolder) -> None:
    def change(kept: Checkpoint) -> Checkpoint:
        kept.meta["settings"]["pumps"]["network"]["hidden"] = 5
        return kept

    state.checkpoint(change)
    with pytest.raises(RerunError, match="group pumps at 87"):
        rerun(state.folder)
