"""Novelty: an event alarms once, what was seen before does not, whatever the unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamd.engine.novelty import CELLS, ERA_FRAMES, REFRACTORY_FRAMES, Novelty

MINUTE = 60.0
PERIOD = 2000.0


def run(values, step_s=5 * MINUTE, novelty=None, start=0.0, period=PERIOD):
    """Novelty [N] of one channel of one stream, and the state after."""
    novelty = Novelty({"C": 1}, slots=1) if novelty is None else novelty
    found = [
        novelty.observe(
            np.array([0]), np.array([start + n * step_s]), np.array([[value]], float), np.array([period])
        ).item()
        for n, value in enumerate(values)
    ]
    return np.array(found), novelty


def noise(rows, seed=0):
    return np.random.default_rng(seed).normal(size=rows)


def test_a_value_never_seen_is_over_the_line_and_the_same_value_again_is_not():
    values = np.clip(noise(3000), -2, 2)
    values[[2000, 2500]] = 8.0
    found, _ = run(values)
    assert found[2000] > 1.0
    assert found[2500] < 1.0


def test_one_event_is_one_alarm():
    values = np.clip(noise(3000), -2, 2)
    values[2000:2020] = np.linspace(6.0, 12.0, 20)  # new again and again
    found, _ = run(values)
    assert (found[2000 : 2000 + REFRACTORY_FRAMES] >= 1.0).sum() == 1


def test_a_level_that_is_usual_at_another_time_of_day_is_new_at_this_one():
    times = np.arange(20 * 288)
    values = np.sin(2 * np.pi * times / 288) + 0.02 * noise(len(times))
    at = 19 * 288
    values[at : at + 60] = np.sin(2 * np.pi * (times[at : at + 60] + 144) / 288)
    found, _ = run(values)
    assert found[at : at + 60].max() > 1.0
    assert (found[at - 288 : at] >= 1.0).sum() <= 1


def test_constants_are_not_new_and_their_first_change_is():
    found, _ = run([7.0] * 500 + [7.5])
    assert (found[:-1] == 0.0).all()
    assert found[-1] > 1.0


@pytest.mark.parametrize(("factor", "offset"), [(2.0**30, 0.0), (2.0**-30, 0.0), (1.0, 1024.0)])
def test_unit_and_offset_change_next_to_nothing(factor, offset):
    values = noise(2000)
    values[1500] = 9.0
    plain, _ = run(values)
    other, _ = run(values * factor + offset)
    assert other == pytest.approx(plain, abs=0.35)
    assert np.flatnonzero(other > 1.0).tolist() == pytest.approx(np.flatnonzero(plain > 1.0).tolist(), abs=1)


def test_what_was_visited_shortly_before_an_era_ends_is_known_after_it():
    values = np.clip(noise(ERA_FRAMES + 200), -1, 1)
    values[[ERA_FRAMES - 50, -1]] = 1.4
    found, _ = run(values)
    assert found[ERA_FRAMES - 50] > 0.0
    assert found[-1] == 0.0


def test_what_nobody_has_visited_for_two_eras_is_new_again():
    values = np.clip(noise(200 + 2 * ERA_FRAMES), -1, 1)
    values[100] = 1.4
    _, novelty = run(values)
    again, _ = run([1.4], novelty=novelty)
    assert again[0] > 0.0
    soon, _ = run([1.4], novelty=novelty)
    assert soon[0] == 0.0


def test_a_channel_that_often_alarms_is_judged_more_leniently():
    steps = 10.0 * np.arange(40)
    found, novelty = run(np.repeat(steps, 40) + noise(1600))
    assert novelty.hardened[0] > 1.0
    assert found[-400:].max() < found[40:400].max()


def test_young_streams_with_many_frames_to_a_budget_are_judged_more_leniently():
    values = np.clip(noise(1500), -2, 2)
    values[1400] = 5.0
    often, _ = run(values, period=200.0)
    seldom, _ = run(values, period=100_000.0)
    assert 0.0 < seldom[1400] < often[1400]


def test_missing_values_are_not_strange_and_change_no_more_than_the_clock():
    values = noise(600)
    _, whole = run(values[:500])
    found, novelty = run([np.nan] * 100, novelty=whole)
    assert (found == 0.0).all()
    assert novelty.level[0, 0] == whole.level[0, 0]


def test_streams_do_not_touch_each_other_and_channels_have_no_order():
    values = noise(900).reshape(300, 3)
    novelty = Novelty({"C": 3}, slots=2)
    both = np.array([0, 1])
    for n, row in enumerate(values):
        time = np.full(2, n * MINUTE)
        found = novelty.observe(both, time, np.stack([row, row[::-1]]), np.full(2, PERIOD))
        assert found[0].tolist() == found[1, ::-1].tolist()
    alone = Novelty({"C": 3}, slots=1)
    for n, row in enumerate(values):
        single = alone.observe(np.array([0]), np.array([n * MINUTE]), row[None], np.full(1, PERIOD))
    assert single[0].tolist() == found[0].tolist()


@settings(max_examples=60, deadline=None)
@example([0.0, 6.6e-260, 5.7e46])
@example([0.0, 5e-324])
@given(
    st.lists(
        st.one_of(
            st.floats(-1e100, 1e100), st.floats(-1, 1), st.sampled_from([0.0, 1e-300, np.nan, 1e100, -1e100, 5e-324])
        ),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_comes_the_score_is_a_finite_number_and_every_visited_value_is_known(values):
    found, novelty = run(values, MINUTE)
    assert np.isfinite(found).all()
    assert (found >= 0.0).all()
    assert novelty.recent.shape[-1] * 8 == CELLS
    finite = [value for value in values if np.isfinite(value)]
    if finite:
        novelty.quiet[:] = 0.0
        where = novelty.low.copy(), novelty.high.copy()
        again, _ = run([finite[-1]], MINUTE, novelty=novelty, start=len(values) * MINUTE)
        assert np.isfinite(again).all()
        assert (where[0][0, 0] <= finite[-1] <= where[1][0, 0]).all()
