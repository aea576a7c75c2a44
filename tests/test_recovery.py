from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from streamd.config import Alarm, Config, ConfigError, Group, Source, State
from streamd.edge.disk import Disk
from streamd.edge.training import TrainingThread
from streamd.engine import layout
from streamd.model.training import Candidate, Job, train
from streamd.records import Configure, Effect, Marks, Silent
from streamd.recovery import State as Found
from streamd.recovery import profiles, recover, unsent
from streamd.store import codec, folders
from streamd.store.archive import Archive
from streamd.store.checkpoint import Checkpoint
from streamd.store.journal import Entry
from streamd.store.spill import Spill
from tests import incidents
from tests.engine.runs import SETTINGS, Plant, bits, small_engine, state, with_training
from tests.state_folder import StateFolder, flip

Bits: TypeAlias = dict[str, tuple[str, tuple[int, ...], bytes]]


def config(folder: Path, group: Group = SETTINGS) -> Config:
    return Config(
        source=(Source(topic="plant/{stream}/telemetry", group="pumps"),),
        group={"pumps": group},
        state=State(folder=str(folder)),
    )


def recovered(
    folder: Path, group: Group = SETTINGS, *, stopped: bool = False, memory_mb: float = 512.0
) -> tuple[Bits, dict[str, Any], Found]:
    """The engine's state after a recovery, and what was found beside it."""
    settings = config(folder, group)
    settings = msgspec.structs.replace(settings, state=msgspec.structs.replace(settings.state, memory_mb=memory_mb))

    async def body() -> tuple[Bits, dict[str, Any], Found]:
        stop = asyncio.Event()
        if stopped:
            stop.set()
        with TrainingThread[Job, Candidate](train) as thread, Disk("journal") as disk:
            found = await recover(settings, thread, disk, stop)
            arrays, meta = state(found.engines["pumps"])
            await disk(found.close)
            return bits(arrays), meta, found

    return asyncio.run(body())


def lived(folder: Path, before: int, after: int) -> tuple[Bits, dict[str, Any]]:
    """A daemon that made a checkpoint after so many records, applied more, and lost its power; its state then."""
    plant = Plant(1)
    daemon = StateFolder(folder)
    daemon.apply(islice(plant.batches(before + after), before))
    daemon.checkpoint()
    daemon.apply(plant.batches(after))
    arrays, meta = state(daemon.engine)
    daemon.close()
    return bits(arrays), meta


def test_checkpoint_and_journal_give_the_state_back_to_the_bit(tmp_path: Path) -> None:
    arrays, meta = lived(tmp_path / "state", before=40, after=25)
    found_arrays, found_meta, found = recovered(tmp_path / "state")
    assert found_arrays == arrays
    assert found_meta == meta
    assert (found.saved, found.position) == (40, 65)
    assert not found.refitted


def test_an_empty_folder_begins_at_nothing(tmp_path: Path) -> None:
    _, meta, found = recovered(tmp_path)
    assert meta["frames"] == 0
    assert (found.saved, found.position, found.again) == (None, 0, [])


def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_used_with_the_longer_journal(tmp_path: Path) -> None:
    plant = Plant(1)
    daemon = StateFolder(tmp_path)
    daemon.apply(plant.batches(20))
    daemon.checkpoint()
    daemon.apply(plant.batches(20))
    newest = daemon.checkpoint()
    daemon.apply(plant.batches(5))
    arrays, meta = state(daemon.engine)
    daemon.close()
    flip(newest)
    found_arrays, found_meta, found = recovered(tmp_path)
    assert found_arrays == bits(arrays)
    assert found_meta == meta
    assert found.saved == 20
    assert list((tmp_path / folders.QUARANTINE).iterdir())


def test_a_journal_that_goes_on_from_a_lost_checkpoint_is_put_aside_and_nothing_is_guessed(tmp_path: Path) -> None:
    plant = Plant(1)
    daemon = StateFolder(tmp_path)
    for _ in range(3):
        daemon.apply(plant.batches(10))
        newest = daemon.checkpoint()
    daemon.apply(plant.batches(5))
    daemon.close()
    for path in newest.parent.glob("checkpoint-*"):
        flip(path)
    _, meta, found = recovered(tmp_path)
    assert meta["frames"] == 0
    assert (found.saved, found.position) == (None, 0)
    assert (tmp_path / folders.QUARANTINE / folders.JOURNAL).exists()


def test_outcomes_that_may_not_have_gone_out_are_given_again_with_their_number(tmp_path: Path) -> None:
    batches = list(Plant(1).batches(3))
    daemon = StateFolder(tmp_path)
    entries = [Entry(at, "pumps", codec.encode(batch)) for at, batch in enumerate(batches, 1)]
    daemon.journal.commit(entries, published=2)
    daemon.close()
    *_, found = recovered(tmp_path)
    assert (found.position, found.published) == (3, 2)
    last = batches[-1]
    given = [(message.topic, json.loads(message.payload)["seq"]) for message in found.again if message.kind == "score"]
    seqs = [sum(stream in batch.streams for batch in batches) - 1 for stream in last.streams]
    assert given == [(f"streamd/pumps/{stream}/score", seq) for stream, seq in zip(last.streams, seqs, strict=True)]


@pytest.mark.parametrize("published", [20, 21])
def test_a_silence_that_may_not_have_been_told_is_told_again_and_lasts(tmp_path: Path, published: int) -> None:
    daemon = StateFolder(tmp_path)
    daemon.apply(Plant(1).batches(20))
    stream = daemon.engine.slots.names[0]
    seq = int(daemon.engine.timing.seq[0])
    daemon.journal.commit([Entry(21, "pumps", codec.encode(Silent((stream,))))], published=published)
    daemon.close()
    *_, found = recovered(tmp_path)
    told = [json.loads(message.payload) for message in found.again]
    wanted = [] if published == 21 else [(f"{stream}-{seq}", "raised", seq)]
    assert [(one["id"], one["state"], one["seq"]) for one in told] == wanted
    assert found.engines["pumps"].silent() == [stream]
    assert found.engines["pumps"].command(Silent((stream,))) == Effect()


def test_marks_of_messages_come_back_from_the_journal(tmp_path: Path) -> None:
    daemon = StateFolder(tmp_path)
    daemon.apply(Plant(1).batches(2))
    daemon.journal.commit([Entry(3, "", codec.encode(Marks(((7, 99),))))], 3)
    daemon.close()
    *_, found = recovered(tmp_path)
    assert found.marks == [(7, 99)]
    assert found.position == 3


def test_marks_from_before_a_lost_session_do_not_come_back(tmp_path: Path) -> None:
    daemon = StateFolder(tmp_path)
    daemon.apply(Plant(1).batches(2))
    records = Marks(((7, 99),)), Marks(((6, 66),)), Marks(()), Marks(((8, 77),))
    daemon.journal.commit([Entry(at, "", codec.encode(record)) for at, record in enumerate(records, 3)], 6)
    daemon.checkpoint(lambda kept: replace(kept, position=3, meta={**kept.meta, "marks": [[7, 99]]}))
    daemon.close()
    *_, found = recovered(tmp_path)
    assert found.saved == 3
    assert found.marks == [(8, 77)]


def test_a_spill_that_knows_more_than_the_checkpoint_is_put_aside_and_the_daemon_starts(tmp_path: Path) -> None:
    daemon = StateFolder(tmp_path)
    daemon.apply(Plant(1).batches(5))
    daemon.close()
    spill = Spill.open(tmp_path / folders.SPILL)
    spill.put([("pumps/p1", 3, b"row"), ("pumps/p1", 4, b"row")])
    spill.forget(4)  # the checkpoint that allowed it is lost
    spill.close()
    *_, found = recovered(tmp_path)
    assert found.position == 5
    assert (tmp_path / folders.QUARANTINE / folders.SPILL).exists()


def test_changed_settings_are_fitted_after_the_journal_was_applied_with_those_of_then(tmp_path: Path) -> None:
    _, before = lived(tmp_path, before=30, after=10)
    more = msgspec.structs.replace(SETTINGS, network=msgspec.structs.replace(SETTINGS.network, hidden=9))
    _, meta, found = recovered(tmp_path, more)
    assert found.refitted
    assert meta["frames"] == before["frames"]
    assert found.engines["pumps"].settings == more


OTHER = msgspec.structs.replace(
    with_training(learning_rate=0.01, every_frames=2), alarm=Alarm(per_week=9.0), max_resident_streams=4000
)


@pytest.mark.parametrize("at", [0, 1, 7, 25])
def test_settings_that_were_changed_while_it_ran_hold_from_their_place_in_the_journal_on(
    tmp_path: Path, at: int
) -> None:
    plant = Plant(1)
    daemon = StateFolder(tmp_path)
    daemon.apply(plant.batches(40))
    daemon.checkpoint()
    daemon.apply([*plant.batches(at), Configure(msgspec.to_builtins(OTHER)), *plant.batches(25 - at)])
    arrays, meta = state(daemon.engine)
    daemon.close()
    found_arrays, found_meta, found = recovered(tmp_path, OTHER)
    assert (found_meta, found.position) == (meta, 66)
    assert found_arrays == bits(arrays)
    assert not found.refitted, "they are those of the config"
    assert found.residencies["pumps"].limit == 4000
    unmoved = StateFolder(tmp_path / "unmoved")
    plant = Plant(1)
    unmoved.apply(plant.batches(65))
    assert (bits(state(unmoved.engine)[0]) != found_arrays) == (at < 25), "they make a difference to what follows"
    unmoved.close()


def test_a_config_that_was_not_taken_over_before_the_end_is_fitted_after_the_journal(tmp_path: Path) -> None:
    plant = Plant(1)
    daemon = StateFolder(tmp_path)
    daemon.apply([*plant.batches(20), Configure(msgspec.to_builtins(OTHER)), *plant.batches(20)])
    _, meta = state(daemon.engine)
    daemon.close()
    _, found_meta, found = recovered(tmp_path, SETTINGS)
    assert found.refitted
    assert found_meta == meta
    assert found.engines["pumps"].settings == SETTINGS


def test_a_group_that_is_new_asks_for_a_checkpoint_of_the_settings_that_it_begins_with(tmp_path: Path) -> None:
    fans = StateFolder(tmp_path, group="fans")
    fans.apply(Plant(1).batches(3))
    fans.checkpoint()
    fans.close()
    _, meta, found = recovered(tmp_path)
    assert meta["frames"] == 0
    assert found.refitted


def test_a_stop_during_recovery_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    arrays, meta = lived(tmp_path, before=20, after=10)
    *_, found = recovered(tmp_path, stopped=True)
    assert found.position == 20
    found_arrays, found_meta, _ = recovered(tmp_path)
    assert (found_arrays, found_meta) == (arrays, meta)


def test_a_state_that_can_not_be_read_is_no_new_beginning(tmp_path: Path) -> None:
    daemon = StateFolder(tmp_path)
    daemon.apply(Plant(1).batches(5))
    daemon.checkpoint(lambda kept: replace(kept, meta={**kept.meta, "settings": {}}))
    daemon.close()
    with pytest.raises(ConfigError, match="pumps"):
        recovered(tmp_path)


def test_incidents_that_had_not_gone_out_are_kept_with_the_checkpoint() -> None:
    (message,) = unsent([["streamd/g/s/incident", '{"id":"s-1"}', True, 1]])
    assert (message.topic, message.payload, message.kind, message.retain, message.qos) == (
        "streamd/g/s/incident",
        b'{"id":"s-1"}',
        "incident",
        True,
        1,
    )


def test_a_state_from_before_a_part_was_there_is_taken_and_the_part_begins_fresh(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def older(kept: Checkpoint) -> Checkpoint:
        arrays = {
            name: array for name, array in kept.arrays.items() if not name.startswith(("pumps/past.", "pumps/feed"))
        }
        groups = {"pumps": {key: value for key, value in kept.meta["groups"]["pumps"].items() if key != "feedback"}}
        return Checkpoint(kept.position, arrays, kept.meta | {"groups": groups})

    daemon = StateFolder(tmp_path)
    daemon.apply(Plant(1).batches(30))
    daemon.checkpoint(older)
    daemon.close()
    arrays, meta, found = recovered(tmp_path)
    assert (meta["frames"], found.position) == (daemon.engine.frames, 30)
    assert arrays["scale.mean"] == bits(state(daemon.engine)[0])["scale.mean"]
    assert "action=upgrade group=pumps" in caplog.text
    assert "past.ahead" in caplog.text


def test_what_the_journal_holds_of_incidents_is_archived_again_and_once(tmp_path: Path) -> None:
    scene = incidents.teach(incidents.Scene(small_engine(incidents.SETTINGS)))
    scene.disturbed(incidents.OTHER)
    (silence,) = scene.command(Silent(("s",))).incidents
    assert [one.id for one in scene.give().incidents] == [silence.id], "which is heard again"
    daemon = StateFolder(tmp_path, incidents.SETTINGS)
    daemon.apply(scene.records)
    daemon.close()
    for _ in range(2):  # the second time it was archived already
        recovered(tmp_path, incidents.SETTINGS)
        archive = Archive.open(tmp_path / folders.ARCHIVE)
        rows = archive._database.rows('SELECT "group", incident, kind, place, body FROM kept')
        archive.close()
        assert sorted(rows) == sorted((one.group, one.incident, one.kind, one.place, one.body) for one in scene.rows())
        assert {"told", "frames", "verdict"} == {row[2] for row in rows}
        assert sum(row[1] == silence.id and row[2] == "told" for row in rows) == 2, "raised and cleared, once each"


def test_where_full_streams_take_more_than_the_budget_a_start_makes_them_compact_and_they_stay_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    auto = msgspec.structs.replace(SETTINGS, horizon_steps=12)
    daemon = StateFolder(tmp_path, settings=auto)
    daemon.apply(Plant(1).batches(60))
    daemon.checkpoint()
    daemon.close()
    engine, groups = daemon.engine, {"pumps": auto}
    full = engine.known * layout.row_bytes(auto, len(engine.channels))
    assert profiles({"pumps": engine}, groups, full) == groups, "what fits is left as it is"
    compact = profiles({"pumps": engine}, groups, 0.9 * full)
    assert compact["pumps"].profile == "compact"
    caplog.set_level("INFO", logger="streamd.recovery")
    _, _, found = recovered(tmp_path, auto, memory_mb=0.9 * full / 1e6)
    assert found.refitted
    assert found.engines["pumps"].settings.profile == "compact"
    assert "action=profile group=pumps profile=compact streams=6" in caplog.text
    assert "the profile was full and is compact" in caplog.text
    engines = found.engines
    # it would fit now, but as narrowly as it did not before
    assert profiles(engines, groups, 1.1 * full) == compact
    assert profiles(engines, groups, 2.1 * full) == groups
    said = {"pumps": msgspec.structs.replace(auto, profile="full")}
    assert profiles(engines, said, 0.1 * full) == said, "what is asked for is done"
