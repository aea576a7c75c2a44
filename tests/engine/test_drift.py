"""Drift: every stream's window finds what river's ADWIN finds, in arrays that never grow."""

from __future__ import annotations

import numpy as np
import pytest
from river.drift import ADWIN

from streamd.engine.drift import BUCKETS, CLOCK, DELTA, HASTE_FRAMES, LEVELS, Drift


def run(series, drift=None):
    """Feed [N, B] to B streams at once, or [N] to one; gives the frames of the drifts found, [N, B]."""
    series = np.asarray(series, np.float64).reshape(len(series), -1)
    drift = Drift({}, series.shape[1]) if drift is None else drift
    return np.array([drift.update(np.arange(series.shape[1]), row) for row in series])


def frames(found):
    """At which frames each stream drifted."""
    return [np.flatnonzero(stream).tolist() for stream in found.T]


def river_frames(series):
    detector, found = ADWIN(), []
    for frame, value in enumerate(series.tolist()):
        detector.update(value)
        if detector.drift_detected:
            found.append(frame)
    return found


def noise(streams, count=2000):
    return np.stack([np.random.default_rng(seed).normal(size=count) for seed in range(streams)], axis=1)


def levels_that_jump(streams, count=2000):
    jumps = np.random.default_rng(100).normal(size=(10, streams)) * np.linspace(0, 5, streams)
    return noise(streams, count) + np.repeat(jumps, count // 10, axis=0)


def slow_ramps(streams, count=2000):
    return noise(streams, count) + np.linspace(0, 1, count)[:, None] * np.linspace(-6, 6, streams)


def random_walks(streams, count=2000):
    return np.cumsum(noise(streams, count), axis=0) * np.geomspace(1e-3, 10, streams)


def growing_sizes(streams, count=2000):
    return np.abs(noise(streams, count)) * np.linspace(1, np.linspace(0.2, 5, streams), count)


def zeros_and_ones(streams, count=2000):
    return noise(streams, count) > np.repeat([[-1.0], [0.5]], count // 2, axis=0)


@pytest.mark.parametrize("make", [noise, levels_that_jump, slow_ramps, random_walks, growing_sizes, zeros_and_ones])
def test_drifts_are_found_where_river_finds_them(make):
    series = make(12)
    found = frames(run(series))
    assert found == [river_frames(stream) for stream in series.T]
    assert make is noise or any(found)


def test_chance_alone_passes_for_a_drift_no_more_often_than_promised():
    found = run(noise(300, 3200))
    assert found.sum() <= DELTA * 300 * 3200 / CLOCK
    assert (found.sum(axis=0) == 0).mean() >= 0.95


@pytest.mark.parametrize(("jump", "within"), [(1.0, 96), (2.0, 64), (5.0, 64)])
def test_a_jump_of_the_mean_is_found_within_some_dozen_frames(jump, within):
    series = noise(100, 1000)
    series[600:] += jump
    found = run(series)
    assert not found[:600].any()
    assert (found[600 : 600 + within].sum(axis=0) == 1).mean() >= 0.95


def test_a_jump_is_one_drift_and_not_found_over_and_over():
    series = noise(100, 1500)
    series[500:] += 4.0
    assert (run(series).sum(axis=0) == 1).mean() >= 0.95


def test_a_batch_finds_what_each_stream_finds_alone_to_the_bit():
    series = levels_that_jump(9)
    together = Drift({}, 9)
    found = run(series, together)
    for stream in range(9):
        alone = Drift({}, 1)
        np.testing.assert_array_equal(run(series[:, stream], alone)[:, 0], found[:, stream])
        for name, array in alone.state_dict().items():
            np.testing.assert_array_equal(array[0], getattr(together, name)[stream])


def test_streams_of_different_ages_do_not_see_each_other():
    series, drift = levels_that_jump(4), Drift({}, 6)
    found = np.zeros_like(series, bool)
    for at in range(2600):
        begun = [stream for stream in (3, 0, 2, 1) if 0 <= at - 200 * stream < 2000]
        if begun:
            rows = [at - 200 * stream for stream in begun]
            found[rows, begun] = drift.update(np.array(begun) + 1, series[rows, begun])
    np.testing.assert_array_equal(found, run(series))
    assert (drift.length[[0, 5]] == 0).all()


def test_what_is_not_known_changes_nothing():
    series = levels_that_jump(5)
    gaps = np.repeat(series, 2, axis=0)
    gaps[1::2] = np.nan
    found = run(gaps)
    np.testing.assert_array_equal(found[::2], run(series))
    assert not found[1::2].any()


def test_saved_and_loaded_at_any_frame_it_goes_on_to_the_bit():
    series = levels_that_jump(6)
    kept = Drift({}, 6)
    reloaded = Drift({}, 6)
    for at in range(0, len(series), 37):
        other = Drift({})
        other.load_state_dict({name: array.copy() for name, array in reloaded.state_dict().items()})
        reloaded = other
        np.testing.assert_array_equal(run(series[at : at + 37], kept), run(series[at : at + 37], reloaded))
    for name, array in kept.state_dict().items():
        np.testing.assert_array_equal(array, getattr(reloaded, name))


def test_a_stream_that_is_cleared_begins_anew_and_the_others_go_on():
    series, drift = levels_that_jump(3), Drift({}, 3)
    run(series[:500], drift)
    drift.clear(np.array([1]))
    found = run(series[500:], drift)
    np.testing.assert_array_equal(found[:, [0, 2]], run(series)[500:, [0, 2]])
    np.testing.assert_array_equal(found[:, 1], run(series[500:, 1])[:, 0])


def test_a_stream_takes_the_same_half_a_kilobyte_however_long_it_lives():
    drift = Drift({}, 1)
    run(noise(1, 12_000), drift)
    assert drift.length.item() == 12_000
    assert sum(array.nbytes for array in drift.state_dict().values()) == 456


def test_the_oldest_errors_have_dropped_out_of_a_full_window():
    series = noise(2, 12_000)
    series[:, 1] = series[:, 0]
    series[:100, 1] += 0.01  # too little for a drift
    drift = Drift({}, 2)
    assert not run(series[:8000], drift).any()
    assert (drift.means[0] != drift.means[1]).any()
    assert not run(series[8000:], drift).any()
    assert 12_000 - BUCKETS * (2**LEVELS - 1) > 100
    np.testing.assert_array_equal(drift.means[0], drift.means[1])


def test_a_jump_after_the_window_is_full_is_found_where_river_finds_it_that_keeps_everything():
    series = noise(8, 13_000)
    series[12_500:] += 2.0
    found = frames(run(series))
    assert all(found)
    assert found == [river_frames(stream) for stream in series.T]


@pytest.mark.parametrize("value", [0.0, 0.1, -1e-300, 1e14 / 3, np.inf, -np.inf])
def test_a_constant_never_drifts_and_its_numbers_stay_finite(value):
    drift = Drift({}, 1)
    assert not run(np.full(3000, value), drift).any()
    assert np.isfinite(drift.means).all()
    assert np.isfinite(drift.squares).all()


def test_errors_from_one_end_of_the_floats_to_the_other_stay_finite():
    drift = Drift({}, 1)
    run(np.tile([1e300, -1e300, 0.0, 1e-300, np.nan, np.inf], 500), drift)
    assert np.isfinite(drift.means).all()
    assert np.isfinite(drift.squares).all()


def test_haste_is_full_with_a_drift_and_fades_frame_by_frame():
    one = np.array([0])
    drift = Drift({}, 1)
    series = noise(1, 1000)[:, 0]
    series[400:] += 5.0
    hastes, found = [], []
    for value in series.tolist():
        found.append(drift.update(one, np.array([value])).item())
        hastes.append(drift.haste(one).item())
    at = found.index(True)
    assert hastes[:at] == [0.0] * at
    assert hastes[at] == 1.0
    fading = hastes[at : at + HASTE_FRAMES + 1]
    assert (np.diff(fading) < 0).all()
    assert set(hastes[at + HASTE_FRAMES :]) == {0.0}


def test_haste_fades_also_while_nothing_is_known():
    drift = Drift({}, 1)
    drift.since[:] = 0
    run(np.full(HASTE_FRAMES // 2, np.nan), drift)
    assert drift.haste(np.array([0])).item() == 0.5
