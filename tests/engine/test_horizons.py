from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from streamd.engine import horizons
from streamd.engine.score import vectors


@pytest.mark.parametrize("horizon", range(1, 101))
def test_the_few_hold_the_ends_and_what_the_score_looks_at_and_are_all_only_of_short_horizons(horizon):
    few = horizons.few(horizon)
    assert {1, horizon, *vectors(horizon)} <= {*few}
    assert list(few) == sorted({*few})
    assert (len(few) == horizon) == (horizon <= 4)
    assert horizons.steps(horizon, len(few)).tolist() == list(few)
    assert horizons.steps(horizon, horizon).tolist() == list(range(1, horizon + 1))


@pytest.mark.parametrize("horizon", range(1, 101))
def test_lines_between_judged_steps_are_short_and_near_ones_shorter(horizon):
    few = horizons.few(horizon)
    for before, after in pairwise(few):
        assert after - before <= (horizons.APART if after <= horizons.NEAR else horizons.FAR_APART)


def test_steps_that_are_neither_all_nor_the_few_are_refused():
    with pytest.raises(ValueError, match="5 judged steps: of a horizon of 12 there are 4 or all"):
        horizons.steps(12, 5)


def test_where_all_steps_are_judged_nothing_lies_between():
    judged = np.random.default_rng(0).normal(size=(3, 12, 2))
    assert horizons.between(horizons.steps(12, 12), judged) is judged


def test_what_lies_in_order_at_judged_steps_lies_in_order_between_them():
    random, steps = np.random.default_rng(1), horizons.steps(24, 6)
    lower = random.standard_cauchy(size=(400, 2, 6, 3))
    upper = lower + np.where(random.random(lower.shape) < 0.3, 0.0, 1e-12 * random.random(lower.shape))
    assert (horizons.between(steps, lower) <= horizons.between(steps, upper)).all()
    assert horizons.between(steps, lower).shape == (400, 2, 24, 3)
