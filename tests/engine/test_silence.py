"""Silence: what stops is strange, what often stands still is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamd.engine.silence import BELOW, WARM_FRAMES, Silence

ONE = np.array([0])
N = 4000
T = np.arange(N)


def run(values, gaps=1.0, silence=None, accept_at=()):
    """Parts [N, C] of one stream's frames, and the state after."""
    values = np.asarray(values, float).reshape(len(values), -1)
    gaps = np.broadcast_to(gaps, len(values))
    silence = Silence({"C": values.shape[1]}, slots=1) if silence is None else silence
    found = []
    for n, (row, gap) in enumerate(zip(values, gaps, strict=True)):
        gap = np.array([gap if silence.frames[0] else np.inf])
        parts = silence.parts(ONE, row[None], gap)
        silence.learn(ONE, row[None], gap, np.where(parts.max(axis=1) >= 1.0, 0.1, 1.0))
        if n in accept_at:
            silence.accept(ONE)
        found.append(parts[0])
    return np.array(found), silence


def strange(parts):
    """Frames at which a channel is over the line."""
    return np.flatnonzero(parts.max(axis=1) >= 1.0)


def episodes(parts):
    return int((np.diff((parts.max(axis=1) >= 1.0).astype(int), prepend=0) == 1).sum())


def noise(seed=0, n=N):
    return np.random.default_rng(seed).normal(size=n)


def chance(seed=0):
    return np.random.default_rng(seed)


ORDINARY = {
    "noise": noise(),
    "a constant": np.zeros(N),
    "a sine": np.sin(T / 50),
    "a heavy tail": chance().standard_cauchy(N),
    "counts": chance().poisson(2, N),
    "rare counts": chance().poisson(0.02, N),
    "a counter of each frame": T,
    "a counter of some": np.cumsum(chance().random(N) < 0.2),
    "a state": np.cumsum(chance().random(N) < 0.01) % 2,
    "a state with a rhythm": T // 30 % 2,
    "a switch": chance().random(N) < 0.3,
    "a rounded wave": np.round(20 + 5 * np.sin(2 * np.pi * T / 1440), 1),
    "a rounded slow wave": np.round(20 + 5 * np.sin(2 * np.pi * T / 8640), 2),
    "a rounded wave with noise": np.round(20 + 5 * np.sin(2 * np.pi * T / 1440) + 0.05 * noise(), 1),
    "a rounded walk": np.round(0.2 * np.cumsum(noise())),
    "set points": np.repeat(chance().integers(0, 5, N), chance(1).integers(10, 400, N))[:N],
    "lengths of every size": np.repeat(T, (1 + np.exp(2 + 1.2 * noise())).astype(int))[:N],
    "rain": np.where(chance().random(N) < 0.05, chance(1).exponential(size=N), 0.0).round(1),
}


@pytest.mark.parametrize("values", ORDINARY.values(), ids=ORDINARY.keys())
def test_what_is_ordinary_is_never_over_the_line(values):
    assert not len(strange(run(values)[0]))


@pytest.mark.parametrize(("after", "within"), [(100, 20), (300, 16), (2000, 14)])
def test_a_channel_that_always_moves_and_then_sticks_is_over_the_line_soon_and_as_long_as_it_lasts(after, within):
    values = noise(n=3000)
    values[after : after + 300] = values[after]
    over = strange(run(values)[0])
    assert 10 <= over[0] - after <= within
    np.testing.assert_array_equal(over, np.arange(over[0], after + 300))


def test_a_stuck_channel_is_told_from_the_others():
    values = np.stack([noise(1), noise(2), noise(3)], axis=1)
    values[3000:3100, 1] = 0.5
    parts, _ = run(values)
    assert (parts[3020:3100, 1] > 1.0).all()
    assert parts[3020:3100, [0, 2]].max() < 0.05


def test_a_channel_that_moves_far_less_than_it_does_is_stuck_too():
    values = noise()
    values[3000:3100] = 1.0 + 1e-4 * noise(5, 100)
    assert 3010 <= strange(run(values)[0])[0] <= 3016


def test_a_channel_that_stands_for_thirty_frames_is_stuck_after_a_multiple_of_that():
    values = (T // 30).astype(float)
    values[3000:] = values[3000]
    over = strange(run(values)[0])
    assert 90 <= over[0] - 3000 <= 300


def test_no_channel_is_over_the_line_before_it_is_warm():
    parts, _ = run([*noise(n=10), *np.zeros(int(WARM_FRAMES) - 10)])
    assert parts.max() <= BELOW


def test_a_machine_that_stands_still_each_night_is_strange_the_first_times_only():
    values = np.where(T % 144 < 72, noise(), 0.0)
    parts, _ = run(values)
    assert episodes(parts) <= 2
    assert not len(strange(parts[2 * 144 :]))


def test_a_standstill_that_is_accepted_is_not_strange_while_it_lasts_and_the_next_one_is():
    values = noise()
    values[1000:2000] = 1.0
    values[3000:3200] = 1.0
    parts, _ = run(values, accept_at=[1500])
    over = strange(parts)
    assert over[0] <= 1016
    assert not ((over > 1500) & (over < 3000)).any()
    assert (parts[3016:3200] > 1.0).all()


def test_a_strange_standstill_does_not_become_normal_however_long_it_lasts():
    parts, _ = run([*noise(n=500), *np.ones(20_000)])
    assert (parts[520:] > 1.0).all()
    assert (np.diff(parts[520:, 0]) > 0.0).all()


def test_a_channel_that_is_missing_although_it_is_always_there_is_strange():
    values = np.stack([noise(1), noise(2)], axis=1)
    values[3000:3050, 0] = np.nan
    parts, _ = run(values)
    over = strange(parts)
    assert 3010 <= over[0] <= 3016
    assert over[-1] == 3049
    assert parts[:, 1].max() < 0.05


def test_a_channel_that_is_seldom_there_or_never_was_is_not_strange():
    values = np.stack([noise(1), noise(2), noise(3)], axis=1)
    values[T % 60 != 0, 0] = np.nan
    values[:, 1] = np.nan
    values[chance().random(N) < 0.8, 2] = np.nan
    assert not len(strange(run(values)[0]))


GAPS = {
    "regular": np.ones(N),
    "jitter": 1.0 + 0.3 * np.abs(noise()),
    "by chance": chance().exponential(size=N),
    "of every size": np.exp(noise()),
    "with losses": chance().geometric(0.7, N).astype(float),
}


@pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS.keys())
def test_ordinary_gaps_are_not_strange_and_waited_for(gaps):
    parts, silence = run(noise(), gaps)
    assert not len(strange(parts))
    assert gaps.max() < silence.patience(ONE).item() < 100 * gaps.mean() + 3 * gaps.max()


def test_the_frame_that_ends_a_long_gap_is_strange_in_all_channels_alike_and_the_next_is_not():
    gaps = np.ones(N)
    gaps[2000] = 40.0
    parts, _ = run(np.stack([noise(1), noise(2)], axis=1), gaps)
    np.testing.assert_array_equal(strange(parts), [2000])
    assert parts[2000, 0] == parts[2000, 1]
    gaps[2000] = 4000.0
    assert run(np.stack([noise(1), noise(2)], axis=1), gaps)[0][2000, 0] > parts[2000, 0] + 0.2


def test_regular_outages_are_strange_the_first_times_only():
    gaps = np.where(T % 200 == 199, 300.0, 1.0)
    assert strange(run(noise(), gaps)[0]).tolist() == [199, 399]


def test_another_rate_is_taken_on():
    parts, silence = run(noise(), np.where(T < 2000, 1.0, 60.0))
    assert strange(parts).max() < 2005
    assert silence.patience(ONE) > 120.0


def test_a_first_gap_of_another_size_is_no_measure():
    gaps = np.ones(N)
    gaps[1] = 1e6
    assert run(noise(), gaps)[1].patience(ONE).item() < 20.0


def test_patience_is_ten_usual_intervals_at_least_and_longer_while_little_is_known():
    found = [run(noise(n=n), 5.0)[1].patience(ONE).item() for n in (2, 10, 100, 1000)]
    assert found == sorted(found, reverse=True)
    assert 50.0 < found[-1] < 70.0
    assert found[0] < 5.0 * 400


def test_a_stream_heard_once_is_waited_for_as_its_group():
    silence = Silence({"C": 1}, slots=3)
    assert silence.patience(np.array([2])).item() == np.inf
    for n in range(100):
        silence.learn(np.array([0]), np.array([[float(n)]]), np.array([10.0 if n else np.inf]), np.ones(1))
    assert 1000.0 < silence.patience(np.array([2])).item() < 1e4


def test_a_question_changes_nothing():
    values = [*noise(n=200), *np.ones(50)]
    _, silence = run(values)
    before = {name: array.copy() for name, array in silence.state_dict().items()}
    silence.parts(ONE, np.array([[1.0]]), np.array([99.0]))
    silence.patience(ONE)
    for name, array in silence.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_streams_of_a_batch_are_judged_as_each_alone():
    values = np.stack([noise(1), ORDINARY["counts"], ORDINARY["a state"]])[:, :600].astype(float)
    values[0, 400:450] = 0.0
    together = Silence({"C": 1}, slots=3)
    slots, found = np.array([2, 0, 1]), []
    for n in range(600):
        gap = np.full(3, 1.0 if n else np.inf)
        parts = together.parts(slots, values[:, n, None], gap)
        together.learn(slots, values[:, n, None], gap, np.where(parts[:, 0] >= 1.0, 0.1, 1.0))
        found.append(parts[:, 0])
    for row in range(3):
        np.testing.assert_allclose(np.array(found)[:, row], run(values[row])[0][:, 0], rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.just(np.nan), st.floats(-1e100, 1e100), st.integers(0, 2).map(float)),
            st.one_of(st.just(1.0), st.floats(1e-6, 1e12)),
        ),
        min_size=1,
        max_size=120,
    )
)
def test_whatever_comes_parts_are_finite_and_a_moving_channel_is_calm(frames):
    values, gaps = (np.array(column) for column in zip(*frames, strict=True))
    parts, silence = run(values, gaps)
    assert np.isfinite(parts).all()
    assert (parts >= 0.0).all()
    assert (silence.patience(ONE) > 0.0).all()
    for array in silence.state_dict().values():
        assert not np.isinf(array).any()
    last = silence.base[0, 0]
    if np.isfinite(last):
        calm = silence.parts(ONE, np.array([[last + 2.0 * abs(last) + 1e6]]), silence.gap_mean[:1])
        assert calm.item() == 0.0
