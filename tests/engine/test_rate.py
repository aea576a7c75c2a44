"""The alarm rate: achieved over promised."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from streamd.engine.rate import MEMORY, WEEK_S, AlarmRate

HOUR_S = 3600.0


def run(rate, hours, raised, streams=4, per_week=1.0):
    """So many hours of streams with a frame an hour, the alarms spread evenly over them."""
    for hour in range(hours):
        due = (hour + 1) * raised // hours - hour * raised // hours
        rate.count(due, np.full(streams, HOUR_S), np.ones(streams), per_week)
    return rate


def test_nothing_promised_is_no_ratio():
    rate = AlarmRate()
    assert math.isnan(rate.ratio)
    rate.count(0, np.full(3, HOUR_S), np.full(3, 0.9), per_week=1.0)
    assert math.isnan(rate.ratio)


def test_a_group_that_keeps_to_its_budget_has_a_ratio_of_one():
    weeks = 5
    assert run(AlarmRate(), weeks * 168, 4 * weeks).ratio == pytest.approx(1.0, rel=0.02)
    assert run(AlarmRate(), weeks * 168, 8 * weeks, per_week=2.0).ratio == pytest.approx(1.0, rel=0.02)
    assert run(AlarmRate(), weeks * 168, 2 * weeks).ratio == pytest.approx(0.5, rel=0.05)


def test_streams_that_warm_up_and_steps_that_are_not_known_promise_nothing():
    rate = AlarmRate()
    rate.count(1, np.array([WEEK_S, WEEK_S, np.nan]), np.array([1.0, 0.5, 1.0]), per_week=1.0)
    assert rate.promised == pytest.approx(1.0)
    assert rate.ratio == pytest.approx(1.0)


def test_what_was_fades_so_that_a_budget_kept_now_shows():
    rate = run(AlarmRate(), 2 * 168, 80)
    assert rate.ratio == pytest.approx(10.0, rel=0.1)
    weeks = int(5 * MEMORY / 4)
    assert run(rate, weeks * 168, 4 * weeks).ratio == pytest.approx(1.0, abs=0.1)


def test_a_loaded_rate_goes_on_to_the_bit():
    one, other = run(AlarmRate(), 100, 7), AlarmRate()
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert run(one, 50, 3).ratio == run(other, 50, 3).ratio
