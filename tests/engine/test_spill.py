from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.config import Group
from streamd.engine import layout, spill
from streamd.records import Batch, Reset, Widen
from tests.engine.runs import (
    SETTINGS,
    STREAMS,
    Plant,
    bits,
    by_stream,
    outcome_bits,
    small_engine,
    state,
    with_training,
)

AUTO = Group(horizon_steps=3, network=SETTINGS.network, training=SETTINGS.training)
ROW = {
    "flag": np.array([[True], [False]]),
    "bits": np.array([[0, 255, 128], [1, 2, 3]], np.uint8),
    "count": np.array([-1, 2**62]),
    "single": np.array([[[1.5, np.nan]], [[-0.0, 1e-45]]], np.float32),
    "double": np.array([[np.inf, 5e-324], [np.nan, 1e308]]),
    "none": np.zeros((2, 0, 3)),
}


def test_a_row_says_itself_what_it_holds_to_the_bit() -> None:
    packed = spill.pack(ROW, ("a", "ü"), 3)
    assert len(packed) == 2
    (rows,) = spill.unpack(packed[::-1])
    assert (rows.channels, rows.resets, rows.places) == (("a", "ü"), 3, [0, 1])
    assert bits(rows.arrays) == bits({name: array[::-1] for name, array in ROW.items()})


def test_rows_that_are_not_alike_come_apart() -> None:
    early, late = spill.pack(ROW, ("a",), 0), spill.pack({"count": ROW["count"]}, ("a", "b"), 1)
    one, other = spill.unpack([early[0], late[0], early[1]])
    assert (one.places, one.resets, one.channels) == ([0, 2], 0, ("a",))
    assert (other.places, other.resets, other.channels) == ([1], 1, ("a", "b"))
    assert one.arrays["count"].tolist() == [-1, 2**62]
    assert other.arrays["count"].tolist() == [-1]
    assert spill.unpack([]) == []


def test_bytes_that_are_no_whole_row_are_refused() -> None:
    data = spill.pack(ROW, ("a",), 0)[0]
    for length in range(len(data)):
        with pytest.raises(ValueError, match="row"):
            spill.unpack([data[:length]])
    with pytest.raises(ValueError, match="longer"):
        spill.unpack([data + b"\0"])
    with pytest.raises(ValueError, match="not a stream's row"):
        spill.unpack([b"x" + data[1:]])


def test_a_row_that_a_newer_streamd_wrote_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(spill, "VERSION", spill.VERSION + 1)
        newer_version = spill.pack(ROW, ("a",), 0)[0]
    with monkeypatch.context() as patch:
        patch.setattr(spill, "LAYOUT", layout.LAYOUT + 1)
        newer_layout = spill.pack(ROW, ("a",), 0)[0]
    with pytest.raises(ValueError, match="version 2"):
        spill.unpack([newer_version])
    with pytest.raises(ValueError, match=f"layout {layout.LAYOUT + 1}"):
        spill.unpack([newer_layout])


class Home:
    """An engine whose streams come and go, with the store that they go to."""

    def __init__(self, settings: Group = AUTO) -> None:
        self.engine = small_engine(settings)
        self.store: dict[str, bytes] = {}

    def spill(self, count: int) -> list[str]:
        gone = self.engine.spill(count)
        self.store |= dict(gone)
        return [stream for stream, _ in gone]

    def fetch(self, streams: Iterable[str]) -> None:
        self.engine.restore(
            [(name, self.store.pop(name)) for name in self.engine.absent(streams) if name in self.store]
        )

    def restart(self) -> None:
        other = small_engine(self.engine.settings)
        other.load_state_dict(*state(self.engine))
        self.engine = other


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["apply"] * 6 + ["reset all", "reset one", "widen", "restart", "restore", "mark"]),
            st.integers(1, 7),  # streams to spill
        ),
        min_size=10,
        max_size=60,
    ),
    st.integers(0, 1000),
)
def test_no_outcome_and_no_state_depends_on_which_streams_were_in_memory(
    operations: list[str | int], seed: int
) -> None:
    home, engine = Home(), small_engine(AUTO)
    plant, twins = Plant(seed), Plant(seed)
    for each in (home.engine, engine):
        each.command(Widen(("a", "b")))
    for operation in operations:
        match operation:
            case int():
                home.spill(operation)
            case "apply":
                for _ in range(3):
                    batch = plant.batch(len(engine.channels))
                    home.fetch(batch.streams)
                    expected = engine.apply(twins.batch(len(engine.channels)))
                    assert outcome_bits(home.engine.apply(batch)) == outcome_bits(expected)
            case "reset all":
                home.engine.command(Reset())
                engine.command(Reset())
            case "reset one":
                home.fetch([STREAMS[1]])
                home.engine.command(Reset(STREAMS[1]))
                engine.command(Reset(STREAMS[1]))
            case "widen":
                for each in (home.engine, engine):
                    each.command(Widen((f"c{len(each.channels)}",)))
            case "restart":
                home.restart()
            case "restore":
                home.fetch(list(home.store)[:2])
            case "mark":
                home.engine.snapshot().copy(1)
        assert home.engine.known == engine.known == engine.resident
        assert home.engine.resident == engine.resident - len(home.store)
    home.fetch(list(home.store))
    assert by_stream(home.engine) == by_stream(engine)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_stream_that_missed_a_reset_comes_back_as_if_it_had_been_there(restarted: bool) -> None:
    home, engine, plant = Home(SETTINGS), small_engine(), Plant(3)
    for batch in plant.batches(100):
        home.engine.apply(batch)
        engine.apply(batch)
    home.spill(6)
    for each in (home.engine, engine):
        each.command(Reset())
        each.learner.generation += 1  # as when new weights are installed
        known = each.pool.log_multiplier.copy()
        for number, row in enumerate(np.random.default_rng(0).standard_t(2, size=(50, 1, 2))):
            each.apply(Batch(("other",), np.array([60.0 * number]), row))
        assert known.any()
        assert (each.pool.log_multiplier != known).any()  # the group learns on meanwhile
    if restarted:
        home.restart()
    home.fetch(STREAMS)
    assert by_stream(home.engine) == by_stream(engine)
    slots = home.engine.slots.open(STREAMS)
    assert not home.engine.timing.age[slots].any()
    assert home.engine.timing.seq[slots].all()


def test_those_silent_longest_leave_first_and_of_equals_those_first_by_name() -> None:
    home = Home()
    home.engine.command(Widen(("a",)))
    times = {"e": 5.0, "b": 3.0, "d": 1.0, "a": 3.0, "c": 3.0}
    home.engine.apply(Batch(tuple(times), np.array(list(times.values())), np.ones((5, 1))))
    assert home.engine.absent(["a", "x", "e"]) == ["x"]
    assert home.spill(0) == []
    assert home.spill(3) == ["d", "a", "b"]
    assert home.engine.absent(["a", "b", "c", "d", "e"]) == ["a", "b", "d"]
    assert (home.engine.resident, home.engine.known) == (2, 5)
    assert home.engine.last_time("e") == 5.0
    assert home.engine.last_time("a") == -np.inf
    assert home.spill(9) == ["c", "e"]
    home.fetch(["a"])
    assert home.engine.last_time("a") == 3.0
    assert (home.engine.resident, home.engine.known) == (1, 5)


def test_memory_does_not_grow_with_the_streams_that_come_and_go() -> None:
    home = Home()
    home.engine.command(Widen(("a",)))
    for i in range(200):
        home.engine.apply(Batch((f"s{i}",), np.array([float(i)]), np.ones((1, 1))))
        home.spill(home.engine.resident - 10)
    assert home.engine.timing.slots == 16
    assert (home.engine.resident, home.engine.known) == (10, 200)
    assert len(home.store) == 190


def test_an_open_incident_goes_along_and_is_cleared_under_its_own_name() -> None:
    still = with_training(enabled=False)
    engine, home = small_engine(still), Home(still)
    told = []
    values = np.random.default_rng(3).normal(size=(700, 2))
    values[500:503] += 1000
    for n, row in enumerate(values):
        batch = Batch(("s",), np.array([60.0 * n]), row[None])
        home.fetch(batch.streams)
        outcome = home.engine.apply(batch)
        assert outcome_bits(outcome) == outcome_bits(engine.apply(batch))
        told += outcome.incidents
        if n >= 495:
            home.spill(1)
    (disturbance,) = {incident.id for incident in told if 60.0 * 500 <= incident.peak < 60.0 * 503}
    assert "cleared" in {incident.state for incident in told if incident.id == disturbance}


def test_a_stream_that_is_in_memory_or_twice_in_the_list_is_not_restored() -> None:
    home = Home(SETTINGS)
    for batch in Plant(1).batches(20):
        home.engine.apply(batch)
    home.spill(3)
    before = by_stream(home.engine)
    (first, row), (second, other), _ = home.store.items()
    resident = home.engine.slots.names[0]
    for wrong in (
        [(first, row), (first, row)],
        [(first, row), (resident, other)],
        [(first, row), (second, other[:-1])],
    ):
        with pytest.raises(ValueError, match=r"in memory already|cut short"):
            home.engine.restore(wrong)
        assert by_stream(home.engine) == before


def test_a_row_that_was_spilled_with_other_settings_is_fitted() -> None:
    home = Home()
    home.engine.command(Widen(("a", "b")))
    for batch in Plant(1).batches(60):
        home.engine.apply(batch)
    mean = {name: home.engine.scale.mean[slot].copy() for slot, name in enumerate(home.engine.slots.names)}
    home.spill(1)
    ((stream, row),) = home.store.items()
    now = Group(channels=("c", "b"), horizon_steps=5, training=SETTINGS.training)
    other = small_engine(now)
    other.restore([(stream, row)])
    assert other.resident == 1
    assert other.scale.mean[0].tolist() == [0.0, mean[stream][1]]
    outcome = other.apply(Batch((stream,), np.array([1e6]), np.full((1, 2), 20.0)))
    assert outcome.mean.shape == (1, 5, 2)
    assert np.isfinite(outcome.mean).all()
