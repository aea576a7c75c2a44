"""What the network sees of a frame: scaled values, changes, which channels spoke, and the time.

Everything is bounded, so that no reading can blow up the network's state.
"""

from __future__ import annotations

import numpy as np

from streamd.kernel import network as kernel
from streamd.records import F32, F64

LIMIT = 8.0  # in spreads
PLANES = ("level", "change", "seen", "error", "ahead")  # what each channel brings to the network
CLOCK = 5  # time features: time since the last frame, and the phase in the day and in the week
DAY_S, WEEK_S = 86_400.0, 604_800.0
TURNS_S = np.array([DAY_S, WEEK_S])


def bounded(values: F64 | F32) -> F32:
    """Scaled values within the limit, 0 for NaN."""
    limited: F32 = np.minimum(np.maximum(values, -LIMIT), LIMIT).astype(np.float32)
    limited[np.isnan(limited)] = 0.0
    return limited


def observe(
    values: F64,
    before: F64,
    level: F64,
    spread: F64,
    usual: F64,
    errors: F64,
    mixed: F64,
    times: F64,
    steps: F64,
) -> F32:
    """What the network sees of frames, [B, inputs]: everything within LIMIT, 0 for what is not a number.

    Args:
        values, before, level, spread: [B, C] the frames, the last values before them, and what is usual.
        usual: [B, H, C] usual changes.
        errors: [B, H, C] of the mix, in its usual errors; NaN where not judged.
        mixed: [B, H, C] the mix now, offsets from the last values.
        times: [B] s since the epoch.
        steps: [B] time since the last frame, in usual steps.
    """
    x = np.empty((len(values), len(PLANES) * values.shape[1] + CLOCK), np.float32)
    kernel.observe(values, before, level, spread, usual, errors, mixed, times, steps, LIMIT, TURNS_S, x)
    return x


def compose(*planes: F32) -> F32:
    """The network's input `[..., len(PLANES) * C + CLOCK]` from the planes `[..., C]` and the clock `[..., CLOCK]`."""
    return np.concatenate(planes, axis=-1)
