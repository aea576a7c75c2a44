"""The measures are those of a count by hand, and the trivial lines look at what they say."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from tests.benchmarks import detection
from tests.benchmarks.detection import average_precision, best_position, best_rates, outside_the_range, rates


def test_average_precision_is_the_area_under_the_steps() -> None:
    chance = np.random.default_rng(4)
    score, label = chance.random(200).round(1), chance.random(200) < 0.2  # with many equals
    area, before = 0.0, 0.0
    for line in np.unique(score)[::-1]:
        alarm = score >= line
        recall = (alarm & label).sum() / label.sum()
        area += (recall - before) * (alarm & label).sum() / alarm.sum()
        before = recall
    assert average_precision(score, label) == pytest.approx(area)
    assert average_precision(label.astype(float), label) == 1.0
    assert average_precision(np.zeros(200), label) == pytest.approx(label.mean())


def test_the_best_line_has_the_highest_f1_of_all_lines() -> None:
    chance = np.random.default_rng(5)
    label = chance.random(300) < 0.3
    score = (chance.random(300) + 0.4 * label).round(1)
    found, line = best_rates(score, label)
    assert found.f1 == max(rates(score >= each, label).f1 for each in np.unique(score))
    assert found == rates(score >= line, label)


def test_the_best_position_is_found_over_all_files() -> None:
    label = [np.zeros(60, bool), np.zeros(50, bool)]
    label[0][30:45] = label[1][30:45] = True
    label[1][2] = True  # before the rows that count
    found, edges = best_position(label, first=10)
    assert (found.f1, edges) == (1.0, (30, 45))
    assert best_position([np.arange(60) == 59, *label[1:]], first=10)[0].f1 < 1.0


def test_a_value_outside_the_range_so_far_is_told_by_five_percent() -> None:
    values = np.array([0.0, 10.0, 10.4, 11.0, 10.9, -0.5, -1.5, 5.0])
    assert outside_the_range(values).tolist() == [0, 1, 0, 1, 0, 0, 1, 0]


def test_a_channel_that_never_moved_has_a_finite_distance() -> None:
    train = np.stack([np.arange(10.0), np.full(10, 3.0)], axis=1)
    found = detection.distances(train, np.array([[4.5, 3.0], [4.5, 4.0]]))
    assert found[0].tolist() == [0.0, 0.0]
    assert np.isfinite(found).all()
    assert found[1, 1] > 100.0


def test_the_examples_hold() -> None:
    assert doctest.testmod(detection).failed == 0
