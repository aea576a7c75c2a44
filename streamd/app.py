"""The daemon: the only place that builds the parts and connects them, starts them and stops them.

Downstream starts first; stopping goes upstream first and drains each stage: no more intake, workers apply what they
have, the state is saved, the link sends what is left and says goodbye.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from streamd import __version__, metrics
from streamd.config import Config, ConfigError
from streamd.edge.budget import Budget
from streamd.edge.log import Sampler
from streamd.edge.mqtt import Incoming, Link
from streamd.edge.training import Client, TrainingThread
from streamd.edge.web import Web
from streamd.engine.engine import Engine
from streamd.model.training import Candidate, Job, train
from streamd.store import checkpoint, lock
from streamd.store.checkpoint import Checkpoint
from streamd.wire import commands, outcomes
from streamd.wire.messages import Message
from streamd.wire.readings import Decoder
from streamd.wire.topics import Router, TemplateError
from streamd.worker import Worker

log = logging.getLogger("streamd.app")

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
            Decoder(source, max_channels=groups[source.group].max_channels, max_bytes=config.mqtt.max_payload_bytes)
            for source in config.source
        ]
        self._sampler = Sampler(config.log.sample_s)
        self._stop = asyncio.Event()
        self._saving = asyncio.Lock()
        self._position = 0
        self._saved_position = -1
        self._save_failed = False
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
        with lock.hold(self._folder), TrainingThread[Job, Candidate](train, on_cpu=self._spent) as thread:
            known_filters = self._build(thread)
            async with Web(self._config.http, self._unready) as web:
                self.http_port = web.port
                await self._serve(known_filters)
            log.info("action=stopped")

    def _build(self, thread: TrainingThread[Job, Candidate]) -> tuple[str, ...]:
        """Workers with the state that was kept; gives the filters that the broker's session may still hold."""
        loaded = checkpoint.load_newest(self._folder)
        metrics.checkpoints.labels("quarantined").inc(len(loaded.quarantined))
        kept = loaded.checkpoint
        groups = self._config.groups()
        engines: dict[str, Engine] = {}
        trainers: dict[str, Client[Job, Candidate]] = {}
        for name, settings in groups.items():
            trainers[name] = thread.client(on_cpu=metrics.training_cpu_seconds.labels(name).inc)
            engines[name] = Engine(settings, trainers[name])
            if kept is not None and name in kept.meta["groups"]:
                self._restore(name, engines[name], kept)
        self._budget = Budget(
            share=max(settings.training.cpu_share for settings in groups.values()),
            stretch=max(engine.learner.stretch for engine in engines.values()),
        )
        self._workers = {
            name: Worker(
                name,
                engine,
                trainers[name],
                self._budget,
                self._publish,
                self._done,
                prefix=self._config.mqtt.prefix,
                stream_series=self._config.http.stream_series,
            )
            for name, engine in engines.items()
        }
        if kept is None:
            log.info("action=begin state=%s", self._folder)
            return ()
        for name in set(kept.meta["groups"]) - set(self._workers):
            log.warning("action=forget group=%s reason=%r", name, "no source names it any more")
        self._position = self._saved_position = kept.position
        if loaded.created is not None:
            metrics.checkpoint_time.set(loaded.created)
        log.info("action=resume state=%s position=%d streams=%d", self._folder, kept.position, self._streams())
        return tuple(kept.meta["filters"])

    def _restore(self, name: str, engine: Engine, kept: Checkpoint) -> None:
        own = {key.removeprefix(f"{name}/"): array for key, array in kept.arrays.items() if key.startswith(f"{name}/")}
        try:
            engine.load_state_dict(own, kept.meta["groups"][name])
        except ValueError as error:
            raise ConfigError(
                f"state folder {self._folder}: group {name}: {error}; "
                "give the group its former settings back, or move the folder away to begin anew"
            ) from error

    async def _serve(self, known_filters: tuple[str, ...]) -> None:
        mqtt = self._config.mqtt
        self._filters = (*self._router.filters, commands.topic_filter(mqtt.prefix))
        birth, will = (
            outcomes.status(mqtt.prefix, state, version=__version__, time=time.time())
            for state in ("online", "offline")
        )
        self._link = Link(
            mqtt,
            self._filters,
            birth=birth.payload,
            will=will.payload,
            status_topic=birth.topic,
            known_filters=known_filters,
        )
        async with asyncio.TaskGroup() as tasks:
            link = tasks.create_task(self._link.run(), name="link")
            workers = [tasks.create_task(w.run(), name=f"worker-{name}") for name, w in self._workers.items()]
            keeper = tasks.create_task(self._keep_checkpoints(), name="checkpoints")
            intake = tasks.create_task(self._take_in(), name="intake")
            stop = tasks.create_task(self._stop.wait(), name="stop")
            self.started.set()
            log.info(
                "action=started version=%s http_port=%d groups=%s", __version__, self.http_port, ",".join(self._workers)
            )
            ended, _ = await asyncio.wait({link, keeper, intake, stop, *workers}, return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                names = ", ".join(task.get_name() for task in ended)
                raise RuntimeError(f"ended by itself: {names}")
            log.info("action=stopping")
            self._link.stop_receiving()
            await intake
            for worker in self._workers.values():
                worker.stop()
            await asyncio.wait([*workers, keeper])
            await self._save()
            await self._link.close(DRAIN_S)
            await link

    async def _take_in(self) -> None:
        """Hand every message to the worker of its group, in order."""
        while messages := await self._link.receive():
            for message in messages:
                await self._take(message)

    async def _take(self, message: Incoming) -> None:
        if message.topic.startswith(f"{self._config.mqtt.prefix}/"):
            # our own: commands, and under a filter as wide as {stream}/# what we publish, which is never learned from
            if message.topic.startswith(f"{self._config.mqtt.prefix}/command/"):
                await self._command(message)
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
            worker.take(decoded.readings, source, joined=joined, arrival=message.arrival, ticket=message.ticket)
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
            await self._save()
            return commands.reply(not self._save_failed, f"checkpoint at {self._saved_position}", request)
        if request.verb == "status":
            reasons = self._unready()
            return commands.reply(not reasons, "; ".join(reasons) or f"ready, {self._streams()} streams", request)
        for name in self._workers if request.group is None else (request.group,):
            if request.command is not None:
                await self._workers[name].command(request.command)
        return commands.reply(True, "done", request)

    async def _keep_checkpoints(self) -> None:
        while not self._stop.is_set():
            try:
                async with asyncio.timeout(self._config.state.checkpoint_s):
                    await self._stop.wait()
            except TimeoutError:
                await self._save()

    async def _save(self) -> None:
        """Write a checkpoint if anything happened since the last; the copy is taken at once, the writing is not."""
        async with self._saving:
            position = self._position + sum(worker.applied for worker in self._workers.values())
            if position != self._saved_position:
                await self._write(position)

    async def _write(self, position: int) -> None:
        begun = time.perf_counter()
        state = Checkpoint(position, dict(self._arrays()), self._meta())
        keep = self._config.state.keep
        try:
            path = await asyncio.to_thread(checkpoint.save, self._folder, state, keep, created=time.time())
        except OSError as error:
            self._save_failed = True
            metrics.checkpoints.labels("failed").inc()
            log.error("action=checkpoint_failed folder=%s error=%r", self._folder, str(error))
            return
        self._save_failed, self._saved_position = False, position
        metrics.checkpoints.labels("written").inc()
        metrics.checkpoint_time.set_to_current_time()
        metrics.checkpoint_bytes.set(path.stat().st_size)
        metrics.checkpoint_seconds.observe(time.perf_counter() - begun)
        log.info("action=checkpoint position=%d bytes=%d", position, path.stat().st_size)

    def _arrays(self) -> Iterator[tuple[str, Any]]:
        for name, worker in self._workers.items():
            arrays, _ = worker.engine.state_dict()
            for key, array in arrays.items():
                yield f"{name}/{key}", np.array(array)

    def _meta(self) -> dict[str, Any]:
        groups = {name: worker.engine.state_dict()[1] for name, worker in self._workers.items()}
        return {"groups": groups, "filters": list(self._filters)}

    def _publish(self, message: Message) -> None:
        self._link.publish(
            message.topic,
            message.payload,
            qos=message.qos,
            retain=message.retain,
            droppable=message.kind in ("forecast", "score"),
            kind=message.kind,
        )

    def _done(self, ticket: int) -> None:
        self._link.done(ticket)

    def _spent(self, cpu_s: float) -> None:
        self._budget.spent(cpu_s)

    def _streams(self) -> int:
        return sum(len(worker.engine.slots) for worker in self._workers.values())

    def _unready(self) -> list[str]:
        """Why the daemon is not ready to be relied on; empty when it is."""
        reasons = []
        if not self.started.is_set():
            reasons.append("starting")
        elif not self._link.connected:
            reasons.append(f"no connection to the broker at {self._config.mqtt.host}:{self._config.mqtt.port}")
        elif not self._link.ready:
            reasons.append("the broker has not granted the subscriptions")
        if self._save_failed:
            reasons.append(f"checkpoints can't be written to {self._folder}")
        if self._stop.is_set():
            reasons.append("stopping")
        return reasons
