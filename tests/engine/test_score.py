"""Score: 1.0 is the line, and what crosses it on ordinary noise is rare."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.engine.score import LOWEST_LINE, RARE, WARM_FRAMES, WEEK_S, Score

ONE = np.array([0])
INTERVAL = np.array([60.0])  # s


def surprise_of(score, error, spread=1.0):
    return score.surprise(np.array([[error]]), np.array([[spread]])).item()


def run(errors, per_week=1.0, trust=1.0):
    """Scores against the line of each moment, and the state after."""
    score, found = Score({}, slots=1), []
    for error in errors:
        worst = surprise_of(score, error)
        found.append(worst / score.line(ONE, INTERVAL, per_week).item())
        score.learn(ONE, np.array([worst]), np.ones(1), np.full(1, trust))
    return np.array(found), score


def test_surprise_grows_with_the_error_in_usual_errors_and_knows_no_unit():
    score = Score({}, slots=1)
    assert surprise_of(score, 4.0) == 2.0
    assert surprise_of(score, -4e-9, 1e-9) == pytest.approx(2.0)
    assert surprise_of(score, 0.0, 0.0) == 0.0


@pytest.mark.parametrize(
    ("error", "spread"), [(1e300, 1e-300), (np.inf, 1.0), (1.0, 0.0), (np.nan, 1.0), (1.0, np.nan), (0.0, 0.0)]
)
def test_surprise_is_a_finite_number_whatever_comes(error, spread):
    assert 0.0 <= surprise_of(Score({}, slots=1), error, spread) <= 1e3


def test_an_error_that_is_not_known_is_not_strange():
    assert surprise_of(Score({}, slots=1), np.nan) == 0.0


def test_ordinary_noise_raises_few_alarms_and_a_spike_one():
    errors = np.random.default_rng(0).normal(size=10_000)
    scores, score = run(errors)
    # one a week is one in 10,080 of these frames
    assert (scores[WARM_FRAMES:] >= 1.0).sum() <= 3
    assert surprise_of(score, 30.0) / score.line(ONE, INTERVAL, 1.0).item() > 1.0


def test_heavy_tails_raise_the_line():
    generator = np.random.default_rng(1)
    normal, heavy = run(generator.normal(size=5000)), run(generator.standard_t(2.5, size=5000))
    assert heavy[1].line(ONE, INTERVAL, 1.0).item() > normal[1].line(ONE, INTERVAL, 1.0).item()
    assert (heavy[0][WARM_FRAMES:] >= 1.0).mean() < 0.003


def test_the_quantiles_are_those_of_the_stream():
    generator = np.random.default_rng(2)
    _, score = run(generator.normal(size=20_000))
    assert score.common.item() == pytest.approx(np.sqrt(1.645), rel=0.05)
    assert score.rare.item() == pytest.approx(np.sqrt(2.576), rel=0.05)


def test_a_larger_budget_and_a_slower_stream_lower_the_line():
    _, score = run(5 * np.random.default_rng(3).normal(size=2000))

    def line(per_week, interval):
        return score.line(ONE, np.array([interval]), per_week).item()

    assert line(10.0, 60.0) < line(1.0, 60.0) < line(0.1, 60.0)
    assert line(1.0, 600.0) < line(1.0, 60.0) < line(1.0, 1.0)
    assert line(RARE * WEEK_S / 60.0, 60.0) == pytest.approx(max(score.rare.item(), LOWEST_LINE))


@pytest.mark.parametrize("interval", [np.nan, 1e-6, 1e-300, 1e12])
def test_the_line_is_finite_for_any_interval(interval):
    assert LOWEST_LINE <= Score({}, slots=1).line(ONE, np.array([interval]), 1.0).item() < 100.0


def test_quiet_data_do_not_make_a_line_of_nothing():
    _, score = run(1e-3 * np.random.default_rng(4).normal(size=3000))
    assert score.line(ONE, INTERVAL, 1.0).item() == LOWEST_LINE


def test_warming_counts_the_frames_that_had_a_surprise():
    score = Score({}, slots=1)
    for known in (1.0, 0.0, 1.0):
        score.learn(ONE, np.ones(1), np.full(1, known), np.ones(1))
    assert score.warming(ONE).item() == pytest.approx(2 / WARM_FRAMES)
    _, warm = run(np.zeros(WARM_FRAMES))
    assert warm.warming(ONE).item() == 1.0


def test_a_frame_that_is_not_known_or_not_trusted_moves_no_line():
    _, score = run(np.random.default_rng(5).normal(size=500))
    before = score.common.copy(), score.rare.copy()
    score.learn(ONE, np.full(1, 50.0), np.zeros(1), np.ones(1))
    score.learn(ONE, np.full(1, 50.0), np.ones(1), np.zeros(1))
    np.testing.assert_array_equal((score.common, score.rare), before)


def test_what_is_little_trusted_moves_the_line_little():
    _, score = run(np.random.default_rng(6).normal(size=500))
    before = score.line(ONE, INTERVAL, 1.0).item()
    for _ in range(100):  # a long disturbance
        score.learn(ONE, np.full(1, 5.0), np.ones(1), np.full(1, 0.1))
    assert score.line(ONE, INTERVAL, 1.0).item() < 1.6 * before
