"""State that was made with other lengths of axes, fitted to the present ones: what has a place is kept, the rest fresh.

Knows the axes and which of them are rings; not the settings they follow from, nor the network's weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamd.engine import horizons, profile
from streamd.engine.layout import COMMON, PARTS
from streamd.engine.memory import Memory
from streamd.engine.rows import Column
from streamd.records import I64, Array

FRESH = -1  # in an index: nothing of the old array has this place
UNTOLD = {"V", "Q", "T", "J", *profile.FULL}  # axes of no part in older states
TAUGHT = {"backlog", "regression", "adaptive", "lags"}  # what is regressed on, and what was made of it
LASTING = (
    "timing.seq",
    "timing.last_time",
    "timing.number",
)  # what others count by; it goes on when a stream's state begins afresh


@dataclass(frozen=True, slots=True)
class Change:
    """From the axes of a state to those that are wanted; lengths by the names of `layout.axes`."""

    have: tuple[str, ...]  # channels before
    want: tuple[str, ...]  # channels now
    old: Mapping[str, int]
    new: Mapping[str, int]
    anew: bool = False  # the network takes other inputs now

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return self.anew or self.have != self.want or self.old != self.new

    @property
    def profile_changed(self) -> bool:
        """Whether the streams' state is of another profile: full or compact."""
        return any(self.old[axis] != self.new[axis] for axis in "FG")

    @property
    def steps(self) -> dict[int, int]:
        """The judged steps that both have: place among those now -> place among those before."""
        before = {step: place for place, step in enumerate(horizons.of(self.old).tolist())}
        return {place: before[step] for place, step in enumerate(horizons.of(self.new).tolist()) if step in before}

    @property
    def kept(self) -> tuple[str, ...]:
        """Channels that were there before, in the present order."""
        return tuple(name for name in self.want if name in self.have)

    @property
    def foreign(self) -> bool:
        """Whether the state is all of channels that are not there any more."""
        return bool(self.have) and not self.kept

    @property
    def network_anew(self) -> bool:
        """Whether no hidden state fits, nor any weight."""
        return self.anew or self.foreign or any(self.old[axis] != self.new[axis] for axis in "LK")

    def streams(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Rows of streams, every part's arrays [n, ...] by their full names; a column that is missing begins fresh."""
        age: I64 = arrays["timing.age"]
        indexes, foreign = self._indexes(), self.foreign
        if (self.old["R"], self.old["S"]) != (self.new["R"], self.new["S"]):
            indexes |= {"R": self._frames(age, "R"), "S": self._starts(age)}
        if self.old["V"] != self.new["V"]:
            indexes["V"] = self._frames(age, "V")
        if self.old["N"] != self.new["N"]:
            indexes["N"] = self._frames(age, "N")
        fitted = {}
        for part, kind in PARTS.items():
            for key, spec in kind.columns.items():
                name = f"{part}.{key}"
                # what waits for its values lies at places that follow from the horizon
                moved = "W" in spec.axes and self.old["W"] != self.new["W"]
                # sums over other features are no sums over these, and a longer look back can't be had from a shorter
                untaught = self.profile_changed and part in TAUGHT
                stays = part == "incidents" or name in LASTING or not foreign
                if name in arrays and stays and not moved and not untaught:
                    fitted[name] = _fit(arrays[name], spec, indexes)
                else:
                    fitted[name] = spec.fresh(len(age), self.new)
        return fitted

    def pooled(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """What the group's streams have in common, arrays [1, ...] by their full names."""
        indexes = self._indexes()
        fitted = {}
        for part, kind in COMMON.items():
            for key, spec in kind.columns.items():
                array = None if self.foreign else arrays.get(f"{part}.{key}")
                fitted[f"{part}.{key}"] = spec.fresh(1, self.new) if array is None else _fit(array, spec, indexes)
        return fitted

    def windows(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Windows of the replay memory, arrays [n, ...] by their full names.

        A longer window is padded with frames that nothing is learned from, and begins where it began.
        """
        indexes = self._indexes()
        indexes["R"] = _cut_or_pad(self.old["R"], self.new["R"])
        count = 0 if self.foreign or self.anew else len(arrays["memory.trust"])
        fitted = {}
        for key, spec in Memory.columns.items():
            array = arrays.get(f"memory.{key}", spec.fresh(count, self.old))
            fitted[f"memory.{key}"] = _fit(array[:count], spec, indexes)
        return fitted

    def _indexes(self) -> dict[str, I64]:
        """For each axis that changes: which of its old places each new place takes over."""
        place = {name: i for i, name in enumerate(self.have)}
        indexes = {}
        if self.have != self.want:
            indexes["C"] = np.array([place.get(name, FRESH) for name in self.want], np.int64)
        if (self.old["H"], self.old["W"]) != (self.new["H"], self.new["W"]):
            indexes["H"] = np.array([self.steps.get(place, FRESH) for place in range(self.new["H"])], np.int64)
        if self.old["E"] != self.new["E"]:
            indexes["E"] = _cut_or_pad(self.old["E"], self.new["E"])
            # the experts' but for persistence, then what was made of them
            experts, made = self.old["E"] - 1, np.arange(self.new["M"]) - (self.new["E"] - 1)
            expert = np.where(np.arange(self.new["M"]) < experts, np.arange(self.new["M"]), FRESH)
            indexes["M"] = np.where(made >= 0, experts + made, expert)
        if self.old["W"] != self.new["W"]:
            # of what is judged jointly, values and errors of the next step are as they were
            indexes["J"] = np.where(np.arange(self.new["J"]) < 2, np.arange(self.new["J"]), FRESH)
        if self.network_anew:
            indexes |= {axis: np.full(self.new[axis], FRESH) for axis in "LK"}
        if (self.old["T"], self.old["W"]) != (self.new["T"], self.new["W"]):  # places follow from both
            indexes["T"] = np.full(self.new["T"], FRESH)
        if self.old["Q"] != self.new["Q"]:  # which coverage was which is not told: the multipliers begin afresh
            indexes["Q"] = np.full(self.new["Q"], FRESH)
        return indexes

    def _frames(self, age: I64, axis: str) -> I64:
        """For the rings over frames, [n, R]: frame f of a stream, the newest of which is age - 1, lies at f % R."""
        newest, old, new = age[:, None] - 1, self.old[axis], self.new[axis]
        frame = newest - (newest - np.arange(new)) % new
        there = (frame >= 0) & (frame > newest - old)
        return np.where(there, frame % old, FRESH)

    def _starts(self, age: I64) -> I64:
        """For the rings over the states at each stride's start, [n, S]."""
        stride, old_stride = self.new["R"] // self.new["S"], self.old["R"] // self.old["S"]
        newest = (age[:, None] - 1) // stride
        frame = (newest - (newest - np.arange(self.new["S"])) % self.new["S"]) * stride
        before, newest_before = frame // old_stride, (age[:, None] - 1) // old_stride
        there = (frame >= 0) & (frame % old_stride == 0) & (before > newest_before - self.old["S"])
        return np.where(there, before % self.old["S"], FRESH)


def change(
    arrays: Mapping[str, Array],
    have: Sequence[str],
    want: Sequence[str],
    new: Mapping[str, int],
    *,
    anew: bool = False,
) -> Change:
    """What has to be done to a state's arrays [n, ...] of streams.

    Args:
        have, want: names of the channels before and now.
        new: lengths of the axes now.
        anew: whether the network takes other inputs now.

    Raises:
        ValueError: the arrays contradict each other.
    """
    found = {"C": len(have)}
    for part, kind in PARTS.items():
        for key, spec in kind.columns.items():
            array = arrays.get(f"{part}.{key}")
            if array is None:
                continue
            if array.ndim != 1 + len(spec.axes):
                raise ValueError(f"{part}.{key}: {array.ndim} axes, not {1 + len(spec.axes)}")
            for axis, length in zip(spec.axes, array.shape[1:], strict=True):
                if length != (axis if isinstance(axis, int) else found.setdefault(axis, length)):
                    raise ValueError(f"{part}.{key}: {array.shape} does not go with {found}")
    if "H" in found:
        found.setdefault("W", found["H"])
    older = {
        **new,
        **profile.FULL,
    }  # of parts that the state is too old for: they begin fresh, and there was one profile
    for axis in UNTOLD & new.keys() - found.keys():
        found[axis] = older[axis]
    if missing := new.keys() - found.keys():
        raise ValueError(f"nothing tells how long {', '.join(sorted(missing))} was")
    return Change(tuple(have), tuple(want), found, dict(new), anew)


def _cut_or_pad(old: int, new: int) -> I64:
    places = np.arange(new)
    return np.where(places < old, places, FRESH)


def _fit(array: Array, spec: Column, indexes: Mapping[str, I64]) -> Array:
    for axis, name in enumerate(spec.axes, start=1):
        index = indexes.get(str(name))
        if index is None:
            continue
        shape = (*array.shape[:axis], index.shape[-1], *array.shape[axis + 1 :])
        fitted = np.full(shape, spec.fill, array.dtype)
        if index.ndim == 2:  # a ring: every row has its own places; always the first axis
            row, place = np.nonzero(index != FRESH)
            fitted[row, place] = array[row, index[row, place]]
        else:
            front, there = (slice(None),) * axis, index != FRESH
            fitted[(*front, there)] = array[(*front, index[there])]
        array = fitted
    return array
