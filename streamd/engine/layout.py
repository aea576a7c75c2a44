"""What the state of an engine is made of: its parts, the lengths of their axes, the shape of its network.

Follows from the settings and the number of channels alone. Knows no stream and no number of the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamd.config import Group
from streamd.engine import horizons, profile
from streamd.engine.backlog import Backlog
from streamd.engine.calibration import Common, Strictness, Tails
from streamd.engine.drift import Drift
from streamd.engine.ends import Ends
from streamd.engine.features import CLOCK, PLANES
from streamd.engine.hidden import Hidden
from streamd.engine.incidents import Incidents
from streamd.engine.intervals import Intervals, Pool
from streamd.engine.joint import Whitener
from streamd.engine.lags import Lags
from streamd.engine.mix import Gate, Mix
from streamd.engine.novelty import Novelty
from streamd.engine.past import Past
from streamd.engine.paths import Paths, ring
from streamd.engine.pending import Pending
from streamd.engine.recent import Recent
from streamd.engine.regression import Adaptive, Reach, Regression
from streamd.engine.rows import Rows
from streamd.engine.scale import Scale
from streamd.engine.score import Score, vectors
from streamd.engine.seasons import Seasons
from streamd.engine.silence import Silence
from streamd.engine.slots import Timing
from streamd.model.network import Shape

# Of the state as it is saved. A state of an older layout is brought up to date by `migrate`; a column that is only
# added needs no new number, since it begins fresh in an older state.
LAYOUT = 2

PARTS: dict[str, type[Rows]] = {
    "timing": Timing,
    "scale": Scale,
    "recent": Recent,
    "pending": Pending,
    "seasons": Seasons,
    "lags": Lags,
    "backlog": Backlog,
    "regression": Regression,
    "adaptive": Adaptive,
    "reach": Reach,
    "ends": Ends,
    "mix": Mix,
    "gate": Gate,
    "drift": Drift,
    "paths": Paths,
    "past": Past,
    "hidden": Hidden,
    "intervals": Intervals,
    "score": Score,
    "novelty": Novelty,
    "whitener": Whitener,
    "tails": Tails,
    "strictness": Strictness,
    "silence": Silence,
    "incidents": Incidents,
}  # everything with one row per slot

COMMON: dict[str, type[Rows]] = {"pool": Pool, "common": Common}  # what a group's streams have in common: one row


def axes(settings: Group, channels: int) -> dict[str, int]:
    """The length of every axis: channels C, judged steps H, coverages Q, layers L of K cells, J vectors that are
    judged jointly.

    Rings over frames: W for what waits for its values, V for what it was made from, R of S strides for windows, T for
    error trajectories. Those of `profile` are as long as the settings' profile has them.
    """
    training, net = settings.training, settings.network
    H, compact = settings.horizon_steps, settings.profile == "compact"
    lengths = profile.COMPACT if compact else profile.FULL
    stride = max(training.train_frames // 2, 1)
    S = -(-(training.burn_in_frames + training.train_frames + H) // stride)  # strides in a window, rounded up
    return {
        "C": channels,
        "H": len(horizons.few(H)) if compact else H,
        "W": H,
        "V": H + lengths["U"],
        **lengths,
        "Q": len(settings.coverages),
        "J": 1 + len(vectors(H)),
        "T": ring(settings.paths, H),
        "R": S * stride,
        "S": S,
        "L": net.layers,
        "K": net.hidden,
    }


def row_bytes(settings: Group, channels: int) -> int:
    """What one stream takes in memory."""
    sizes = axes(settings, channels)
    fresh = (spec.fresh(1, sizes) for kind in PARTS.values() for spec in kind.columns.values())
    return sum(array.nbytes for array in fresh)


def check(meta: Mapping[str, Any]) -> None:
    """Whether a saved state is of a layout that can be read.

    Raises:
        ValueError: a newer streamd wrote it, or none.
    """
    found = meta.get("layout")
    if not isinstance(found, int) or found > LAYOUT:
        raise ValueError(f"a state of layout {found}: this streamd reads up to {LAYOUT}")


def network_shape(sizes: Mapping[str, int]) -> Shape:
    """The network that goes with these lengths."""
    return Shape(sizes["C"], len(PLANES), CLOCK, sizes["H"], sizes["K"], sizes["L"])
