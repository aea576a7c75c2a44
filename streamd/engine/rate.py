"""Alarms raised over alarms promised: whether a group keeps to its budget.

Counted from each stream's warm-up on, with a memory that fades, so that it shows the present. Knows counts and times,
and not which of the alarms were false.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from streamd.records import F64

WEEK_S = 7 * 86_400.0
MEMORY = 30.0  # promised alarms after which what was counted has faded to 1/e


class AlarmRate:
    """Of one group.

    >>> import numpy as np
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
        return self.raised / self.promised if self.promised > 0.0 else math.nan

    def count(self, raised: int, interval: F64, warming: F64, per_week: float) -> None:
        """Take in a batch.

        Args:
            raised: alarms of streams that are warm.
            interval: [B] s, the time that each frame stands for; NaN where not known.
            warming: [B] 1.0 where the stream is warm.
            per_week: alarms that a stream may raise in a week.
        """
        # of a lone frame, a few numbers are added up sooner than numpy is called
        frames = zip(interval.tolist(), warming.tolist(), strict=True)
        observed_s = sum(seconds for seconds, warm in frames if warm >= 1.0 and math.isfinite(seconds))
        promised = per_week * observed_s / WEEK_S
        fade = math.exp(-promised / MEMORY)
        self.raised = fade * self.raised + raised
        self.promised = fade * self.promised + promised

    def state_dict(self) -> dict[str, float]:
        """What JSON can hold."""
        return {"raised": self.raised, "promised": self.promised}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.raised, self.promised = float(state["raised"]), float(state["promised"])
