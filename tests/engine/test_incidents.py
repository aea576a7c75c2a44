"""Incidents: one disturbance, one alarm."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.incidents import CALM_FRAMES, Incidents

CHANNELS = ("a", "b")


def run(scores, incidents=None, start=0, parts=(0.75, 0.25)):
    """Everything told about one stream, frame n at time 10 n: [(n, Incident)]."""
    incidents = Incidents({"C": 2}, slots=1) if incidents is None else incidents
    told = []
    for n, score in enumerate(scores, start):
        found = incidents.update(
            np.array([0]),
            ("s",),
            CHANNELS,
            np.array([n]),
            np.array([10.0 * n]),
            np.array([score]),
            score * np.array([parts]),
        )
        told += [(n, incident) for incident in found]
    return told


def states(told):
    return [(n, incident.state) for n, incident in told]


def test_nothing_is_told_below_the_line():
    assert run([0.0, 0.5, 0.99] * 5) == []


def test_an_incident_is_raised_at_the_line_and_cleared_when_it_was_calm_for_a_while():
    told = run([0.1, 1.0, *[0.1] * CALM_FRAMES, 0.1])
    assert states(told) == [(1, "raised"), (1 + CALM_FRAMES, "cleared")]
    raised, cleared = (incident for _, incident in told)
    assert (raised.id, raised.stream, raised.start, raised.peak, raised.end) == ("s-1", "s", 10.0, 10.0, None)
    assert (raised.score, raised.channels) == (1.0, {"a": 0.75, "b": 0.25})
    assert (cleared.id, cleared.start, cleared.peak, cleared.end) == ("s-1", 10.0, 10.0, 20.0)


def test_a_disturbance_that_flickers_around_the_line_is_one_incident():
    told = run([1.2, 0.8, 1.1, 0.3, 0.9, 1.0] * 10)
    assert states(told) == [(0, "raised")]


def test_a_score_that_is_not_calm_starts_the_wait_anew():
    calm = [0.1] * (CALM_FRAMES - 1)
    told = run([1.0, *calm, 0.7, *calm, 0.1])
    assert states(told) == [(0, "raised"), (2 * CALM_FRAMES, "cleared")]
    assert told[-1][1].end == 10.0 * (1 + CALM_FRAMES)


def test_a_peak_that_is_much_worse_is_told_and_a_little_worse_is_not():
    told = run([1.0, 1.4, 1.5, 2.2, 2.25, 1.0])
    assert states(told) == [(0, "raised"), (2, "updated"), (4, "updated")]
    assert [incident.score for _, incident in told] == [1.0, 1.5, 2.25]
    assert [incident.peak for _, incident in told] == [0.0, 20.0, 40.0]
    assert {incident.start for _, incident in told} == {0.0}


def test_the_blame_is_that_at_the_peak():
    incidents = Incidents({"C": 2}, slots=1)
    run([1.0], incidents, parts=(1.0, 0.0))
    (told,) = run([2.0], incidents, start=1, parts=(0.0, 1.0))
    assert told[1].channels == {"a": 0.0, "b": 1.0}
    cleared = run([0.5] * CALM_FRAMES, incidents, start=2, parts=(1.0, 0.0))[-1][1]
    assert cleared.channels == {"a": 0.0, "b": 1.0}
    assert cleared.score == 2.0


def test_shares_of_the_blame_add_to_one():
    (told,) = run([1.3], parts=(0.9, 0.9))
    assert sum(told[1].channels.values()) == pytest.approx(1.0)


def test_the_next_disturbance_is_another_incident():
    told = run([3.0, *[0.0] * CALM_FRAMES, 1.0, 1.2, *[0.0] * CALM_FRAMES])
    assert [(incident.id, incident.state, incident.score) for _, incident in told] == [
        ("s-0", "raised", 3.0),
        ("s-0", "cleared", 3.0),
        (f"s-{CALM_FRAMES + 1}", "raised", 1.0),
        (f"s-{CALM_FRAMES + 1}", "cleared", 1.2),
    ]


def test_streams_of_one_batch_have_their_own_incidents_told_in_its_order():
    incidents = Incidents({"C": 2}, slots=3)
    slots, streams = np.array([2, 0, 1]), ("z", "x", "y")
    parts = np.ones((3, 2))
    told = incidents.update(
        slots, streams, CHANNELS, np.array([7, 8, 9]), np.zeros(3), np.array([1.0, 0.5, 2.0]), parts
    )
    assert [incident.id for incident in told] == ["z-7", "y-9"]
    assert incidents.open.tolist() == [False, True, True]


def test_an_open_incident_goes_on_in_a_loaded_state():
    one = Incidents({"C": 2}, slots=1)
    run([1.0, 0.2, 0.2], one)
    other = Incidents({"C": 2})
    other.load_state_dict({name: array.copy() for name, array in one.state_dict().items()})
    rest = [0.2] * CALM_FRAMES
    assert run(rest, other, start=3) == run(rest, one, start=3) != []


def test_a_stream_that_falls_silent_has_an_incident_whose_blame_is_equal_until_it_is_heard():
    incidents = Incidents({"C": 2}, slots=1)
    raised = incidents.fall_silent(0, "s", CHANNELS, 5, 50.0)
    assert (raised.id, raised.state, raised.start, raised.peak, raised.score) == ("s-5", "raised", 50.0, 50.0, 1.0)
    assert raised.channels == {"a": 0.5, "b": 0.5}
    cleared = incidents.hear_again(0, "s", CHANNELS, 90.0)
    assert (cleared.id, cleared.state, cleared.start, cleared.end) == ("s-5", "cleared", 50.0, 90.0)
    assert run([0.1] * 20, incidents) == []


def test_a_disturbed_stream_that_falls_silent_keeps_its_incident():
    incidents = Incidents({"C": 2}, slots=1)
    run([1.5], incidents)
    assert incidents.fall_silent(0, "s", CHANNELS, 1, 50.0) is None
    assert states(run([0.1] * CALM_FRAMES, incidents, start=1)) == [(CALM_FRAMES, "cleared")]
