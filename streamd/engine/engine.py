"""The engine of one group: a deterministic state machine. Frames in, outcomes out; predict, look, judge, learn.

`apply` is the only way its state changes. It reads no clock, does no I/O and starts no thread; its chance comes from
a generator that is part of its state. The same records in the same order give the same state, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from streamd import live
from streamd.config import Group
from streamd.engine import features, fit, layout, spill
from streamd.engine.drift import Drift
from streamd.engine.experts import MIXED, PUBLISHED, Experts, Frames
from streamd.engine.feedback import MUTED, Feedback, Sight
from streamd.engine.hidden import Hidden, repair
from streamd.engine.incidents import Incidents, Judged
from streamd.engine.intervals import Intervals, Pool
from streamd.engine.learner import Learner, Trainer
from streamd.engine.memory import Memory
from streamd.engine.past import Past
from streamd.engine.paths import Paths, offsets
from streamd.engine.ranges import Ranges
from streamd.engine.rate import AlarmRate
from streamd.engine.recent import Recent
from streamd.engine.rows import Rows
from streamd.engine.rules import Rules
from streamd.engine.scale import Scale
from streamd.engine.score import SILENCE, Judge, Judgement, Look
from streamd.engine.silence import Silence
from streamd.engine.slots import Slots, Timing
from streamd.engine.snapshot import Snapshot
from streamd.engine.together import Together
from streamd.model import network
from streamd.records import (
    F32,
    F64,
    I64,
    Array,
    Batch,
    Bool,
    Command,
    Configure,
    Effect,
    Excerpt,
    Freeze,
    Incident,
    Outcome,
    Reset,
    Silent,
    Stretch,
    Teach,
    Thaw,
    Widen,
    Withdraw,
)

LARGEST = 1e100  # a value beyond it counts as missing: its square would not be a number
CALMEST = 0.5  # of persistence's usual error: no forecast error is expected to be smaller
REACH = 10.0  # spreads: what is further off the mean counts as there, where the experts learn
LARGEST_ERROR = 3.0  # usual errors: a larger one says no more of a drift
STEADY = 4.0  # usual steps: a larger change says that the values do not stand still
SURE = 8.0  # changes or errors that what is usual has to come from before errors are measured by it
FIRST_ROWS = 16
LASTING = ("seq", "last_time", "number")  # of a stream, when its state begins afresh
# parts whose arrays have no row per slot; weights, windows of a job, and what the group knows never change in place
KINDS = {"memory": "memory", "learner": "whole", "pool": "whole", "common": "whole", "feedback": "whole"}


class Engine:
    """All state of one group of streams.

    Args:
        settings: of the group.
        trainer: carries the training jobs out.
    """

    def __init__(self, settings: Group, trainer: Trainer) -> None:
        network.use_one_thread()
        network.make_do_without_new_code()
        self.settings = settings
        self.channels: tuple[str, ...] = () if settings.channels == "auto" else settings.channels
        self.frames = 0  # applied so far
        self.known = 0  # streams ever seen, in memory or spilled
        self.resets = 0  # of all streams
        self._reset_generation = 0  # of the weights at the last of them
        self.slots = Slots()
        self._snapshot: Snapshot | None = None
        sizes = layout.axes(settings, len(self.channels))
        self.learner = Learner(settings.training, layout.network_shape(sizes), settings.seed, trainer)
        self.timing = Timing(sizes)
        self.scale = Scale(sizes)
        self.ranges = Ranges(settings.channel, self.channels)
        self.recent = Recent(sizes)
        self.experts = Experts(sizes)
        self.drift = Drift(sizes)
        self.paths = Paths(sizes)
        self.past = Past(sizes)
        self.hidden = Hidden(sizes)
        self.intervals = Intervals(sizes)
        self.pool = Pool(sizes, slots=1)
        self.rules = Rules(settings.channel, self.channels)
        self.judge = Judge(sizes, settings.alarm)
        self.silence = Silence(sizes)
        self.incidents = Incidents(sizes)
        self.together = Together()
        self.rate = AlarmRate()
        self.feedback = Feedback(len(self.channels), settings.network.hidden)
        self.memory = Memory(sizes, slots=settings.training.memory_windows)
        self._grow(FIRST_ROWS)

    @property
    def waits(self) -> bool:
        """Whether the next batch has to wait for the trainer's candidate."""
        return self.learner.waits(self.frames)

    @property
    def resident(self) -> int:
        """Streams in memory."""
        return len(self.slots)

    @property
    def streams(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.slots.names)

    def absent(self, streams: Iterable[str]) -> list[str]:
        """Which of these are not in memory: never seen, or spilled."""
        return [stream for stream in streams if stream not in self.slots]

    def last_time(self, stream: str) -> float:
        """Time of a stream's last frame, s since the epoch; -inf for a stream that is not in memory."""
        slot = self.slots.get(stream)
        return -np.inf if slot is None else float(self.timing.last_time[slot])

    def patience(self, streams: Sequence[str]) -> F64:
        """After so many seconds without a frame each stream is silent, [B]; inf for one that is not in memory."""
        slots = [self.slots.get(stream) for stream in streams]
        there = np.array([slot is not None for slot in slots], np.bool_)
        patience = np.full(len(slots), np.inf)
        patience[there] = self.silence.patience(np.array([slot for slot in slots if slot is not None], np.int64))
        return patience

    def silent(self) -> list[str]:
        """The streams in memory that were said to be silent, and have sent no frame since."""
        return [self.slots.names[slot] for slot in np.flatnonzero(self.silence.silent[: len(self.slots)]).tolist()]

    def refusal(self, command: Command) -> str:
        """Why a command can't be carried out, for whoever gave it; empty: it can."""
        match command:
            case Teach(incident, _):
                return self.feedback.refusal(incident)
            case Withdraw(incident):
                return self.feedback.refusal(incident, taught=True)
            case Configure(settings):
                if keys := live.fixed(self.settings, msgspec.convert(settings, Group)):
                    return f"{', '.join(keys)} can't be changed while it runs"
        return ""

    def command(self, command: Command) -> Effect:
        """Carry out a command, or leave all as it is where there is a `refusal`; gives what came of it.

        One that names a stream finds it only in memory: `restore` it before.
        """
        match command:
            case Widen(channels):
                self._widen(channels)
            case Reset(None):
                self.resets += 1
                self._reset_generation = self.learner.generation
                self._reset(np.arange(len(self.slots)))
            case Reset(str() as stream):
                slot = self.slots.get(stream)
                self._reset(np.array([] if slot is None else [slot], np.int64))
            case Freeze():
                self.learner.freeze()
            case Thaw():
                self.learner.frozen = False
            case Stretch(factor):
                self.learner.stretch = factor
            case Silent(streams):
                return Effect(incidents=self._fall_silent(streams))
            case Teach(incident, verdict):
                if forgotten := self.feedback.teach(incident, verdict):
                    return Effect(said=f"{forgotten}, the oldest that was taught, is withdrawn for it")
            case Withdraw(incident):
                self.feedback.withdraw(incident)
            case Configure(settings) if not self.refusal(command):
                self._configure(msgspec.convert(settings, Group))
        return Effect()

    def apply(self, batch: Batch) -> Outcome:
        """Move the state on by one batch.

        Args:
            batch: frames of different streams; values [B, C] for the channels known now, each time after the stream's
                last one. A stream that is not in memory counts as new: `restore` the spilled ones before.

        Returns:
            what was forecast, how strange it was, and what became of training, before it was learned from.
        """
        reports = (self.learner.install(),) if self.waits else ()
        slots = self._open(batch.streams)
        seq = self.timing.seq[slots]
        n = self.timing.age[slots]
        # with its first frame, not when it is reset: a stream that was not in memory then must not begin otherwise
        self.intervals.multiplier[slots[n == 0]] = self.pool.begin()
        self.judge.begin(slots[n == 0])
        gap = batch.times - self.timing.last_time[slots]
        steps = self.timing.advance(slots, batch.times)
        interval = self.timing.interval[slots]
        values = np.where(np.abs(batch.values) <= LARGEST, batch.values, np.nan)
        values = self.ranges.unwrap(values, self.scale.last[slots])

        # what was forecast for these frames, against what they are
        changes = self.recent.changes(slots, n, values)
        errors = self.experts.pending.errors(slots, n, steps, changes)
        before = self.scale.last[slots]
        foreseen = self.experts.pending.due(slots, n)
        bounds = self.intervals.due(slots, n, self.settings.coverages.index(self.settings.main_coverage))
        due = self.ranges.show(before[:, None], foreseen[:, None], foreseen[:, None] + bounds)
        judged = self.judge.look(
            Look(
                slots=slots,
                n=n,
                turn=self.timing.number[slots],
                times=batch.times,
                interval=interval,
                values=values,
                expected=before + foreseen,
                errors=errors[:, PUBLISHED],
                silence=self.silence.parts(slots, values, gap),
            ),
            self.rules,
        )
        muted, patterns = self._mute(batch.streams, slots, judged, errors[:, PUBLISHED, 0], values)
        score = np.where(muted, np.minimum(judged.score, MUTED), judged.score)
        trust = np.where(muted, 1.0, judged.trust)
        self.silence.learn(slots, values, gap, trust)
        stopped = self.silence.onset(slots, judged.parts[:, SILENCE] >= 1.0, batch.times, interval)
        onset = np.fmin(stopped, self.judge.onset(slots, judged.terms))

        usual = self.scale.step_spread(slots)
        drifted = self.drift.update(slots, self._size(errors[:, MIXED, 0] / usual[:, 0], slots))
        haste = self.drift.haste(slots)
        sure = self.scale.steps[slots] >= SURE
        self.experts.judge(slots, errors, np.where(sure, usual, np.nan), haste)
        before = self.scale.last[slots]
        change = values - before
        steady: Bool = ~np.any(np.abs(change) > STEADY * usual[:, 0], axis=1)
        self.scale.learn(slots, values, changes, trust, haste)
        coverages = self.settings.coverages
        self.intervals.learn(slots, n, errors[:, PUBLISHED], usual, trust, coverages)
        self._learn_of_the_group(slots)

        # what comes next
        last, usual = self.scale.last[slots], self.scale.step_spread(slots)
        off = REACH * self.scale.spread(slots)
        level = self.scale.mean[slots]
        frames = Frames(
            slots=slots,
            n=n,
            number=self.timing.number[slots],
            times=batch.times,
            interval=interval,
            steps=steps,
            values=values,
            before=before,
            last=last,
            usual=usual,
            lowest=level - off,
            highest=level + off,
            trust=trust,
            haste=haste,
        )
        foretold = self.experts.foretell(frames, errors)
        unit = self.experts.gate.usual(slots) * usual
        correction, repaired = self._correct(frames, change, errors[:, MIXED] / unit, foretold.mixed)
        corrected = self.experts.ends.bounded(slots, last, foretold.mixed + correction * unit)
        share = self.experts.gate.share(slots)
        offset = foretold.mixed + share * (corrected - foretold.mixed)
        self.experts.remember(slots, n, foretold, corrected, offset)
        spread = self.pool.spread(self.intervals.spread(slots), self.intervals.judged[slots])
        # where gaps come so often that no forecast that far ahead is ever judged: what persistence would be off
        spread = np.where(np.isnan(spread) & (self.scale.steps[slots] > 0.0), usual, spread)
        bounds = self.intervals.bounds(slots, spread, coverages)
        self.intervals.remember(slots, n, bounds)
        levels = offset[:, None, None] + bounds
        paths = self._paths(slots, n, errors[:, MIXED] / unit, last, offset, bounds)
        shown = self.ranges.show(last[:, None, None, None], offset[:, None, None], levels)
        main = coverages.index(self.settings.main_coverage)

        self.frames += len(batch)
        self._remember_windows(slots, n)
        self.learner.begin(self.frames, self.known, self.memory, self._favour)
        warming = self.judge.warming(slots)
        told = self.incidents.update(
            slots,
            batch.streams,
            self.channels,
            Judged(
                seq=seq,
                times=batch.times,
                interval=interval,
                score=score,
                terms=judged.terms,
                channel_score=judged.channel_score,
                values=batch.values,
                expected=due.mean[:, 0],
                lower=due.levels[:, 0],
                upper=due.levels[:, 1],
                steady=steady,
                accepted=judged.accepted,
                onset=onset,
            ),
            self.settings.alarm,
        )
        self.judge.accept(told.accepted)
        self.silence.accept(told.accepted)
        self.together.hear(batch.times, interval, self.known)
        alarms = {one.stream for one in told.incidents if one.state == "raised"}
        raised = np.array([stream in alarms for stream in batch.streams])
        self.judge.learn(slots, judged.terms, raised, judged.period)
        self.rate.count(int((raised & (warming >= 1.0)).sum()), interval, warming, self.settings.alarm.per_week)
        over = [batch.streams[row] for row in np.flatnonzero(score >= 1.0).tolist()]
        self.feedback.keep(told.incidents, over, patterns)
        self.past.remember(slots, n, batch.times, score, judged.terms, offset[:, 0], bounds[:, main, :, 0])
        excerpts = self._excerpts(batch.streams, slots, n, seq, told.incidents)
        return Outcome(
            channels=self.channels,
            streams=batch.streams,
            seq=seq,
            times=batch.times,
            interval=interval,
            mean=shown.mean[:, 0, 0],
            lower=shown.levels[:, main, 0],
            upper=shown.levels[:, main, 1],
            score=score,
            terms=judged.terms,
            channel_score=judged.channel_score,
            weights=np.concatenate([foretold.weights, share[:, None]], axis=1),
            experts=last[:, None, None] + foretold.experts,
            levels=shown.levels,
            drifted=drifted,
            warming=warming,
            incidents=self.together.update(told, self.frames),
            reports=reports,
            paths=paths,
            repaired=repaired,
            alarm_rate=self.rate.ratio,
            muted=muted,
            excerpts=excerpts,
        )

    def _fall_silent(self, streams: Sequence[str]) -> tuple[Incident, ...]:
        """Incidents of those of the streams that are in memory, not known to be silent, and not disturbed already."""
        slots = np.array([slot for stream in streams if (slot := self.slots.get(stream)) is not None], np.int64)
        slots = slots[~self.silence.silent[slots]]
        self._about_to_change(slots)
        self.silence.silent[slots] = True
        # of the frames that did not come
        due = self.timing.last_time[slots] + np.nan_to_num(self.timing.interval[slots])
        names = [self.slots.names[slot] for slot in slots.tolist()]
        told = self.incidents.raise_silent(slots, names, self.channels, due)
        self.feedback.keep(told.incidents, [], np.empty((0, 0), np.float32))
        none = np.array([])
        self.rate.count(len(told.incidents), none, none, self.settings.alarm.per_week)
        return self.together.update(told, self.frames)

    def _mute(
        self, streams: Sequence[str], slots: I64, judged: Judgement, errors: F64, values: F64
    ) -> tuple[Bool, F32]:
        """Which frames are like what people called false [B], and the patterns of those that are over the line and not.

        Args:
            errors: [B, C] of the one-step forecasts.
        """
        muted = np.zeros(len(streams), np.bool_)
        over = np.flatnonzero(judged.score >= 1.0)
        if not len(over):
            return muted, np.empty((0, 0), np.float32)
        at = slots[over]
        # a quiet hour must not make the next ordinary change strange
        usual = np.fmax(self.intervals.spread(at)[:, 0], CALMEST * self.scale.step_spread(at)[:, 0])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            level = (values[over] - self.scale.mean[at]) / self.scale.spread(at)
            off = errors[over] / usual
        sight = Sight(
            score=judged.score[over],
            terms=judged.terms[over],
            channel_score=judged.channel_score[over],
            errors=off,
            level=level,
            hidden=self.hidden.h[at, -1],
            generation=self.hidden.generation[at],
        )
        patterns = self.feedback.patterns(sight)
        muted[over] = self.feedback.muted([streams[row] for row in over.tolist()], patterns)
        return muted, patterns[~muted[over]]

    def _excerpts(
        self, streams: Sequence[str], slots: I64, n: I64, seq: I64, incidents: Sequence[Incident]
    ) -> tuple[Excerpt, ...]:
        """What is to be kept of frames beside incidents."""
        is_open = self.incidents.open[slots]
        if not incidents and not is_open.any():
            return ()
        opened = [
            f"{stream}-{number}" if yes else None
            for stream, number, yes in zip(streams, self.incidents.seq[slots].tolist(), is_open.tolist(), strict=True)
        ]
        parts = self.recent, self.ranges, opened, incidents, self.feedback.faces
        return self.past.cut(slots, n, seq, streams, self.channels, *parts)

    def _size(self, errors: F64, slots: I64) -> F64:
        """How large errors of the mix [B, C], in usual steps, are beside its usual ones: mean over channels, [B]."""
        known = np.isfinite(errors) & (self.experts.gate.judged[slots, 0] >= SURE)
        size = np.minimum(np.abs(np.where(known, errors, 0.0)) / self.experts.gate.usual(slots)[:, 0], LARGEST_ERROR)
        with np.errstate(invalid="ignore"):
            mean: F64 = np.where(known, size, 0.0).sum(axis=1) / known.sum(axis=1)
        return mean

    def _favour(self) -> float:
        """How far recent windows are preferred to older ones: as many streams as have drifted lately."""
        return float(self.drift.haste(np.arange(len(self.slots))).mean())

    def _paths(self, slots: I64, n: I64, errors: F64, last: F64, offset: F64, bounds: F64) -> F64 | None:
        """Sample paths [B, P, H, C], if any are wanted.

        Args:
            errors: [B, H, C] of the mix, in its usual errors; NaN where not judged.
            last, offset, bounds: last values [B, C], and the forecast and its bounds as offsets from there and thence.
        """
        if not self.paths.count:
            return None
        self.paths.remember(slots, n, errors)
        lower, upper = bounds[:, :, 0], bounds[:, :, 1]
        coverages = np.array(self.settings.coverages)
        drawn = self.paths.draw(slots, n, offset, lambda p: offsets(coverages, lower, upper, p))
        return self.ranges.show(last[:, None, None], offset[:, None], drawn).levels

    def _learn_of_the_group(self, slots: I64) -> None:
        own = self.intervals
        self.pool.learn(own.spread(slots), own.judged[slots], own.multiplier[slots])

    def _correct(self, frames: Frames, change: F64, errors: F64, mixed: F64) -> tuple[F32, int]:
        """One step of the network: what it adds to the mix [B, H, C], in the mix's usual errors, and how many hidden
        states had to be repaired.

        Args:
            change: [B, C] value less the last one before it; NaN where one is missing.
            errors: [B, H, C] of the mix, in its usual errors; NaN where not judged.
            mixed: [B, H, C] the mix now, offsets from the last values.
        """
        slots, n, usual = frames.slots, frames.n, frames.usual
        inputs = features.Inputs(
            level=features.bounded((frames.values - self.scale.mean[slots]) / self.scale.spread(slots)),
            change=features.bounded(change / usual[:, 0]),
            seen=np.isfinite(frames.values).astype(np.float32),
            error=features.bounded(errors[:, 0]),
            ahead=features.bounded(mixed[:, -1] / usual[:, -1]),
            clock=features.clock(frames.times, frames.steps),
        )
        learner = self.learner
        repaired = self.hidden.refresh(slots, n, self.recent, learner.weights, learner.shape, learner.generation)
        h, c = self.hidden.h[slots], self.hidden.c[slots]
        self.recent.mark(slots, n, h, c)
        correction, h, c = network.step(learner.weights, learner.shape, inputs.compose(), h, c)
        repaired += repair(h, c)
        self.hidden.h[slots], self.hidden.c[slots] = h, c
        residual = np.where(np.isfinite(errors), features.bounded(errors), np.float32(np.nan))
        self.recent.record(slots, n, frames.last, inputs, residual, frames.trust)
        if not np.abs(correction).max(initial=0.0) <= features.LIMIT:  # also where it is NaN
            correction = features.bounded(correction)  # as the targets are that it learns from
        return correction, repaired

    def _remember_windows(self, slots: I64, n: I64) -> None:
        """Put the windows that are complete with frames n into the replay memory."""
        full = ((n + 1) % self.recent.stride == 0) & (n + 1 >= self.recent.sizes["R"])
        if full.any():
            keep = None if self._snapshot is None else self._snapshot.windows.keep
            self.memory.add(self.recent, slots[full], n[full], self.learner.generator, keep)

    def _parts(self) -> dict[str, Rows]:
        """Everything with one row per slot."""
        return {
            "timing": self.timing,
            "scale": self.scale,
            "recent": self.recent,
            **self.experts.parts(),
            "drift": self.drift,
            "paths": self.paths,
            "past": self.past,
            "hidden": self.hidden,
            "intervals": self.intervals,
            **self.judge.parts(),
            "silence": self.silence,
            "incidents": self.incidents,
        }

    def _common(self) -> dict[str, Rows]:
        """What the streams of the group have in common: one row each."""
        return {"pool": self.pool, "common": self.judge.common}

    def _rows(self) -> dict[str, Array]:
        """Every array with one row per slot, by its full name."""
        return {
            f"{name}.{key}": array for name, part in self._parts().items() for key, array in part.state_dict().items()
        }

    def _open(self, streams: Sequence[str]) -> I64:
        before = len(self.slots)
        slots = self._take_slots(streams)
        new = np.arange(before, len(self.slots))
        self.timing.number[new] = self.known + np.arange(len(new))
        self._begin(new)
        self.known += len(new)
        return slots

    def _take_slots(self, streams: Sequence[str]) -> I64:
        """The streams' slots, which are about to change; free ones for those that have none."""
        slots = self.slots.open(streams)
        if len(self.slots) > self.timing.slots:
            self._grow(max(len(self.slots), 2 * self.timing.slots))
        self._about_to_change(slots)
        return slots

    def _grow(self, slots: int) -> None:
        for part in self._parts().values():
            part.grow(slots)

    def _about_to_change(self, slots: I64) -> None:
        """Call before rows change in place: a snapshot under way copies them first."""
        if self._snapshot is not None:
            self._snapshot.streams.keep(slots)
            if self._snapshot.complete:
                self._snapshot = None

    def _reset(self, slots: I64) -> None:
        self._about_to_change(slots)
        lasting = {name: getattr(self.timing, name)[slots] for name in LASTING}
        for part in self._parts().values():
            if part is not self.incidents:  # an open one ends when the stream is calm, so that it ends for everyone
                part.clear(slots)
        self._begin(slots)
        # what others count by goes on: outcomes stay contiguous, and old readings stay old
        for name, array in lasting.items():
            getattr(self.timing, name)[slots] = array

    def _begin(self, slots: I64) -> None:
        """Let fresh rows begin with the group's weights."""
        self.hidden.generation[slots] = self.learner.generation

    def _widen(self, channels: Sequence[str]) -> None:
        self.channels += tuple(name for name in channels if name not in self.channels)
        sizes = {"C": len(self.channels)}
        for part in self._parts().values():
            part.widen(sizes)
        self.memory.widen(sizes)
        self.pool.widen(sizes)
        self.judge.common.widen(sizes)
        self.ranges = Ranges(self.settings.channel, self.channels)
        self.rules = Rules(self.settings.channel, self.channels)
        self.learner.widen(len(self.channels))
        self.feedback.widen(len(self.channels))

    def _configure(self, settings: Group) -> None:
        """Other settings from the next batch on; no array has to change for them."""
        self.settings = settings
        self.ranges = Ranges(settings.channel, self.channels)
        self.rules = Rules(settings.channel, self.channels)
        self.judge.alarm = settings.alarm
        self.learner.configure(settings.training)

    def snapshot(self) -> Snapshot:
        """Mark the state as of now; give it time with `copy` between two calls of `apply`, and it will hold the state.

        It takes the place of one before that is not complete.
        """
        if self._snapshot is not None:
            self._snapshot.abandon()
        arrays, meta = self.state_dict()
        kinds: dict[str, dict[str, Array]] = {"memory": {}, "whole": {}, "streams": {}}
        for name, array in arrays.items():
            part = name.partition(".")[0]
            kinds[KINDS.get(part, "streams")][name] = array
        self._snapshot = Snapshot(kinds["streams"], kinds["memory"], kinds["whole"], meta)
        return self._snapshot

    def spill(self, count: int) -> list[tuple[str, bytes]]:
        """Take the streams that have been silent longest out of memory; no outcome depends on it.

        Returns:
            (stream, row) of each, for `restore`; the longest silent first.
        """
        count = min(count, len(self.slots))
        if count <= 0:
            return []
        slots = self.slots.earliest(self.timing.last_time, count)
        streams = [self.slots.names[slot] for slot in slots.tolist()]
        rows = {name: array[slots] for name, array in self._rows().items()}
        packed = spill.pack(rows, self.channels, self.resets)
        used = len(self.slots)
        source, target = self.slots.close(slots)
        freed = np.arange(len(self.slots), used)
        self._about_to_change(np.concatenate([target, freed]))
        for part in self._parts().values():
            part.move(source, target)
            part.clear(freed)
        return list(zip(streams, packed, strict=True))

    def restore(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Bring spilled streams back as they were, but for what has happened to all streams since.

        Raises:
            ValueError: a stream is in memory already, or its row can't be read; nothing is restored then.
        """
        streams = [stream for stream, _ in items]
        if len({*streams}) < len(streams) or len(self.absent(streams)) < len(streams):
            raise ValueError("a stream that is to be restored is in memory already")
        rows = spill.unpack([data for _, data in items])
        sizes = layout.axes(self.settings, len(self.channels))
        fitted = [fit.change(like.arrays, like.channels, self.channels, sizes).streams(like.arrays) for like in rows]
        slots = self._take_slots(streams)
        for like, arrays in zip(rows, fitted, strict=True):
            here = slots[like.places]
            for name, array in self._rows().items():
                array[here] = arrays[name]
            if like.resets < self.resets:
                self._reset(here)
                self.hidden.generation[here] = self._reset_generation

    def state_dict(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """The whole state: arrays by name, and the rest as what JSON can hold. The arrays are not copies."""
        used = len(self.slots)
        arrays = {name: array[:used] for name, array in self._rows().items()}
        arrays |= {f"memory.{key}": array[: self.memory.used] for key, array in self.memory.state_dict().items()}
        for name, part in self._common().items():
            arrays |= {f"{name}.{key}": array for key, array in part.state_dict().items()}
        learner_arrays, learner_meta = self.learner.state_dict()
        arrays |= {f"learner.{key}": array for key, array in learner_arrays.items()}
        taught_arrays, taught = self.feedback.state_dict()
        arrays |= {f"feedback.{key}": array for key, array in taught_arrays.items()}
        meta = {
            "layout": layout.LAYOUT,
            "channels": list(self.channels),
            "frames": self.frames,
            "streams": list(self.slots.names),
            "known": self.known,
            "resets": self.resets,
            "reset_generation": self._reset_generation,
            "memory_windows": self.memory.slots,
            "memory_added": self.memory.added,
            "learner": learner_meta,
            "together": self.together.state_dict(),
            "rate": self.rate.state_dict(),
            "feedback": taught,
        }
        return arrays, meta

    def load_state_dict(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave and go on exactly as that engine would have.

        Raises:
            ValueError: the state is of another shape than the settings ask for, see `migrate`, or of a newer streamd;
                the text says where.
        """
        layout.check(meta)
        known = tuple(meta["channels"])
        if self.settings.channels not in ("auto", known):
            raise ValueError(f"channels: {', '.join(known)} are not {', '.join(self.settings.channels)}")
        if known != self.channels:
            self._widen(known)
        windows = self.settings.training.memory_windows
        if meta["memory_windows"] != windows:
            raise ValueError(f"memory_windows: {meta['memory_windows']} is not {windows}")
        self.frames, self.known = meta["frames"], meta["known"]
        self.resets, self._reset_generation = meta["resets"], meta["reset_generation"]
        self.slots = Slots(meta["streams"])
        self.memory.added = meta["memory_added"]
        rows = dict.fromkeys(self._parts(), len(self.slots)) | {"memory": min(self.memory.added, windows)}
        rows |= dict.fromkeys(self._common(), 1)
        for name, part in {**self._parts(), "memory": self.memory, **self._common()}.items():
            part.load_state_dict(_of_part(name, arrays))
            if part.slots != rows[name]:
                raise ValueError(f"{name}: {part.slots} rows are not {rows[name]}")
        if "together" in meta:  # a state of an older version does not know of it
            self.together.load_state_dict(meta["together"])
            self.rate.load_state_dict(meta["rate"])
        self.memory.grow(windows)
        self.learner.load_state_dict(_of_part("learner", arrays), meta["learner"])
        if "feedback" in meta:  # a state from before there was any lacks it
            self.feedback.load_state_dict(_of_part("feedback", arrays), meta["feedback"])
        self._grow(max(len(self.slots), FIRST_ROWS))


def _of_part(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of one part, by the names that it gave them."""
    start = f"{name}."
    return {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}
