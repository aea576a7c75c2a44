import json

import numpy as np
import pytest

from streamd.engine.engine import Engine
from streamd.page import overview
from streamd.page.overview import STATES, changes, look
from streamd.records import Batch, Reset, Silent
from tests.engine.runs import Plant, bits, small_engine, state
from tests.incidents import SETTINGS, SPIKE, WARM, Scene
from tests.page.runs import engine_after, last_of


def named(table: overview.Table, engines: dict[str, Engine]) -> dict[tuple[str, str], dict[str, float]]:
    groups = list(engines)
    return {
        (groups[place], stream): {key: getattr(table, key)[row] for key in ("seq", "state", "score", "time", "warming")}
        for row, (place, stream) in enumerate(table.name)
    }


class Reader:
    """Somebody who is told changes, and puts them together."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, object]] = {}
        self.seen: overview.Table | None = None

    def hear(self, table: overview.Table) -> dict[str, object]:
        news = json.loads(changes(self.seen, table))
        self.seen = table
        if news["whole"]:
            self.rows.clear()
        for one in news["gone"]:
            del self.rows[one]
        for one, group, stream in news["new"]:
            self.rows[one] = {"group": group, "stream": stream}
        for place, one in enumerate(news["id"]):
            self.rows[one] |= {key: news[key][place] for key in ("seq", "state", "score", "term", "time", "warming")}
        return news


def test_each_stream_has_the_score_and_the_time_of_its_last_frame():
    engine, outcomes = engine_after()
    table = look({"a": engine})
    rows = named(table, {"a": engine})
    assert {stream for _, stream in rows} == {*engine.streams}
    for (_, stream), row in rows.items():
        outcome, at = last_of(outcomes, stream)
        assert (row["seq"], row["time"]) == (outcome.seq[at], outcome.times[at])
        assert row["score"] == np.float32(outcome.score[at])
        assert row["warming"] == outcome.warming[at]
        assert STATES[int(row["state"])] == "warming"


def test_looking_changes_nothing():
    engine, _ = engine_after()
    before = state(engine)
    changes(None, look({"a": engine}, "s"))
    after = state(engine)
    assert bits(before[0]) == bits(after[0])
    assert before[1] == after[1]


def test_a_stream_is_ok_then_in_alarm_then_silent():
    scene = Scene(small_engine(SETTINGS))
    states = []

    def note() -> None:
        (row,) = look({"a": scene.engine}).state.tolist()
        states.append(STATES[row])

    scene.calm(10)
    note()
    scene.calm(WARM)
    note()
    assert any(one.state == "raised" for one in scene.give(SPIKE).incidents)
    note()
    scene.calm()
    note()
    scene.command(Silent(("s",)))
    note()
    assert states == ["warming", "ok", "alarm", "ok", "silent"]
    assert look({"a": scene.engine}).counts == (0, 1, 0, 0, 0)


def test_the_term_that_is_told_is_the_largest_one():
    engine, outcomes = engine_after(200)
    table = look({"a": engine})
    for row, (_, stream) in enumerate(table.name):
        outcome, at = last_of(outcomes, stream)
        assert table.term[row] == outcome.terms[at].astype(np.float32).argmax()


def test_a_stream_that_was_reset_has_no_score_until_it_speaks():
    engine, _ = engine_after()
    engine.command(Reset("s1"))
    table = look({"a": engine})
    row = table.name.index((0, "s1"))
    assert np.isnan(table.score[row])
    assert table.term[row] == -1
    news = json.loads(changes(None, table))
    assert news["score"][row] is None


def test_a_search_finds_names_and_groups_in_any_case():
    one, _ = engine_after()
    other = small_engine()
    other.apply(Batch(("Pump-7",), np.array([1.0]), np.ones((1, 2))))
    engines = {"left": one, "right": other}
    assert [name for _, name in look(engines, "pUMP").name] == ["Pump-7"]
    assert [name for _, name in look(engines, "IGH").name] == ["Pump-7"]
    assert len(look(engines, "s").id) == len(one.streams)
    assert len(look(engines, "nobody").id) == 0


def test_ids_tell_streams_of_all_groups_apart_and_stay():
    one, _ = engine_after()
    other, _ = engine_after(seed=2)
    before = look({"a": one, "b": other})
    assert len({*before.id.tolist()}) == len(before.id) == len(one.streams) + len(other.streams)
    ids = dict(zip(before.name, before.id.tolist(), strict=True))
    one.spill(2)
    after = look({"a": one, "b": other})
    assert all(ids[name] == id_ for name, id_ in zip(after.name, after.id.tolist(), strict=True))
    assert after.known == before.known


def test_changes_put_together_are_the_table_also_where_streams_come_and_go():
    engine, plant, reader = small_engine(), Plant(3), Reader()
    reader.hear(look({"a": engine}))
    for turn in range(40):
        engine.apply(plant.batch())
        if turn % 7 == 6:
            engine.spill(1)
        table = look({"a": engine})
        reader.hear(table)
        assert {one: row["seq"] for one, row in reader.rows.items()} == dict(
            zip(table.id.tolist(), table.seq.tolist(), strict=True)
        )
        assert {row["stream"] for row in reader.rows.values()} == {*engine.streams}


def test_only_what_moved_is_told():
    engine, _ = engine_after()
    reader = Reader()
    assert reader.hear(look({"a": engine}))["whole"] is True
    engine.apply(Batch(("s2",), np.array([1e6]), np.ones((1, 2))))
    news = reader.hear(look({"a": engine}))
    assert (news["whole"], news["new"], news["gone"]) == (False, [], [])
    assert [reader.rows[one]["stream"] for one in news["id"]] == ["s2"]
    assert reader.hear(look({"a": engine}))["id"] == []


def test_a_stream_that_falls_silent_is_told_though_no_frame_came():
    engine, _ = engine_after()
    reader = Reader()
    reader.hear(look({"a": engine}))
    engine.command(Silent(("s2",)))
    reader.hear(look({"a": engine}))
    (row,) = [row for row in reader.rows.values() if row["stream"] == "s2"]
    assert STATES[row["state"]] == "silent"


def test_of_too_many_streams_those_in_most_trouble_are_told(monkeypatch: pytest.MonkeyPatch):
    engine, _ = engine_after()
    monkeypatch.setattr(overview, "MOST", 2)
    engine.command(Silent(("s4",)))
    table = look({"a": engine})
    assert len(table.id) == 2
    assert table.left_out == len(engine.streams) - 2
    assert (0, "s4") in table.name
    assert sum(table.counts) == len(engine.streams)
    everything = look({"a": engine})
    assert sorted(everything.id.tolist()) == everything.id.tolist()
