"""Record a state of the present layout, for later versions to read: writes `layout_<n>.npz` beside this file.

    python -m tests.engine.states.record

A recorded layout is never recorded again. The file holds the arrays of the state, and `meta` and `row` (of a spilled
stream, which meta names) as bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from streamd.engine.layout import LAYOUT
from streamd.records import Batch
from tests.engine.runs import Plant, small_engine

FOLDER = Path(__file__).parent


def record(path: Path) -> None:
    """A small engine in the middle of its work: trained, a job under way, an incident open, one stream spilled."""
    engine, plant = small_engine(), Plant(11)
    while engine.frames < 2500 or engine.learner.install_at <= engine.frames:
        engine.apply(plant.batch())
    last = max(engine.last_time(stream) for stream in engine.slots.names)
    engine.apply(Batch(("s0",), np.array([last + 60]), np.array([[500.0, 20.0]])))
    assert engine.incidents.open.any()
    ((stream, row),) = engine.spill(1)
    arrays, meta = engine.state_dict()
    assert meta["learner"]["job_batches"]
    meta["spilled"] = stream
    texts = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8), "row": np.frombuffer(row, np.uint8)}
    with path.open("xb") as file:
        np.savez_compressed(file, **texts, **{f"state.{name}": array for name, array in arrays.items()})


if __name__ == "__main__":
    record(FOLDER / f"layout_{LAYOUT}.npz")
