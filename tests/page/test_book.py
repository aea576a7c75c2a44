import pytest

from streamd.page import book
from streamd.page.book import Book
from streamd.records import Command, Effect, Freeze, Incident, Outcome, Teach, Withdraw
from streamd.store.archive import Archive, Kept
from tests.engine.runs import small_engine
from tests.incidents import GROUP, SETTINGS, SPIKE, WARM, Scene, state_folder


def incident(id_: str, *, end: float | None = None) -> Incident:
    return Incident(id_, "s", "raised" if end is None else "cleared", 1.0, 1.0, end, 2.0, {})


def heard(*ids: str, end: float | None = None) -> Book:
    found = Book()
    for id_ in ids:
        found.hear(GROUP, Effect((incident(id_, end=end),)))
    return found


def ids(found: Book) -> list[str]:
    return [entry.incident.id for entry in found.latest()]


def test_an_incident_is_told_when_it_is_raised_and_again_when_it_ends():
    scene = Scene(small_engine(SETTINGS))
    scene.calm(WARM)
    found = Book()
    changed = [entry for outcome in [scene.give(SPIKE), *scene.calm()] for entry in found.hear(GROUP, outcome)]
    assert changed[0].incident.state == "raised"
    assert changed[-1].incident.state == "cleared"
    assert len(found) == 1
    assert found.latest()[0] == changed[-1]


def test_what_was_moved_last_comes_first():
    found = heard("a", "b", "c")
    found.hear(GROUP, Effect((incident("a", end=5.0),)))
    assert ids(found) == ["a", "c", "b"]


@pytest.mark.parametrize(("command", "verdict"), [(Teach("a", "false"), "false"), (Withdraw("a"), "")])
def test_a_verdict_is_told_and_stays_when_the_incident_goes_on(command: Command, verdict: str):
    found = heard("a")
    found.hear(GROUP, Teach("a", "real"))
    (entry,) = found.hear(GROUP, command)
    assert entry.verdict == verdict
    (entry,) = found.hear(GROUP, Effect((incident("a", end=3.0),)))
    assert entry.verdict == verdict


def test_of_what_it_does_not_know_nothing_is_told():
    found = heard("a")
    assert found.hear("other", Teach("a", "false")) == []
    assert found.hear(GROUP, Teach("b", "false")) == []
    assert found.hear(GROUP, Freeze()) == []
    assert found.latest()[0].verdict == ""


def test_the_archive_fills_what_was_before_and_what_was_heard_counts_more(tmp_path):
    last = state_folder(tmp_path)
    archive = Archive.open(tmp_path / "incidents.sqlite")
    kept = archive.latest(book.MOST)
    archive.close()
    found = Book()
    newer = incident(last, end=9.0)
    found.hear(GROUP, Effect((newer,)))
    found.fill(kept)
    assert ids(found)[0] == last
    assert found.latest()[0].incident == newer
    assert len(found) == len(kept) == 4
    assert [entry.verdict for entry in found.latest()] == ["", "false", "false", "false"]


def test_a_verdict_in_the_archive_is_kept_for_one_that_was_heard_without():
    found = heard("a")
    found.fill([Kept(GROUP, (incident("a"),), (), "real")])
    assert found.latest()[0].verdict == "real"


def test_of_too_many_the_oldest_that_are_over_go_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(book, "MOST", 3)
    found = heard("open 1", "open 2")
    for id_ in ("over 1", "over 2", "over 3"):
        found.hear(GROUP, Effect((incident(id_, end=2.0),)))
    assert ids(found) == ["over 3", "open 2", "open 1"]
    for id_ in ("open 3", "open 4"):
        found.hear(GROUP, Effect((incident(id_),)))
    assert ids(found) == ["open 4", "open 3", "open 2"]


def test_outcomes_without_incidents_cost_no_entry():
    scene = Scene(small_engine(SETTINGS))
    outcome = scene.give()
    assert isinstance(outcome, Outcome)
    assert Book().hear(GROUP, outcome) == []
