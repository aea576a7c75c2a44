"""One group's way from readings to outcomes: align, apply, publish, and only then let the messages go.

Knows an engine and how to say what came out of it; the broker and the state folder belong to `app`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import numpy as np

from streamd import metrics
from streamd.config import Group, Source
from streamd.edge.budget import Budget
from streamd.edge.training import Client
from streamd.engine.align import Align, Work
from streamd.engine.engine import Engine
from streamd.engine.mix import EXPERTS
from streamd.engine.score import TERMS
from streamd.model.training import Candidate, Job
from streamd.pressure import FORECASTS, NOTHING, Pressure
from streamd.records import (
    Batch,
    Command,
    Configure,
    Effect,
    Incident,
    Outcome,
    Reading,
    Record,
    Silent,
    Stretch,
    named,
)
from streamd.residency import Residency
from streamd.telling import Telling
from streamd.watch import Watch
from streamd.wire import outcomes
from streamd.wire.commands import CommandError, Taught
from streamd.wire.messages import Message
from streamd.wire.times import utc

log = logging.getLogger("streamd.worker")

LOOK_S = 2.0  # between two looks who has fallen silent
LATE_S = 10.0  # a look so much later than that: the process stood still, and heard nobody
ROOM_S = 1.0  # that a batch waits for what was published before it: a broker that takes nothing must not stop learning
AT_ONCE = 256  # streams that one command tells to be silent


class Outlet(Protocol):
    """Takes what the worker gives from it: records, messages to publish, messages that are dealt with."""

    @property
    def position(self) -> int:
        """Of the last record noted."""

    def note(self, group: str, record: Record) -> int:
        """A record is about to be applied."""

    def inside(self, group: str, inside: bool) -> None:
        """Whether some message whose readings carry no time is applied in part: of all or nothing of it, no half."""

    def publish(self, message: Message) -> None:
        """Publish what came out of it; never blocks."""

    async def room(self, limit_s: float) -> None:
        """Wait while more is published than the broker takes; no longer than so."""

    def done(self, ticket: int, *, timeless: bool = False) -> None:
        """All that a message brought is applied; `timeless`: its readings carried no time."""

    @property
    def deaf(self) -> bool:
        """Nothing can be heard of any stream."""

    @property
    def behind(self) -> bool:
        """Not all that was sent has been handed out."""

    def ask(self, answered: Callable[[], None]) -> None:
        """Have a call made when all that the broker had sent by now is here; it may never be made."""


class Worker:
    """Applies what arrives for one group.

    Args:
        name: of the group.
        engine: of the group; the worker is the only one that changes it.
        trainer: the client that the engine's jobs go to.
        budget: shared by all groups.
        outlet: takes what is to be kept, published and let go.
        residency: brings streams into memory, and lets them leave.
        prefix: of the topics.
        stream_series: how many streams of all get a series of their own.
        clock: s, only ever goes on; None: the system's.
        kept: told of what was applied, to archive what concerns incidents; None: nothing is archived.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        trainer: Client[Job, Candidate],
        budget: Budget,
        outlet: Outlet,
        residency: Residency,
        *,
        prefix: str,
        stream_series: int,
        clock: Callable[[], float] | None = None,
        kept: Callable[[str, Outcome | Effect | Command], None] | None = None,
    ) -> None:
        self.name = name
        self.engine = engine
        self.busy_s = 0.0  # spent applying since the start
        self.turns = 0  # how often it came round: what stands still is stuck
        self._trainer = trainer
        self._budget = budget
        self._outlet = outlet
        self._residency = residency
        self._prefix = prefix
        self._kept = kept
        self._series_limit = stream_series
        self._series: dict[str, None] = {}  # streams that have one, in order of their first
        self._names = outcomes.Names.of(engine.settings, TERMS, EXPERTS)
        self._warming: set[str] = set()  # streams, as of their last frame
        self._align = Align(engine.settings, engine.channels, engine.last_time, streams=engine.known)
        self._open: dict[int, int] = {}  # ticket -> readings of the message that are not dealt with
        self._timeless: set[int] = set()  # of these tickets, those whose readings carry no time
        self._inside: set[int] = set()  # of those, the ones of which some readings are applied and some are not
        self._clock = clock or time.monotonic
        self._looked = self._clock()
        self._watch = Watch(self._looked)
        self._answered = False  # the broker is there, and all that it had sent before it was asked is here
        silent = set(engine.silent())
        heard = [stream for stream in engine.streams if stream not in silent]
        self._watch.begin(heard, engine.patience(heard).tolist())
        self._watch.tell(silent)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._telling = Telling(engine.settings.publish)
        self._pressure, self._gives_way = Pressure(), NOTHING
        metrics.pressure.labels(name).set(NOTHING)
        self._taken = metrics.readings.labels(name, "taken")
        metrics.streams.labels(name).set(engine.known)
        metrics.training_stretch.labels(name).set(engine.learner.stretch)
        metrics.taught.labels(name).set(len(engine.feedback))
        for counter in (metrics.repaired, metrics.drifts, metrics.scores_muted):
            counter.labels(name)  # there from the start, as a rate needs to see the first one come
        self._count_open()

    async def take(self, readings: list[Reading], source: Source, *, joined: bool, arrival: float, ticket: int) -> None:
        """Take in a message's readings; its ticket is let go when all of them are dealt with."""
        if self.engine.known != self.engine.resident:
            await self._residency.bring({reading.stream for reading in readings})
        join = joined if source.join is None else source.join
        join_s = source.join_s if join else None
        push, refused, heard = self._align.push, [], set()
        for reading in readings:
            refusal = push(reading, arrival, ticket, join_s)
            if refusal is None:
                heard.add(reading.stream)
            else:
                refused.append(refusal)
        taken = len(readings) - len(refused)
        for refusal in refused:
            metrics.readings.labels(self.name, refusal).inc()
        if taken:
            self._taken.inc(taken)
            now = self._clock()
            for stream in heard:
                self._watch.hear(stream, now)
            self._open[ticket] = taken
            if any(reading.time is None for reading in readings):
                self._timeless.add(ticket)
            self._idle.clear()
            self._wake.set()
        else:
            self._outlet.done(ticket)

    async def command(self, command: Command) -> str:
        """Carry out a command after everything that came before it; gives what else came of it, or "".

        Raises:
            CommandError: the engine refuses it; nothing is journaled.
        """
        await self._idle.wait()
        if refusal := self.engine.refusal(command):
            raise CommandError(refusal)
        await self._residency.bring(named(command))
        said = self._carry_out(command)
        log.info("action=command group=%s command=%s said=%r", self.name, type(command).__name__.lower(), said)
        metrics.taught.labels(self.name).set(len(self.engine.feedback))
        return said

    def configure(self, settings: Group) -> None:
        """Go on with other settings from the next batch on.

        Raises:
            ValueError: they can't be changed while it runs; see `live`.
        """
        if settings == self.engine.settings:
            return
        command = Configure(msgspec.to_builtins(settings))
        if refusal := self.engine.refusal(command):
            raise ValueError(refusal)
        self._carry_out(command)
        self._names = outcomes.Names.of(settings, TERMS, EXPERTS)
        if settings.publish != self._telling.settings:
            self._telling = Telling(settings.publish)
        self._align.settings = settings
        self._residency.limit = settings.max_resident_streams
        self._wake.set()

    def show_series(self, limit: int) -> None:
        """Let so many streams have a series of their own; the latest to get one lose it first."""
        self._series_limit = limit
        for stream in list(self._series)[limit:]:
            del self._series[stream]
            metrics.stream_score.remove(self.name, stream)

    async def taught(self) -> list[Taught]:
        """What people said of incidents, the latest last, by all commands so far."""
        await self._idle.wait()
        return [
            Taught(self.name, incident, lesson.verdict, lesson.stream, utc(lesson.start), lesson.start)
            for incident, lesson in self.engine.feedback.taught()
            if lesson.verdict is not None
        ]

    async def run(self) -> None:
        """Apply what is taken in, until `stop`; what is still waited for then is left to the broker to send again."""
        while True:
            self.turns += 1
            await self._apply_all()
            for stream in await self._residency.make_room(self._outlet.position):
                self._align.forget(stream)
            if self._align.waiting:
                continue
            await self.look()
            if self._align.waiting:
                continue
            self._give_way(self._pressure.idle(self._clock()))
            self._follow_budget()
            self._idle.set()
            if self._stopping:
                return
            await self._sleep()

    def nudge(self) -> None:
        """Let `run` come round once more, also where there is nothing to apply."""
        self._wake.set()

    def stop(self) -> None:
        """Let `run` end when it has applied what it has."""
        self._stopping = True
        self._wake.set()

    async def look(self) -> None:
        """Tell which streams have fallen silent, if it is time to look, and if all that was sent has been heard."""
        now = self._clock()
        if now - self._looked < LOOK_S and not self._answered:
            return
        late = now - self._looked >= LOOK_S + LATE_S
        self._looked = now
        answered, self._answered = self._answered, False
        if late or self._outlet.deaf:
            self._watch.restart(now)
        elif not self._outlet.behind and (overdue := self._watch.overdue(now)):
            if answered:
                await self._tell_silent(overdue[:AT_ONCE])
            else:
                # a dead connection looks like streams that say nothing
                self._outlet.ask(self._on_answer)
        metrics.streams_silent.labels(self.name).set(len(self._watch.silent))

    def _on_answer(self) -> None:
        self._answered = True
        self._wake.set()

    async def _tell_silent(self, streams: list[str]) -> None:
        await self._residency.bring(streams)
        still = set(self._watch.overdue(self._clock()))  # those that were not heard meanwhile
        command = Silent(tuple(stream for stream in streams if stream in still))
        if command.streams:
            self._carry_out(command)
            self._watch.tell(command.streams)
            log.warning(
                "action=silent group=%s streams=%d first=%s", self.name, len(command.streams), command.streams[0]
            )

    async def _sleep(self) -> None:
        """Until something is taken in, or a frame has waited long enough for its parts."""
        deadline = self._align.deadline()
        limit_s = LOOK_S if deadline is None else min(max(deadline - time.time(), 0.0), LOOK_S)
        try:
            async with asyncio.timeout(limit_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
        self._align.expire(time.time())

    async def _apply_all(self) -> None:
        while True:
            # Before the batch is chosen: what comes meanwhile goes into it. And rather than make what nobody sends yet,
            # let readings wait with the broker, where `pressure` sees it: the outbox would have to drop scores.
            await self._outlet.room(ROOM_S)
            if (work := self._align.next()) is None:
                return
            self.turns += 1
            if isinstance(work.record, Batch):
                await self._await_candidate()
                await self._residency.bring(work.record.streams)
                self._apply(work, work.record)
            else:
                self._carry_out(work.record)
                log.info("action=widen group=%s channels=%s", self.name, ",".join(self.engine.channels))
            metrics.queue_length.labels(f"align_{self.name}").set(self._align.waiting)
            await asyncio.sleep(0)  # the socket gets its turn between two batches

    async def _await_candidate(self) -> None:
        if self.engine.waits and not self._trainer.ready():
            begun = time.perf_counter()
            await self._trainer.wait()
            metrics.training_wait_seconds.labels(self.name).inc(time.perf_counter() - begun)

    def _apply(self, work: Work, batch: Batch) -> None:
        self._outlet.note(self.name, batch)
        begun = time.perf_counter()
        outcome = self.engine.apply(batch)
        spent_s = time.perf_counter() - begun
        self.busy_s += spent_s
        metrics.apply_seconds.labels(self.name).observe(spent_s)
        metrics.batch_size.labels(self.name).observe(len(batch))
        if self._kept is not None:
            self._kept(self.name, outcome)
        waited_s = time.time() - float(work.arrivals.max())
        self._give_way(self._pressure.waited(waited_s, self._align.waiting, self._clock()))
        outdated = self._align.outdated(batch.streams) if self._pressure.level == FORECASTS else ()
        wanted = self._telling.choose(outcome, outdated)
        if wanted is not None:
            for kind, told in zip(("forecast", "score"), wanted, strict=True):
                metrics.withheld.labels(self.name, kind).inc(len(batch) - len(told))
        for message in outcomes.encode(self._prefix, self.name, outcome, self._names, wanted):
            self._outlet.publish(message)
        self._watch.wait_for(batch.streams, self.engine.patience(batch.streams).tolist())
        metrics.latency.observe(time.time() - work.arrivals)
        self._count(outcome)
        self._follow_budget()  # it may be another group that gives way, or this one did when the last run ended
        for ticket in work.tickets:
            self._let_go(ticket)
        self._outlet.inside(self.name, bool(self._inside))

    def _give_way(self, level: int) -> None:
        if level != self._gives_way:
            log.warning("action=pressure group=%s level=%d was=%d", self.name, level, self._gives_way)
            self._gives_way = level
            metrics.pressure.labels(self.name).set(level)
            self._budget.press(self.name, level > NOTHING)

    def _carry_out(self, command: Command) -> str:
        self._outlet.note(self.name, command)
        effect = self.engine.command(command)
        for message in outcomes.encode_silence(self._prefix, self.name, effect.incidents):
            self._outlet.publish(message)
        self._count_incidents(effect.incidents)
        if self._kept is not None:
            self._kept(self.name, effect if effect.incidents else command)
        return effect.said

    def _let_go(self, ticket: int) -> None:
        left = self._open[ticket] - 1
        if left:
            self._open[ticket] = left
            if ticket in self._timeless:
                self._inside.add(ticket)
        else:
            del self._open[ticket]
            self._outlet.done(ticket, timeless=ticket in self._timeless)
            self._timeless.discard(ticket)
            self._inside.discard(ticket)

    def _count(self, outcome: Outcome) -> None:
        name = self.name
        metrics.streams.labels(name).set(self.engine.known)
        if outcome.repaired:
            metrics.repaired.labels(name).inc(outcome.repaired)
        if drifted := int(outcome.drifted.sum()):
            metrics.drifts.labels(name).inc(drifted)
        if outcome.muted is not None:
            metrics.scores_muted.labels(name).inc(int(outcome.muted.sum()))
        for expert, weight in zip(self._names.experts, outcome.weights.mean(axis=(0, 2, 3)).tolist(), strict=True):
            metrics.expert_weight.labels(name, expert).set(weight)
        if self._warming or outcome.warming.min(initial=1.0) < 1.0:
            cold = outcome.warming < 1.0
            self._warming.difference_update(outcome.streams)
            self._warming.update(outcome.streams[row] for row in np.flatnonzero(cold).tolist())
        metrics.streams_warming.labels(name).set(len(self._warming))
        metrics.alarm_rate.labels(name).set(outcome.alarm_rate)
        self._count_incidents(outcome.incidents)
        for report in outcome.reports:
            metrics.candidates.labels(name, report.reason).inc()
            metrics.training_steps.labels(name).inc(report.steps)
            metrics.training_loss.labels(name).set(report.loss)
            self._keep_within_budget()
        if self._series_limit:
            for stream, score in zip(outcome.streams, outcome.score.tolist(), strict=True):
                if stream not in self._series:
                    if len(self._series) >= self._series_limit:
                        continue
                    self._series[stream] = None
                metrics.stream_score.labels(name, stream).set(score)

    def _count_incidents(self, incidents: Sequence[Incident]) -> None:
        for incident in incidents:
            if incident.streams:
                metrics.group_incidents.labels(self.name, incident.state).inc()
            else:
                metrics.incidents.labels(self.name, incident.state).inc()
        if incidents:
            self._count_open()

    def _count_open(self) -> None:
        # counted anew each time: a restart begins with those that were open, and streams leave memory with theirs
        metrics.incidents_open.labels(self.name).set(int(self.engine.incidents.open.sum()))

    def _keep_within_budget(self) -> None:
        factor = self._budget.factor(time.monotonic())
        if factor is not None:
            log.info("action=stretch factor=%.3g", factor)

    def _follow_budget(self) -> None:
        factor = self._budget.current
        if factor != self.engine.learner.stretch:
            self._carry_out(Stretch(factor))
            metrics.training_stretch.labels(self.name).set(factor)
