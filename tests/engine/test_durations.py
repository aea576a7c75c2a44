"""Durations: what lasts strangely long follows from what has lasted before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.engine.durations import FEWEST, MEMORY, Durations


def nothing() -> Durations:
    return Durations(*np.zeros((5, 1)))


def learned(lengths, seen=None, unit=1.0):
    """After all of these, each judged by what came before."""
    seen = nothing() if seen is None else seen
    for length in lengths:
        one, strange = np.array([float(length)]), np.array([length >= seen.line(unit)[0]])
        seen = seen.learn(one, np.array([True]), strange, 1.0, one + unit, unit)
    return seen


def line(seen, unit=1.0):
    return seen.line(unit).item()


def test_nothing_is_strange_where_nothing_was_seen():
    assert line(nothing()) == np.inf


def test_the_more_regular_lengths_were_seen_the_less_is_strange():
    lines = [line(learned([0.0] * count)) for count in (1, 10, 100, 1000)]
    assert lines == sorted(lines, reverse=True)
    assert lines[0] > 100
    assert FEWEST < lines[-1] < 1.1 * FEWEST


def test_regular_lengths_make_a_line_of_a_few_of_them():
    assert 60 < line(learned([30.0] * 1000)) < 200


def test_lengths_that_end_by_chance_are_rarely_strange():
    lengths = np.random.default_rng(0).geometric(0.1, 20_000) - 1.0
    seen = nothing()
    strange = 0
    for length in lengths:
        strange += length >= line(seen)
        seen = learned([length], seen)
    assert strange == 0
    assert line(seen) < 40 * lengths.mean()


def test_a_strange_length_teaches_nothing_until_another_has_lasted_as_long():
    usual = learned([0.0] * 500)
    once = learned([700.0], usual)
    assert (once.mean, once.count, once.longest) == (usual.mean, usual.count, usual.longest)
    assert line(once) == line(usual)
    shorter = learned([400.0], once)
    assert shorter.longest.item() == 400.0
    assert line(learned([700.0], shorter)) > 700.0


def test_what_was_strange_long_ago_is_forgotten():
    once = learned([700.0], learned([0.0] * 500))
    later = once.learn(np.zeros(1), np.array([False]), np.array([False]), 1.0, 1e9, 1.0)
    assert later.odd.item() < 1.0 < once.odd.item()


def test_the_unit_does_not_matter():
    lengths = 1.0 + np.random.default_rng(1).exponential(size=300)
    seconds, hours = learned(lengths), learned(lengths / 3600.0, unit=1 / 3600.0)
    assert line(hours, 1 / 3600.0) == pytest.approx(line(seconds) / 3600.0)


def test_beginning_anew_keeps_only_that_the_longest_was_there():
    seen = learned([5.0, 9.0, 7.0])
    assert seen.begin_anew(np.array([False])).count == seen.count
    anew = seen.begin_anew(np.array([True]))
    assert line(anew) == np.inf
    assert anew.odd.item() == pytest.approx(9.0, rel=1e-3)


@given(
    st.lists(st.floats(0.0, 1e12), max_size=60),
    st.floats(1e-6, 1e6),
    st.floats(0.0, 1.0),
)
def test_all_numbers_stay_finite_and_the_line_is_above_every_usual_length(lengths, unit, weight):
    seen = nothing()
    for length in lengths:
        one, strange = np.array([length]), np.array([length >= seen.line(unit)[0]])
        seen = seen.learn(one, np.array([True]), strange, weight, one, unit)
        assert np.isfinite([seen.count, seen.mean, seen.square, seen.longest, seen.odd]).all()
        assert seen.square >= 0.0
        if not strange:
            assert line(seen, unit) > length


def test_memory_of_mean_and_spread_is_bounded():
    seen = learned([0.0] * int(3 * MEMORY))
    seen = learned([1.0] * int(3 * MEMORY), seen)
    assert seen.mean.item() == pytest.approx(1.0, abs=0.06)
