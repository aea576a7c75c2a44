"""Scale: what is usual is learned in any unit, and a spike hardly moves it."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.scale import Scale

ONE = np.array([0])
H = 3


def feed(series, scale=None, weight=1.0, haste=0.0):
    """One stream, one channel: the scale after a series; NaN where missing. Changes over 1..H steps go along.

    `weight` is one for all frames, or one for each; so is `haste`.
    """
    scale = Scale({"C": 1, "H": H}, slots=1) if scale is None else scale
    series = np.asarray(series, float)
    weights = np.broadcast_to(weight, series.shape)
    hastes = np.broadcast_to(haste, series.shape)
    for n, (value, weight, hurry) in enumerate(zip(series, weights, hastes, strict=True)):
        before = [series[n - h] if n >= h else np.nan for h in range(1, H + 1)]
        changes = (value - np.array(before))[None, :, None]
        scale.learn(ONE, np.array([[value]]), changes, np.full(1, weight), np.full(1, hurry))
    return scale


def noise(count, seed=0):
    return np.random.default_rng(seed).normal(size=count)


@pytest.mark.parametrize("unit", [1e9, 1.0, 1e-9])
@pytest.mark.parametrize("level", [0.0, 300.0])
def test_mean_and_spread_are_learned_in_any_unit(unit, level):
    scale = feed(unit * (level + noise(1500)))
    assert scale.mean[0, 0] == pytest.approx(unit * level, abs=0.15 * unit)
    assert scale.spread(ONE)[0, 0] == pytest.approx(unit, rel=0.1)


def test_the_usual_change_is_learned_per_horizon():
    walk = np.cumsum(noise(3000))
    spreads = feed(walk).step_spread(ONE)[0, :, 0]
    np.testing.assert_allclose(spreads, np.sqrt([1, 2, 3]), rtol=0.1)


def test_the_first_value_is_the_level_at_once():
    scale = feed([17.0])
    assert scale.mean[0, 0] == 17.0
    assert scale.last[0, 0] == 17.0


@pytest.mark.parametrize("spike", [100.0, 1e6, 1e30, -1e30, 1e100])
def test_a_spike_hardly_moves_what_is_usual(spike):
    calm = noise(2000)
    spiked = calm.copy()
    spiked[1000] = spike
    one, other = feed(calm), feed(spiked)
    assert other.mean[0, 0] == pytest.approx(one.mean[0, 0], abs=0.05)
    assert other.spread(ONE)[0, 0] == pytest.approx(one.spread(ONE)[0, 0], rel=0.05)
    np.testing.assert_allclose(other.step_spread(ONE), one.step_spread(ONE), rtol=0.1)


def test_a_lasting_shift_of_the_level_is_followed():
    shifted = noise(6000)
    shifted[1000:] += 50.0
    scale = feed(shifted)
    assert scale.mean[0, 0] == pytest.approx(50.0, abs=1.0)
    assert feed(shifted[:1001]).mean[0, 0] < 1.0


def test_a_frame_that_is_not_trusted_teaches_less_but_a_fresh_channel_learns_in_full():
    shifted = np.r_[noise(500), noise(200) + 4.0]
    trusted, doubted = feed(shifted), feed(shifted, weight=np.repeat([1.0, 0.1], [500, 200]))
    assert 0 < doubted.mean[0, 0] < 0.2 * trusted.mean[0, 0]
    assert feed(noise(29), weight=0.0).spread(ONE)[0, 0] == pytest.approx(feed(noise(29)).spread(ONE)[0, 0])


def test_right_after_a_drift_what_is_usual_is_learned_faster():
    wider = np.r_[noise(3000), 3.0 + 2.0 * noise(300)]
    haste = np.repeat([0.0, 1.0], [3000, 300])
    slow, fast = feed(wider), feed(wider, haste=haste)
    for found in (
        (slow.mean, fast.mean),
        (slow.spread(ONE), fast.spread(ONE)),
        (slow.step_spread(ONE), fast.step_spread(ONE)),
    ):
        assert (found[0] < found[1]).all()
    assert fast.mean[0, 0] > 2.0 > slow.mean[0, 0]


def test_missing_values_change_nothing():
    scale = feed(noise(100))
    kept = {name: array.copy() for name, array in scale.state_dict().items()}
    feed([np.nan] * 10, scale)
    for name, array in scale.state_dict().items():
        np.testing.assert_array_equal(array, kept[name])


def test_a_channel_never_seen_has_no_last_value_and_a_spread_that_divides():
    scale = Scale({"C": 2, "H": H}, slots=1)
    assert np.isnan(scale.last).all()
    assert (scale.spread(ONE) > 0).all()
    assert (scale.step_spread(ONE) > 0).all()


@pytest.mark.parametrize("value", [0.0, 5.0, -1e9, 1e-300, 1e100])
def test_a_constant_has_a_spread_of_almost_nothing_that_still_divides(value):
    scale = feed([value] * 50)
    assert 0 < scale.spread(ONE)[0, 0] <= 2e-12 * max(1.0, abs(value))
    assert (scale.step_spread(ONE) > 0).all()


def test_a_constant_that_begins_to_move_is_let_in():
    scale = feed(np.r_[np.full(1500, 5.0), 5.0 + noise(1500)])
    assert scale.spread(ONE)[0, 0] == pytest.approx(1.0, rel=0.2)
    np.testing.assert_allclose(scale.step_spread(ONE)[0, :, 0], np.sqrt(2), rtol=0.3)


def test_the_spread_until_a_change_is_known_is_that_of_the_values():
    scale = feed(noise(2))
    assert scale.step_spread(ONE)[0, 2, 0] == pytest.approx(scale.spread(ONE)[0, 0])


def test_values_from_one_end_of_the_floats_to_the_other_stay_finite():
    scale = feed(np.r_[1e100, -1e100, 0.0, 1e-300, noise(50), 1e100, np.nan, -1e100, noise(50)])
    for name in ("mean", "square", "step_square"):
        assert np.isfinite(getattr(scale, name)).all(), name
    assert (scale.square >= 0).all()


@pytest.mark.parametrize("factor", [1e-3, 1e-6])
def test_steps_that_have_become_much_smaller_are_usual_within_some_hundred_frames(factor):
    """As when a channel changes its unit: by memory alone it takes thousands."""
    random = np.random.default_rng(6)
    later = factor * random.normal(size=int(400 - 100 * np.log10(factor)))
    scale = feed(np.concatenate([random.normal(size=1000), later]))
    assert scale.step_spread(ONE)[0, 0, 0] < 50 * factor


def test_what_stands_still_between_bursts_stays_as_lively_as_it_was():
    random = np.random.default_rng(7)
    burst = random.normal(size=200)
    scale = feed(np.concatenate([burst, np.full(300, burst[-1])]))
    assert scale.step_spread(ONE)[0, 0, 0] > 0.3
