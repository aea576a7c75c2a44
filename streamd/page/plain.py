"""Arrays as lists that JSON can hold: short where the eye can't tell, to the last bit where numbers are compared.

Knows numbers, not what they are of.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamd.records import Array


def exact(array: Array) -> list[Any]:
    """With all digits; msgspec writes what is not finite as null.

    >>> exact(np.array([0.1, np.nan]))
    [0.1, nan]
    """
    found: list[Any] = np.asarray(array, np.float64).tolist()
    return found


def short(array: Array, digits: int = 6) -> list[Any]:
    """With so many significant digits.

    >>> short(np.array([1234.5678, 0.00012345678]), 4)
    [1235.0, 0.0001235]
    """
    numbers = np.asarray(array, np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        places = digits - 1 - np.floor(np.log10(np.abs(numbers)))
        # powers of ten that are exact, so that what comes out is the double next to the short number
        fine, coarse = 10.0 ** np.maximum(places, 0.0), 10.0 ** np.maximum(-places, 0.0)
        rounded = np.rint(numbers * fine / coarse) / fine * coarse
    # 0 has no first digit, and very small or large ones no such scale
    found: list[Any] = np.where(np.isfinite(rounded), rounded, numbers).tolist()
    return found
