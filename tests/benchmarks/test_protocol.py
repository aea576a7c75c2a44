"""The figures of the table are those of a count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.records import Array
from tests.benchmarks.protocol import ALPHA, Rows, interval, one_step, windows

N, H, C = 60, 4, 2
ROWS = Rows(training=20, online=25, used=50)


@pytest.fixture
def arrays() -> dict[str, Array]:
    chance = np.random.default_rng(2)
    value = chance.normal(size=(N, C)).cumsum(axis=0) * [1.0, 1000.0]
    forecast = np.repeat(value[:, None], H, axis=1) + chance.normal(size=(N, H, C)) * [1.0, 1000.0]
    width = chance.random((N, H, C)) * [2.0, 2000.0]
    value[40, 0] = np.nan
    return {
        "value": value,
        "forecast": forecast,
        "lower": forecast - width,
        "upper": forecast + width,
        "channels": np.array(["a", "b"]),
    }


@pytest.mark.parametrize("horizon", [1, 3])
def test_errors_are_means_over_windows_steps_and_channels_in_deviations_of_training(
    arrays: dict[str, Array], horizon: int
) -> None:
    value = arrays["value"]
    deviation = value[:20].std(axis=0)
    ours, flat = [], []
    for n in range(25, 50 - horizon):  # the last target is row 49
        for h in range(1, horizon + 1):
            for c in range(C):
                last = value[n, c] if np.isfinite(value[n, c]) else value[n - 1, c]
                if np.isfinite(value[n + h, c]):
                    ours.append((arrays["forecast"][n, h - 1, c] - value[n + h, c]) / deviation[c])
                    flat.append((last - value[n + h, c]) / deviation[c])
    found = windows(arrays, ROWS, horizon)
    assert found.mse == pytest.approx(np.mean(np.square(ours)))
    assert found.mae == pytest.approx(np.mean(np.abs(ours)))
    assert found.persistence_mse == pytest.approx(np.mean(np.square(flat)))
    assert found.persistence_mae == pytest.approx(np.mean(np.abs(flat)))


def test_rows_after_the_last_used_one_do_not_count(arrays: dict[str, Array]) -> None:
    before = windows(arrays, ROWS, 3), interval(arrays, ROWS, 3)
    for name in ("value", "forecast", "lower", "upper"):
        arrays[name][50:] = 1e9
    assert (windows(arrays, ROWS, 3), interval(arrays, ROWS, 3)) == before


def test_intervals_are_judged_at_the_row_that_they_were_made_for(arrays: dict[str, Array]) -> None:
    step, value = 2, arrays["value"]
    deviation = value[:20].std(axis=0)
    inside: list[list[float]] = [[], []]
    scores = []
    for n in range(25, 50 - step):
        for c in range(C):
            actual, lower, upper = value[n + step, c], arrays["lower"][n, step - 1, c], arrays["upper"][n, step - 1, c]
            if np.isfinite(actual):
                inside[c].append(float(lower <= actual <= upper))
                beyond = max(0.0, lower - actual, actual - upper)
                scores.append((upper - lower + 2 / ALPHA * beyond) / deviation[c])
    found = interval(arrays, ROWS, step)
    assert found.coverage == pytest.approx(np.mean(inside[0] + inside[1]))
    assert found.worst_channel == pytest.approx(min(np.mean(inside[0]), np.mean(inside[1])))
    assert found.winkler == pytest.approx(np.mean(scores))
    assert found.worst_rolling_channel <= found.worst_channel + 1e-9


def test_one_step_errors_are_in_the_channels_own_unit(arrays: dict[str, Array]) -> None:
    targets = np.arange(30, 40)
    ours, persistence = one_step(arrays, "b", 30, 40)
    value = arrays["value"][:, 1]
    assert ours == pytest.approx(np.sqrt(np.mean((arrays["forecast"][targets - 1, 0, 1] - value[targets]) ** 2)))
    assert persistence == pytest.approx(np.sqrt(np.mean((value[targets] - value[targets - 1]) ** 2)))
