"""What the network sees of a frame: scaled values, changes, which channels spoke, and the time.

Everything is bounded, so that no reading can blow up the network's state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamd.records import F32, F64

LIMIT = 8.0  # in spreads
PLANES = ("level", "change", "seen", "error", "ahead")  # what each channel brings to the network
CLOCK = 5  # time features: time since the last frame, and the phase in the day and in the week
DAY_S, WEEK_S = 86_400.0, 604_800.0


def bounded(values: F64 | F32) -> F32:
    """Scaled values within the limit, 0 for NaN."""
    limited: F32 = np.minimum(np.maximum(values, -LIMIT), LIMIT).astype(np.float32)
    limited[np.isnan(limited)] = 0.0
    return limited


def clock(times: F64, steps: F64) -> F32:
    """Time features [B, CLOCK] from times (s since the epoch, UTC) and the time since the last frame in usual steps."""
    day, week = times * (2 * np.pi / DAY_S), times * (2 * np.pi / WEEK_S)
    late = np.minimum(np.maximum(np.log2(np.maximum(steps, 2.0**-LIMIT)), -LIMIT), LIMIT)
    return np.stack([late, np.sin(day), np.cos(day), np.sin(week), np.cos(week)], axis=-1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the network sees of a batch."""

    level: F32  # [B, C] in spreads
    change: F32  # [B, C] in usual steps
    seen: F32  # [B, C] 1 where the channel spoke
    error: F32  # [B, C] of the mix for one step ahead, in its usual errors; 0 where not known
    ahead: F32  # [B, C] where the mix sees the channel at the horizon's end, in usual changes
    clock: F32  # [B, CLOCK]

    def compose(self) -> F32:
        """As one array [B, inputs]."""
        return compose(self.level, self.change, self.seen, self.error, self.ahead, self.clock)


def compose(*planes: F32) -> F32:
    """The network's input `[..., len(PLANES) * C + CLOCK]` from the planes `[..., C]` and the clock `[..., CLOCK]`."""
    return np.concatenate(planes, axis=-1)
