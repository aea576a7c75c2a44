from __future__ import annotations

import msgspec
import pytest

from streamd.config import Group, Network, Training
from streamd.engine import layout
from streamd.engine.features import CLOCK, PLANES
from streamd.model.network import Shape
from tests.engine.runs import SETTINGS, small_engine


def test_the_parts_are_those_of_an_engine() -> None:
    engine = small_engine()
    assert {name: type(part) for name, part in engine.state.parts().items()} == layout.PARTS


def test_the_axes_are_those_of_an_engines_arrays() -> None:
    engine = small_engine()
    sizes = layout.axes(SETTINGS, 2)
    for part in (*engine.state.parts().values(), engine.memory, engine.pool):
        assert part.sizes == sizes
    assert engine.learner.shape == layout.network_shape(sizes) == Shape(2, len(PLANES), CLOCK, 3, 4, 2)


@pytest.mark.parametrize("burn_in", [1, 8, 9])
@pytest.mark.parametrize("train", [1, 2, 31, 32])
@pytest.mark.parametrize("horizon", [1, 12])
def test_a_ring_holds_a_whole_window_and_the_targets_of_its_last_frame(burn_in: int, train: int, horizon: int) -> None:
    training = Training(burn_in_frames=burn_in, train_frames=train)
    sizes = layout.axes(Group(horizon_steps=horizon, training=training, network=Network(hidden=5, layers=3)), 7)
    assert sizes["R"] >= burn_in + train + horizon
    assert sizes["R"] % sizes["S"] == 0
    assert (sizes["C"], sizes["H"], sizes["L"], sizes["K"]) == (7, horizon, 3, 5)


@pytest.mark.parametrize("found", [None, "1", layout.LAYOUT + 1])
def test_a_state_of_a_newer_or_of_no_layout_is_refused(found: object) -> None:
    arrays, meta = small_engine().state_dict()
    with pytest.raises(ValueError, match=f"layout {found}: this streamd reads up to {layout.LAYOUT}"):
        small_engine().load_state_dict(arrays, {**meta, "layout": found})


def test_a_state_says_its_layout() -> None:
    arrays, meta = small_engine().state_dict()
    layout.check(msgspec.json.decode(msgspec.json.encode(meta)))
    small_engine().load_state_dict(arrays, meta)
