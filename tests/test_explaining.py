"""What there is to say of an incident, from the archive that an engine's run left."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.explaining import CALM, WINDOW, ExplainError, explain, is_alike, latest, spoke
from streamd.store import folders
from streamd.store.archive import Archive
from tests.incidents import EVERY, GROUP, TAUGHT, state_folder
from tests.state_folder import everything


def test_the_latest_incidents_are_listed_newest_first_with_what_was_said_of_them(tmp_path):
    last = state_folder(tmp_path)
    found = latest(tmp_path, 20)
    assert found[0].told[0].id == last
    verdicts = [one.verdict for one in found]
    assert verdicts == ["", *["false"] * TAUGHT, *[""] * (len(found) - TAUGHT - 1)]  # the last: before the spikes
    starts = [one.told[0].start for one in found]
    assert starts == sorted(starts, reverse=True)
    assert len(latest(tmp_path, 2)) == 2


def test_an_incident_is_explained_by_what_came_and_what_was_expected(tmp_path):
    found = explain(tmp_path, state_folder(tmp_path))
    assert (found.group, found.verdict) == (GROUP, "")
    assert found.raised.state == "raised"
    assert found.incident.state == "cleared"
    frames = found.frames
    at = int(np.flatnonzero(frames.times == found.raised.start)[0])
    assert frames.channels == ("a", "b")
    assert frames.values[at, 1] > frames.upper[at, 1] > frames.mean[at, 1] > frames.lower[at, 1]
    assert frames.lower[at, 0] - 3 < frames.values[at, 0] < frames.upper[at, 0] + 3
    assert frames.score[at] >= 1.0
    assert np.diff(frames.seq).tolist() == [1] * (len(frames.seq) - 1)
    name, first, _, highest = spoke(found)[0]
    assert first == found.raised.start
    assert highest == pytest.approx(found.incident.score)
    assert name


def test_earlier_incidents_come_with_verdict_and_distance_and_those_of_the_same_kind_are_alike(tmp_path):
    last = state_folder(tmp_path)
    other = explain(tmp_path, last)
    assert other.like
    assert not any(is_alike(one) for one in other.like)
    spikes = [one.told[0].id for one in latest(tmp_path, 20) if one.verdict == "false"]
    spike = explain(tmp_path, spikes[0])
    assert spike.verdict == "false"
    assert is_alike(spike.like[0])
    assert spike.like[0].verdict == "false"
    assert all(one.incident.start < spike.raised.start for one in spike.like)
    assert [one.distance for one in spike.like] == sorted(one.distance for one in spike.like)


def test_the_first_incident_has_nothing_before_it(tmp_path):
    state_folder(tmp_path)
    first = latest(tmp_path, 99)[-1].told[0].id
    assert explain(tmp_path, first).like == ()


def test_a_calm_window_is_told_that_lies_before_the_incident_if_one_was_kept(tmp_path):
    found = explain(tmp_path, state_folder(tmp_path))
    assert EVERY > WINDOW
    for calm in found.calm:
        assert calm.end < found.raised.start
        assert calm.distance > 0
    assert [one.distance for one in found.calm] == sorted(one.distance for one in found.calm)
    assert found.calm or found.frames.score[:WINDOW].max() >= CALM


def test_nothing_in_the_folder_is_changed(tmp_path):
    last = state_folder(tmp_path)
    before = everything(tmp_path)
    explain(tmp_path, last)
    latest(tmp_path, 5)
    assert everything(tmp_path) == before


def test_a_writer_may_be_at_work(tmp_path):
    last = state_folder(tmp_path)
    writer = Archive.open(tmp_path / folders.ARCHIVE)
    writer.put([])
    assert explain(tmp_path, last).incident.id == last
    writer.close()


def test_what_is_not_there_is_told_as_such(tmp_path):
    with pytest.raises(ExplainError, match="no incident was archived"):
        explain(tmp_path, "s-1")
    with pytest.raises(ExplainError, match="no incident was archived"):
        latest(tmp_path, 1)
    last = state_folder(tmp_path)
    with pytest.raises(ExplainError, match="no incident s-1 is in the archive"):
        explain(tmp_path, "s-1")
    with pytest.raises(ExplainError, match="no incident"):
        explain(tmp_path, last, "another")


def test_an_id_that_two_groups_have_needs_the_group(tmp_path):
    last = state_folder(tmp_path)
    archive = Archive.open(tmp_path / folders.ARCHIVE)
    told = archive.find(last)[0].told[0]
    from streamd.store.archive import of_incidents
    from tests.wire.test_outcomes import some_outcome

    archive.put(of_incidents("fans", some_outcome(incidents=(told,))))
    archive.close()
    with pytest.raises(ExplainError, match="fans, pumps"):
        explain(tmp_path, last)
    bare = explain(tmp_path, last, "fans")
    assert bare.frames is None
    assert bare.like == bare.calm == ()
    assert spoke(bare) == []
