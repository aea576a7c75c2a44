"""Calibration: as many false alarms as the budget has, whatever the tail looks like."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.calibration import (
    BLOCK,
    CALM_FRAMES,
    LEAN,
    SHARE,
    STRICT,
    STRICTER,
    Common,
    Strictness,
    Tails,
    frames_per_alarm,
)

NATURAL, CHANNELS, REACH = 0.1, 2, np.array([4.0])
SIZES = {"J": 1}


def run(series, period, slots=None, common=None):
    """Lines [N, S] while series [N, S] go by, and the state after."""
    streams = series.shape[1]
    tails, common = Tails(SIZES, slots=streams), Common(SIZES, slots=1) if common is None else common
    slots, lines = np.arange(streams), []
    for n, sizes in enumerate(series):
        line = tails.line(slots, common, NATURAL, REACH, CHANNELS, np.full(streams, period))
        lines.append(line[:, 0])
        warming = np.full(streams, n < 300)
        tails.learn(slots, np.full(streams, n), sizes[:, None], line, warming, common)
    return np.array(lines), tails, common


def test_the_budget_in_frames_follows_from_the_interval():
    assert frames_per_alarm(np.array([60.0, 1.0, np.nan]), 7.0).tolist() == [1440.0, 86_400.0, 86_400.0]


@pytest.mark.parametrize("tail", ["light", "exponential", "heavy"])
def test_the_line_is_crossed_about_as_often_as_the_budget_has_it(tail):
    random = np.random.default_rng(7)
    shape = (40_000, 8)
    series = {
        "light": lambda: 1.0 + 0.2 * random.random(shape),
        "exponential": lambda: random.exponential(0.3, shape),
        "heavy": lambda: np.log1p(random.pareto(2.5, shape)),
    }[tail]()
    period = 2000.0
    lines, _, _ = run(series, period)
    crossed = (series[2000:] > lines[2000:]).sum()
    promised = series[2000:].size / period * SHARE
    assert crossed / promised < 4.5  # what crosses teaches clipped, so the tail is taken for lighter than it is
    assert crossed / promised >= (0.0 if tail == "light" else 0.3)  # a light tail ends: nothing lies above


def test_a_line_is_drawn_out_no_further_than_the_frames_allow():
    random = np.random.default_rng(0)
    series = random.exponential(0.3, (400, 1))
    near, _, _ = run(series, 1e3)
    far, _, _ = run(series, 1e9)
    assert far[-1, 0] < 1.5 * near[-1, 0]


def of_two_worlds(random):
    """Sizes [40000, 4] that are calm but for a short disturbance now and then, which is part of the stream."""
    series = random.exponential(0.1, (40_000, 4))
    for stream in range(4):
        for begin in range(200, 40_000, 500):
            length = int(random.integers(10, 60))
            series[begin : begin + length, stream] += random.uniform(1.0, 4.0)
    return series


def test_a_stream_of_two_worlds_has_a_line_that_can_still_be_reached():
    series = of_two_worlds(np.random.default_rng(5))
    lines, _, _ = run(series, 10_000.0)
    largest = series.max(axis=0)
    assert (lines[-1] > largest).all()
    assert (lines[-1] < 1.8 * largest).all()  # without its bound 3.2 times
    assert (series[2000:] > lines[2000:]).any(axis=1).sum() <= 2 * series[2000:].size / 10_000.0


def test_what_an_older_version_kept_leads_to_a_line_like_that_of_its_tail():
    series = np.random.default_rng(6).exponential(0.3, (20_000, 1))
    lines, tails, common = run(series, 2000.0)
    tails.largest[:] = np.nan
    slots, period = np.array([0]), np.array([2000.0])
    for n, size in enumerate(series[:64]):
        line = tails.line(slots, common, NATURAL, REACH, CHANNELS, period)
        tails.learn(slots, np.array([n]), size[None], line, np.array([False]), common)
    assert np.isfinite(tails.largest).all()
    assert tails.line(slots, common, NATURAL, REACH, CHANNELS, period).item() == pytest.approx(lines[-1, 0], rel=0.3)


def test_a_new_stream_begins_with_the_groups_tail():
    random = np.random.default_rng(3)
    lines, _, common = run(random.exponential(0.3, (4000, 6)), 2000.0)
    fresh = Tails(SIZES, slots=1)
    first = fresh.line(np.array([0]), common, NATURAL, REACH, CHANNELS, np.array([2000.0])).item()
    assert first == pytest.approx(lines[-1].mean(), rel=0.25)
    assert (
        Tails(SIZES, slots=1)
        .line(np.array([0]), Common(SIZES, slots=1), NATURAL, REACH, CHANNELS, np.array([2000.0]))
        .item()
        < first
    )


def test_an_alarm_does_not_lift_the_line_while_it_lasts_and_does_so_once_it_is_over():
    random = np.random.default_rng(4)
    series = random.exponential(0.1, (4000, 1)).clip(max=0.8)
    series[2000:3000] = 3.0
    series[3000 : 3000 + int(CALM_FRAMES) + 2 * BLOCK] *= 0.3
    lines, _, _ = run(series, 2000.0)
    assert lines[2990, 0] == pytest.approx(lines[1999, 0], rel=0.05)
    assert lines[3000 + int(CALM_FRAMES) + 2 * BLOCK, 0] > lines[2990, 0]


def test_alarms_make_their_own_term_stricter_and_calm_weeks_make_it_milder():
    strict, one = Strictness({}, slots=1), np.array([0])
    terms = np.array([[0.2, 1.3, 0.5, 0.0]])

    def pass_by(frames, terms, *, raised=False):
        for _ in range(frames):
            strict.learn(one, terms, np.array([raised]), np.array([True]), np.array([1000.0]))

    pass_by(1, terms, raised=True)
    assert strict.factor(one).max() <= 1.0  # not while it lasts
    pass_by(int(CALM_FRAMES), np.zeros((1, 4)))
    factors = strict.factor(one)[0]
    assert factors.argmax() == 1
    assert factors[1] == pytest.approx(np.exp(STRICTER * (1 - LEAN * (1 + CALM_FRAMES) / 1000)), rel=1e-6)
    pass_by(100_000, np.zeros((1, 4)))
    assert strict.factor(one)[0] == pytest.approx(np.full(4, STRICT[0]))


def test_the_budget_does_not_run_while_a_stream_warms_up():
    strict, one = Strictness({}, slots=1), np.array([0])
    for _ in range(100):
        strict.learn(one, np.zeros((1, 4)), np.array([False]), np.array([False]), np.array([10.0]))
    assert strict.log[0].tolist() == [0.0] * 4


def test_the_group_follows_how_strict_its_streams_are():
    common = Common(SIZES, slots=1)
    for _ in range(50):
        common.follow(np.full((3, 4), 0.5))
    assert common.log_strictness[0] == pytest.approx(np.full(4, 0.5))
