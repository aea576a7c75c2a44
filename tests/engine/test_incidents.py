"""Incidents: one disturbance, one alarm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamd.config import Alarm
from streamd.engine.incidents import CALM_FRAMES, LEAD, REFRACTORY_STEPS, Incidents, Judged
from streamd.engine.score import TERMS
from streamd.records import Expected

CHANNELS = ("a", "b")
STEP_S = 10.0
ALARM = Alarm(accept_s=2000.0)
NO_WAIT = Alarm(accept_s=2000.0, refractory_s=1e-3)
CALM = [0.1] * CALM_FRAMES
LATER = [0.1] * int(REFRACTORY_STEPS)


def judged(
    n, score, parts=(0.75, 0.25), *, steady=False, accepted=None, onset=None, interval=STEP_S, terms=None, time=None
):
    """One frame of one stream, number n at time 10 n."""
    score = float(score)
    return Judged(
        seq=np.array([n]),
        times=np.array([STEP_S * n if time is None else time]),
        interval=np.array([interval]),
        score=np.array([score]),
        terms=np.array([[score, *[0.0] * (len(TERMS) - 1)] if terms is None else terms]),
        channel_score=score * np.array([parts]),
        values=np.array([[n, -1.0]]),
        expected=np.array([[2.0 * n, np.nan]]),
        lower=np.array([[1.5 * n, np.nan]]),
        upper=np.array([[2.5 * n, np.nan]]),
        steady=np.array([steady]),
        accepted=None if accepted is None else np.array([accepted]),
        onset=None if onset is None else np.array([onset]),
    )


def together(frames):
    """Frames of different streams as those of one batch; what nobody knows stays unknown."""
    rows = {name: [getattr(frame, name) for frame in frames] for name in Judged.__slots__}
    return Judged(**{name: None if each[0] is None else np.concatenate(each) for name, each in rows.items()})


def feed(incidents, frame, alarm=ALARM):
    return incidents.update(np.array([0]), ("s",), CHANNELS, frame, alarm)


def run(scores, incidents=None, start=0, alarm=ALARM, **frame):
    """Everything told about one stream: [(n, Incident)]."""
    incidents = Incidents({"C": 2}, slots=1) if incidents is None else incidents
    return [
        (n, incident)
        for n, score in enumerate(scores, start)
        for incident in feed(incidents, judged(n, score, **frame), alarm).incidents
    ]


def states(told):
    return [(n, incident.state) for n, incident in told]


def test_nothing_is_told_below_the_line():
    assert run([0.0, 0.5, 0.99] * 5) == []


def test_an_incident_is_raised_at_the_line_and_cleared_when_it_was_calm_for_a_while():
    told = run([0.1, 1.0, *CALM, 0.1])
    assert states(told) == [(1, "raised"), (1 + CALM_FRAMES, "cleared")]
    raised, cleared = (incident for _, incident in told)
    assert (raised.id, raised.stream, raised.start, raised.peak, raised.end) == ("s-1", "s", 10.0, 10.0, None)
    assert (raised.score, raised.channels, raised.reason) == (1.0, {"a": 0.75, "b": 0.25}, None)
    assert (cleared.id, cleared.start, cleared.peak, cleared.end) == ("s-1", 10.0, 10.0, 20.0)
    assert cleared.reason == "calm"


def test_a_disturbance_that_flickers_around_the_line_is_one_incident():
    told = run([1.2, 0.8, 1.1, 0.3, 0.9, 1.0] * 10)
    assert states(told) == [(0, "raised")]


def test_a_score_that_is_not_calm_starts_the_wait_anew():
    calm = [0.1] * (CALM_FRAMES - 1)
    told = run([1.0, *calm, 0.7, *calm, 0.1])
    assert states(told) == [(0, "raised"), (2 * CALM_FRAMES, "cleared")]
    assert told[-1][1].end == 10.0 * (1 + CALM_FRAMES)


# --- when it began ---


def test_a_disturbance_that_is_found_late_began_with_the_first_frame_that_was_not_calm():
    ((_, told),) = run([0.9, 0.6, 0.7, 0.8, 0.99, 1.3])
    assert (told.id, told.start, told.peak) == ("s-5", 20.0, 50.0)


def test_a_term_that_knows_when_it_began_is_believed_where_it_says_earlier():
    ((_, told),) = run([0.1] * 8 + [1.0], onset=30.0)
    assert (told.id, told.start) == ("s-8", 30.0)
    assert run([0.1] * 8 + [1.0], onset=np.nan)[0][1].start == 80.0
    assert run([0.1] * 8 + [1.0], onset=500.0)[0][1].start == 80.0


def test_a_disturbance_does_not_begin_in_the_time_of_the_one_before():
    told = run([1.0, *CALM, *LATER, 1.0], onset=0.0)
    assert [incident.start for _, incident in told] == [0.0, 0.0, 10.0 * CALM_FRAMES]


# --- worse, and others to blame ---


def test_a_peak_that_is_much_worse_is_told_and_a_little_worse_is_not():
    told = run([1.0, 1.4, 1.5, 2.2, 2.25, 1.0])
    assert states(told) == [(0, "raised"), (2, "updated"), (4, "updated")]
    assert [incident.score for _, incident in told] == [1.0, 1.5, 2.25]
    assert [incident.peak for _, incident in told] == [0.0, 20.0, 40.0]
    assert {incident.start for _, incident in told} == {0.0}


def test_everything_about_the_peak_is_of_the_peak():
    incidents = Incidents({"C": 2}, slots=1)
    ((_, raised),) = run([1.0], incidents, start=3, parts=(1.0, 0.0))
    assert raised.terms[TERMS[0]] == 1.0
    assert raised.expected["a"] == Expected(3.0, 6.0, 4.5, 7.5)
    band = raised.expected["b"]
    assert (band.value, np.isnan([band.expected, band.lower, band.upper]).all()) == (-1.0, True)
    ((_, updated),) = run([2.0], incidents, start=4, parts=(0.0, 1.0))
    assert updated.channels == {"a": 0.0, "b": 1.0}
    cleared = run([0.5] * CALM_FRAMES, incidents, start=5, parts=(1.0, 0.0))[-1][1]
    assert cleared.channels == {"a": 0.0, "b": 1.0}
    assert (cleared.score, cleared.terms[TERMS[0]]) == (2.0, 2.0)
    assert cleared.expected["a"] == Expected(4.0, 8.0, 6.0, 10.0)


def test_another_channel_that_is_most_to_blame_is_told_if_it_is_clearly_ahead():
    incidents = Incidents({"C": 2}, slots=1)
    run([1.0], incidents, parts=(0.8, 0.2))
    assert run([1.01], incidents, start=1, parts=(0.5 - LEAD / 3, 0.5 + LEAD / 3)) == []
    ((_, told),) = run([1.02], incidents, start=2, parts=(0.4, 0.6))
    assert (told.state, told.score) == ("updated", 1.02)
    assert run([1.01], incidents, start=3, parts=(0.9, 0.1)) == []  # it is no new peak


@pytest.mark.parametrize("parts", [(0.9, 0.9), (0.0, 0.0), (np.nan, 1.0), (np.inf, 1.0), (1e308, 1e308), (-1.0, 3.0)])
def test_shares_of_the_blame_add_to_one_whatever_the_parts(parts):
    ((_, told),) = run([1.3], parts=parts)
    assert sum(told.channels.values()) == pytest.approx(1.0)
    assert min(told.channels.values()) >= 0.0


def test_a_channel_that_comes_while_an_incident_is_open_is_not_to_blame_for_it():
    incidents = Incidents({"C": 2}, slots=1)
    run([1.0], incidents)
    incidents.widen({"C": 3})
    wide = judged(1, 0.1, parts=(0.5, 0.3))
    for n in range(1, 1 + CALM_FRAMES):
        frame = Judged(
            **{
                name: np.pad(getattr(wide, name), ((0, 0), (0, 1)))
                for name in ("channel_score", "values", "expected", "lower", "upper")
            },
            seq=np.array([n]),
            times=np.array([STEP_S * n]),
            interval=wide.interval,
            score=wide.score,
            terms=wide.terms,
            steady=wide.steady,
        )
        told = incidents.update(np.array([0]), ("s",), (*CHANNELS, "c"), frame, ALARM)
    (cleared,) = told.incidents
    assert cleared.channels == {"a": 0.75, "b": 0.25, "c": 0.0}
    assert np.isnan(cleared.expected["c"].value)


# --- soon after the end ---


def test_what_comes_within_the_refractory_time_opens_the_same_incident_again():
    told = run([3.0, *CALM, 1.0, 1.2, *CALM])
    assert [(incident.id, incident.state, incident.score) for _, incident in told] == [
        ("s-0", "raised", 3.0),
        ("s-0", "cleared", 3.0),
        ("s-0", "updated", 3.0),
        ("s-0", "cleared", 3.0),
    ]
    again, over = told[2][1], told[3][1]
    assert (again.start, again.end, again.reason) == (0.0, None, None)
    assert over.end == 10.0 * (3 + CALM_FRAMES)


def test_what_is_worse_than_before_when_it_comes_again_has_its_own_peak():
    told = run([1.0, *CALM, 2.5])
    assert (told[-1][1].id, told[-1][1].score, told[-1][1].peak) == ("s-0", 2.5, 10.0 * (1 + CALM_FRAMES))


def test_the_next_disturbance_after_the_refractory_time_is_another_incident():
    told = run([3.0, *CALM, *LATER, 1.0, 1.2, *CALM])
    n = 1 + CALM_FRAMES + len(LATER)
    assert [(incident.id, incident.state, incident.score) for _, incident in told] == [
        ("s-0", "raised", 3.0),
        ("s-0", "cleared", 3.0),
        (f"s-{n}", "raised", 1.0),
        (f"s-{n}", "cleared", 1.2),
    ]


def test_the_refractory_time_can_be_given_in_seconds():
    assert states(run([1.0, *CALM, 1.0], alarm=NO_WAIT))[-1] == (1 + CALM_FRAMES, "raised")
    long = Alarm(refractory_s=1e6)
    assert states(run([1.0, *CALM, *LATER, 1.0], alarm=long))[-1][1] == "updated"


def test_a_stream_whose_step_is_not_known_has_no_refractory_time():
    assert states(run([1.0, *CALM, 1.0], interval=np.nan))[-1] == (1 + CALM_FRAMES, "raised")


# --- what lasts ---


def lasting(frames, **frame):
    incidents = Incidents({"C": 2}, slots=1)
    return incidents, run([2.0] * frames, incidents, **frame)


def test_what_stands_still_for_the_time_in_the_config_is_accepted():
    incidents, told = lasting(1 + 200, steady=True)
    assert states(told) == [(0, "raised"), (200, "cleared")]
    cleared = told[-1][1]
    assert (cleared.reason, cleared.start, cleared.end) == ("accepted", 0.0, ALARM.accept_s)
    assert not incidents.open.any()


def test_what_a_term_says_has_become_normal_is_accepted_at_once_though_it_never_stood_still():
    incidents, _ = lasting(20, steady=False)
    ((_, cleared),) = run([2.0], incidents, start=20, accepted=True)
    assert (cleared.reason, cleared.end) == ("accepted", 200.0)
    assert not incidents.open.any()


def test_the_slots_whose_level_is_accepted_are_handed_back():
    incidents = Incidents({"C": 2}, slots=1)
    found = [feed(incidents, judged(n, 2.0, steady=True)).accepted.tolist() for n in range(201)]
    assert found == [[]] * 200 + [[0]]


def test_what_does_not_stand_still_is_never_accepted():
    assert states(lasting(1000, steady=False)[1]) == [(0, "raised")]


def test_a_change_sets_acceptance_back_and_does_not_begin_the_wait_anew():
    incidents = Incidents({"C": 2}, slots=1)
    told = []
    for n in range(250):
        told += [(n, one) for one in feed(incidents, judged(n, 2.0, steady=n != 100)).incidents]
    assert states(told) == [(0, "raised"), (211, "cleared")]


def test_a_gap_counts_as_a_few_steps_of_standing_still():
    incidents, _ = lasting(2, steady=True)
    assert run([2.0], incidents, start=2000, steady=True) == []


def test_what_was_accepted_is_not_raised_at_once_again_while_it_is_learnt():
    incidents, _ = lasting(201, steady=True)
    assert run([2.0] * (int(REFRACTORY_STEPS) - 1), incidents, start=201) == []
    assert states(run([2.0], incidents, start=200 + int(REFRACTORY_STEPS)))[0][1] == "raised"


def test_another_disturbance_after_what_was_accepted_is_another_incident():
    incidents, _ = lasting(201, steady=True)
    ((_, told),) = run([0.3, 1.0], incidents, start=201)
    assert (told.id, told.state) == ("s-202", "raised")


# --- silence ---


def silent(incidents, time):
    return incidents.raise_silent(np.array([0]), ("s",), CHANNELS, np.array([time]))


def test_a_stream_that_falls_silent_has_an_incident_without_a_frame_until_it_is_heard_again():
    incidents = Incidents({"C": 2}, slots=1)
    run([0.1] * 5, incidents)
    told = silent(incidents, 95.0)
    (raised,) = told.incidents
    assert (raised.id, raised.state, raised.start, raised.peak, raised.score) == ("s-5", "raised", 95.0, 95.0, 1.0)
    assert raised.channels == {"a": 0.5, "b": 0.5}
    assert told.opened == {"s": 95.0}
    assert silent(incidents, 120.0).incidents == ()
    ((n, cleared),) = run([0.1] * 3, incidents, start=20)
    assert (n, cleared.id, cleared.reason, cleared.end) == (20, "s-5", "heard again", 200.0)


def test_a_frame_that_is_itself_strange_goes_on_with_the_incident_of_the_silence():
    incidents = Incidents({"C": 2}, slots=1)
    run([0.1] * 5, incidents)
    silent(incidents, 95.0)
    ((_, worse),) = run([3.0], incidents, start=20)
    assert (worse.id, worse.state, worse.start, worse.score) == ("s-5", "updated", 95.0, 3.0)
    assert run([0.1] * CALM_FRAMES, incidents, start=21)[-1][1].reason == "calm"


def test_frames_that_were_held_up_do_not_end_an_incident_before_it_began():
    incidents = Incidents({"C": 2}, slots=1)
    run([0.1] * 5, incidents)
    silent(incidents, 95.0)
    ((_, cleared),) = run([0.1], incidents, start=6)
    assert (cleared.start, cleared.peak, cleared.end) == (60.0, 60.0, 60.0)


def test_an_open_incident_is_not_opened_by_silence_too():
    incidents = Incidents({"C": 2}, slots=1)
    run([1.0], incidents)
    assert silent(incidents, 50.0).incidents == ()
    assert states(run(CALM, incidents, start=1)) == [(CALM_FRAMES, "cleared")]


# --- many streams, and over a restart ---


def test_streams_of_one_batch_have_their_own_incidents_told_in_its_order():
    incidents = Incidents({"C": 2}, slots=3)
    frames = [judged(n, score) for n, score in ((7, 1.0), (8, 0.5), (9, 2.0))]
    told = incidents.update(np.array([2, 0, 1]), ("z", "x", "y"), CHANNELS, together(frames), ALARM)
    assert [incident.id for incident in told.incidents] == ["z-7", "y-9"]
    assert told.opened == {"z": 70.0, "y": 90.0}
    assert incidents.open.tolist() == [False, True, True]


def test_an_open_incident_goes_on_in_a_loaded_state():
    one = Incidents({"C": 2}, slots=1)
    run([1.0, 0.2, 0.2], one)
    other = Incidents({"C": 2})
    other.load_state_dict({name: array.copy() for name, array in one.state_dict().items()})
    rest = [0.2] * CALM_FRAMES
    assert repr(run(rest, other, start=3)) == repr(run(rest, one, start=3)) != "[]"


def test_an_open_incident_of_a_state_that_knew_less_is_cleared_under_its_own_name():
    incidents = Incidents({"C": 2}, slots=1)
    incidents.open[0], incidents.seq[0], incidents.start[0] = True, 3, 30.0
    incidents.peak[0] = incidents.told[0] = 1.5
    incidents.peak_time[0], incidents.share[0] = 40.0, [1.0, 0.0]
    ((_, cleared),) = run([0.2] * CALM_FRAMES, incidents, start=5)
    assert (cleared.id, cleared.start, cleared.peak, cleared.end) == ("s-3", 30.0, 40.0, 50.0)
    assert np.isnan(list(cleared.terms.values())).all()


class Life(RuleBasedStateMachine):
    """Some streams with any scores, gaps and silences, in batches of any make-up."""

    STREAMS = ("x", "y", "z")

    @initialize(
        accept=st.sampled_from([50.0, 1e9]),
        wait=st.sampled_from([None, 1e-3, 100.0, 1e9]),
        known=st.booleans(),
    )
    def begin(self, accept, wait, known):
        self.alarm = Alarm(accept_s=accept, refractory_s=wait)
        self.interval = STEP_S if known else np.nan
        self.incidents = Incidents({"C": 2}, slots=3)
        self.seq, self.time = np.zeros(3, np.int64), np.zeros(3)
        self.open, self.last, self.raised = {}, {}, set()

    @rule(
        scores=st.lists(
            st.one_of(st.none(), st.sampled_from([0.0, 0.69, 0.7, 0.99, 1.0, 1.3, 5.0])), min_size=3, max_size=3
        ),
        repeat=st.sampled_from([1, CALM_FRAMES]),
        parts=st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=2, max_size=2),
        steady=st.booleans(),
        gap=st.sampled_from([STEP_S, STEP_S, 50 * STEP_S]),
        back=st.sampled_from([None, 35.0]),
    )
    def frames(self, scores, repeat, parts, steady, gap, back):
        for _ in range(repeat):
            slots = np.array([slot for slot, score in enumerate(scores) if score is not None], np.int64)
            self.time[slots] += gap
            frames = [
                judged(
                    int(self.seq[slot]),
                    scores[slot],
                    parts,
                    steady=steady,
                    onset=np.nan if back is None else self.time[slot] - back,
                    interval=self.interval,
                    time=self.time[slot],
                )
                for slot in slots.tolist()
            ]
            if not frames:
                return
            self.seq[slots] += 1
            streams = tuple(self.STREAMS[slot] for slot in slots.tolist())
            told = self.incidents.update(slots, streams, CHANNELS, together(frames), self.alarm)
            self.hear(told)
            accepted = [one.stream for one in told.incidents if one.reason == "accepted"]
            assert accepted == [self.STREAMS[slot] for slot in told.accepted.tolist()]

    @rule(slot=st.integers(0, 2), late=st.sampled_from([0.0, 5.0, 200.0]))
    def fall_silent(self, slot, late):
        times = np.array([self.time[slot] + late])
        self.hear(self.incidents.raise_silent(np.array([slot]), (self.STREAMS[slot],), CHANNELS, times))

    @rule()
    def restart(self):
        arrays = {name: array.copy() for name, array in self.incidents.state_dict().items()}
        self.incidents = Incidents({"C": 2})
        self.incidents.load_state_dict(arrays)

    def hear(self, told):
        assert len({one.stream for one in told.incidents}) == len(told.incidents)
        for one in told.incidents:
            assert one.start <= one.peak
            assert one.score >= 1.0
            assert sum(one.channels.values()) == pytest.approx(1.0)
            assert (one.stream in told.opened) == (one.state != "cleared" and one.stream not in self.open)
            if one.state == "raised":
                assert one.stream not in self.open
                assert one.id not in self.raised
                self.raised.add(one.id)
                self.open[one.stream] = one.id
            elif one.state == "updated" and one.stream not in self.open:  # opened again
                assert one.id == self.last[one.stream]
                self.open[one.stream] = one.id
            elif one.state == "updated":
                assert one.id == self.open[one.stream]
            else:
                assert one.id == self.open.pop(one.stream)
                assert one.peak <= one.end
            assert (one.end is None) == (one.reason is None) == (one.state != "cleared")
            self.last[one.stream] = one.id

    @invariant()
    def what_is_open_is_what_was_told(self):
        if hasattr(self, "incidents"):
            assert [name in self.open for name in self.STREAMS] == self.incidents.open.tolist()


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase
