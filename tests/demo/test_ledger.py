"""The demo's book-keeping: what counts as answered, and what as caught."""

from __future__ import annotations

from streamd.demo.ledger import GRACE_S, Band, Forecast, GroupIncident, Incident, Ledger, Score, Telemetry
from streamd.demo.plant import STEP_S, Fault, Sample

T0 = 1_000_000.0
FAULT = Fault("shift", "a", "flow", T0 + 10 * STEP_S, T0 + 12 * STEP_S)


def sample(step: int, machine: str = "a", *faults: Fault) -> Sample:
    return Sample(machine, T0 + step * STEP_S, {"load": 5.0, "flow": 1.0}, faults)


def forecast(step: int, machine: str = "a", low: float | None = 0.0, high: float | None = 2.0) -> Forecast:
    time = T0 + step * STEP_S
    return Forecast(machine, time, [time + STEP_S], {"flow": Band([1.0], [low], [high])})


def score(step: int, machine: str = "a", *, alarm: bool = False) -> Score:
    parts = {"load": 0.1, "flow": 1.5 if alarm else 0.1, "lost": None}
    return Score(machine, T0 + step * STEP_S, 1.5 if alarm else 0.2, alarm, 1.0, parts)


def raised(step: int, machine: str = "a") -> Incident:
    return Incident(f"{machine}-{step}", machine, "raised", T0 + step * STEP_S, {"flow": 1.0})


def with_fault() -> Ledger:
    """Ten calm readings, and then three that the fault touches, all sent."""
    ledger = Ledger.of(["a", "b"])
    for step in range(10):
        ledger.on_sample(sample(step))
    for step in (10, 11, 12):
        ledger.on_sample(sample(step, "a", FAULT))
    return ledger


def test_all_is_well_when_each_reading_has_its_forecast_and_its_score() -> None:
    ledger = Ledger.of(["a", "b"])
    for step in range(10):
        for machine in ("a", "b"):
            ledger.on_sample(sample(step, machine))
            assert not ledger.settled
            ledger.on_forecast(forecast(step, machine))
            ledger.on_score(score(step, machine))
            assert ledger.settled
    assert (ledger.sent, ledger.forecasts, ledger.scores) == (20, 20, 20)
    assert ledger.missing() == []


def test_what_is_missing_is_named_by_machine_and_kind() -> None:
    ledger = Ledger.of(["a", "b", "c"])
    for step in range(10):
        ledger.on_sample(sample(step, "a"))
        ledger.on_sample(sample(step, "b"))
        ledger.on_forecast(forecast(step, "a"))
        ledger.on_forecast(forecast(step, "b"))
        ledger.on_score(score(step, "b"))
    assert ledger.missing() == ["a: 0 scores came back for 10 readings", "c: no reading was sent"]


def test_one_answer_in_ten_may_be_missing_and_no_more() -> None:
    ledger = Ledger.of(["a"])
    for step in range(20):
        ledger.on_sample(sample(step))
        ledger.on_forecast(forecast(step))
        if step >= 3:
            ledger.on_score(score(step))
    assert ledger.missing() == ["a: 17 scores came back for 20 readings"]
    for step in range(20, 30):
        ledger.on_sample(sample(step))
        ledger.on_forecast(forecast(step))
        ledger.on_score(score(step))
    assert ledger.missing() == []


def test_an_answer_counts_once_and_only_to_what_was_sent() -> None:
    ledger = Ledger.of(["a"])
    ledger.on_forecast(forecast(0))  # nothing was sent
    ledger.on_sample(sample(0))
    ledger.on_forecast(forecast(0))
    ledger.on_forecast(forecast(0))  # doubled
    ledger.on_forecast(forecast(7))  # of the future
    ledger.on_score(score(0, "stranger"))
    ledger.on_incident(raised(0, "stranger"))
    assert ledger.forecasts == 1
    assert ledger.scores == 0
    assert ledger.stray == 5
    assert "5 answers were doubled, out of order, or to nothing that was sent" in ledger.missing()


def test_how_far_the_scores_are_behind_is_that_of_the_slowest_machine_and_forgets_what_was_lost() -> None:
    ledger = Ledger.of(["a", "b"])
    assert ledger.behind == 0
    for step in range(7):
        ledger.on_sample(sample(step, "a"))
        ledger.on_sample(sample(step, "b"))
    ledger.on_score(score(6, "a"))
    assert ledger.behind == 7
    ledger.on_score(score(4, "b"))
    assert ledger.behind == 2


def test_a_message_that_can_not_be_read_fails_the_demo() -> None:
    ledger = Ledger.of([])
    ledger.unreadable = 2
    assert ledger.missing() == ["2 messages could not be read"]


def test_a_fault_is_put_down_once_however_many_readings_it_touches() -> None:
    ledger = with_fault()
    assert [trial.fault for trial in ledger.trials] == [FAULT]
    assert ledger.trials[0].verdict == "open"


def test_the_first_alarm_of_its_machine_catches_a_fault_and_says_how_late_and_whom_it_blames() -> None:
    ledger = with_fault()
    ledger.on_score(score(10))
    ledger.on_score(score(11, alarm=True))
    ledger.on_score(score(12, alarm=True))
    (trial,) = ledger.trials
    assert (trial.verdict, trial.caught, trial.blamed) == ("caught", STEP_S, "flow")


def test_an_alarm_shortly_after_a_faults_end_still_catches_it() -> None:
    ledger = with_fault()
    end = 12 + round(GRACE_S / STEP_S)
    ledger.on_sample(sample(end))
    ledger.on_score(score(end, alarm=True))
    assert ledger.trials[0].verdict == "caught"


def test_a_fault_is_missed_when_its_time_is_over() -> None:
    ledger = with_fault()
    late = 13 + round(GRACE_S / STEP_S)
    ledger.on_sample(sample(late))
    ledger.on_sample(sample(late + 1))
    ledger.on_score(score(late, alarm=True))
    assert ledger.trials[0].verdict == "missed"
    ledger.on_score(score(late + 1, alarm=True))
    assert ledger.trials[0].verdict == "missed"


def test_alarms_before_the_fault_or_of_another_machine_catch_nothing() -> None:
    ledger = with_fault()
    ledger.on_sample(sample(11, "b"))
    ledger.on_score(score(11, "b", alarm=True))
    ledger.on_score(score(9, alarm=True))
    assert ledger.trials[0].verdict == "open"


def test_an_incident_without_a_fault_is_told_apart() -> None:
    ledger = with_fault()
    ledger.on_incident(raised(3))
    ledger.on_incident(raised(11))
    ledger.on_incident(raised(11, "b"))
    assert (ledger.incidents, ledger.unexplained) == (3, 2)


def test_an_incident_is_open_until_it_is_cleared() -> None:
    ledger = with_fault()
    ledger.on_incident(raised(11))
    assert ledger.machines["a"].incident == raised(11)
    ledger.on_incident(Incident("a-11", "a", "cleared", T0 + 11 * STEP_S, {}))
    assert ledger.machines["a"].incident is None
    assert ledger.incidents == 1


def test_an_incident_of_many_machines_is_one_event_and_open_until_it_is_cleared() -> None:
    ledger = with_fault()
    raised_now = GroupIncident("group#5", "raised", ["a", "b"])
    ledger.on_group_incident(raised_now)
    assert (ledger.event, ledger.events, ledger.incidents) == (raised_now, 1, 0)
    ledger.on_group_incident(GroupIncident("group#5", "updated", ["a", "b", "c"]))
    assert ledger.event is not None
    assert ledger.event.streams == ["a", "b", "c"]
    ledger.on_group_incident(GroupIncident("group#5", "cleared", ["a", "b", "c"]))
    assert (ledger.event, ledger.events) == (None, 1)


def test_values_are_held_against_the_interval_forecast_one_step_before() -> None:
    ledger = Ledger.of(["a"])
    ledger.on_telemetry(Telemetry("a", T0, {"flow": 1.0}))  # nothing was forecast yet
    for step, value in ((0, 1.0), (1, 9.0)):
        ledger.on_sample(sample(step))
        ledger.on_forecast(forecast(step))
        ledger.on_telemetry(Telemetry("a", T0 + (step + 1) * STEP_S, {"flow": value, "load": 3.0}))
    assert (ledger.held, ledger.judged) == (1, 2)


def test_a_forecast_that_knows_no_time_or_no_interval_is_not_judged() -> None:
    ledger = Ledger.of(["a"])
    ledger.on_sample(sample(0))
    ledger.on_forecast(Forecast("a", T0, [None], {"flow": Band([1.0], [0.0], [2.0])}))
    ledger.on_telemetry(Telemetry("a", T0 + STEP_S, {"flow": 1.0}))
    ledger.on_sample(sample(1))
    ledger.on_forecast(forecast(1, low=None, high=None))
    ledger.on_telemetry(Telemetry("a", T0 + 2 * STEP_S, {"flow": 1.0}))
    assert ledger.judged == 0
