"""The way of a frame through the engine: predict, look, judge, learn. What was strange teaches little or nothing.

Reads top to bottom, for all frames of a batch at once. Knows in which order the parts take a frame in, and what one
tells the other; neither how a part does what it does nor what becomes of the state otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from streamd.engine import features, horizons
from streamd.engine.experts import MIXED, PUBLISHED, Forecasts, Frames
from streamd.engine.feedback import MUTED, Sight
from streamd.engine.hidden import repair
from streamd.engine.incidents import Judged, Told
from streamd.engine.paths import offsets
from streamd.engine.ranges import Shown
from streamd.engine.scale import steady
from streamd.engine.score import SILENCE, Judgement, Look
from streamd.engine.state import State
from streamd.kernel import network as kernel
from streamd.model import network
from streamd.records import F32, F64, I64, Batch, Bool, Excerpt, Outcome, Report

LARGEST = 1e100  # a value beyond it counts as missing: its square would not be a number
CALMEST = 0.5  # of persistence's usual error: no forecast error is expected to be smaller
LARGEST_ERROR = 3.0  # usual errors: a larger one says no more of a drift
NO_PATTERNS = np.empty((0, 0), np.float32)
SURE = 8.0  # changes or errors that what is usual has to come from before errors are measured by it


class _Arrived(msgspec.Struct, frozen=True, gc=False):
    """The frames of a batch, and when they came."""

    streams: Sequence[str]  # [B]
    times: F64  # [B] s since the epoch
    sent: F64  # [B, C] values as they came
    slots: I64  # [B]
    seq: I64  # [B]
    n: I64  # [B] number of each frame in its stream since that was fresh
    number: I64  # [B] of the stream
    gap: F64  # [B] s since the last frame
    steps: F64  # [B] the same in usual steps
    interval: F64  # [B] s, usual step
    values: F64  # [B, C] NaN where missing
    before: F64  # [B, C] last values before these; NaN where never seen


class _Seen(msgspec.Struct, frozen=True, gc=False):
    """What they are beside what was forecast for them."""

    changes: F64  # [B, H, C] values less those h frames ago; NaN where unknown
    errors: F64  # [B, 1 + M, H, C] see `Pending.errors`
    due: Shown  # what was published for them one step before
    judged: Judgement
    muted: Bool  # [B] over the line, but like what people called false
    patterns: F32  # of those that are over the line and not muted
    score: F64  # [B] after that
    trust: F64  # [B] 0..1
    onset: F64  # [B] s since the epoch, when what is strange began; NaN: no term knows


class _Made(msgspec.Struct, frozen=True, gc=False):
    """What comes next."""

    told: Forecasts  # offsets from the last values
    bounds: F64  # [B, Q, 2, W, C] of the forecasts' intervals, from these
    shown: Shown  # mean [B, 1, 1, W, C] and levels [B, Q, 2, W, C]
    paths: F64 | None  # [B, P, W, C]
    repaired: int  # hidden states


def apply(state: State, batch: Batch, reports: tuple[Report, ...]) -> Outcome:
    """Take a batch through.

    Args:
        reports: what became of training just before, for the outcome.
    """
    arrived = _arrive(state, batch)
    seen = _look(state, arrived)
    frames, drifted, still = _learn(state, arrived, seen)
    made = _foretell(state, frames, seen.errors)
    state.frames += len(batch)
    state.remember_windows(frames.slots, frames.n)
    state.learner.begin(state.frames, state.known, state.memory, lambda: _favour(state))
    warming = state.judge.warming(frames.slots)
    told = _tell(state, arrived, seen, still, warming)
    main = _main(state)
    state.past.remember(
        arrived.slots,
        arrived.n,
        arrived.times,
        seen.score,
        seen.judged.terms,
        made.told.offset[:, 0],
        made.bounds[:, main, :, 0],
    )
    excerpts = _excerpts(state, arrived, told)
    return Outcome(
        channels=state.channels,
        streams=batch.streams,
        seq=arrived.seq,
        times=batch.times,
        interval=arrived.interval,
        mean=made.shown.mean[:, 0, 0],
        lower=made.shown.levels[:, main, 0],
        upper=made.shown.levels[:, main, 1],
        score=seen.score,
        terms=seen.judged.terms,
        channel_score=seen.judged.channel_score,
        weights=made.told.weights,
        experts=frames.last[:, None, None] + made.told.experts,
        levels=made.shown.levels,
        drifted=drifted,
        warming=warming,
        incidents=state.together.update(told, state.frames),
        reports=reports,
        paths=made.paths,
        repaired=made.repaired,
        alarm_rate=state.rate.ratio,
        muted=seen.muted,
        excerpts=excerpts,
    )


def _arrive(state: State, batch: Batch) -> _Arrived:
    slots = state.open(batch.streams)
    times = np.ascontiguousarray(batch.times)
    came = state.timing.advance(slots, times)
    # with its first frame, not when it is reset: a stream that was not in memory then must not begin otherwise
    if came.first:
        fresh = slots[came.age == 0]
        state.intervals.multiplier[fresh] = state.pool.begin()
        state.judge.begin(fresh)
    values, before = state.scale.enter(slots, batch.values, LARGEST)
    return _Arrived(
        streams=batch.streams,
        times=times,
        sent=batch.values,
        slots=slots,
        seq=came.seq,
        n=came.age,
        number=came.number,
        gap=came.gap,
        steps=came.steps,
        interval=came.interval,
        values=state.ranges.unwrap(values, before),
        before=before,
    )


def _look(state: State, arrived: _Arrived) -> _Seen:
    """What was forecast for these frames, against what they are; and how strange that is."""
    slots, n, values, gap = arrived.slots, arrived.n, arrived.values, arrived.gap
    changes = state.recent.changes(slots, n, values)
    errors = state.experts.pending.errors(slots, n, arrived.steps, changes)
    foreseen = state.experts.pending.due(slots, n)
    bounds = state.intervals.due(slots, n, _main(state))
    due = state.ranges.show(arrived.before[:, None], foreseen[:, None], foreseen[:, None] + bounds)
    judged = state.judge.look(
        Look(
            slots=slots,
            n=n,
            turn=arrived.number,
            times=arrived.times,
            interval=arrived.interval,
            values=values,
            expected=arrived.before + foreseen,
            errors=errors[:, PUBLISHED],
            silence=state.silence.parts(slots, values, gap),
        ),
        state.rules,
    )
    muted, patterns = _mute(state, arrived, judged, errors[:, PUBLISHED, 0])
    score, trust = judged.score, judged.trust
    if judged.over:
        trust = np.where(muted, 1.0, trust)
        score = np.where(muted, np.minimum(score, MUTED), score)
    state.silence.learn(slots, values, gap, trust)
    stopped = state.silence.onset(slots, judged.parts[:, SILENCE], arrived.times, arrived.interval)
    return _Seen(
        changes=changes,
        errors=errors,
        due=due,
        judged=judged,
        muted=muted,
        patterns=patterns,
        score=score,
        trust=trust,
        onset=np.fmin(stopped, state.judge.onset(slots, judged.terms)),
    )


def _mute(state: State, arrived: _Arrived, judged: Judgement, errors: F64) -> tuple[Bool, F32]:
    """Which frames are like what people called false [B], and the patterns of those that are over the line and not.

    Args:
        errors: [B, C] of the one-step forecasts.
    """
    muted = np.zeros(len(arrived.streams), np.bool_)
    if not judged.over:
        return muted, NO_PATTERNS
    over = (judged.score >= 1.0).nonzero()[0]
    at = arrived.slots[over]
    # a quiet hour must not make the next ordinary change strange
    usual = np.fmax(state.intervals.spread(at)[:, 0], CALMEST * state.scale.step_spread(at)[:, 0])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        level = (arrived.values[over] - state.scale.mean[at]) / state.scale.spread(at)
        off = errors[over] / usual
    sight = Sight(
        score=judged.score[over],
        terms=judged.terms[over],
        channel_score=judged.channel_score[over],
        errors=off,
        level=level,
        hidden=state.hidden.h[at, -1],
        generation=state.hidden.generation[at],
    )
    patterns = state.feedback.patterns(sight)
    muted[over] = state.feedback.muted([arrived.streams[row] for row in over.tolist()], patterns)
    return muted, patterns[~muted[over]]


def _learn(state: State, arrived: _Arrived, seen: _Seen) -> tuple[Frames, Bool, Bool]:
    """Learn from the frames; gives what is known of their streams by now, which have drifted, which stand still."""
    slots, n, values, trust = arrived.slots, arrived.n, arrived.values, seen.trust
    scale, errors = state.scale, seen.errors
    usual = scale.step_spread(slots)
    size = state.experts.gate.size(slots, errors[:, MIXED, 0], usual[:, 0], SURE, LARGEST_ERROR)
    drifted = state.drift.update(slots, size)
    haste = state.drift.haste(slots)
    state.experts.judge(slots, errors, scale.known(slots, usual, SURE), haste)
    still = steady(values, arrived.before, usual)
    now = scale.learn(slots, values, seen.changes, trust, haste)
    state.intervals.learn(slots, n, errors[:, PUBLISHED], usual, trust, state.settings.coverages)
    frames = Frames(
        slots=slots,
        n=n,
        number=arrived.number,
        times=arrived.times,
        interval=arrived.interval,
        steps=arrived.steps,
        values=values,
        before=arrived.before,
        last=now.last,
        usual=now.steps,
        level=now.level,
        spread=now.spread,
        lowest=now.lowest,
        highest=now.highest,
        trust=trust,
        haste=haste,
    )
    return frames, drifted, still


def _foretell(state: State, frames: Frames, errors: F64) -> _Made:
    """Say what comes next.

    Args:
        errors: [B, 1 + M, H, C] of what was said before.
    """
    slots, n, last, usual = frames.slots, frames.n, frames.last, frames.usual
    foretold = state.experts.foretell(frames, errors)
    unit = state.experts.gate.usual(slots) * usual
    off = errors[:, MIXED] / unit
    correction, repaired = _correct(state, frames, off, foretold.mixed)
    corrected = foretold.mixed + correction * unit
    state.experts.ends.bound(slots, last, corrected[:, None])
    share = state.experts.gate.share(slots)
    offset = foretold.mixed + share * (corrected - foretold.mixed)
    state.experts.remember(slots, n, foretold, corrected, offset)
    own = state.intervals
    state.pool.learn(slots, own)
    spread = state.pool.spread(slots, own, usual, state.scale.steps, SURE)
    bounds = own.bounds(slots, spread, state.settings.coverages)
    own.remember(slots, n, bounds)
    told = state.experts.tell(frames, foretold, share, offset)
    paths = _paths(state, frames, off, told.offset, bounds)
    bounds = horizons.between(horizons.of(own.sizes), bounds)
    levels = told.offset[:, None, None] + bounds
    return _Made(
        told=told,
        bounds=bounds,
        paths=paths,
        shown=state.ranges.show(last[:, None, None, None], told.offset[:, None, None], levels),
        repaired=repaired,
    )


def _correct(state: State, frames: Frames, errors: F64, mixed: F64) -> tuple[F32, int]:
    """One step of the network: what it adds to the mix [B, H, C], in the mix's usual errors, and how many hidden
    states had to be repaired.

    Args:
        errors: [B, H, C] of the mix, in its usual errors; NaN where not judged.
        mixed: [B, H, C] the mix now, offsets from the last values.
    """
    slots, n, usual = frames.slots, frames.n, frames.usual
    x = features.observe(
        frames.values,
        frames.before,
        frames.level,
        frames.spread,
        usual,
        errors,
        mixed,
        frames.times,
        frames.steps,
    )
    learner, hidden = state.learner, state.hidden
    weights, shape = learner.weights, learner.shape
    repaired = hidden.refresh(slots, n, frames.number, state.recent, weights, shape, learner.generation)
    h, c = hidden.take(slots)
    state.recent.mark(slots, n, h, c)
    correction, h, c = network.step(weights, shape, x, h, c)
    repaired += repair(h, c)
    hidden.put(slots, h, c)
    state.recent.record(slots, n, frames.last, x, errors, frames.trust)
    if not kernel.within(correction, features.LIMIT):  # also where it is NaN
        correction = features.bounded(correction)  # as the targets are that it learns from
    return correction, repaired


def _paths(state: State, frames: Frames, errors: F64, offset: F64, bounds: F64) -> F64 | None:
    """Sample paths [B, P, W, C], if any are wanted.

    Args:
        errors: [B, H, C] of the mix, in its usual errors; NaN where not judged.
        offset: [B, W, C] the forecast of every step, from the last values.
        bounds: [B, Q, 2, H, C] of the judged ones, from the forecast.
    """
    if not state.paths.count:
        return None
    slots, n = frames.slots, frames.n
    state.paths.remember(slots, n, errors)
    lower, upper = bounds[:, :, 0], bounds[:, :, 1]
    coverages = np.array(state.settings.coverages)
    drawn = state.paths.draw(slots, n, np.zeros(errors.shape), lambda p: offsets(coverages, lower, upper, p))
    drawn = offset[:, None] + horizons.between(horizons.of(state.paths.sizes), drawn)
    return state.ranges.show(frames.last[:, None, None], offset[:, None], drawn).levels


def _tell(state: State, arrived: _Arrived, seen: _Seen, still: Bool, warming: F64) -> Told:
    """What becomes of incidents, and what is learned from that."""
    slots, judged, score, alarm = arrived.slots, seen.judged, seen.score, state.settings.alarm
    told = state.incidents.update(
        slots,
        arrived.streams,
        state.channels,
        Judged(
            seq=arrived.seq,
            times=arrived.times,
            interval=arrived.interval,
            score=score,
            terms=judged.terms,
            channel_score=judged.channel_score,
            values=arrived.sent,
            expected=seen.due.mean[:, 0],
            lower=seen.due.levels[:, 0],
            upper=seen.due.levels[:, 1],
            steady=still,
            accepted=judged.accepted | state.silence.lasting(slots, arrived.interval, alarm.accept_s),
            onset=seen.onset,
        ),
        alarm,
    )
    state.judge.accept(told.accepted)
    state.silence.accept(told.accepted)
    state.together.hear(arrived.times, arrived.interval, state.known)
    raised = np.zeros(len(slots), np.bool_)
    count, over = 0, []
    if told.incidents:
        alarms = {one.stream for one in told.incidents if one.state == "raised"}
        raised[:] = [stream in alarms for stream in arrived.streams]
        count = int(np.count_nonzero(raised & (warming >= 1.0)))
    if judged.over:
        over = [arrived.streams[row] for row in (score >= 1.0).nonzero()[0].tolist()]
    state.judge.learn(slots, judged.terms, raised, judged.period, warming)
    state.rate.count(count, arrived.interval, warming, alarm.per_week)
    state.feedback.keep(told.incidents, over, seen.patterns)
    return told


def _excerpts(state: State, arrived: _Arrived, told: Told) -> tuple[Excerpt, ...]:
    """What is to be kept of frames beside incidents."""
    if not told.busy:
        return ()
    slots, streams, incidents = arrived.slots, arrived.streams, told.incidents
    is_open = state.incidents.open[slots]
    opened = [
        f"{stream}-{number}" if yes else None
        for stream, number, yes in zip(streams, state.incidents.seq[slots].tolist(), is_open.tolist(), strict=True)
    ]
    parts = state.recent, state.ranges, opened, incidents, state.feedback.faces
    return state.past.cut(slots, arrived.n, arrived.seq, streams, state.channels, *parts)


def _favour(state: State) -> float:
    """How far recent windows are preferred to older ones: as many streams as have drifted lately."""
    return float(state.drift.haste(np.arange(len(state.slots))).mean())


def _main(state: State) -> int:
    """Place of the coverage that is published first."""
    return state.settings.coverages.index(state.settings.main_coverage)
