"""Arrays with one row per slot, that grow together: how every part of the engine keeps its state.

A part declares its arrays once, with the names of their axes; making, growing, widening, clearing, saving and
loading them follow from that. Knows nothing of what the numbers mean.
"""

from __future__ import annotations

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


def column(*axes: str | int, dtype: type[np.generic] = np.float64, fill: float = 0) -> Any:
    """Declares an array in the body of a `Rows` class: `mean: F64 = column("C")`."""
    return Column(axes, dtype, fill)


class Rows:
    """State of one part of the engine.

    >>> class Level(Rows):
    ...     mean: Array = column("C", fill=7)
    >>> level = Level({"C": 2}, slots=1)
    >>> level.grow(3); level.widen({"C": 4}); level.mean.shape
    (3, 4)
    """

    columns: ClassVar[dict[str, Column]]

    def __init_subclass__(cls) -> None:
        cls.columns = {name: value for name, value in vars(cls).items() if isinstance(value, Column)}

    def __init__(self, sizes: Mapping[str, int], slots: int = 0) -> None:
        self.sizes = dict(sizes)
        self.slots = slots
        for name, spec in self.columns.items():
            setattr(self, name, self._fresh(spec, slots))

    def grow(self, slots: int) -> None:
        """More rows; those there are stay, the new ones are fresh."""
        for name, spec in self.columns.items():
            array = self._fresh(spec, slots)
            array[: self.slots] = getattr(self, name)
            setattr(self, name, array)
        self.slots = slots

    def widen(self, sizes: Mapping[str, int]) -> None:
        """Longer axes; what is there stays at the front of them, the rest is fresh."""
        self.sizes.update(sizes)
        for name, spec in self.columns.items():
            old = getattr(self, name)
            array = self._fresh(spec, self.slots)
            array[tuple(slice(0, n) for n in old.shape)] = old
            setattr(self, name, array)

    def clear(self, slots: I64) -> None:
        """Make these rows fresh."""
        for name, spec in self.columns.items():
            getattr(self, name)[slots] = spec.fill

    def state_dict(self) -> dict[str, Array]:
        """Every array by its name; not copies."""
        return {name: getattr(self, name) for name in self.columns}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take over what `state_dict` gave; the arrays are kept, not copied.

        Raises:
            ValueError: an array is missing, or has another shape or type than this part's settings ask for.
        """
        slots = len(state[next(iter(self.columns))]) if self.columns else 0
        for name, spec in self.columns.items():
            array = state[name]
            shape = (slots, *self._shape(spec))
            if array.shape != shape or array.dtype != spec.dtype:
                raise ValueError(f"{type(self).__name__}.{name}: {array.dtype}{array.shape} is not {shape}")
            setattr(self, name, array)
        self.slots = slots

    def _shape(self, spec: Column) -> tuple[int, ...]:
        return tuple(self.sizes[axis] if isinstance(axis, str) else axis for axis in spec.axes)

    def _fresh(self, spec: Column, slots: int) -> Array:
        return np.full((slots, *self._shape(spec)), spec.fill, spec.dtype)
