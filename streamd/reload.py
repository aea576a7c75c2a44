"""The config file read anew while the daemon runs: when somebody asks for it, and when its content has changed.

Validated, staged, then swapped between two batches with nothing awaited, so that no message meets half of it. What is
wrong is refused as a whole and said; what can't be changed live waits for a restart and is said key by key. A login
that the broker refuses is rolled back. Knows the parts that take settings, not what they do with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import msgspec

from streamd import config, live, metrics
from streamd.checkpointer import Checkpointer
from streamd.config import Config, ConfigError
from streamd.edge import dial
from streamd.edge import log as logs
from streamd.edge.budget import Budget
from streamd.edge.log import Sampler
from streamd.intake import Intake
from streamd.pace import Pace
from streamd.worker import Worker

log = logging.getLogger("streamd.reload")

LOOK_S = 2.0  # how often the file is looked at; what it holds counts when it was the same twice

Result: TypeAlias = Literal["applied", "unchanged", "waiting", "refused", "rolled_back"]


class Link(Protocol):
    """What of the broker link takes settings."""

    def want(self, filters: list[str]) -> None:
        """Other topics."""

    def change(self, settings: config.Mqtt, refused: Callable[[config.Mqtt, str], None]) -> None:
        """Another login, TLS, times; `refused` is told those before and why they are in force again."""


class Manager(Protocol):
    """The service manager."""

    def reloading(self) -> None:
        """It begins."""

    def reloaded(self) -> None:
        """It is over."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All that takes new settings."""

    link: Link
    pace: Pace
    checkpointer: Checkpointer
    budget: Budget
    sampler: Sampler
    workers: Mapping[str, Worker]
    filters: Callable[[Intake], list[str]]  # all that is to be subscribed to
    read: Callable[[Intake], None]  # what is taken in from now on


class Reloader:
    """Of one daemon.

    Args:
        file: the config's.
        settings: in force now.
        parts: that take other ones.
        manager: is told.
        asked: set when somebody wants it to be read now, or when all is to stop.
    """

    def __init__(self, file: Path, settings: Config, parts: Parts, manager: Manager, asked: asyncio.Event) -> None:
        self._file = file
        self.config = msgspec.structs.replace(settings, group=settings.groups())  # in force
        self._parts = parts
        self._manager = manager
        self._asked = asked
        self._seen = b""  # digest of what was taken or refused last
        self._settling = b""  # digest of what was there at the last look
        self.refusal = ""  # why the file as it is now is not in force; empty: it is, as far as it can be

    async def run(self, stop: asyncio.Event) -> None:
        """Look at the file, until stopped."""
        while not stop.is_set():
            asked = self._asked.is_set()
            self._asked.clear()
            content = await asyncio.to_thread(self._content)
            digest = _digest(content)
            # what is half written is left alone, unless somebody says that it is whole
            if asked or (digest != self._seen and digest == self._settling):
                first = not self._seen
                self._seen = digest
                await self._reload(content, stop, quiet=first and not asked)
            self._settling = digest
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._asked.wait()

    async def _reload(self, content: bytes | ConfigError, stop: asyncio.Event, *, quiet: bool) -> None:
        """Take the file's content over; `quiet`: say nothing where it is what is in force."""
        if not quiet:
            self._manager.reloading()
        try:
            while True:
                now = self.config
                plan, intake = await asyncio.to_thread(self._stage, content, now)
                if stop.is_set():
                    return  # what would be noted now might not be committed any more
                if now is self.config:  # else the broker has refused a login meanwhile
                    break
        except ConfigError as error:
            self._refuse(str(error))
        else:
            self.refusal = ""
            if plan.taken:
                self._swap(plan.config, intake)
            self._tell(plan, quiet=quiet)
        finally:
            if not quiet and not stop.is_set():
                self._manager.reloaded()

    def _content(self) -> bytes | ConfigError:
        try:
            return self._file.read_bytes()
        except OSError as error:
            return ConfigError(f"{self._file}: can't be read: {error}")

    def _stage(self, content: bytes | ConfigError, now: Config) -> tuple[live.Plan, Intake]:
        """All that can be found wrong without touching what runs.

        Raises:
            ConfigError: something is.
        """
        if isinstance(content, ConfigError):
            raise content
        try:
            wanted = config.parse(content.decode(), self._file)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self._file}: can't be read: {error}") from error
        try:
            Intake(wanted)  # the whole of it, also what has to wait
            plan = live.plan(now, wanted, self._file)
            if plan.config.mqtt != now.mqtt:
                dial.check(plan.config.mqtt)
            return plan, Intake(plan.config)
        except ConfigError as error:
            text = str(error)
            raise error if text.startswith(str(self._file)) else ConfigError(f"{self._file}: {text}") from error

    def _swap(self, new: Config, intake: Intake) -> None:
        """Put other settings in force, everywhere at once."""
        old, parts = self.config, self._parts
        self.config = new
        for name, worker in parts.workers.items():
            worker.configure(new.group[name])
            worker.show_series(new.http.stream_series)
        parts.budget.set_share(max(group.training.cpu_share for group in new.group.values()))
        parts.pace.configure(new.state.commit_ms / 1000.0, new.state.commit_frames)
        parts.checkpointer.settings = new.state
        parts.sampler.set_period(new.log.sample_s)
        if (new.log.level, new.log.format) != (old.log.level, old.log.format):
            logs.setup(new.log)
        parts.read(intake)
        filters = parts.filters(intake)
        parts.checkpointer.filters = filters
        parts.link.want(filters)
        if new.mqtt != old.mqtt:
            parts.link.change(new.mqtt, self._roll_back)

    def _roll_back(self, former: config.Mqtt, reason: str) -> None:
        """The broker does not take us in with other settings: those before are in force again."""
        now = msgspec.structs.replace(self.config, mqtt=former)
        keys = [".".join(change.key) for change in live.plan(now, self.config, self._file).changes]
        self.config = now
        self.refusal = f"{self._file}: {', '.join(keys)}: the broker refuses it: {reason}"
        log.error("action=reload result=rolled_back keys=%s reason=%r", ",".join(keys), reason)
        _count("rolled_back")

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        log.error("action=reload result=refused reason=%r", reason)
        _count("refused")

    def _tell(self, plan: live.Plan, *, quiet: bool) -> None:
        metrics.config_keys_waiting.set(len(plan.waiting))
        if quiet and not plan.changes:
            return
        for change in plan.taken:
            log.info("action=reload_key result=applied change=%r", str(change))
        for change in plan.waiting:
            log.warning("action=reload_key result=waiting change=%r do=restart why=%r", str(change), change.why)
        result: Result = "waiting" if plan.waiting else "applied" if plan.taken else "unchanged"
        log.info(
            "action=reload result=%s file=%s applied=%d waiting=%d",
            result,
            self._file,
            len(plan.taken),
            len(plan.waiting),
        )
        _count(result)


def _count(result: Result) -> None:
    metrics.config_reloads.labels(result).inc()
    metrics.config_last_reload_successful.set(result not in ("refused", "rolled_back"))


def _digest(content: bytes | ConfigError) -> bytes:
    return hashlib.sha256(str(content).encode() if isinstance(content, ConfigError) else content).digest()
