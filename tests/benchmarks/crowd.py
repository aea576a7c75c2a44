"""Many streams of one group through the engine at once, as live, and the incidents that came of them.

Knows streams and outcomes; not what is right or wrong about a stream. The n-th readings of all streams are one batch,
each at its own time; training is done at once where it falls due, so that the same streams give the same incidents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from streamd.config import Group
from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import F64, Batch, Incident
from tests.benchmarks.signals import Signal


@dataclass(slots=True)
class Seen:
    """What became of one stream."""

    warm: int | None = None  # row from which on its line is to be trusted; None: never
    raised: dict[str, int] = field(default_factory=dict)  # id of an incident -> row at which it was told
    told: dict[str, Incident] = field(default_factory=dict)  # each as it was told last
    scores: F64 = field(default_factory=lambda: np.empty(0))  # [N] NaN where no reading came

    def after_warming(self) -> list[str]:
        """Incidents that were raised once the line was to be trusted."""
        return [] if self.warm is None else [name for name, row in self.raised.items() if row >= self.warm]


@dataclass(frozen=True, slots=True)
class Crowd:
    """What became of all of them."""

    streams: list[Seen]
    group_incidents: int


def watch(signals: Sequence[Signal], settings: Group) -> Crowd:
    """Run them all, from the first row of each to its last."""
    B, C = len(signals), signals[0].values.shape[1]
    engine = Engine(msgspec.structs.replace(settings, channels=tuple(f"c{c}" for c in range(C))), InlineTrainer())
    names = [f"s{b}" for b in range(B)]
    place = {name: b for b, name in enumerate(names)}
    seen = [Seen(scores=np.full(len(signal.times), np.nan)) for signal in signals]
    comes = [np.isfinite(signal.values).any(axis=1) for signal in signals]
    group = set[str]()
    for n in range(max(len(signal.times) for signal in signals)):
        here = [b for b in range(B) if n < len(comes[b]) and comes[b][n]]
        if not here:
            continue
        batch = Batch(
            tuple(names[b] for b in here),
            np.array([signals[b].times[n] for b in here]),
            np.stack([signals[b].values[n] for b in here]),
        )
        outcome = engine.apply(batch)
        for i, b in enumerate(here):
            seen[b].scores[n] = outcome.score[i]
            if seen[b].warm is None and outcome.warming[i] >= 1.0:
                seen[b].warm = n
        for incident in outcome.incidents:
            if incident.stream not in place:
                group.add(incident.id)
                continue
            one = seen[place[incident.stream]]
            one.raised.setdefault(incident.id, n)
            one.told[incident.id] = incident
    return Crowd(seen, len(group))
