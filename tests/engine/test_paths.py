"""Sample paths: each horizon and channel by itself is what the intervals say, together they move as errors did."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.engine.paths import Paths, offsets, ring, spacing

P, H = 100, 8
ONE = np.array([0])
COVERAGES = np.array([0.5, 0.9, 0.99])


def make(streams=1, paths=P, horizon=H, channels=1):
    return Paths({"H": horizon, "C": channels, "T": ring(paths, horizon)}, streams)


def normal_quantiles(shape):
    """For `draw`: the standard normal distribution at every stream, horizon and channel."""

    def quantile(p):
        z = np.array([NormalDist().inv_cdf(each) for each in p.tolist()])
        return np.broadcast_to(z[:, None, None], (shape[0], len(p), *shape[1:]))

    return quantile


def trajectories(count, horizon=H, channels=1, seed=0, again=0.0):
    """Errors of the forecasts of frames 0, 1…, [count, H, C]; each step is `again` of the one before and a new part."""
    fresh = np.random.default_rng(seed).normal(size=(count, horizon, channels))
    errors = np.empty_like(fresh)
    errors[:, 0] = fresh[:, 0]
    for step in range(1, horizon):
        errors[:, step] = again * errors[:, step - 1] + np.sqrt(1 - again * again) * fresh[:, step]
    return errors


def judged(made, n):
    """What comes out at frame n of trajectories made [N, H, C]: the step h of the one of frame n - h."""
    errors = np.full(made.shape[1:], np.nan)
    for step in range(1, made.shape[1] + 1):
        if 0 <= n - step < len(made):
            errors[step - 1] = made[n - step, step - 1]
    return errors


def feed(paths, *streams, start=0, stop):
    """Let frames start…stop - 1 judge the trajectories of each stream."""
    slots = np.arange(len(streams))
    for n in range(start, stop):
        paths.remember(slots, np.full(len(slots), n), np.stack([judged(made, n) for made in streams]))


def draw(paths, n, mean=None, streams=1):
    shape = (streams, paths.sizes["H"], paths.sizes["C"])
    mean = np.zeros(shape) if mean is None else mean
    return paths.draw(np.arange(streams), np.full(streams, n), mean, normal_quantiles(shape))


def drawn_after(made, frames):
    """Paths [P, H, C] when so many frames have judged the trajectories of one stream."""
    paths = make(horizon=made.shape[1], channels=made.shape[2])
    feed(paths, made, stop=frames)
    return draw(paths, frames - 1)[0]


def correlation(one, other):
    return np.corrcoef(one, other)[0, 1]


COMPLETE = (P + H) * spacing(H) + H  # frames after which there is a trajectory for each path


@pytest.mark.parametrize("frames", [1, 30, 150, COMPLETE])
def test_every_horizon_and_channel_holds_the_same_quantiles_whatever_the_past(frames):
    made = trajectories(frames, channels=2, again=0.8)
    z = [NormalDist().inv_cdf((path + 0.5) / P) for path in range(P)]
    drawn = np.sort(drawn_after(made, frames), axis=0)
    np.testing.assert_allclose(drawn, np.broadcast_to(np.array(z)[:, None, None], drawn.shape))


def test_the_quantiles_of_paths_are_the_bounds_of_the_intervals():
    generator = np.random.default_rng(3)
    upper = np.cumsum(generator.uniform(0.2, 3.0, size=(2, 3, H, 2)), axis=1)
    lower = -np.cumsum(generator.uniform(0.2, 3.0, size=(2, 3, H, 2)), axis=1)
    mean = 50.0 * generator.normal(size=(2, H, 2))
    paths = make(2, paths=1000, channels=2)
    feed(paths, trajectories(900, channels=2, seed=1), trajectories(900, channels=2, seed=2, again=0.9), stop=900)
    drawn = paths.draw(np.arange(2), np.full(2, 899), mean, lambda p: offsets(COVERAGES, lower, upper, p))
    assert drawn.shape == (2, 1000, H, 2)
    for which, coverage in enumerate(COVERAGES):
        low, high = np.quantile(drawn, [(1 - coverage) / 2, (1 + coverage) / 2], axis=1, method="hazen")
        np.testing.assert_allclose(low, mean + lower[:, which], atol=0.02)
        np.testing.assert_allclose(high, mean + upper[:, which], atol=0.02)
        inside = (drawn >= (mean + lower[:, which])[:, None]) & (drawn <= (mean + upper[:, which])[:, None])
        np.testing.assert_allclose(inside.mean(axis=1), coverage, atol=0.002)
    np.testing.assert_allclose(np.median(drawn, axis=1), mean, atol=0.02)


@pytest.mark.parametrize("again", [0.0, 0.5, 0.9, -0.7])
def test_steps_follow_each_other_as_those_of_the_errors_did(again):
    drawn = drawn_after(trajectories(COMPLETE, again=again, seed=5), COMPLETE)[:, :, 0]
    found = [correlation(drawn[:, step], drawn[:, step + 1]) for step in range(H - 1)]
    assert np.mean(found) == pytest.approx(again, abs=0.1)
    far = correlation(drawn[:, 0], drawn[:, -1])
    assert far == pytest.approx(again ** (H - 1), abs=0.25)


def test_channels_that_moved_together_stay_together_and_others_do_not():
    made = trajectories(COMPLETE, channels=4, seed=6)
    made[:, :, 1] = 100.0 * made[:, :, 0] + trajectories(COMPLETE, seed=7)[:, :, 0]
    made[:, :, 2] = -made[:, :, 0]
    drawn = drawn_after(made, COMPLETE)
    first, alike, against, alone = (drawn[:, :, channel].ravel() for channel in range(4))
    assert correlation(first, alike) > 0.95
    assert correlation(first, against) < -0.95
    assert abs(correlation(first, alone)) < 0.15


def covered_by_paths(again, streams=300, horizon=24):
    """How many of the sums over the horizon lie in the middle nine tenths of the paths' sums."""
    frames = (P + horizon) * spacing(horizon) + horizon
    paths = make(streams, horizon=horizon)
    generator = np.random.default_rng(8)
    values = np.zeros((frames + horizon, streams))
    for n in range(1, len(values)):
        values[n] = again * values[n - 1] + generator.normal(size=streams)
    decay = again ** np.arange(1, horizon + 1)
    slots = np.arange(streams)
    for n in range(frames):
        errors = np.full((streams, horizon, 1), np.nan)
        known = min(n, horizon)
        errors[:, :known, 0] = (values[n] - decay[:known, None] * values[n - 1 - np.arange(known)]).T
        paths.remember(slots, np.full(streams, n), errors)
    spread = np.sqrt(np.cumsum(again ** (2 * np.arange(horizon))))[:, None]
    mean = (decay[:, None] * values[frames - 1]).T[:, :, None]
    unit = normal_quantiles((streams, horizon, 1))
    drawn = paths.draw(slots, np.full(streams, frames - 1), mean, lambda p: unit(p) * spread)
    low, high = np.quantile(drawn.sum(axis=(2, 3)), [0.05, 0.95], axis=1)
    actual = values[frames:].sum(axis=0)
    return ((low <= actual) & (actual <= high)).mean()


@pytest.mark.parametrize("again", [0.0, 0.9])
def test_sums_over_the_horizon_lie_where_those_of_the_paths_do(again):
    """Of an autoregressive series that is forecast as well as it can be, with the intervals that it has."""
    assert covered_by_paths(again) == pytest.approx(0.9, abs=0.06)


def test_a_trajectory_is_followed_only_when_all_its_errors_have_come():
    """Pasts that differ in the third error of one trajectory give the same paths until its last error has come."""
    made = trajectories(200, seed=9)
    start = 60 * spacing(H)
    other = made.copy()
    other[start, 2] *= -7.0
    one, changed = make(), make()
    for n in range(start + H + 1):
        feed(one, made, start=n, stop=n + 1)
        feed(changed, other, start=n, stop=n + 1)
        assert (one.errors == changed.errors)[np.isfinite(one.errors)].all() == (n < start + 3)
        assert (draw(one, n) == draw(changed, n)).all() == (n < start + H), n


def test_until_the_first_trajectory_is_complete_the_paths_do_not_cross():
    made = trajectories(60, seed=10)
    paths = make()
    for n in range(60):
        feed(paths, made, start=n, stop=n + 1)
        drawn = draw(paths, n)[0]
        ordered = (np.diff(drawn, axis=0) > 0).all()
        # the one and only trajectory has all paths to itself: they do not cross either
        assert ordered == (n < H + spacing(H)), n


def test_few_trajectories_are_followed_in_turn():
    made = trajectories(100, seed=11)
    n = H + 3 * spacing(H)  # those of four starts are complete
    drawn = drawn_after(made, n + 1)[:, :, 0]
    starts = n - H - spacing(H) * np.arange(4)
    blocks = np.argsort(np.argsort(made[starts, :, 0], axis=0), axis=0)  # rank of each among the four
    ranks = np.argsort(np.argsort(drawn, axis=0), axis=0) * 4 // P
    for path in range(P):
        np.testing.assert_array_equal(ranks[path], blocks[path % 4])


def test_only_the_last_trajectories_count():
    old, recent = trajectories(COMPLETE, seed=12), trajectories(2 * COMPLETE, seed=13)
    joined = np.concatenate([old, recent])
    frames = len(joined)
    paths, fresh = make(), make()
    feed(paths, joined, stop=frames)
    feed(fresh, joined, start=COMPLETE, stop=frames)
    np.testing.assert_array_equal(draw(paths, frames - 1), draw(fresh, frames - 1))


def test_a_trajectory_that_hardly_an_error_is_known_of_is_not_followed():
    made = trajectories(COMPLETE, again=0.9, seed=14)
    made[spacing(H) * np.arange(0, COMPLETE // spacing(H), 2), 2:] = np.nan
    with_gaps = drawn_after(made, COMPLETE)
    kept = made.copy()
    kept[spacing(H) * np.arange(0, COMPLETE // spacing(H), 2)] = np.nan
    np.testing.assert_array_equal(with_gaps, drawn_after(kept, COMPLETE))


def test_errors_that_are_missing_now_and_then_leave_most_of_the_dependence():
    made = trajectories(COMPLETE, channels=2, again=0.9, seed=15)
    made[np.random.default_rng(16).random(made.shape) < 0.1] = np.nan
    drawn = drawn_after(made, COMPLETE)
    found = [correlation(drawn[:, step, 0], drawn[:, step + 1, 0]) for step in range(H - 1)]
    assert 0.6 < np.mean(found) < 0.9
    assert np.isfinite(drawn).all()


def test_a_channel_without_errors_does_not_keep_the_others_from_theirs():
    made = trajectories(COMPLETE, channels=2, again=0.9, seed=17)
    made[:, :, 1] = np.nan
    np.testing.assert_array_equal(drawn_after(made, COMPLETE)[:, :, 0], drawn_after(made[:, :, :1], COMPLETE)[:, :, 0])


def test_a_mean_or_a_quantile_that_is_not_known_is_not_known_in_the_paths_and_spoils_no_other():
    paths = make(channels=2)
    feed(paths, trajectories(50, channels=2), stop=50)
    mean = np.zeros((1, H, 2))
    mean[0, 3, 1] = np.nan
    np.testing.assert_array_equal(np.isnan(draw(paths, 49, mean)), np.broadcast_to(np.isnan(mean), (1, P, H, 2)))


def test_a_batch_of_unlike_ages_draws_what_each_stream_draws_alone_to_the_bit():
    pasts = [trajectories(400, seed=seed, again=0.5) for seed in range(4)]
    ages = [3, 57, 130, 400]
    together, slots, n = make(6), np.array([5, 0, 3, 2]), np.array(ages) - 1
    for back in range(400, 0, -1):
        alive = n - back + 1 >= 0
        at = (n - back + 1)[alive]
        errors = np.stack([judged(made, frame) for made, frame in zip(np.array(pasts)[alive], at, strict=True)])
        together.remember(slots[alive], at, errors)
    drawn = together.draw(slots, n, np.zeros((4, H, 1)), normal_quantiles((4, H, 1)))
    for which, (made, age) in enumerate(zip(pasts, ages, strict=True)):
        alone = make()
        feed(alone, made, stop=age)
        np.testing.assert_array_equal(drawn[which], draw(alone, age - 1)[0])
        np.testing.assert_array_equal(together.errors[slots[which]], alone.errors[0])
    assert np.isnan(together.errors[[1, 4]]).all()


def test_saved_and_loaded_it_goes_on_to_the_bit():
    made = trajectories(300)
    kept, reloaded = make(), make()
    for start in range(0, 300, 50):
        other = make(0)
        other.load_state_dict({name: array.copy() for name, array in reloaded.state_dict().items()})
        reloaded = other
        feed(kept, made, start=start, stop=start + 50)
        feed(reloaded, made, start=start, stop=start + 50)
        np.testing.assert_array_equal(draw(kept, start + 49), draw(reloaded, start + 49))
    np.testing.assert_array_equal(kept.errors, reloaded.errors)


def test_drawing_changes_nothing():
    paths = make()
    feed(paths, trajectories(60), stop=60)
    before = paths.errors.copy()
    draw(paths, 59)
    np.testing.assert_array_equal(paths.errors, before)


def test_no_paths_take_no_room_and_no_quantiles():
    paths = make(paths=0)
    assert paths.count == 0
    feed(paths, trajectories(20), stop=20)

    def never(p):
        raise AssertionError("nobody needs quantiles")

    assert paths.draw(ONE, np.array([19]), np.zeros((1, H, 1)), never).shape == (1, 0, H, 1)
    assert sum(array.nbytes for array in paths.state_dict().values()) == 0


@pytest.mark.parametrize("horizon", [1, 2, 3, 4, 5, 7, 12, 13, 48])
def test_the_ring_is_just_long_enough_for_every_horizon(horizon):
    """Every trajectory says which one it is: when all are complete, the paths follow the last P of them."""
    paths = make(paths=5, horizon=horizon)
    assert paths.count == 5
    apart = spacing(horizon)
    frames = 12 * apart + 3 * horizon
    made = np.broadcast_to(np.arange(frames, dtype=float)[:, None, None], (frames, horizon, 1))
    for n in range(frames):
        feed(paths, made, start=n, stop=n + 1)
        newest = (n - horizon) // apart
        if newest >= 4:
            # the older, the lower: the first path follows the newest one
            assert (np.argsort(draw(paths, n)[0], axis=0)[::-1] == np.arange(5)[:, None, None]).all(), n
            rows = (newest - np.arange(5)) % paths.sizes["T"]
            expected = np.broadcast_to((apart * (newest - np.arange(5.0)))[:, None, None], (5, horizon, 1))
            np.testing.assert_array_equal(paths.errors[0, rows], expected)


def test_the_ring_is_no_longer_than_it_has_to_be():
    assert [ring(5, horizon) for horizon in (1, 2, 4, 5, 12, 48)] == [5, 6, 8, 9, 9, 9]


@pytest.mark.parametrize("error", [1e300, -np.inf, 1e-300])
def test_an_error_of_any_size_is_only_the_largest_or_the_smallest(error):
    made = trajectories(COMPLETE, seed=18)
    made[100, 4] = error
    drawn = drawn_after(made, COMPLETE)
    assert np.isfinite(drawn).all()


def bounds(*values):
    """One stream, horizon and channel: [1, Q, 1, 1]."""
    return np.array(values, float)[None, :, None, None]


def test_the_middle_is_the_forecast_and_the_bounds_are_at_their_probabilities():
    lower, upper = bounds(-1, -4, -5), bounds(2, 3, 9)
    p = np.array([0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995])
    found = offsets(COVERAGES, lower, upper, p)[0, :, 0, 0]
    np.testing.assert_allclose(found, [-5, -4, -1, 0, 2, 3, 9], atol=1e-12)


def test_one_interval_makes_two_halves_of_normal_distributions():
    z = NormalDist().inv_cdf(0.95)
    p = np.array([0.0005, 0.01, 0.3, 0.6, 0.99, 0.9995])
    found = offsets(np.array([0.9]), bounds(-2 * z), bounds(5 * z), p)[0, :, 0, 0]
    normal = np.array([NormalDist().inv_cdf(each) for each in p])
    np.testing.assert_allclose(found, np.where(normal < 0, 2 * normal, 5 * normal))


def test_beyond_the_widest_interval_the_last_slope_goes_on():
    near, far, beyond = (NormalDist().inv_cdf(p) for p in (0.75, 0.95, 0.999))
    found = offsets(np.array([0.5, 0.9]), bounds(-1, -1), bounds(1, 3), np.array([0.001, 0.999]))[0, :, 0, 0]
    np.testing.assert_allclose(found, [-1, 3 + (beyond - far) * (3 - 1) / (far - near)])


def test_a_bound_that_is_not_known_makes_its_own_offsets_unknown_and_no_others():
    lower, upper = -np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
    lower[0, 0, 1, 0] = upper[0, 0, 1, 0] = np.nan
    unknown = np.isnan(offsets(np.array([0.9]), lower, upper, np.array([0.1, 0.5, 0.9])))
    assert unknown[:, :, 1, 0].all()
    assert unknown.sum() == 3


positive = st.floats(0, 1e6)


@settings(deadline=None)
@given(
    widths=st.lists(st.tuples(positive, positive), min_size=1, max_size=5),
    count=st.integers(1, 200),
)
def test_quantiles_never_cross(widths, count):
    below, above = np.cumsum(np.array(widths), axis=0).T
    levels = 1 - 0.5 ** np.arange(1, len(widths) + 1)
    found = offsets(levels, bounds(*-below), bounds(*above), (np.arange(count) + 0.5) / count)[0, :, 0, 0]
    assert (np.diff(found) >= -1e-9 * (1 + np.abs(found[1:]))).all()
