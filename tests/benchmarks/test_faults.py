"""A fault is in its rows and its channels and nowhere else, and as large as it says."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.faults import LASTS, UNIT, Fault, base, inject
from tests.benchmarks.signals import Signal

BEGIN = 600


def made(kind: str, size: float, name: str = "coupled") -> tuple[Signal, Signal, Fault]:
    right, twin = base(name, 0, 1, 1500, 60.0), base(name, 1, 1, 1500, 60.0)
    wrong, fault = inject(right, twin, kind, size, BEGIN, np.random.default_rng(2))
    return right, wrong, fault


@pytest.mark.parametrize("kind", UNIT)
def test_only_its_rows_and_channels_are_wrong(kind: str) -> None:
    right, wrong, fault = made(kind, {"stuck": 50, "lost coupling": 0.8, "swap": 1}.get(kind, 5))
    differs = right.values != wrong.values
    assert fault.end - fault.begin == {"spike": 1, "stuck": 50}.get(kind, LASTS)
    assert not differs[: fault.begin].any()
    assert not differs[fault.end :].any()
    assert set(np.flatnonzero(differs.any(axis=0)).tolist()) == set(fault.channels)
    assert len(fault.channels) == (2 if kind == "swap" else 1)
    assert differs[fault.begin : fault.end, fault.channels[0]].mean() > 0.9


def test_sizes_are_in_the_channels_own_measure() -> None:
    for kind, row in (("shift", BEGIN + 10), ("drift", BEGIN + LASTS - 1)):
        right, wrong, fault = made(kind, 3.0)
        (c,) = fault.channels
        assert abs(wrong.values[row, c] - right.values[row, c]) == pytest.approx(3 * right.values[:BEGIN, c].std())
    right, wrong, fault = made("spike", 8.0)
    (c,) = fault.channels
    off = abs(wrong.values[BEGIN, c] - right.values[BEGIN, c])
    assert off == pytest.approx(8 * np.diff(right.values[:BEGIN, c]).std())


def test_what_lost_its_coupling_keeps_its_spread_but_not_its_company() -> None:
    right, wrong, fault = made("lost coupling", 1.0)
    (c,) = fault.channels
    rows = slice(fault.begin, fault.end)
    others = [other for other in range(right.values.shape[1]) if other != c]

    def company(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
        return float(np.abs(np.corrcoef(values[rows].T)[c, others]).max())

    assert company(wrong.values) < company(right.values)
    ratio = wrong.values[rows, c].std() / right.values[:BEGIN, c].std()
    assert 0.2 < ratio < 3.0


def test_a_late_channel_tells_what_it_told_before_and_a_stuck_one_what_it_told_last() -> None:
    right, wrong, fault = made("phase", 7)
    (c,) = fault.channels
    np.testing.assert_array_equal(wrong.values[BEGIN : BEGIN + 50, c], right.values[BEGIN - 7 : BEGIN + 43, c])
    right, wrong, fault = made("stuck", 40)
    (c,) = fault.channels
    assert (wrong.values[BEGIN : BEGIN + 40, c] == right.values[BEGIN - 1, c]).all()


def test_a_fault_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="no fault 'rust'"):
        made("rust", 1.0)
