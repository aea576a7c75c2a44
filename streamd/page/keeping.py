"""What the network's memory of one stream keeps: the gates of a layer over the stream's last frames.

The frames are run again, through the weights in use, from the oldest state that is kept with all its frames: nothing is
written down for it while they come. Knows where state and inputs lie; the gates themselves are the model's.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from streamd.engine.engine import Engine
from streamd.model.gates import Gates, gates
from streamd.page.plain import exact, short

LONGEST = 1e4  # frames; a cell that keeps more is said to keep so much


class Keeping(msgspec.Struct, frozen=True):
    """One layer; cells are in the order of how much they keep, most first."""

    group: str
    stream: str
    layer: int
    layers: int
    seq: int  # of the first frame
    time: list[Any]  # [T]
    cells: list[int]  # [K] their places in the layer
    half_life: list[Any]  # [K] frames after which half of a cell is left, at the mean of its forget gate
    kept: list[Any]  # [K][T] forget gate
    taken: list[Any]  # [K][T] input gate
    shown: list[Any]  # [K][T] output gate
    cell: list[Any]  # [K][T]


def look(group: str, engine: Engine, stream: str, layer: int) -> Keeping | None:
    """The gates of a layer, 0 the lowest; None: the stream is not in memory, or has no frames.

    Raises:
        ValueError: there is no such layer.
    """
    if not 0 <= layer < engine.settings.network.layers:
        raise ValueError(f"layer: expected 0 to {engine.settings.network.layers - 1}, got {layer}")
    slot = engine.slots.get(stream)
    n = -1 if slot is None else int(engine.timing.age[slot]) - 1
    if slot is None or n < 0:
        return None
    frames, found = _run_again(engine, slot, n)
    kept = found.kept[:, layer]
    order = np.argsort(-kept.mean(axis=0), kind="stable")
    mean = np.clip(kept.mean(axis=0)[order].astype(np.float64), 1e-9, 1.0 - 1e-9)
    columns = (one[:, layer][:, order].T for one in (found.kept, found.taken, found.shown, found.cell))
    return Keeping(
        group,
        stream,
        layer,
        engine.settings.network.layers,
        int(engine.timing.seq[slot]) - 1 - (n - int(frames[0])),
        exact(engine.past.time[slot, frames % engine.past.sizes["R"]]),
        order.tolist(),
        short(np.minimum(np.log(0.5) / np.log(mean), LONGEST), 3),
        *(short(column, 3) for column in columns),
    )


def _run_again(engine: Engine, slot: int, n: int) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Gates]:
    """Numbers of the frames that can be run again, up to frame n, and what the gates did."""
    recent = engine.recent
    R, stride = recent.sizes["R"], recent.stride
    # the oldest kept state whose frames are all still there
    first = max(-(-(n + 1 - R) // stride), 0) * stride
    frames = np.arange(first, n + 1)
    start = first // stride % recent.sizes["S"]
    x = recent.inputs(np.full(len(frames), slot), frames % R)
    h, c = recent.start_h[slot, start], recent.start_c[slot, start]
    return frames, gates(engine.learner.weights, engine.learner.shape, x, h, c)
