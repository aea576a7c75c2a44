"""A line against a band as text: braille dots over shade, eight dots to a character.

Knows numbers; not what they are of.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from streamd.records import F64

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a braille character: by column, then from the top
BLANK = 0x2800
SHADE = "░"


def chart(values: F64, lower: F64, upper: F64, *, width: int, height: int) -> list[str]:
    """Lines of text, the top one first: values [N] as dots, between lower and upper [N] shade where no dot is.

    NaN is left out. The scale holds all of the values, and the band as far as it is less than four times as wide.

    >>> chart(np.array([0.0, 1.0]), np.full(2, np.nan), np.full(2, np.nan), width=1, height=1)
    ['⡈']
    """
    low, high = limits(values, lower, upper)
    grid = np.zeros((height, width), np.int64)
    shaded = np.zeros((height, width), np.bool_)
    across = 2 * width - 1
    values, lower, upper = (_drawn_out(one, across + 1) for one in (values, lower, upper))
    last = max(len(values) - 1, 1)
    for n in range(len(values)):
        x = round(n * across / last)
        if np.isfinite(lower[n]) and np.isfinite(upper[n]):
            top, bottom = _row(upper[n], low, high, height), _row(lower[n], low, high, height)
            shaded[top // 4 : bottom // 4 + 1, x // 2] = True
        if np.isfinite(values[n]):
            y = _row(values[n], low, high, height)
            grid[y // 4, x // 2] |= DOTS[x % 2][y % 4]
    return [
        "".join(chr(BLANK + dots) if dots else SHADE if shade else " " for dots, shade in zip(row, shades, strict=True))
        for row, shades in zip(grid.tolist(), shaded.tolist(), strict=True)
    ]


def _drawn_out(numbers: F64, count: int) -> F64:
    """As many numbers as there are columns, if there are fewer: on straight lines between neighbours."""
    if len(numbers) in (0, 1) or len(numbers) >= count:
        return numbers
    at = np.linspace(0.0, len(numbers) - 1.0, count)
    left = np.minimum(at.astype(np.int64), len(numbers) - 2)
    share = at - left
    between = numbers[left] * (1.0 - share) + numbers[left + 1] * share
    # beside one that is missing, a number stands for itself
    return np.where(np.isfinite(between), between, numbers[np.rint(at).astype(np.int64)])


def limits(values: F64, lower: F64, upper: F64) -> tuple[float, float]:
    """The lowest and the highest number that is drawn."""
    known = values[np.isfinite(values)]
    band = np.concatenate([lower, upper])
    band = band[np.isfinite(band)]
    if not len(known):
        known = band
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    if len(band):
        room = 1.5 * (high - low)
        widest = (
            (max(float(band.min()), low - room), min(float(band.max()), high + room))
            if room
            else (
                float(band.min()),
                float(band.max()),
            )
        )
        low, high = min(low, widest[0]), max(high, widest[1])
    return low, high


def marks(places: Iterable[int], count: int, *, width: int, sign: str = "^") -> str:
    """A line under a chart with signs under some of its `count` numbers."""
    line = [" "] * width
    for n in places:
        line[0 if count == 1 else round(n * (2 * width - 1) / (count - 1)) // 2] = sign
    return "".join(line)


def _row(value: float, low: float, high: float, height: int) -> int:
    """The row of dots, from the top, that a value stands in."""
    if high <= low:
        return 2 * height
    share = (min(max(value, low), high) - low) / (high - low)
    return round((4 * height - 1) * (1.0 - share))
