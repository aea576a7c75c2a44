"""The simulated plant: seeded, coupled, and true about its faults."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from streamd.demo.ledger import GRACE_S
from streamd.demo.plant import CALM_TICKS, CHANNELS, DAY, LENGTH, MACHINES, START, STEP_S, Fault, Plant, Sample

LONG = 900  # ticks: each kind of fault at least twice


def play(seed: int, ticks: int) -> list[list[Sample]]:
    plant = Plant(seed)
    return [plant.tick() for _ in range(ticks)]


def calm_course(channel: str, machine: str = "pump-1") -> np.ndarray:
    """A channel's values before the first fault, [CALM_TICKS]."""
    samples = [sample for tick in play(3, CALM_TICKS) for sample in tick if sample.machine == machine]
    return np.array([sample.values[channel] for sample in samples])


def faults_of(ticks: list[list[Sample]]) -> list[Fault]:
    """All faults, in order, each once."""
    return list(dict.fromkeys(fault for tick in ticks for sample in tick for fault in sample.faults))


def test_the_same_seed_gives_the_same_plant() -> None:
    assert play(5, 400) == play(5, 400)


def test_another_seed_gives_another_plant() -> None:
    assert play(5, 1) != play(6, 1)


def test_each_tick_reads_every_machine_once_at_the_next_simulated_time() -> None:
    for number, samples in enumerate(play(1, 20)):
        assert [sample.machine for sample in samples] == list(MACHINES)
        assert {sample.time for sample in samples} == {START + number * STEP_S}


def test_there_are_no_faults_while_a_cold_daemon_learns() -> None:
    ticks = play(1, CALM_TICKS + 1)
    assert faults_of(ticks[:CALM_TICKS]) == []
    assert len(faults_of(ticks)) == 1


def test_all_values_are_finite_plain_floats() -> None:
    values = [value for tick in play(2, LONG) for sample in tick for value in sample.values.values()]
    assert all(type(value) is float for value in values)
    assert np.isfinite(values).all()


def test_a_fault_marks_exactly_the_samples_of_its_time_and_machine() -> None:
    ticks = play(4, LONG)
    for fault in faults_of(ticks)[:-1]:
        marked = [sample for tick in ticks for sample in tick if fault in sample.faults]
        assert {sample.machine for sample in marked} == {fault.machine}
        assert [sample.time for sample in marked] == list(np.arange(fault.start, fault.end + 1, STEP_S))
        assert len(marked) == LENGTH[fault.kind]


def test_every_kind_and_every_machine_comes_once_before_any_comes_again() -> None:
    faults = faults_of(play(4, LONG))
    first, second = faults[:6], faults[6:12]
    for six in (first, second):
        assert {fault.kind for fault in six} == set(LENGTH)
        assert {fault.machine for fault in six} == set(MACHINES)


def test_a_fault_is_judged_before_the_next_one_begins() -> None:
    for before, after in pairwise(faults_of(play(8, LONG))):
        assert after.start > before.end + GRACE_S


def test_faults_change_only_what_they_touch() -> None:
    """Two plants of one seed, one with its faults taken out, differ in the faulty values and nowhere else."""
    plant, truth = Plant(9), Plant(9)
    truth._next_fault = Fault("spike", "pump-1", "load", np.inf, np.inf)
    for _ in range(600):
        for sample, true in zip(plant.tick(), truth.tick(), strict=True):
            touched = {fault.channel for fault in sample.faults}
            untouched = [channel for channel in CHANNELS if channel not in touched]
            assert [sample.values[c] for c in untouched] == [true.values[c] for c in untouched]
            for fault in sample.faults:
                # a stuck sensor is right once, when it sticks
                if not (fault.kind == "stuck" and fault.start == sample.time):
                    assert sample.values.get(fault.channel) != true.values[fault.channel]


def test_each_kind_of_fault_does_what_its_name_says() -> None:
    ticks = play(4, LONG)
    for fault in faults_of(ticks)[:-1]:
        of_machine = {s.time: s.values for tick in ticks for s in tick if s.machine == fault.machine}
        course = [v.get(fault.channel) for t, v in of_machine.items() if fault.start <= t <= fault.end]
        before = of_machine[fault.start - STEP_S][fault.channel]
        known = np.array([value for value in course if value is not None])
        times = [fault.start - step * STEP_S for step in range(1, DAY)]
        day = np.array([value for t in times if (value := of_machine[t].get(fault.channel)) is not None])
        swing = np.ptp(day)
        match fault.kind:
            case "drop-out":
                assert len(known) == 0
            case "stuck":
                assert len(known) == len(course)
                assert np.ptp(known) == 0
            case "spike":
                assert known[0] - before > 0.5 * swing
            case "shift":
                assert known[0] - before > 0.2 * swing
            case "noise burst":
                assert np.abs(np.diff(known)).mean() > 0.1 * swing
            case "lost coupling":  # not to be told from its own past
                assert known.min() > day.min() - 0.2 * swing
                assert known.max() < day.max() + 0.2 * swing


def test_the_load_has_a_daily_round() -> None:
    load = calm_course("load")
    assert np.ptp(load) > 25
    assert np.abs(load[DAY:] - load[: CALM_TICKS - DAY]).mean() < 0.2 * np.ptp(load)


def test_current_and_flow_follow_the_load_and_pressure_falls_with_flow() -> None:
    load = calm_course("load")
    assert np.corrcoef(load, calm_course("current"))[0, 1] > 0.98
    assert np.corrcoef(load, calm_course("flow"))[0, 1] > 0.98
    assert np.corrcoef(calm_course("flow") ** 2, calm_course("pressure"))[0, 1] < -0.95


def test_temperature_lags_behind_the_load() -> None:
    load, temperature = calm_course("load"), calm_course("temperature")
    shifts = range(40)
    match = [np.corrcoef(load[40 - shift : CALM_TICKS - shift], temperature[40:])[0, 1] for shift in shifts]
    assert 3 <= int(np.argmax(match)) <= 20


def test_pumps_and_compressors_have_the_same_channels_and_other_habits() -> None:
    samples = {sample.machine: sample.values for sample in play(1, 1)[0]}
    assert all(tuple(values) == CHANNELS for values in samples.values())
    assert calm_course("flow", "compressor-1").mean() > 3 * calm_course("flow", "pump-1").mean()


def test_a_fault_on_demand_begins_with_the_next_reading_and_lasts_as_long_as_its_kind() -> None:
    plant, same = Plant(1), Plant(1)
    for _ in range(10):
        plant.tick(), same.tick()
    plant.spoil("stuck", "pump-1", "flow")
    readings = [({s.machine: s for s in plant.tick()}, {s.machine: s for s in same.tick()}) for _ in range(30)]
    touched = [n for n, (found, _) in enumerate(readings) if found["pump-1"].faults]
    assert touched == list(range(LENGTH["stuck"]))
    assert {readings[n][0]["pump-1"].values["flow"] for n in touched} == {readings[0][1]["pump-1"].values["flow"]}
    assert all(found["pump-2"] == true["pump-2"] for found, true in readings)
    assert all(readings[n][0]["pump-1"] == readings[n][1]["pump-1"] for n in range(len(touched), 30))


def test_a_channel_that_has_dropped_out_is_left_alone_by_another_fault() -> None:
    plant = Plant(1)
    plant.tick()
    plant.spoil("drop-out", "pump-1", "flow")
    plant.spoil("spike", "pump-1", "flow")
    (found,) = [sample for sample in plant.tick() if sample.machine == "pump-1"]
    assert "flow" not in found.values
    assert len(found.faults) == 2
