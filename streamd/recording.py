"""Every row of a backtest as arrays: what the .npz file holds and what the report draws.

Knows what the outcomes hold; not what is drawn of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamd.config import Group
from streamd.engine.mix import EXPERTS
from streamd.engine.score import TERMS
from streamd.records import F64, Array, Bool, Incident, Outcome


@dataclass(frozen=True, slots=True)
class Recording:
    """N rows of one stream; what was made at row n is for n + 1 … n + H."""

    channels: tuple[str, ...]  # [C]
    time: F64  # [N] s
    value: F64  # [N, C]
    interval: F64  # [N] s, the usual step
    mean: F64  # [N, H, C]
    lower: F64  # [N, H, C] of the main coverage
    upper: F64  # [N, H, C]
    score: F64  # [N]
    terms: F64  # [N, T] in the order of TERMS
    channel_score: F64  # [N, C]
    incidents: tuple[Incident, ...]  # in the order of their start, each as it was told last
    against: Mapping[str, F64]  # [N] scores of detectors that ran beside, in scales of their own
    coverage: float  # that lower and upper promise
    coverages: tuple[float, ...]  # [Q] ascending
    levels: F64  # [N, Q, 2, H, C] lower and upper of each of them
    steps: tuple[int, ...]  # [S] steps ahead of which weights are kept
    experts: tuple[str, ...]  # [E], the network last
    weights: F64  # [N, E, S, C] what each counts; the experts' add to one, the network's is a gate of its own
    drifted: Bool  # [N]

    def save(self, path: Path) -> None:
        """Write the arrays of DESIGN's interface; plain arrays, no pickle."""
        arrays: dict[str, Array] = {
            name: getattr(self, name) for name in ("time", "value", "lower", "upper", "score", "channel_score")
        }
        arrays |= {"forecast": self.mean, "channels": np.array(self.channels), "alarm": self.score >= 1.0}
        arrays |= {name: self.terms[:, at] for at, name in enumerate(TERMS)}
        arrays |= {f"against_{name}": scores for name, scores in self.against.items()}
        np.savez(path, allow_pickle=False, **arrays)


class Recorder:
    """Takes the rows one by one."""

    def __init__(self, settings: Group, channels: tuple[str, ...]) -> None:
        self.steps = drawn_steps(settings.horizon_steps)
        self._settings, self._channels = settings, channels
        self._rows: dict[str, list[Any]] = {}
        self._incidents: dict[str, Incident] = {}

    def add(self, time: float, values: F64, outcome: Outcome, against: Mapping[str, float]) -> None:
        """One row: its values [C], what the engine made of them, what detectors scored beside it."""
        row: dict[str, Any] = {
            "time": time,
            "value": values,
            "interval": outcome.interval[0],
            "mean": outcome.mean[0],
            "lower": outcome.lower[0],
            "upper": outcome.upper[0],
            "score": outcome.score[0],
            "terms": outcome.terms[0],
            "channel_score": outcome.channel_score[0],
            "weights": outcome.weights[0][:, np.array(self.steps) - 1],
            "drifted": outcome.drifted[0],
            "levels": outcome.levels[0],
            **{f"against {name}": score for name, score in against.items()},
        }
        for name, value in row.items():
            self._rows.setdefault(name, []).append(value)
        self._incidents |= {incident.id: incident for incident in outcome.incidents}

    def __len__(self) -> int:
        return len(self._rows.get("time", ()))

    def taken(self) -> Recording:
        """Everything as arrays; the recorder is empty then, for there may not be room for both."""
        arrays = {name: np.array(self._rows.pop(name)) for name in list(self._rows)}
        against = {name.partition(" ")[2]: arrays.pop(name) for name in list(arrays) if name.startswith("against ")}
        return Recording(
            channels=self._channels,
            incidents=tuple(sorted(self._incidents.values(), key=lambda incident: incident.start)),
            against=against,
            coverage=self._settings.main_coverage,
            coverages=self._settings.coverages,
            steps=self.steps,
            experts=(*EXPERTS, "network"),
            **arrays,
        )


def drawn_steps(horizon: int) -> tuple[int, ...]:
    """The steps ahead that are looked at one by one: the first, the middle and the last."""
    return tuple(sorted({1, max(1, horizon // 2), horizon}))
