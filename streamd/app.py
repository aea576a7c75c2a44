"""The daemon: the only place that builds the parts and connects them, starts them and stops them.

Downstream starts first; stopping goes upstream first and drains each stage: no more intake, workers apply what they
have, the state is saved, the link sends what is left and says goodbye.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

from streamd import __version__, metrics, recovery
from streamd.archivist import Archivist
from streamd.checkpointer import Checkpointer
from streamd.config import Config
from streamd.edge.budget import Budget
from streamd.edge.disk import Disk
from streamd.edge.log import Sampler
from streamd.edge.mqtt import Incoming, Link
from streamd.edge.systemd import ServiceManager
from streamd.edge.training import TrainingThread
from streamd.edge.web import Web
from streamd.intake import Intake
from streamd.keeper import Keeper
from streamd.model.training import Candidate, Job, train
from streamd.pace import Pace
from streamd.page.desk import Desk
from streamd.records import Command, Effect, Outcome
from streamd.reload import Parts, Reloader
from streamd.store import lock
from streamd.wire import commands, outcomes
from streamd.wire.messages import Message
from streamd.worker import Worker

log = logging.getLogger("streamd.app")

TURN_S = 0.005  # of taking messages in, before the others get their turn: a message may hold thousands of readings
DRAIN_S = 10.0  # what is left in the outbox at the end may take so long


class App:
    """One daemon.

    Args:
        config: what to read, learn and publish.
        file: where it stands; it is taken over anew when it changes. None: nowhere.

    Raises:
        ConfigError: a topic template is wrong, or there is no source.
    """

    def __init__(self, config: Config, file: Path | None = None) -> None:
        self._intake = Intake(config)
        self._config = config  # as it was at the start
        self._file = file
        self._reloader: Reloader | None = None
        self._reload = asyncio.Event()
        self._folder = Path(config.state.folder)
        self._sampler = Sampler(config.log.sample_s)
        self._stop = asyncio.Event()
        self._manager = ServiceManager(os.environ, os.getpid())
        self._budget: Budget | None = None
        self._workers: dict[str, Worker] = {}
        self._train_s = 0.0  # CPU spent training since the start
        self.started = asyncio.Event()
        self._desk = Desk(config, self._unready, self._carry_out)
        self._web = Web(config.http, self._unready, self._desk)
        self.http_port = 0

    def stop(self) -> None:
        """Let `run` drain and end."""
        self._stop.set()
        self._reload.set()

    def reload(self) -> None:
        """Have the config file read again, as soon as there is something to take it over."""
        self._reload.set()

    async def run(self) -> None:
        """Serve until `stop`.

        Raises:
            StateLocked: another daemon works on the state folder.
            CheckpointError: the state was made by a newer streamd.
            ConfigError: the state does not fit the config.
            WebError: the HTTP port is taken.
        """
        with (
            lock.hold(self._folder),
            TrainingThread[Job, Candidate](train, on_cpu=self._spent) as thread,
            Disk("journal") as journal_disk,
            Disk("checkpoints") as disk,
        ):
            async with self._web as web:
                self.http_port = web.port
                self._manager.status("recovering")
                state = await recovery.recover(self._config, thread, journal_disk, self._stop)
                thread.be_nice()
                try:
                    if not self._stop.is_set():
                        await self._serve(state, journal_disk, disk)
                finally:
                    await journal_disk(state.close)
            log.info("action=stopped")

    async def _serve(self, state: recovery.State, journal_disk: Disk, disk: Disk) -> None:
        mqtt, settings = self._config.mqtt, self._config.state
        filters = self._filters(self._intake)
        birth, will = (
            outcomes.status(mqtt.prefix, word, version=__version__, time=time.time()) for word in ("online", "offline")
        )
        self._again = state.again
        self._link = link = Link(
            mqtt,
            filters,
            birth=birth.payload,
            will=will.payload,
            status_topic=birth.topic,
            known_filters=state.known_filters,
            marks=state.marks,
            session_lost=lambda written_down: self._keeper.session_lost(written_down),
        )
        self._keeper = Keeper(
            state.journal,
            journal_disk,
            link,
            pace := Pace(settings.commit_ms / 1000.0, settings.commit_frames, mqtt.inbox_messages),
            position=state.position,
            published=state.published,
            marks=state.marks,
        )
        if (journal := state.journal) is not None:
            metrics.journal_bytes.set_function(lambda: journal.bytes)
        budget = self._budget = Budget(
            share=max(engine.settings.training.cpu_share for engine in state.engines.values()),
            # 1.0: a last run that ended in a rush had its training held
            stretch=max(1.0, *(engine.learner.stretch for engine in state.engines.values())),
        )
        archivist = Archivist(state.archive, journal_disk, self._keeper.flush, state.unarchived)
        self._desk.begin(state.engines, state.archive, journal_disk, state.unarchived)

        def kept(group: str, one: Outcome | Effect | Command) -> None:
            archivist.take(group, one)
            self._desk.hear(group, one)

        self._workers = {
            name: Worker(
                name,
                engine,
                state.trainers[name],
                budget,
                self._keeper,
                state.residencies[name],
                prefix=mqtt.prefix,
                stream_series=self._config.http.stream_series,
                kept=kept,
            )
            for name, engine in state.engines.items()
        }
        self._checkpointer = Checkpointer(
            self._folder,
            settings,
            state.engines,
            self._keeper,
            list(state.residencies.values()),
            state.spill,
            state.journal,
            journal_disk,
            disk,
            saved=state.saved,
            unsent=self._unsent_incidents,
            filters=filters,
            replay_s=lambda: self._train_s + sum(worker.busy_s for worker in self._workers.values()),
            settle=archivist.settle,
        )
        if state.saved is None or state.refitted:
            # the journal from here on needs these settings to be applied again, so they are kept first
            await self._checkpointer.begin_anew()
        parts = Parts(link, pace, self._checkpointer, budget, self._sampler, self._workers, self._filters, self._read)
        if self._file is not None:
            self._reloader = Reloader(self._file, self._config, parts, self._manager, self._reload)
        async with asyncio.TaskGroup() as tasks:
            linked = tasks.create_task(link.run(), name="link")
            keeping = tasks.create_task(self._keeper.run(), name="keeper")
            working = [tasks.create_task(worker.run(), name=f"worker-{name}") for name, worker in self._workers.items()]
            saving = tasks.create_task(self._checkpointer.run(self._stop), name="checkpointer")
            archiving = tasks.create_task(archivist.run(self._stop), name="archivist")
            intake = tasks.create_task(self._take_in(), name="intake")
            stop = tasks.create_task(self._stop.wait(), name="stop")
            reloading = tasks.create_task(self._keep_config(), name="reload")
            self.started.set()
            work = list(self._workers.values())
            telling = tasks.create_task(self._manager.run(self._stop, work, self._describe), name="systemd")
            groups = ",".join(self._workers)
            log.info("action=started version=%s http_port=%d groups=%s", __version__, self.http_port, groups)
            all_tasks = {linked, keeping, saving, archiving, intake, stop, reloading, telling, *working}
            ended, _ = await asyncio.wait(all_tasks, return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                names = ", ".join(task.get_name() for task in ended)
                raise RuntimeError(f"ended by itself: {names}")
            log.info("action=stopping")
            self._desk.close()
            link.stop_receiving()
            await intake
            for worker in self._workers.values():
                worker.stop()
            await asyncio.wait(working)
            self._keeper.stop()
            await asyncio.wait([keeping, saving, archiving])
            if not self._keeper.failing:
                await archivist.settle()
                await self._checkpointer.save()
            await link.close(DRAIN_S)
            await linked

    async def _take_in(self) -> None:
        """Publish what the last run may not have got out; then hand every message to its group's worker, in order."""
        await self._link.up()
        for again in self._again:
            self._link.publish_message(again)
        self._again.clear()
        self._keeper.resent()
        while messages := await self._link.receive():
            self._keeper.arrived()
            turn = time.monotonic()
            for message in messages:
                await self._take(message)
                if time.monotonic() - turn > TURN_S:
                    await asyncio.sleep(0)
                    turn = time.monotonic()

    async def _keep_config(self) -> None:
        await (self._stop.wait() if self._reloader is None else self._reloader.run(self._stop))

    def _filters(self, intake: Intake) -> list[str]:
        return [*intake.filters, commands.topic_filter(self._config.mqtt.prefix)]

    def _read(self, intake: Intake) -> None:
        self._intake = intake

    def _unsent_incidents(self) -> list[Message]:
        """Incidents that nobody was told of: the last run's, as long as there was no broker, and this one's."""
        return [again for again in self._again if again.kind == "incident"] + self._link.unsent_incidents()

    async def _take(self, message: Incoming) -> None:
        if message.topic.startswith(f"{self._config.mqtt.prefix}/"):
            # our own: commands, and under a filter as wide as {stream}/# what we publish, which is never learned from
            if message.topic.startswith(f"{self._config.mqtt.prefix}/command/"):
                await self._command(message)
                # a command is a record as a reading is, and nothing but the message itself tells it from its copy
                self._keeper.done(message.ticket, timeless=True)
            else:
                self._link.done(message.ticket)
            return
        found = self._intake.understand(message.topic, message.payload)
        if found is None:
            self._refuse("bad_topic", message)
            self._link.done(message.ticket)
            return
        for reason in found.decoded.refused:
            self._refuse(reason, message)
        if readings := found.decoded.readings:
            await self._workers[found.source.group].take(
                readings, found.source, joined=found.joined, arrival=message.arrival, ticket=message.ticket
            )
        else:
            self._link.done(message.ticket)

    def _refuse(self, reason: str, message: Incoming) -> None:
        metrics.refused.labels(reason).inc()
        self._sampler.note(reason, message.topic, message.payload)

    async def _command(self, message: Incoming) -> None:
        request = None
        if message.retain:
            self._refuse("retained_command", message)  # an order of long ago, given again at each start, is none
            return
        try:
            request = commands.decode(self._config.mqtt.prefix, message.topic, message.payload)
            answer = await self._carry_out(request)
            metrics.commands.labels(request.verb).inc()
        except commands.CommandError as error:
            self._refuse("bad_command", message)
            answer = commands.reply(False, str(error), request)
        to = message.response_topic
        if to is not None and not self._intake.reads(to):  # an answer must not come back as somebody's reading
            self._link.publish(to, answer, qos=1, droppable=False, kind="reply", correlation=message.correlation)

    async def _carry_out(self, request: commands.Request) -> bytes:
        if request.group is not None and request.group not in self._workers:
            raise commands.CommandError(f"group: expected one of {', '.join(self._workers)}")
        if request.verb == "checkpoint":
            written = await self._checkpointer.save()
            reason = self._checkpointer.failing or self._keeper.failing
            text = f"checkpoint at {self._checkpointer.saved}" if written else reason
            return commands.reply(written, text, request)
        if request.verb == "status":
            return commands.reply(not self._unready(), self._describe(), request)
        workers = list(self._workers.values()) if request.group is None else [self._workers[request.group]]
        if request.command is None:
            taught = [one for worker in workers for one in await worker.taught()]
            return commands.reply(True, f"{len(taught)} incidents were taught", request, taught)
        said: list[str] = []
        refused: list[str] = []
        for worker in workers:
            try:
                said.append(await worker.command(request.command))
            except commands.CommandError as error:
                refused.append(f"group {worker.name}: {error}")
        if not said:  # an incident is of one group, and the others do not know it
            raise commands.CommandError("; ".join(refused))
        return commands.reply(True, "; ".join(filter(None, said)) or "done", request)

    def _spent(self, cpu_s: float) -> None:
        self._train_s += cpu_s
        if self._budget is not None:
            self._budget.spent(cpu_s)

    def _describe(self) -> str:
        said = [*self._unready()] or [f"ready, {self._streams()} streams"]
        if self._reloader is not None and self._reloader.refusal:
            said.append(f"the config file is not in force: {self._reloader.refusal}")
        return "; ".join(said)

    def _streams(self) -> int:
        return sum(worker.engine.known for worker in self._workers.values())

    def _unready(self) -> list[str]:
        """Why the daemon is not ready to be relied on; empty when it is."""
        reasons = []
        if not self.started.is_set():
            reasons.append("recovering")
        else:
            reasons += self._link.trouble
            for part in (self._keeper, self._checkpointer):
                if part.failing:
                    reasons.append(f"{self._folder} can't be written: {part.failing}")
        if self._stop.is_set():
            reasons.append("stopping")
        return reasons
