"""Alarms raised over alarms promised: whether a group keeps to its budget.

Counted from each stream's warm-up on, with a memory that fades, so that it shows the present. Knows counts and times,
and not which of the alarms were false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamd.records import F64

WEEK_S = 7 * 86_400.0
MEMORY = 30.0  # promised alarms after which what was counted has faded to 1/e


class AlarmRate:
    """Of one group.

    >>> rate = AlarmRate()
    >>> rate.count(2, np.array([WEEK_S / 2, np.nan]), np.array([1.0, 1.0]), per_week=2.0)
    >>> rate.ratio
    2.0
    """

    def __init__(self) -> None:
        self.raised = 0.0
        self.promised = 0.0

    @property
    def ratio(self) -> float:
        """Achieved over promised; NaN before anything was promised."""
        return self.raised / self.promised if self.promised > 0.0 else np.nan

    def count(self, raised: int, interval: F64, warming: F64, per_week: float) -> None:
        """Take in a batch.

        Args:
            raised: alarms of streams that are warm.
            interval: [B] s, the time that each frame stands for; NaN where not known.
            warming: [B] 1.0 where the stream is warm.
            per_week: alarms that a stream may raise in a week.
        """
        observed_s = float(np.where((warming >= 1.0) & np.isfinite(interval), interval, 0.0).sum())
        promised = per_week * observed_s / WEEK_S
        fade = float(np.exp(-promised / MEMORY))
        self.raised = fade * self.raised + raised
        self.promised = fade * self.promised + promised

    def state_dict(self) -> dict[str, float]:
        """What JSON can hold."""
        return {"raised": self.raised, "promised": self.promised}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.raised, self.promised = float(state["raised"]), float(state["promised"])
