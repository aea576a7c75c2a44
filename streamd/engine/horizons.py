"""Which of the steps ahead are judged, and what is said of those between them.

A full state judges all of 1..W. A compact one judges few, near ones closer together than far ones; what lies between is
a straight line, on top of what the seasons say of every step. Knows lengths and steps; not who forecasts.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from streamd.kernel import horizons as kernel
from streamd.records import F64, I64

# Of a compact state, frames between judged steps, and where the far ones begin. With lines four times as long each, as
# if forecasts changed slowly far ahead, the MSE over 24 steps of ETTh1 was 6 % more: the past has bends of its own.
APART, NEAR, FAR_APART = 4, 16, 8


def third(horizon: int) -> int:
    """A third of the way to the horizon, in steps."""
    return (horizon - 1) // 3 + 1


def few(horizon: int) -> tuple[int, ...]:
    """The steps that a compact state judges: the first, a third of the way, the last, and regular ones between them.

    >>> few(12), few(48), few(4)
    ((1, 4, 8, 12), (1, 4, 8, 12, 16, 24, 32, 40, 48), (1, 2, 3, 4))
    """
    if horizon <= APART:
        return tuple(range(1, horizon + 1))
    near, far = range(APART, NEAR, APART), range(NEAR, horizon, FAR_APART)
    regular = {step for step in (*near, *far) if step < horizon}
    return tuple(sorted({1, third(horizon), horizon} | regular))


@functools.cache
def steps(horizon: int, count: int) -> I64:
    """The steps that are judged, ascending, [count].

    Raises:
        ValueError: neither all steps of the horizon are so many, nor the few.
    """
    found = np.array(few(horizon)) if count != horizon else np.arange(1, horizon + 1)
    if len(found) != count:
        raise ValueError(f"{count} judged steps: of a horizon of {horizon} there are {len(few(horizon))} or all")
    found.setflags(write=False)
    return found


def of(sizes: Mapping[str, int]) -> I64:
    """The steps that are judged with axes of these lengths, [H]: all, where none goes further than they do."""
    return steps(sizes.get("W", sizes["H"]), sizes["H"])


def between(steps: I64, judged: F64) -> F64:
    """What holds for every step, [..., W, C], from what holds for those that are judged, [..., P, C].

    In between a weighted mean of both neighbours, each weighted by a number that only the step decides: what does not
    cross at judged steps crosses nowhere.
    """
    *front, count, channels = judged.shape
    if count == steps[-1]:
        return judged
    every = np.empty((*front, int(steps[-1]), channels))
    flat = np.ascontiguousarray(judged, np.float64).reshape(-1, count, channels)
    kernel.between(steps, flat, every.reshape(-1, *every.shape[-2:]))
    return every
