import msgspec
import pytest

from streamd.page import learning
from streamd.page.learning import Reports
from streamd.records import Freeze
from tests.engine.runs import Plant, small_engine


def test_each_training_job_is_told_with_its_losses():
    engine, found, reports = small_engine(), Reports(), []
    for number, batch in enumerate(Plant(1).batches(120)):
        outcome = engine.apply(batch)
        found.hear(float(number), engine.frames, outcome.reports)
        reports += outcome.reports
    assert len(reports) > 5
    told = found.look("g", engine)
    assert [(job.loss, job.before, job.after, job.accepted, job.reason) for job in told.jobs] == [
        (one.loss, one.held_back_before, one.held_back_after, one.accepted, one.reason) for one in reports
    ]
    assert [job.frames for job in told.jobs] == sorted(job.frames for job in told.jobs)
    assert told.jobs[-1].frames <= engine.frames == told.frames
    assert msgspec.json.decode(msgspec.json.encode(told))["jobs"][0][2] in (True, False)


def test_the_learner_is_told_as_it_stands():
    engine = small_engine()
    found = Reports().look("g", engine)
    assert (found.frozen, found.enabled, found.layers, found.hidden, found.channels) == (False, True, 2, 4, 2)
    assert found.weights == sum(array.size for array in engine.learner.state_dict()[0].values() if array.size) // 4
    engine.command(Freeze())
    assert Reports().look("g", engine).frozen


def test_only_the_newest_jobs_are_remembered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(learning, "MOST", 3)
    engine, found = small_engine(), Reports()
    for batch in Plant(1).batches(120):
        found.hear(0.0, engine.frames, engine.apply(batch).reports)
    assert len(found.look("g", engine).jobs) == 3
