import numpy as np
import pytest

from streamd.page import lately
from streamd.page.lately import Lately
from tests.page.runs import engine_after, last_of


def test_the_newest_frame_of_each_stream_is_told_exactly():
    engine, outcomes = engine_after()
    heard = Lately()
    for outcome in outcomes:
        heard.hear(outcome)
    for stream in engine.streams:
        outcome, row = last_of(outcomes, stream)
        found = heard.last(stream)
        assert found is not None
        assert (found.seq, found.score) == (outcome.seq[row], outcome.score[row])
        np.testing.assert_array_equal(found.terms, outcome.terms[row])
        np.testing.assert_array_equal(found.channel_score, outcome.channel_score[row])
    assert heard.last("nobody") is None


def test_old_batches_make_room_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch):
    _, outcomes = engine_after(200)
    monkeypatch.setattr(lately, "MOST", 20)
    heard = Lately()
    for outcome in outcomes:
        heard.hear(outcome)
        assert len(heard) <= 20
    assert len(heard) > 10


def test_a_batch_that_is_larger_than_all_room_is_kept_alone(monkeypatch: pytest.MonkeyPatch):
    _, outcomes = engine_after(30)
    monkeypatch.setattr(lately, "MOST", 1)
    heard = Lately()
    for outcome in outcomes:
        heard.hear(outcome)
    assert heard.last(outcomes[-1].streams[0]) is not None
