"""What is counted of many streams is what became of each of them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from streamd.config import Group, Training
from tests.benchmarks import crowd, normal
from tests.benchmarks.signals import Signal, stream

SETTINGS = msgspec.structs.replace(Group(), horizon_steps=2, training=Training(enabled=False))


@pytest.fixture(scope="module")
def watched() -> tuple[list[Signal], crowd.Crowd]:
    """White noise, of which the second stream has a blow at row 900 and the third is shorter and has a gap."""
    made = [stream("white noise", 0, number, 1000, 60.0) for number in range(3)]
    made[1].values[900:905] += 80 * made[1].values.std()
    made[2].values[100:110] = np.nan
    made[2] = Signal(made[2].times[:700], made[2].values[:700])
    return made, crowd.watch(made, SETTINGS)


def test_the_stream_with_the_blow_has_the_incident(watched: tuple[list[Signal], crowd.Crowd]) -> None:
    made, found = watched
    peaks = [
        [np.searchsorted(signal.times, one.peak) for one in seen.told.values()]
        for signal, seen in zip(made, found.streams, strict=True)
    ]
    assert sum(900 <= row <= 905 for row in peaks[1]) == 1, "be it raised by the blow, or worse for it"
    assert not any(895 <= row <= 910 for row in peaks[0])


def test_scores_stand_where_readings_came(watched: tuple[list[Signal], crowd.Crowd]) -> None:
    made, found = watched
    for signal, seen in zip(made, found.streams, strict=True):
        assert np.isfinite(seen.scores).tolist() == np.isfinite(signal.values[:, 0]).tolist()


def test_incidents_count_once_the_stream_is_warm(watched: tuple[list[Signal], crowd.Crowd]) -> None:
    _, found = watched
    for seen in found.streams:
        assert seen.warm is not None
    seen = crowd.Seen(warm=50, raised={"a": 10, "b": 60})
    assert seen.after_warming() == ["b"]
    assert crowd.Seen(warm=None, raised={"a": 10}).after_warming() == []


def test_promised_is_the_budget_over_the_time_after_the_warm_up() -> None:
    figures = normal.run(["white noise", "counter"], "ten a week", SETTINGS, seed=0, streams=2, rows=700)
    assert [(one["kind"], one["step_s"]) for one in figures] == [
        ("white noise", 60.0), ("white noise", 10.0), ("counter", 60.0), ("counter", 10.0)
    ]  # fmt: skip
    for one in figures:
        assert one["readings"] == 700
        assert one["promised"] == pytest.approx(10.0 * (699 - one["warm"]) * one["step_s"] / 604_800.0)
