"""What a figure of the page is: traces that are shown under conditions, and arrays that they share.

Knows Plotly's names for things; not what is drawn. The page keeps each array once, as base64 of its bytes, however
many traces use it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamd.records import Array

FINE = 1e-5  # of the largest value: a spread below it is lost in single precision


@dataclass(frozen=True, slots=True)
class Trace:
    """One line or area, drawn while the reader's choice is `when`, which may leave any part of it open."""

    when: Mapping[str, int]  # "channel", "step", "origin" -> place in the list of those
    spec: dict[str, Any]  # as Plotly wants it; arrays by reference


@dataclass(frozen=True, slots=True)
class Figure:
    """What is in one frame of the page."""

    traces: list[Trace]
    layout: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"layout": self.layout, "traces": [{"when": dict(one.when), "spec": one.spec} for one in self.traces]}


@dataclass(slots=True)
class Pool:
    """The arrays of a page."""

    arrays: list[dict[str, str]] = field(default_factory=list)
    _known: dict[tuple[str, bytes], int] = field(default_factory=dict)

    def put(self, values: Array) -> dict[str, int]:
        """A reference to an array of numbers, for use in a trace. Single precision where the eye can't tell."""
        values = np.asarray(values, np.float64)
        finite = values[np.isfinite(values)]
        coarse = not len(finite) or float(np.ptp(finite)) >= FINE * float(np.abs(finite).max())
        kind = "f4" if coarse and float(np.abs(finite).max(initial=0.0)) < float(np.finfo(np.float32).max) else "f8"
        data = values.astype(f"<{kind}").tobytes()
        at = self._known.setdefault((kind, data), len(self.arrays))
        if at == len(self.arrays):
            self.arrays.append({"kind": kind, "data": base64.b64encode(data).decode("ascii")})
        return {"array": at}

    def get(self, reference: Mapping[str, int]) -> Array:
        """The array behind a reference."""
        one = self.arrays[reference["array"]]
        return np.frombuffer(base64.b64decode(one["data"]), f"<{one['kind']}")
