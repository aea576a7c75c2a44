import numpy as np
from numpy.typing import NDArray

from streamd.records import F32, F64, I64

def observe(
    slots: I64,
    times: F64,
    values: F64,
    period: F64,
    line: float,
    smooth: float,
    profile_rate: float,
    bias_rate: float,
    range_keep: float,
    full: float,
    era_frames: float,
    refractory_frames: float,
    young_periods: float,
    calm_frames: float,
    day_s: float,
    furthest: float,
    level: F64,
    aside: F64,
    bias: F64,
    profile: F64,
    visits: F32,
    low: F64,
    high: F64,
    width: F64,
    origin: F64,
    recent: NDArray[np.uint8],
    older: NDArray[np.uint8],
    era: F64,
    frames: F64,
    hardened: F64,
    quiet: F64,
    out: F64,
) -> None: ...
