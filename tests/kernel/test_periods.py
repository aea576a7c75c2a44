"""The kernels that look for periods find what a few lines of numpy find."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.periods import HIGH, NEARLY, SHORTEST
from streamd.kernel import periods


def plain_peak(correlation, longest):
    def vertex(peak):
        left, top, right = correlation[peak - 1 : peak + 2]
        bend = left - 2.0 * top + right
        return peak + (0.5 * (left - right) / bend if bend < 0.0 else 0.0)

    inner = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:]) & (inner > HIGH))
    lowest = np.minimum.accumulate(correlation)
    peaks = peaks[(peaks >= SHORTEST) & (peaks <= longest) & (correlation[peaks] - lowest[peaks] > HIGH)]
    if not len(peaks):
        return 0.0
    period, multiple = vertex(peaks[correlation[peaks] >= NEARLY * correlation[peaks].max()][0]), 2
    while multiple * period <= longest:
        near, reach = round(multiple * period), max(int(period / 4), 1)
        window = np.arange(max(near - reach, 1), min(near + reach, len(correlation) - 2) + 1)
        best = window[np.argmax(correlation[window])]
        if correlation[best] < HIGH:
            break
        period, multiple = vertex(best) / multiple, 2 * multiple
    return period


@pytest.mark.parametrize("seed", range(20))
def test_peaks_are_those_of_the_plain_formula(seed):
    random, lags = np.random.default_rng(seed), 150
    at, turns = np.arange(lags), random.uniform(3.0, 90.0, size=(8, 1))
    correlation = np.cos(2 * np.pi * at / turns) * np.exp(-at / random.uniform(20.0, 400.0, size=(8, 1)))
    correlation += 0.15 * random.normal(size=correlation.shape)
    correlation[:, 0], correlation[7] = 1.0, 0.0
    found = np.empty(8)
    periods.peaks(correlation, lags - 2, SHORTEST, HIGH, NEARLY, found)
    assert found.tolist() == pytest.approx([plain_peak(one, lags - 2) for one in correlation])
    assert found[:7].any()
    assert found[7] == 0.0


def test_powers_are_those_of_the_discrete_fourier_transform():
    random = np.random.default_rng(1)
    past, near, found = random.normal(size=512), np.linspace(7.0, 200.0, 25), np.empty(25)
    periods.powers(past, near, 3, found)
    turns = np.arange(512) / near[:, None] * np.arange(1, 4)[:, None, None]
    plain = (np.abs(np.exp(-2j * np.pi * turns) @ past) ** 2).sum(axis=0)
    np.testing.assert_allclose(found, plain, rtol=1e-9)
