"""How far one stream of garbage moves the others of its group, and those of other groups.

What a group shares is its network, the replay memory, and what new streams begin with: widths of intervals and lines of
scores. The figures in deploy/threats.md were measured by a longer run of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from streamd.engine.engine import Engine
from streamd.engine.learner import InlineTrainer
from streamd.records import F64, Batch, Outcome
from tests.engine.runs import SETTINGS, outcome_bits

STREAMS, FRAMES, BORN = 3, 360, 300
Garbage = Callable[[np.random.Generator, int], F64]


def huge(_: np.random.Generator, n: int) -> F64:
    return np.array([1e99, -1e99]) * (-1.0) ** n


def of_all_sizes(random: np.random.Generator, _: int) -> F64:
    return 10.0 ** random.uniform(-9, 9, 2) * random.choice([-1.0, 1.0], 2)


def honest(random: np.random.Generator, n: int, stream: int) -> F64:
    level = np.array([20.0 + 3.0 * np.sin(n / 10 + stream), 5.0 + np.cos(n / 10 + stream)])
    return level + 0.3 * random.normal(size=2)


class Group:
    """Honest streams, the last of which comes late, and perhaps one that sends garbage as often as they speak."""

    def __init__(self, garbage: Garbage | None) -> None:
        training = msgspec.structs.replace(SETTINGS.training, learning_rate=0.01)
        self.engine = Engine(msgspec.structs.replace(SETTINGS, paths=0, training=training), InlineTrainer())
        self._garbage = garbage
        self._randoms = [np.random.default_rng(seed) for seed in range(STREAMS + 2)]
        self.outcomes: list[Outcome] = []
        self.values: list[F64] = []

    def run(self) -> Group:
        for n in range(FRAMES):
            if self._garbage is not None:
                evil = self._garbage(self._randoms[-1], n)
                self.engine.apply(Batch(("evil",), np.array([60.0 * n - 30.0]), evil[None]))
            present = range(STREAMS + (n >= BORN))
            values = np.array([honest(self._randoms[stream], n, stream) for stream in present])
            names = tuple(f"s{stream}" for stream in present)
            self.outcomes.append(self.engine.apply(Batch(names, np.full(len(names), 60.0 * n), values)))
            self.values.append(values)
        return self

    @property
    def error(self) -> float:
        """Mean absolute error of the old streams' forecasts one step ahead."""
        pairs = zip(self.outcomes[100:-1], self.values[101:], strict=True)
        return float(np.mean([np.abs(told.mean[:STREAMS, 0] - came[:STREAMS]) for told, came in pairs]))

    @property
    def raised(self) -> list[tuple[int, str]]:
        """Incidents of honest streams, by frame."""
        return [
            (n, one.stream)
            for n, outcome in enumerate(self.outcomes)
            for one in outcome.incidents
            if one.state == "raised" and one.stream != "evil"
        ]

    def widths(self, stream: int) -> F64:
        """Of the first channel's interval one step ahead, from the stream's first frame on."""
        rows = [(o.upper - o.lower)[stream, 0, 0] for o in self.outcomes if len(o.streams) > stream]
        return np.array(rows)


@pytest.fixture(scope="module")
def clean() -> Group:
    return Group(None).run()


@pytest.mark.parametrize("garbage", [huge, of_all_sizes])
def test_garbage_of_one_stream_costs_the_others_neither_their_forecasts_nor_their_silence(
    clean: Group, garbage: Garbage
) -> None:
    poisoned = Group(garbage).run()
    assert poisoned.error < 1.1 * clean.error
    assert len(poisoned.raised) <= len(clean.raised) + 1
    old = poisoned.widths(0)[100:] / clean.widths(0)[100:]
    assert 0.8 < float(np.median(old)) < 1.25
    # what a new stream begins with is what it pays, until it knows itself
    new = poisoned.widths(STREAMS) / clean.widths(STREAMS)
    assert np.nanmax(new[12:]) < 30.0
    assert np.nanmedian(new[35:]) < 3.0
    for outcome in poisoned.outcomes:
        assert np.isfinite(outcome.score[:STREAMS]).all()
        assert np.isfinite(outcome.mean).all()


def test_a_stream_of_another_group_moves_nothing_to_the_bit(clean: Group) -> None:
    other = Group(huge)
    again = Group(None)
    for engine in (other, again):
        engine.run()
    assert [outcome_bits(o) for o in again.outcomes] == [outcome_bits(o) for o in clean.outcomes]
