"""Recordings made by hand, of any size, for the tests of the page."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamd.engine.score import TERMS
from streamd.recording import Recording, drawn_steps
from streamd.records import Incident
from streamd.tally import Tally, Waiting

START = 1_700_000_000.0


def recording(
    rows: int = 200, horizon: int = 4, channels: tuple[str, ...] = ("flow", "heat"), told: bool = True, seed: int = 0
) -> Recording:
    """Random walks, forecast as the last value, with intervals of three coverages; `told`: with weights and drifts."""
    chance = np.random.default_rng(seed)
    C, steps = len(channels), drawn_steps(horizon)
    value = chance.normal(size=(rows, C)).cumsum(axis=0) * 10.0 ** np.arange(C)
    mean = np.repeat(value[:, None], horizon, axis=1)
    spread = np.sqrt(np.arange(1, horizon + 1))[:, None] * 10.0 ** np.arange(C)
    levels = np.stack([np.stack([mean - z * spread, mean + z * spread], 1) for z in (0.67, 1.64, 2.58)], 1)
    levels[0] = np.nan
    score = np.abs(chance.normal(size=rows)) * 0.3
    weights = np.zeros((rows, 0, len(steps), C))
    if told:
        parts = chance.random((rows, 4, len(steps), C))
        weights = np.concatenate([parts / parts.sum(axis=1, keepdims=True), chance.random((rows, 1, len(steps), C))], 1)
    return Recording(
        channels=channels,
        time=START + 60.0 * np.arange(rows),
        value=value,
        interval=np.full(rows, 60.0),
        mean=mean,
        lower=levels[:, 1, 0],
        upper=levels[:, 1, 1],
        score=score,
        terms=np.repeat(score[:, None], len(TERMS), axis=1),
        channel_score=np.repeat(score[:, None], C, axis=1),
        incidents=(),
        against={},
        coverage=0.9,
        coverages=(0.5, 0.9, 0.99),
        levels=levels,
        steps=steps,
        experts=("persistence", "seasonal", "regression", "adaptive", "network") if told else (),
        weights=weights,
        drifted=np.arange(rows) % 50 == 49 if told else np.zeros(rows, bool),
    )


def summary(recorded: Recording, **more: Any) -> dict[str, Any]:
    """As a backtest gives it, measured over all rows."""
    _, H, C = recorded.mean.shape
    tally, waiting = Tally(H, C), Waiting(H, C)
    for n, values in enumerate(recorded.value):
        tally.add(*waiting.judge(values))
        waiting.keep(values, recorded.mean[n], recorded.lower[n], recorded.upper[n])
    measures = tally.measures(recorded.channels)
    return {
        "file": "/data/pump.csv",
        "channels": list(recorded.channels),
        "horizon": H,
        "readings_per_s": 321.0,
        "dropped": {},
        "alarms": 7,
        "incidents": len(recorded.incidents),
        **measures,
        "settled": measures,
        **more,
    }


def incident(number: int, start: float, score: float, end: float | None = None, **channels: float) -> Incident:
    return Incident(f"backtest-{number}", "backtest", "updated", start, start, end, score, channels)
