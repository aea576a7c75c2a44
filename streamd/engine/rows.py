"""Arrays with one row per slot, that grow together: how every part of the engine keeps its state.

A part declares its arrays once, with the names of their axes; making, growing, widening, clearing, saving and
loading them follow from that. Knows nothing of what the numbers mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from streamd.records import I64, Array


@dataclass(frozen=True, slots=True)
class Column:
    """One array of a part: `[slots, *axes]`."""

    axes: tuple[str | int, ...]  # a name is looked up in the part's sizes
    dtype: type[np.generic]
    fill: float  # what a fresh row holds

    def fresh(self, slots: int, sizes: Mapping[str, int]) -> Array:
        """So many fresh rows, with axes of these lengths."""
        shape = (slots, *(sizes[axis] if isinstance(axis, str) else axis for axis in self.axes))
        # zeros take no memory before they are written to, and of rows there are up to twice as many as streams
        return np.full(shape, self.fill, self.dtype) if self.fill else np.zeros(shape, self.dtype)


def column(*axes: str | int, dtype: type[np.generic] = np.float64, fill: float = 0) -> Any:
    """Declares an array in the body of a `Rows` class: `mean: F64 = column("C")`."""
    return Column(axes, dtype, fill)


def pick(array: Array, *places: I64 | int) -> Array:
    """The blocks at places of the array's first axes, `[*places, *further axes]`; the same as `array[places]`.

    Indexing along several axes costs numpy several times as much as taking blocks by one number each.

    >>> pick(np.arange(24).reshape(2, 3, 2, 2), np.array([0, 1]), np.array([2, 1])).tolist()
    [[[8, 9], [10, 11]], [[16, 17], [18, 19]]]
    """
    place: Any = places[0]
    for length, more in zip(array.shape[1:], places[1:], strict=False):
        place = place * length + more
    blocks = array.reshape(math.prod(array.shape[: len(places)]), *array.shape[len(places) :])
    picked: Array = blocks.take(place, axis=0)
    return picked


class Rows:
    """State of one part of the engine.

    >>> class Level(Rows):
    ...     mean: Array = column("C", fill=7)
    >>> level = Level({"C": 2}, slots=1)
    >>> level.grow(3); level.widen({"C": 4}); level.mean.shape
    (3, 4)
    """

    columns: ClassVar[dict[str, Column]]
    _loops: ClassVar[type | None] = None
    _shared: ClassVar[frozenset[str]]

    def __init_subclass__(cls, loops: type | None = None) -> None:
        """`loops`: a class of `streamd.kernel`; each part has one of it, `loops`, which has the arrays too."""
        cls.columns = {name: value for name, value in vars(cls).items() if isinstance(value, Column)}
        cls._loops = loops or cls._loops
        cls._shared = frozenset(name for name in cls.columns if hasattr(cls._loops, name))

    def __init__(self, sizes: Mapping[str, int], slots: int = 0) -> None:
        self.loops: Any = self._loops and self._loops()
        self.sizes = dict(sizes)
        self.slots = slots
        for name, spec in self.columns.items():
            setattr(self, name, spec.fresh(slots, self.sizes))

    def __setattr__(self, name: str, value: object) -> None:
        # whenever an array takes another's place: to look each one up anew with every call costs more than the loops do
        super().__setattr__(name, value)
        if name in self._shared:
            setattr(self.loops, name, value)

    def grow(self, slots: int) -> None:
        """More rows; those there are stay, the new ones are fresh."""
        for name, spec in self.columns.items():
            array = spec.fresh(slots, self.sizes)
            array[: self.slots] = getattr(self, name)
            setattr(self, name, array)
        self.slots = slots

    def widen(self, sizes: Mapping[str, int]) -> None:
        """Longer axes; what is there stays at the front of them, the rest is fresh."""
        self.sizes.update(sizes)
        for name, spec in self.columns.items():
            old = getattr(self, name)
            array = spec.fresh(self.slots, self.sizes)
            array[tuple(slice(0, n) for n in old.shape)] = old
            setattr(self, name, array)

    def clear(self, slots: I64) -> None:
        """Make these rows fresh."""
        for name, spec in self.columns.items():
            getattr(self, name)[slots] = spec.fill

    def move(self, source: I64, target: I64) -> None:
        """Put rows in the place of others; where they come from they stay too."""
        for name in self.columns:
            array = getattr(self, name)
            array[target] = array[source]

    def state_dict(self) -> dict[str, Array]:
        """Every array by its name; not copies."""
        return {name: getattr(self, name) for name in self.columns}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take over what `state_dict` gave; the arrays are kept, and copied only where they do not lie in one piece.

        Raises:
            ValueError: an array is missing, or has another shape or type than this part's settings ask for.
        """
        missing = self.columns.keys() - state.keys()
        if missing:
            raise ValueError(f"{type(self).__name__}: without {', '.join(sorted(missing))}")
        slots = len(state[next(iter(self.columns))]) if self.columns else 0
        for name, spec in self.columns.items():
            array, fits = state[name], spec.fresh(0, self.sizes)
            if array.shape != (slots, *fits.shape[1:]) or array.dtype != fits.dtype:
                wanted = f"{fits.dtype}{(slots, *fits.shape[1:])}"
                raise ValueError(f"{type(self).__name__}.{name}: {array.dtype}{array.shape} is not {wanted}")
            setattr(self, name, np.require(array, requirements=("C", "W")))
        self.slots = slots
