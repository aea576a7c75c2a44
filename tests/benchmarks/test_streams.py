"""Generated streams are the same each time, of many kinds, and judged at the hour that a forecast was made for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from msgspec.structs import replace

from streamd.config import Group, Network, Training
from streamd.engine.engine import Engine
from streamd.engine.mix import EXPERTS
from streamd.records import Batch, Outcome
from tests.benchmarks.streams import Stream, generate, judge

SETTINGS = Group(
    channels=("value",), horizon_steps=3, network=Network(hidden=8, layers=1), training=Training(enabled=False)
)


def told(outcome: Outcome, **other: object) -> Outcome:
    """The outcome with other words in it."""
    fields = {name: getattr(outcome, name) for name in outcome.__slots__}
    return cast(Outcome, SimpleNamespace(**fields | other))


def test_a_stream_is_the_same_each_time_and_unlike_the_others() -> None:
    one, again, other = generate(1, 5, 300), generate(1, 5, 300), generate(1, 6, 300)
    np.testing.assert_array_equal(one.values, again.values)
    assert one.made_of == again.made_of
    assert not np.array_equal(one.values, other.values)


def test_two_hundred_streams_hold_every_kind() -> None:
    kinds = {part.split()[0] for number in range(200) for part in generate(1, number, 100).made_of}
    assert {"constant", "trend", "season", "AR", "random", "jumps", "stuck", "integers", "gaps", "heavy"} <= kinds


def test_a_mix_that_is_persistence_is_as_good_as_persistence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flat(Engine):
        def apply(self, batch: Batch) -> Outcome:
            outcome = super().apply(batch)
            mean = np.repeat(batch.values[:, None], SETTINGS.horizon_steps, axis=1)
            return told(outcome, mean=mean, experts=np.repeat(mean[:, None], len(EXPERTS), axis=1))

    monkeypatch.setattr("tests.benchmarks.streams.Engine", Flat)
    judged = judge([generate(1, number, 60) for number in range(12)], SETTINGS)
    assert judged.forecasts > 1000
    np.testing.assert_allclose(judged.ratios, 1.0, rtol=1e-6)


def test_forecasts_are_judged_by_the_hour_also_across_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(12.0)
    values[4:7] = np.nan

    class Scripted(Engine):
        """Forecasts the hour right, but for one too much; its experts by more."""

        def apply(self, batch: Batch) -> Outcome:
            outcome = super().apply(batch)
            ahead = batch.values[:, None, :] + np.arange(1.0, 4.0)[None, :, None]
            experts = np.stack([ahead, ahead + 5.0, ahead + 2.0, ahead + 9.0], axis=1)
            return told(outcome, mean=ahead + 1.0, experts=experts)

    monkeypatch.setattr("tests.benchmarks.streams.Engine", Scripted)
    judged = judge([Stream(values, ("trend",))], SETTINGS)
    known = [(n, h) for n in range(12) for h in range(1, 4) if n + h < 12 and np.isfinite(values[[n, n + h]]).all()]
    assert judged.forecasts == len(known)
    assert judged.mix[0] == len(known)
    assert judged.experts[0].tolist() == [
        sum(h * h for _, h in known),
        *(off * off * len(known) for off in (5.0, 2.0, 9.0)),
    ]
    assert judged.ratios[0] == pytest.approx(len(known) / judged.experts[0].min())


def test_a_constant_that_is_off_by_rounding_only_is_no_loss() -> None:
    constant = Stream(np.full(30, 4.176736087185025), ("constant",))
    judged = judge([constant], replace(SETTINGS, training=Training(every_frames=8)))
    assert judged.ratios[0] == pytest.approx(1.0, abs=1e-3)
