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
from streamd.config import Config, ConfigError
from streamd.edge.budget import Budget
from streamd.edge.disk import Disk
from streamd.edge.log import Sampler
from streamd.edge.mqtt import Incoming, Link
from streamd.edge.systemd import ServiceManager
from streamd.edge.training import TrainingThread
from streamd.edge.web import Web
from streamd.keeper import Keeper
from streamd.model.training import Candidate, Job, train
from streamd.pace import Pace
from streamd.store import lock
from streamd.wire import commands, formats, outcomes
from streamd.wire.messages import Message
from streamd.wire.topics import Router, TemplateError
from streamd.worker import Worker

log = logging.getLogger("streamd.app")

TURN_S = 0.005  # of taking messages in, before the others get their turn: a message may hold thousands of readings
DRAIN_S = 10.0  # what is left in the outbox at the end may take so long


class App:
    """One daemon.

    Args:
        config: what to read, learn and publish.

    Raises:
        ConfigError: a topic template is wrong, or there is no source.
    """

    def __init__(self, config: Config) -> None:
        if not config.source:
            raise ConfigError("source: expected at least one [[source]]")
        self._config = config
        self._folder = Path(config.state.folder)
        try:
            self._router = Router(config.source)
        except TemplateError as error:
            raise ConfigError(f"source.topic: {error}") from error
        groups = config.groups()
        self._decoders = [
            formats.decoder(
                source, max_channels=groups[source.group].max_channels, max_bytes=config.mqtt.max_payload_bytes
            )
            for source in config.source
        ]
        self._sampler = Sampler(config.log.sample_s)
        self._stop = asyncio.Event()
        self._manager = ServiceManager(os.environ, os.getpid())
        self._budget: Budget | None = None
        self._workers: dict[str, Worker] = {}
        self._train_s = 0.0  # CPU spent training since the start
        self.started = asyncio.Event()
        self.http_port = 0

    def stop(self) -> None:
        """Let `run` drain and end."""
        self._stop.set()

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
            async with Web(self._config.http, self._unready) as web:
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
        filters = (*self._router.filters, commands.topic_filter(mqtt.prefix))
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
            Pace(settings.commit_ms / 1000.0, settings.commit_frames, mqtt.inbox_messages),
            position=state.position,
            published=state.published,
            marks=state.marks,
        )
        if (journal := state.journal) is not None:
            metrics.journal_bytes.set_function(lambda: journal.bytes)
        budget = self._budget = Budget(
            share=max(engine.settings.training.cpu_share for engine in state.engines.values()),
            stretch=max(engine.learner.stretch for engine in state.engines.values()),
        )
        archivist = Archivist(state.archive, journal_disk, self._keeper.flush, state.unarchived)
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
                kept=archivist.take,
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
        async with asyncio.TaskGroup() as tasks:
            linked = tasks.create_task(link.run(), name="link")
            keeping = tasks.create_task(self._keeper.run(), name="keeper")
            working = [tasks.create_task(worker.run(), name=f"worker-{name}") for name, worker in self._workers.items()]
            saving = tasks.create_task(self._checkpointer.run(self._stop), name="checkpointer")
            archiving = tasks.create_task(archivist.run(self._stop), name="archivist")
            intake = tasks.create_task(self._take_in(), name="intake")
            stop = tasks.create_task(self._stop.wait(), name="stop")
            self.started.set()
            work = list(self._workers.values())
            telling = tasks.create_task(self._manager.run(self._stop, work, self._describe), name="systemd")
            groups = ",".join(self._workers)
            log.info("action=started version=%s http_port=%d groups=%s", __version__, self.http_port, groups)
            all_tasks = {linked, keeping, saving, archiving, intake, stop, telling, *working}
            ended, _ = await asyncio.wait(all_tasks, return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                names = ", ".join(task.get_name() for task in ended)
                raise RuntimeError(f"ended by itself: {names}")
            log.info("action=stopping")
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
        route = self._router.match(message.topic)
        if route is None:
            self._refuse("bad_topic", message)
            self._link.done(message.ticket)
            return
        source = self._config.source[route.source_index]
        decoded = self._decoders[route.source_index].decode(message.payload, route.stream, route.channel)
        for reason in decoded.refused:
            self._refuse(reason, message)
        if decoded.readings:
            worker = self._workers[source.group]
            joined = route.channel is not None
            await worker.take(decoded.readings, source, joined=joined, arrival=message.arrival, ticket=message.ticket)
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
        if message.response_topic is not None:
            self._link.publish(
                message.response_topic, answer, qos=1, droppable=False, kind="reply", correlation=message.correlation
            )

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
        return "; ".join(self._unready()) or f"ready, {self._streams()} streams"

    def _streams(self) -> int:
        return sum(worker.engine.known for worker in self._workers.values())

    def _unready(self) -> list[str]:
        """Why the daemon is not ready to be relied on; empty when it is."""
        reasons = []
        if not self.started.is_set():
            reasons.append("recovering")
        else:
            if not self._link.connected:
                reasons.append(f"no connection to the broker at {self._config.mqtt.host}:{self._config.mqtt.port}")
            elif not self._link.ready:
                reasons.append("the broker has not granted the subscriptions")
            for part in (self._keeper, self._checkpointer):
                if part.failing:
                    reasons.append(f"{self._folder} can't be written: {part.failing}")
        if self._stop.is_set():
            reasons.append("stopping")
        return reasons
