"""Incidents on the disk: what is put twice is there once, what is damaged is left out, the oldest make room."""

from __future__ import annotations

import dataclasses
import sqlite3

import msgspec
import numpy as np
import pytest

from streamd.engine.score import TERMS
from streamd.records import Excerpt, Incident, Teach, Withdraw
from streamd.store import archive
from streamd.store.archive import Archive, Item, of_incidents, of_verdict
from streamd.store.sqlite import VersionError, stamp
from tests.incidents import GROUP, history
from tests.wire.test_outcomes import some_outcome


@pytest.fixture
def path(tmp_path):
    return tmp_path / "incidents.sqlite"


def told(number, state="raised", **changes):
    return Incident(f"s-{number}", "s", state, float(number), float(number), None, 2.0, {"a": 1.0}, **changes)


def excerpt(number=1, frames=5, channels=2, **changes):
    normal = np.random.default_rng(number).normal
    values = 1e6 + normal(size=(frames, channels))
    values[1, 0] = np.nan
    whole = 1e6 + normal(size=(frames, channels))
    return Excerpt(
        **{
            "incident": f"s-{number}",
            "stream": "s",
            "channels": tuple(f"c{at}" for at in range(channels)),
            "seq": 17,
            "times": 1.7e9 + np.arange(frames),
            "values": values,
            "mean": whole,
            "lower": whole - 1.0,
            "upper": whole + 1.0,
            "score": normal(size=frames).astype(np.float32),
            "terms": normal(size=(frames, len(TERMS))).astype(np.float32),
            "patterns": normal(size=(2, 9)).astype(np.float32),
            **changes,
        }
    )


def rows(number, **changes):
    return of_incidents("g", some_outcome(incidents=(told(number),), excerpts=(excerpt(number, **changes),)))


def opened(path, items):
    one = Archive.open(path)
    one.put(items)
    return one


def same(one, other):
    for field in dataclasses.fields(one):
        here, there = getattr(one, field.name), getattr(other, field.name)
        if isinstance(here, np.ndarray):
            # the band is kept in single precision, as its distance from the value where there is one
            np.testing.assert_allclose(there, here, rtol=1e-6, atol=1e-6 if field.name in ("mean",) else 0)
        else:
            assert here == there


def test_an_incident_comes_back_after_a_restart_with_all_that_was_told_and_its_frames(path):
    one = excerpt()
    outcome = some_outcome(
        incidents=(
            told(1),
            told(
                1,
                "cleared",
            ),
        ),
        excerpts=(one,),
    )
    opened(path, of_incidents("g", outcome)).close()
    again = Archive.open(path)
    assert again.rescue is None
    (kept,) = again.find("s-1")
    assert kept.told == (told(1), told(1, "cleared"))
    same(one, kept.excerpts[0])
    np.testing.assert_array_equal(kept.excerpts[0].values, one.values)
    np.testing.assert_array_equal(kept.excerpts[0].times, one.times)
    assert kept.verdict == ""
    assert again.find("s-2") == []
    again.close()


def test_frames_without_patterns_or_channels_come_back_too(path):
    bare = excerpt(patterns=np.empty((0, 9), np.float32), channels=1)
    one = opened(path, of_incidents("g", some_outcome(incidents=(told(1),), excerpts=(bare,))))
    (kept,) = one.find("s-1")
    assert len(kept.excerpts[0].patterns) == 0
    assert kept.excerpts[0].values.shape == (5, 1)
    one.close()


def test_an_outcome_without_incidents_leaves_nothing():
    assert of_incidents("g", some_outcome()) == []


def test_what_is_put_again_is_there_once_and_keeps_its_age(path):
    one = opened(path, [*rows(1), *rows(2)])
    one.put(rows(1))
    assert [kept.told[0].id for kept in one.latest(9)] == ["s-2", "s-1"]
    assert [len(kept.told) for kept in one.latest(9)] == [1, 1]
    assert len(one.find("s-1")[0].excerpts) == 1
    assert [kept.told[0].id for kept in one.latest(1)] == ["s-2"]
    one.close()


def test_a_verdict_is_kept_with_the_incident_and_taken_back(path):
    one = opened(path, rows(1))
    one.put([of_verdict("g", Teach("s-1", "false"))])
    assert one.find("s-1")[0].verdict == "false"
    one.put([of_verdict("g", Teach("s-1", "real"))])
    assert one.latest(1)[0].verdict == "real"
    one.put([of_verdict("g", Withdraw("s-1"))])
    assert one.find("s-1")[0].verdict == ""
    one.close()


def test_incidents_of_two_groups_do_not_mix(path):
    one = opened(path, [dataclasses.replace(item, group=group) for group in ("g", "h") for item in rows(1)])
    assert [kept.group for kept in one.find("s-1")] == ["g", "h"]
    assert [kept.told[0].id for kept in one.of_group("h")] == ["s-1"]
    one.close()


def test_the_oldest_incidents_make_room_by_number_and_by_bytes(path, monkeypatch):
    monkeypatch.setattr(archive, "PRUNED", 1)
    monkeypatch.setattr(archive, "MOST_INCIDENTS", 3)
    one = Archive.open(path)
    for number in range(6):
        one.put(rows(number))
    assert [kept.told[0].id for kept in one.latest(9)] == ["s-5", "s-4", "s-3"]
    size = sum(len(item.body) for item in rows(5))
    monkeypatch.setattr(archive, "MOST_BYTES", 2 * size)
    one.put(rows(6))
    assert [kept.told[0].id for kept in one.latest(9)] == ["s-6", "s-5"]
    one.put(rows(7, frames=5000))  # alone too large: it stays all the same
    assert [kept.told[0].id for kept in one.latest(9)] == ["s-7"]
    one.close()


def test_a_row_that_is_damaged_is_left_out(path):
    opened(path, [*rows(1), *rows(2)]).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE kept SET body = x'00' WHERE incident = 's-1' AND kind = 'frames'")
    connection.execute("UPDATE kept SET body = x'00' WHERE incident = 's-2' AND kind = 'told'")
    connection.commit()
    connection.close()
    again = Archive.open(path)
    (kept,) = again.latest(9)
    assert (kept.told[0].id, again.find("s-1")[0].excerpts) == ("s-1", ())
    assert again.damaged() == 2
    again.close()


def test_a_damaged_file_goes_to_quarantine_and_its_sound_rows_into_a_new_one(path):
    opened(path, [item for number in range(40) for item in rows(number)]).close()
    content = bytearray(path.read_bytes())
    begin = 5 * archive.LAYOUT.page_size
    content[begin : begin + archive.LAYOUT.page_size] = b"\xa5" * archive.LAYOUT.page_size
    path.write_bytes(content)
    again = Archive.open(path)
    assert again.rescue is not None
    assert again.rescue.path.parent.name == "quarantine"
    assert 0 < len(again.latest(99)) < 40
    assert again.rescue.kept > 20
    again.put(rows(99))
    assert again.latest(1)[0].told[0].id == "s-99"
    again.close()


def test_what_a_newer_streamd_wrote_is_refused(path):
    Archive.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {stamp(2)}")
    connection.close()
    with pytest.raises(VersionError):
        Archive.open(path)


def test_all_or_none_of_a_call_is_kept(path):
    one = opened(path, rows(1))
    with pytest.raises(OverflowError):
        one.put([*rows(2), Item("g", "s-3", "told", 2**70, b"")])  # no such number fits
    assert [kept.told[0].id for kept in one.latest(9)] == ["s-1"]
    one.close()


def test_an_engines_incidents_fit_in_the_bytes_that_were_reckoned_with():
    items, _ = history()
    assert {item.group for item in items} == {GROUP}
    of_each = {}
    for item in items:
        of_each[item.incident] = of_each.get(item.incident, 0) + len(item.body)
    assert max(of_each.values()) < 20_000
    assert msgspec.msgpack.decode(items[0].body, type=Incident).state == "raised"
