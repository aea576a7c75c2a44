"""Periods found in numbers alone: where the autocorrelation has its first high peak, and the profile over one.

Pure functions over a short past. Knows no clock: a period is a number of frames, not whole ones.
"""

from __future__ import annotations

import numpy as np

from streamd.kernel import periods as kernel
from streamd.records import F64

SPAN = 512  # frames that a period is looked for in, at most
FEWEST = 32  # with fewer nothing is looked for
CYCLES = 2.5  # a period has to be seen so often
SHORTEST = 3  # frames
HIGH = 0.3  # autocorrelation at a period, at least, and as much above the lowest before it
HELD_BACK = 1 / 3  # of the past: what a profile of the rest has to foretell
EXPLAINED = 0.2  # of the variance there, at least
NEIGHBOURHOOD = 0.12  # how far off, relative, such a peak may be
HARMONICS = 3
NEARLY = 0.9  # the first peak that is nearly as high as the highest is the period; the others are multiples of it


def find(past: F64) -> list[float]:
    """The period of each channel in frames; 0 where there is none.

    Args:
        past: [N, C], in order.

    >>> past = np.sin(np.arange(200.0)[:, None] * (2 * np.pi / np.array([12.5, 40.0])))
    >>> [round(period, 1) for period in find(past)]
    [12.5, 40.0]
    """
    count = len(past)
    longest = int(count / CYCLES)
    correlation = _autocorrelation(past, longest + 2)
    periods = np.empty(past.shape[1])
    kernel.peaks(np.ascontiguousarray(correlation.T), longest, SHORTEST, HIGH, NEARLY, periods)
    return [
        _sharpened(past[:, channel], period) if period > 0 and longest < 2 * period else period
        for channel, period in enumerate(periods.tolist())
    ]


def profile(past: F64, period: float, knots: int, rate: float) -> tuple[F64, F64]:
    """The mean course over one period, [knots], and how often each knot was met; knot 0 is at the last frame.

    Args:
        past: [N] of one channel, in order.
        rate: what a new period counts.
    """
    back = np.arange(len(past))[::-1] / period  # periods ago
    place = (-back % 1.0) * knots
    low = np.floor(place).astype(np.int64) % knots
    share = place - np.floor(place)
    weight = (1.0 - rate) ** back
    total, mass, hits = np.zeros(knots), np.zeros(knots), np.zeros(knots)
    for knot, part in ((low, 1.0 - share), ((low + 1) % knots, share)):
        np.add.at(total, knot, part * weight * past)
        np.add.at(mass, knot, part * weight)
        np.add.at(hits, knot, part)
    met = mass > 0.0
    if not met.all():  # more knots than frames in a period: a straight line between those that were met
        at = np.flatnonzero(met)
        filled = np.interp(np.arange(knots), at, total[at] / mass[at], period=knots)
    else:
        filled = total / mass
    return filled - filled.mean(), hits


def explained(past: F64, period: float, knots: int, rate: float) -> float:
    """Share of the variance of the last part of the past [N] that a profile learned from the first part foretells."""
    held = int(len(past) * HELD_BACK)
    line, _ = profile(past[:-held], period, knots, rate)
    later = past[-held:]
    place = (np.arange(1, held + 1) / period % 1.0) * knots
    guess = np.interp(place, np.arange(knots + 1), np.append(line, line[0]))
    off = later - later.mean()
    total = (off**2).sum()
    return float(1.0 - ((off - guess) ** 2).sum() / total) if total > 0.0 else 0.0


def _centred(past: F64) -> F64:
    """The past [N, C] without its straight line, as parts of the largest deviation from it."""
    at = np.arange(len(past)) - (len(past) - 1) / 2
    centred = past - past.mean(axis=0)
    centred -= at[:, None] * (at @ centred / (at @ at))
    largest = np.abs(centred).max(axis=0, initial=0.0)
    found: F64 = centred / np.where(largest > 0, largest, 1.0)
    return found


def _autocorrelation(past: F64, lags: int) -> F64:
    """Of the past without its straight line, [lags, C]; 0 where there is nothing but that line."""
    count = len(past)
    centred = _centred(past)
    spectrum = np.fft.rfft(centred, 2 * count, axis=0)
    product: F64 = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[:lags]
    mean = product / (count - np.arange(lags))[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.where(mean[0] > 0, mean / mean[0], 0.0))


def _sharpened(past: F64, period: float) -> float:
    """The period near this one that has the most power, with its harmonics, in the past [N].

    For one that is seen so few times that its only peak lies where the autocorrelation is a mean over few frames:
    there noise and the straight line that was taken away shift it by several per cent.
    """
    count = len(past)
    near, step = np.linspace(period * (1.0 - NEIGHBOURHOOD), period * (1.0 + NEIGHBOURHOOD), 25, retstep=True)
    power = np.empty_like(near)
    kernel.powers(_centred(past[:, None])[:, 0] * np.hanning(count), near, HARMONICS, power)
    best = int(power[1:-1].argmax()) + 1
    return float(near[0] + step * _vertex(power, best))


def _vertex(correlation: F64, peak: int) -> float:
    left, top, right = correlation[peak - 1 : peak + 2]
    bend = left - 2.0 * top + right
    return float(peak + (0.5 * (left - right) / bend if bend < 0.0 else 0.0))
