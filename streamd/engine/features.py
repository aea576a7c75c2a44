"""What the network sees of a frame: scaled values, changes, which channels spoke, and the time.

Everything is bounded, so that no reading can blow up the network's state.
"""

from __future__ import annotations

import numpy as np

from streamd.records import F32, F64

LIMIT = 8.0  # in spreads
PLANES = 3  # level, change, seen: what each channel brings to the network
CLOCK = 5  # time features: time since the last frame, and the phase in the day and in the week
DAY_S, WEEK_S = 86_400.0, 604_800.0


def bounded(values: F64 | F32) -> F32:
    """Scaled values within the limit, 0 for NaN."""
    finite = np.nan_to_num(values, nan=0.0, posinf=LIMIT, neginf=-LIMIT)
    limited: F32 = np.clip(finite, -LIMIT, LIMIT).astype(np.float32)
    return limited


def clock(times: F64, steps: F64) -> F32:
    """Time features [B, CLOCK] from times (s since the epoch, UTC) and the time since the last frame in usual steps."""
    day, week = times * (2 * np.pi / DAY_S), times * (2 * np.pi / WEEK_S)
    late = np.clip(np.log2(np.maximum(steps, 2.0**-LIMIT)), -LIMIT, LIMIT)
    return np.stack([late, np.sin(day), np.cos(day), np.sin(week), np.cos(week)], axis=-1).astype(np.float32)


def compose(level: F32, change: F32, seen: F32, clock: F32) -> F32:
    """The network's input `[..., 3 * C + CLOCK]` from three `[..., C]` and one `[..., CLOCK]`."""
    return np.concatenate([level, change, seen, clock], axis=-1)
