from __future__ import annotations

import msgspec
import numpy as np
import pytest

from streamd.config import Group
from streamd.engine import fit, layout
from streamd.engine.engine import Engine
from streamd.engine.rows import Rows
from streamd.records import Array, Widen
from tests.engine.runs import SETTINGS, Plant, bits, small_engine, state, with_training


def seasoned(frames: int = 40) -> Engine:
    engine = small_engine()
    for batch in Plant(1).batches(frames):
        engine.apply(batch)
    return engine


def fitted(engine: Engine, settings: Group, want: tuple[str, ...] | None = None) -> dict[str, Array]:
    arrays = state(engine)[0]
    want = engine.channels if want is None else want
    todo = fit.change(arrays, engine.channels, want, layout.axes(settings, len(want)))
    return {**todo.streams(arrays), **todo.windows(arrays), **todo.pooled(arrays)}


def check_shapes(arrays: dict[str, Array], sizes: dict[str, int]) -> None:
    parts: dict[str, Rows] = {name: kind(sizes, 3) for name, kind in layout.PARTS.items()}
    for name, part in parts.items():
        part.load_state_dict({key: arrays[f"{name}.{key}"] for key in part.columns})


def test_what_fits_already_stays_as_it_is() -> None:
    engine = seasoned()
    arrays = {name: array for name, array in state(engine)[0].items() if not name.startswith(("learner.", "feedback."))}
    assert bits(fitted(engine, SETTINGS)) == bits(arrays)


def test_more_channels_are_what_widening_gives() -> None:
    engine = seasoned()
    arrays = fitted(engine, SETTINGS, ("a", "b", "c"))
    engine.command(Widen(("c",)))
    widened = {
        name: array for name, array in state(engine)[0].items() if not name.startswith(("learner.", "feedback."))
    }
    assert bits(arrays) == bits(widened)


def test_channels_are_found_again_by_name() -> None:
    engine = seasoned()
    arrays = fitted(engine, SETTINGS, ("new", "b", "a"))
    for name in ("scale.mean", "recent.level", "intervals.error_square", "incidents.share", "memory.residual"):
        old = state(engine)[0][name]
        np.testing.assert_array_equal(arrays[name][..., 1], old[..., 1])
        np.testing.assert_array_equal(arrays[name][..., 2], old[..., 0])
    assert (arrays["scale.mean"][:, 0] == 0).all()
    assert np.isnan(arrays["recent.base"][..., 0]).all()
    assert np.isnan(arrays["memory.residual"][..., 0]).all()


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_the_first_steps_of_another_horizon_are_kept(horizon: int) -> None:
    engine, now = seasoned(), msgspec.structs.replace(SETTINGS, horizon_steps=horizon)
    arrays, old = fitted(engine, now), state(engine)[0]
    check_shapes(arrays, layout.axes(now, 2))
    kept = min(horizon, 3)
    for name in ("scale.step_square", "intervals.error_square", "regression.slopes", "gate.power"):
        np.testing.assert_array_equal(arrays[name][:, :kept], old[name][:, :kept])
        assert not arrays[name][:, kept:].any()
    for name in ("intervals.multiplier", "mix.loss", "pool.log_multiplier"):
        steps = -2 if name != "mix.loss" else 2
        before, after = (np.moveaxis(each[name], steps, 0) for each in (old, arrays))
        np.testing.assert_array_equal(after[:kept], before[:kept])
    assert (arrays["intervals.multiplier"][..., kept:, :] == 1).all()
    # what waits for its values lies at places that follow from the horizon
    assert np.isnan(arrays["pending.offsets"]).all()
    assert np.isnan(arrays["intervals.issued"]).all()
    # but not what it was made from, nor what was learned of it
    np.testing.assert_array_equal(arrays["backlog.weights"][:, :, :kept], old["backlog.weights"][:, :, :kept])
    assert old["backlog.weights"].any()
    before, after = old["memory.residual"], arrays["memory.residual"]
    R = min(before.shape[1], after.shape[1])
    np.testing.assert_array_equal(after[:, :R, :kept], before[:, :R, :kept])
    assert np.isnan(after[:, :, kept:]).all(), "nobody knows what forecasts so far ahead would have been off"


@pytest.mark.parametrize("changes", [{"paths": 5}, {"paths": 30}, {"coverage": 0.9}, {"coverage": (0.5, 0.8, 0.9)}])
def test_of_other_paths_or_coverages_nothing_is_known_and_the_rest_stays(changes: dict[str, object]) -> None:
    before = msgspec.structs.replace(SETTINGS, paths=9, coverage=(0.9, 0.5))
    engine = small_engine(before)
    for batch in Plant(1).batches(40):
        engine.apply(batch)
    now = msgspec.structs.replace(before, **changes)
    arrays, old = fitted(engine, now), state(engine)[0]
    check_shapes(arrays, layout.axes(now, 2))
    fresh = ["paths.errors"] if "paths" in changes else ["intervals.multiplier", "intervals.issued"]
    assert all(np.isfinite(old[name]).any() for name in fresh)
    if "paths" in changes:
        assert np.isnan(arrays["paths.errors"]).all()
    else:
        assert (arrays["intervals.multiplier"] == 1).all()
        assert np.isnan(arrays["intervals.issued"]).all()
        assert not arrays["pool.log_multiplier"].any()
        fresh.append("pool.log_multiplier")
    kept = [name for name in arrays if name not in fresh]
    assert bits({name: arrays[name] for name in kept}) == bits({name: old[name] for name in kept})


def frames_of(ring: Array, age: int) -> dict[int, bytes]:
    """What lies in a ring that holds all that it can, by the number of the frame."""
    return {f: ring[f % len(ring)].tobytes() for f in range(max(age - len(ring), 0), age)}


def starts_of(ring: Array, age: int, stride: int) -> dict[int, bytes]:
    """The states before each stride's first frame, by the number of that frame."""
    newest = (age - 1) // stride
    first = max(newest - len(ring) + 1, 0)
    return {b * stride: ring[b % len(ring)].tobytes() for b in range(first, newest + 1)}


@pytest.mark.parametrize(("burn_in", "train"), [(2, 2), (1, 4), (9, 4), (2, 8), (2, 6), (30, 9)])
@pytest.mark.parametrize("frames", [0, 3, 40])
def test_a_ring_of_another_length_holds_the_same_newest_frames(burn_in: int, train: int, frames: int) -> None:
    engine, now = seasoned(frames), with_training(burn_in_frames=burn_in, train_frames=train)
    old_sizes, sizes = layout.axes(SETTINGS, 2), layout.axes(now, 2)
    assert (sizes["R"], sizes["S"]) != (old_sizes["R"], old_sizes["S"])
    old, arrays = state(engine)[0], fitted(engine, now)
    check_shapes(arrays, sizes)
    stride, old_stride = sizes["R"] // sizes["S"], old_sizes["R"] // old_sizes["S"]
    for slot, age in enumerate(old["timing.age"].tolist()):
        for name in ("recent.base", "recent.level", "recent.residual", "recent.clock", "recent.trust"):
            before, after = frames_of(old[name][slot], age), frames_of(arrays[name][slot], age)
            assert {f: after[f] for f in after if f in before} == {f: before[f] for f in after if f in before}
            fresh = np.full_like(arrays[name][slot][0], np.nan if name in ("recent.residual", "recent.base") else 0)
            assert {after[f] for f in after if f not in before} <= {fresh.tobytes()}
        for name in ("recent.start_h", "recent.start_c"):
            before = starts_of(old[name][slot], age, old_stride)
            after = starts_of(arrays[name][slot], age, stride)
            zero = np.zeros_like(arrays[name][slot][0]).tobytes()
            assert after == {f: before.get(f, zero) for f in after}


def test_windows_are_cut_or_filled_at_their_end_so_that_they_begin_with_their_state() -> None:
    engine = seasoned()
    old = state(engine)[0]
    shorter = fitted(engine, with_training(burn_in_frames=1, train_frames=2))
    longer = fitted(engine, with_training(burn_in_frames=9))
    R = layout.axes(with_training(burn_in_frames=1, train_frames=2), 2)["R"]
    assert R < old["memory.level"].shape[1] < longer["memory.level"].shape[1]
    for name in ("memory.level", "memory.residual"):
        np.testing.assert_array_equal(shorter[name], old[name][:, :R])
        np.testing.assert_array_equal(longer[name][:, :10], old[name])
    assert (longer["memory.trust"][:, 10:] == 0).all()
    for arrays in (shorter, longer):
        np.testing.assert_array_equal(arrays["memory.h"], old["memory.h"])


def test_another_network_takes_no_hidden_state_over() -> None:
    engine = seasoned()
    network = msgspec.structs.replace(SETTINGS.network, hidden=7, layers=1)
    arrays, old = fitted(engine, msgspec.structs.replace(SETTINGS, network=network)), state(engine)[0]
    for name in ("hidden.h", "hidden.c", "recent.start_h", "recent.start_c", "memory.h", "memory.c"):
        assert arrays[name].shape[-2:] == (1, 7)
        assert not arrays[name].any()
    same = [n for n in arrays if n.startswith(("scale.", "score.", "intervals.", "timing.", "incidents."))]
    assert bits({name: arrays[name] for name in same}) == bits({name: old[name] for name in same})


def test_of_foreign_channels_only_numbers_times_and_incidents_are_kept() -> None:
    engine = seasoned()
    arrays, old = fitted(engine, SETTINGS, ("x",)), state(engine)[0]
    for name in ("timing.seq", "timing.last_time", "incidents.open", "incidents.seq"):
        np.testing.assert_array_equal(arrays[name], old[name])
    assert not arrays["timing.age"].any()
    assert not arrays["score.seen"].any()
    assert not arrays["hidden.h"].any()
    assert len(arrays["memory.level"]) == 0


def test_a_column_that_the_state_does_not_have_begins_fresh() -> None:
    arrays = state(seasoned())[0]
    for name in ("score.since", "memory.seen", "recent.trust", "pool.weight", "common.excess"):
        del arrays[name]
    todo = fit.change(arrays, ("a", "b"), ("a", "b"), layout.axes(SETTINGS, 2))
    fresh = {**todo.streams(arrays), **todo.windows(arrays), **todo.pooled(arrays)}
    assert np.isnan(fresh["score.since"]).all()
    assert fresh["memory.seen"].shape == arrays["memory.level"].shape
    assert not fresh["memory.seen"].any()
    assert fresh["pool.weight"].shape == (1, 3, 2)
    assert fresh["common.excess"].shape == (1, layout.axes(SETTINGS, 2)["J"])
    assert fresh["recent.trust"].shape == fresh["recent.level"].shape[:2]


def test_arrays_that_contradict_each_other_are_refused() -> None:
    arrays = state(seasoned())[0]
    sizes = layout.axes(SETTINGS, 2)
    for wrong in (arrays["scale.steps"][:, :2], arrays["scale.steps"][..., :1], arrays["scale.steps"][0]):
        with pytest.raises(ValueError, match=r"scale\.step"):
            fit.change({**arrays, "scale.steps": wrong}, ("a", "b"), ("a", "b"), sizes)
    with pytest.raises(ValueError, match="how long"):
        fit.change({"timing.age": np.zeros(3, np.int64)}, ("a", "b"), ("a", "b"), sizes)


def test_nothing_is_changed_in_place() -> None:
    arrays = state(seasoned())[0]
    before = bits(arrays)
    now = msgspec.structs.replace(with_training(burn_in_frames=5), horizon_steps=5)
    todo = fit.change(arrays, ("a", "b"), ("b", "c"), layout.axes(now, 2))
    todo.streams(arrays)
    todo.windows(arrays)
    todo.pooled(arrays)
    assert bits(arrays) == before


def test_a_state_without_streams_is_fitted_too() -> None:
    engine, now = small_engine(), with_training(burn_in_frames=9)
    check_shapes(fitted(engine, now, ("b",)), layout.axes(now, 1))
