"""One stream from close by: its last frames beside what was expected, what is expected now, and whom the mix trusts.

Read from the engine's rings when somebody begins to look, and from outcomes while they do. What an outcome says is told
to the last bit, as on MQTT; what was forecast for older frames is kept in single precision. Knows one engine.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from streamd.engine import horizons
from streamd.engine.engine import Engine
from streamd.engine.mix import EXPERTS
from streamd.engine.score import TERMS
from streamd.page import overview
from streamd.page.lately import Scores
from streamd.page.plain import exact, short
from streamd.records import F64, I64, Array, Excerpt, Outcome

Numbers = list[Any]
FRAMES = 1_000_000  # as many as the rings hold
_encode = msgspec.json.Encoder().encode


class Forecast(msgspec.Struct):
    """What is expected from here on, each [H][C] but for the times."""

    times: Numbers
    mean: Numbers
    lower: Numbers
    upper: Numbers


class Frames(msgspec.Struct):
    """Frames in a row, by columns; the forecast, parts and weights are those of the last one, as the state is."""

    seq: int  # of the first
    time: Numbers  # [N]
    values: Numbers  # [N][C]
    mean: Numbers  # [N][C] what had been expected one step before
    lower: Numbers
    upper: Numbers
    score: Numbers  # [N]
    terms: Numbers  # [N][T]
    state: str  # one of overview.STATES
    warming: float  # progress of the warm-up
    parts: Numbers | None  # [C] each channel's part in the last score; None: it is not known any more
    forecast: Forecast | None
    weights: Numbers  # [E + 1][C] what each expert counts, mean over the horizon; the network is the last


class Look(msgspec.Struct):
    """What somebody sees who begins to look."""

    group: str
    stream: str
    channels: tuple[str, ...]
    terms: tuple[str, ...]
    experts: tuple[str, ...]
    coverage: float
    interval: float  # s, the usual step
    frames: Frames


def begin(group: str, engine: Engine, stream: str, scores: Scores | None) -> bytes | None:
    """The last frames of a stream as JSON; None: it is not in memory.

    Args:
        scores: of its newest frame, exactly, where they are known.
    """
    slot = engine.slots.get(stream)
    if slot is None:
        return None
    held = _held(engine, slot, stream, FRAMES)
    found = _frames(engine, slot, held)
    if scores is not None and found.score and scores.seq == held.seq + len(held.times) - 1:
        _set_last(found, scores.score, scores.terms, scores.channel_score)
    interval = float(engine.timing.interval[slot])
    found.forecast = _pending(engine, slot, interval)
    at = np.array([slot])
    found.weights = short(_weights(engine, at), 4)
    names = (*EXPERTS, "network")
    coverage = engine.settings.main_coverage
    return _encode(Look(group, stream, engine.channels, TERMS, names, coverage, interval, found))


def go_on(engine: Engine, outcome: Outcome, row: int) -> bytes:
    """The frame of one row of an outcome as JSON; to be called before the engine applies the next batch."""
    stream = outcome.streams[row]
    (slot,) = engine.slots.open((stream,)).tolist()  # it has just moved, so it has one
    found = _frames(engine, slot, _held(engine, slot, stream, 1))
    _set_last(found, float(outcome.score[row]), outcome.terms[row], outcome.channel_score[row])
    times = outcome.times[row] + outcome.interval[row] * np.arange(1, outcome.mean.shape[1] + 1)
    found.forecast = Forecast(exact(times), *map(exact, (outcome.mean[row], outcome.lower[row], outcome.upper[row])))
    found.weights = short(outcome.weights[row].mean(axis=1), 4)
    return _encode(found)


def _weights(engine: Engine, at: I64) -> F64:
    """What each of EXPERTS counts and, last, how far the network is followed, mean over the steps, [E + 1, C]."""
    mix, gate = engine.experts.mix.weights(at)[0], engine.experts.gate.share(at)
    steps = horizons.of(engine.experts.pending.sizes)
    weights = np.zeros((len(EXPERTS) + 1, mix.shape[2]))
    weights[: len(mix)] = horizons.between(steps, mix).mean(axis=1)
    weights[-1:] = horizons.between(steps, gate).mean(axis=1)
    return weights


def _held(engine: Engine, slot: int, stream: str, most: int) -> Excerpt:
    n, seq = int(engine.timing.age[slot]) - 1, int(engine.timing.seq[slot]) - 1
    return engine.past.held(slot, n, seq, stream, engine.channels, engine.recent, engine.state.ranges, most)


def _frames(engine: Engine, slot: int, held: Excerpt) -> Frames:
    at, score = np.array([slot]), held.score[-1:].astype(np.float64) if len(held.score) else np.array([np.nan])
    warming = engine.judge.warming(at)
    (state,) = overview.states(engine, at, score, warming).tolist()
    return Frames(
        seq=held.seq,
        time=exact(held.times),
        values=exact(held.values),
        mean=short(held.mean, 8),
        lower=short(held.lower, 8),
        upper=short(held.upper, 8),
        score=short(held.score),
        terms=short(held.terms),
        state=overview.STATES[state],
        warming=float(warming[0]),
        parts=None,
        forecast=None,
        weights=[],
    )


def _set_last(found: Frames, score: float, terms: Array, parts: Array) -> None:
    found.score[-1], found.terms[-1], found.parts = score, exact(terms), exact(parts)


def _pending(engine: Engine, slot: int, interval: float) -> Forecast | None:
    """What was published with the last frame, from the forecasts that wait to be judged."""
    n = int(engine.timing.age[slot]) - 1
    if n < 0:
        return None
    steps, R = horizons.of(engine.experts.pending.sizes), engine.recent.sizes["R"]
    W = int(steps[-1])
    last: F64 = engine.recent.base[slot, n % R]
    offset = engine.experts.pending.offsets[slot, n % W, -1].astype(np.float64)
    main = engine.settings.coverages.index(engine.settings.main_coverage)
    bounds = engine.intervals.issued[slot, n % W, main].astype(np.float64)
    offset, bounds = horizons.between(steps, offset), horizons.between(steps, bounds)
    shown = engine.state.ranges.show(last[None, None], offset[None], offset[None] + bounds)
    times = engine.timing.last_time[slot] + interval * np.arange(1, W + 1)
    mean, (lower, upper) = shown.mean[0], shown.levels
    return Forecast(exact(times), short(mean, 8), short(lower, 8), short(upper, 8))
