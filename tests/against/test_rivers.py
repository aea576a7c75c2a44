"""River's models run per channel, say nothing before they can, and what they need is named when it is missing."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np
import pytest

from streamd.against.baselines import SETTLED_ROWS, AgainstError, Forecaster
from streamd.against.rivers import HoltWinters, Snarimax

HOUR = 3600.0
BOTH = pytest.mark.parametrize("make", [Snarimax, HoltWinters])
Make = Callable[[int, int | None], Forecaster]


def wave(hour: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Two channels of unlike size, one day long."""
    daily = math.sin(hour / 24 * 2 * math.pi)
    return np.array([20.0 + 3.0 * daily, 1000.0 - 300.0 * daily])


def fed(model: Forecaster, hours: int, gap: tuple[int, int] = (0, 0)) -> Forecaster:
    for hour in range(hours):
        missing = gap[0] <= hour < gap[1]
        model.learn(hour * HOUR, np.full(2, np.nan) if missing else wave(hour))
    return model


@BOTH
def test_a_daily_wave_is_learned_for_each_channel(make: Make) -> None:
    hours = 1500
    made = fed(make(2, None), hours).forecast(12)
    actual = np.array([wave(hour) for hour in range(hours, hours + 12)])
    flat = np.abs(actual - wave(hours - 1)).mean(axis=0)
    assert (np.abs(made - actual).mean(axis=0) < 0.5 * flat).all()


@BOTH
def test_nothing_is_forecast_before_a_season_could_be_seen(make: Make) -> None:
    assert np.isnan(fed(make(2, None), SETTLED_ROWS - 1).forecast(3)).all()
    assert np.isfinite(fed(make(2, None), 40).forecast(3)).all()


@BOTH
def test_a_question_changes_nothing(make: Make) -> None:
    asked, unasked = fed(make(2, 24), 60), fed(make(2, 24), 60)
    asked.forecast(5)
    for model in (asked, unasked):
        model.learn(60 * HOUR, wave(60))
    np.testing.assert_array_equal(asked.forecast(5), unasked.forecast(5))


@BOTH
def test_missing_values_are_bridged_and_keep_the_season_in_phase(make: Make) -> None:
    hours = 1500
    made = fed(make(2, None), hours, gap=(1400, 1407)).forecast(12)
    actual = np.array([wave(hour) for hour in range(hours, hours + 12)])
    flat = np.abs(actual - wave(hours - 1)).mean(axis=0)
    assert (np.abs(made - actual).mean(axis=0) < 0.6 * flat).all()


@BOTH
def test_arithmetic_that_fails_gives_no_number_and_raises_nothing(make: Make) -> None:
    model = make(1, 4)
    with np.errstate(all="ignore"):
        for n in range(60):
            model.learn(float(n), np.array([1e300 * (-1) ** n]))
        made = model.forecast(4)
    assert made.shape == (4, 1)


@pytest.mark.parametrize(("make", "name"), [(Snarimax, "snarimax"), (HoltWinters, "holtwinters")])
def test_a_missing_river_is_named_with_its_extra(
    make: Callable[[int], object], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == "river"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "river", None)
    with pytest.raises(AgainstError, match=rf"^{name} needs river: pip install 'streamd\[bench\]'$"):
        make(1)
