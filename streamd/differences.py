"""Where two states of an engine are not the same, bit for bit; streams are compared by name, whatever row they have.

Knows names, rows and bits; not what the numbers mean, nor where the states come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamd.engine.engine import Engine
from streamd.engine.state import KINDS
from streamd.records import Array

WHOLE = tuple(f"{part}." for part in KINDS)  # arrays that are the group's; all others have a row per stream in memory


@dataclass(frozen=True, slots=True)
class Difference:
    """One array, or one number of the state, that is not the same."""

    name: str  # such as "scale.mean"
    stream: str | None  # the first whose row differs; None: it is the group's
    index: tuple[int, ...]  # of the first value that differs, in the row or the array
    replayed: str  # the value of the one state
    kept: str  # the value of the other
    count: int  # values that differ


def of_group(replayed: Engine, kept: Engine) -> Iterator[Difference]:
    """What differs of the state that belongs to no stream."""
    (arrays, meta), (kept_arrays, kept_meta) = replayed.state_dict(), kept.state_dict()
    numbers, kept_numbers = dict(_flat(meta)), dict(_flat(kept_meta))
    for key in sorted(numbers.keys() | kept_numbers.keys()):
        here, there = (str(one[key]) if key in one else "missing" for one in (numbers, kept_numbers))
        if here != there:
            yield Difference(key, None, (), here, there, 1)
    mine, theirs = (
        {key: array for key, array in some.items() if key.startswith(WHOLE)} for some in (arrays, kept_arrays)
    )
    for key, index, here, there, count in _unequal(mine, theirs):
        yield Difference(key, None, index, here, there, count)


def of_streams(streams: Sequence[str], replayed: Engine, kept: Engine) -> Iterator[Difference]:
    """What differs of the rows of these streams, as far as they are in memory."""
    both = []
    for stream in streams:
        here, there = ("there" if stream in engine.slots else "missing" for engine in (replayed, kept))
        if here != there:
            yield Difference("streams", stream, (), here, there, 1)
        elif here == "there":
            both.append(stream)
    if not both:
        return
    for key, (row, *index), here, there, count in _unequal(_rows(replayed, both), _rows(kept, both)):
        yield Difference(key, both[row], tuple(index), here, there, count)


def _rows(engine: Engine, streams: Sequence[str]) -> dict[str, Array]:
    """The rows of streams that are in memory, [len(streams), ...] by name."""
    slots = engine.slots.open(streams)
    return {key: array[slots] for key, array in engine.state_dict()[0].items() if not key.startswith(WHOLE)}


def _flat(meta: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and list by a dotted name; without the streams, whose order is that of their rows."""
    for key, value in meta.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif (prefix, key) != ("", "streams"):
            yield f"{prefix}{key}", value


def _unequal(
    replayed: Mapping[str, Array], kept: Mapping[str, Array]
) -> Iterator[tuple[str, tuple[int, ...], str, str, int]]:
    """Name, index of the first value that differs in any bit, both values, and how many differ."""
    for key in sorted(replayed.keys() | kept.keys()):
        here, there = replayed.get(key), kept.get(key)
        if here is None or there is None or (here.dtype, here.shape) != (there.dtype, there.shape):
            yield key, (0,), _form(here), _form(there), 1
            continue
        wrong = np.flatnonzero(_bits(here) != _bits(there))
        if len(wrong):
            index = tuple(int(at) for at in np.unravel_index(wrong[0], here.shape))
            yield key, index, *_told(here[index], there[index]), len(wrong)


def _bits(array: Array) -> Array:
    """The values as numbers that are equal only where every bit is; one axis."""
    return np.ascontiguousarray(array).reshape(-1).view(f"u{array.itemsize}")


def _told(here: Any, there: Any) -> tuple[str, str]:
    """Two values that are not the same, as texts that are not; NaNs differ only in their bits."""
    texts = str(here.item()), str(there.item())
    return texts if texts[0] != texts[1] else (here.tobytes().hex(), there.tobytes().hex())


def _form(array: Array | None) -> str:
    return "missing" if array is None else f"{array.dtype}{list(array.shape)}"
