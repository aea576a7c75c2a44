"""What the demo's subscriber makes of topics and payloads; the daemon's are made by the daemon's own encoder."""

from __future__ import annotations

import asyncio

import numpy as np
from msgspec.structs import replace

from streamd.demo.ledger import Ledger
from streamd.demo.plant import START, STEP_S, Sample
from streamd.demo.watcher import Watcher
from streamd.engine.score import TERMS
from streamd.records import Incident, Outcome
from streamd.wire import outcomes


def outcome(*incidents: Incident, interval: float = STEP_S) -> Outcome:
    """One frame of machine a, at START, with two channels and two steps ahead."""
    band = np.array([[[1.0, 2.0], [np.nan, 4.0]]])
    each_expert = np.repeat(band[:, None], 2, axis=1)
    return Outcome(
        channels=("load", "flow"),
        streams=("a",),
        seq=np.array([0]),
        times=np.array([START]),
        interval=np.array([interval]),
        mean=band,
        lower=band - 1,
        upper=band + 1,
        score=np.array([1.25]),
        terms=np.array([[0.5, 0.25, 1.25, 0.0]]),
        channel_score=np.array([[0.5, 1.25]]),
        weights=np.full((1, 3, 2, 2), 0.5),
        experts=each_expert,
        levels=np.stack([band - 1, band + 1], axis=1)[:, None],
        drifted=np.array([False]),
        warming=np.array([0.5]),
        incidents=incidents,
    )


def watching() -> tuple[Ledger, Watcher]:
    ledger = Ledger.of(["a"])
    ledger.on_sample(Sample("a", START, {}, ()))
    return ledger, Watcher(ledger)


def hear(watcher: Watcher, result: Outcome) -> None:
    names = outcomes.Names(TERMS, ("one", "other", "network"), (0.9,), 0.9)
    for message in outcomes.encode("streamd", "plant", result, names):
        watcher.on_message(message.topic, message.payload)


def test_forecast_and_score_of_the_daemons_encoder_are_entered() -> None:
    ledger, watcher = watching()
    hear(watcher, outcome())
    machine = ledger.machines["a"]
    assert machine.forecast is not None
    assert machine.score is not None
    assert machine.forecast.times == [START + STEP_S, START + 2 * STEP_S]
    assert machine.forecast.channels["load"].mean == [1.0, None]
    assert (machine.score.score, machine.score.alarm, machine.score.warming) == (1.25, True, 0.5)
    assert ledger.missing() == []


def test_the_first_forecast_of_a_stream_knows_no_times_and_is_entered_all_the_same() -> None:
    ledger, watcher = watching()
    hear(watcher, outcome(interval=np.nan))
    assert ledger.forecasts == 1
    assert ledger.missing() == []


def test_an_incident_of_many_machines_is_entered_and_cleared_by_the_daemons_messages() -> None:
    ledger, watcher = watching()
    told = Incident("group#7", "", "raised", START, START, None, 1.25, {"flow": 1.0}, streams=("a", "b", "c"))
    hear(watcher, outcome(told))
    assert ledger.event is not None
    assert ledger.event.streams == ["a", "b", "c"]
    hear(watcher, outcome(replace(told, state="cleared", end=START, reason="calm")))
    assert (ledger.event, ledger.events, ledger.unreadable) == (None, 1, 0)


def test_an_incident_is_entered_and_cleared_by_the_daemons_messages() -> None:
    ledger, watcher = watching()
    told = Incident("a-0", "a", "raised", START, START, None, 1.25, {"flow": 1.0})
    hear(watcher, outcome(told))
    assert ledger.machines["a"].incident is not None
    hear(watcher, outcome(Incident("a-0", "a", "cleared", START, START, START, 1.25, {"flow": 1.0})))
    assert ledger.machines["a"].incident is None
    assert ledger.unreadable == 0


def test_telemetry_is_entered_with_its_time_and_numbers() -> None:
    ledger, watcher = watching()
    watcher.on_message("plant/a/telemetry", b'{"time": "2026-01-01T00:05:00+00:00", "load": 5, "flow": 1.5}')
    telemetry = ledger.machines["a"].telemetry
    assert telemetry is not None
    assert (telemetry.epoch, telemetry.values) == (START + STEP_S, {"load": 5.0, "flow": 1.5})


def test_the_daemons_status_says_whether_it_is_online() -> None:
    _, watcher = watching()
    for state, online in (("online", True), ("offline", False)):
        message = outcomes.status("streamd", state, version="1", time=0.0)
        watcher.on_message(message.topic, message.payload)
        assert watcher.online.is_set() is online


def test_what_can_not_be_read_is_counted() -> None:
    ledger, watcher = watching()
    for topic, payload in (
        ("streamd/plant/a/score", b"{"),
        ("streamd/plant/a/forecast", b'{"stream": "a"}'),
        ("streamd/status", b"\xff"),
        ("plant/a/telemetry", b'{"time": "soon", "load": 1.0}'),
        ("plant/a/telemetry", b'{"load": 1.0}'),
    ):
        watcher.on_message(topic, payload)
    assert ledger.unreadable == 5


def test_topics_of_others_are_passed_over() -> None:
    ledger, watcher = watching()
    watcher.on_message("streamd/command/freeze", b"not json")
    watcher.on_message("weather", b"rain")
    assert ledger.unreadable == 0


def test_waiting_ends_with_the_message_that_fulfils_the_condition() -> None:
    async def scenario() -> None:
        ledger, watcher = watching()
        waiting = asyncio.create_task(watcher.wait_until(lambda: ledger.settled))
        await asyncio.sleep(0)
        assert not waiting.done()
        hear(watcher, outcome())
        await asyncio.wait_for(waiting, 5)

    asyncio.run(scenario())
