from __future__ import annotations

from streamd.pressure import CALM_S, FORECASTS, FORECASTS_AFTER_S, MANY, NOTHING, TRAINING, TRAINING_AFTER_S, Pressure


def test_training_gives_way_first_and_forecasts_after_it() -> None:
    pressure = Pressure()
    told = [(now / 10, pressure.waited(1.0, MANY, now / 10)) for now in range(100)]
    assert next(now for now, level in told if level == TRAINING) == TRAINING_AFTER_S
    assert next(now for now, level in told if level == FORECASTS) == FORECASTS_AFTER_S


def test_a_late_batch_now_and_then_is_no_pressure() -> None:
    pressure = Pressure()
    for now in range(100):
        assert pressure.waited(1.0 if now % 2 else 0.01, MANY, float(now)) == NOTHING


def test_all_is_as_it_was_when_nothing_was_late_for_a_while_also_where_nothing_comes() -> None:
    for calm in (lambda pressure, now: pressure.waited(0.01, MANY, now), lambda pressure, now: pressure.idle(now)):
        pressure = Pressure()
        pressure.waited(1.0, MANY, 0.0)
        assert pressure.waited(1.0, MANY, 9.0) == FORECASTS
        assert calm(pressure, 10.0) == FORECASTS
        assert calm(pressure, 9.9 + CALM_S) == FORECASTS
        assert calm(pressure, 10.0 + CALM_S) == NOTHING


def test_one_late_batch_begins_the_calm_anew() -> None:
    pressure = Pressure()
    pressure.waited(1.0, MANY, 0.0)
    pressure.waited(1.0, MANY, 9.0)
    pressure.idle(10.0)
    assert pressure.waited(1.0, MANY, 19.0) == FORECASTS
    assert pressure.idle(20.0) == FORECASTS
    assert pressure.idle(20.0 + CALM_S) == NOTHING


def test_a_burst_is_no_pressure_however_long_its_readings_wait() -> None:
    pressure = Pressure()
    assert {pressure.waited(60.0, MANY - 1, float(now)) for now in range(100)} == {NOTHING}
