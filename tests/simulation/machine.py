"""An engine that is nothing but its history: chained hashes, in which every lost, doubled or moved record shows.

It has the interface of `engine.Engine` and so much of its behaviour as the shell around it can notice: streams that
spill, snapshots that take several slices, training that falls due, incidents. Knows no network and learns nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any, Self

import msgspec
import numpy as np

from streamd.config import Group
from streamd.edge.training import Client
from streamd.engine.mix import EXPERTS
from streamd.engine.score import TERMS
from streamd.records import (
    HELD,
    Batch,
    Command,
    Effect,
    Freeze,
    Incident,
    Outcome,
    Report,
    Reset,
    Silent,
    Stretch,
    Thaw,
    Widen,
)
from tests.simulation.clock import Clock

PATIENCE_S = 300.0  # with a stream that says nothing
EVERY, LAG = 40, 25  # frames between two jobs, and from a job to its candidate
SLICES = 3  # that a snapshot takes


def chain(*links: int | bytes) -> int:
    """A hash of 48 bits over all that came before: whole in a float64."""
    digest = blake2b(digest_size=6)
    for link in links:
        digest.update(link if isinstance(link, bytes) else struct.pack("<q", link))
    return int.from_bytes(digest.digest(), "little")


class Row(msgspec.Struct):
    """All that is kept of one stream."""

    seq: int = 0
    last_time: float = -1e300
    chain: int = 0
    opened: int = -1  # seq of the open incident's first frame
    start: float = 0.0
    resets: int = 0  # of all streams, when it was last looked at
    silent: bool = False


class Core(msgspec.Struct):
    """All that is kept of the group as a whole."""

    channels: tuple[str, ...]
    frames: int = 0
    known: int = 0
    resets: int = 0
    chain: int = 0
    weights: int = 1
    due_at: int = EVERY
    install_at: int = 0
    job: int | None = None
    frozen: bool = False
    stretch: float = 1.0


_core = msgspec.msgpack.Decoder(Core).decode
_row = msgspec.msgpack.Decoder(Row).decode
_encode = msgspec.msgpack.Encoder().encode


@dataclass
class Machine:
    """Takes the place of the engine of one group."""

    settings: Group
    trainer: Any
    core: Core = field(init=False)
    rows: dict[str, Row] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.core = Core(() if self.settings.channels == "auto" else self.settings.channels)

    @property
    def channels(self) -> tuple[str, ...]:
        return self.core.channels

    @property
    def learner(self) -> Core:
        """Has the schedule's `stretch`."""
        return self.core

    @property
    def slots(self) -> dict[str, Row]:
        return self.rows

    @property
    def incidents(self) -> Self:
        """Has the incidents that are open."""
        return self

    @property
    def open(self) -> Any:
        return np.array([row.opened >= 0 for row in self.rows.values()])

    @property
    def feedback(self) -> tuple[()]:
        """Nobody teaches it anything."""
        return ()

    @property
    def frames(self) -> int:
        return self.core.frames

    @property
    def known(self) -> int:
        return self.core.known

    @property
    def resident(self) -> int:
        return len(self.rows)

    @property
    def waits(self) -> bool:
        return self.core.job is not None and self.core.frames >= self.core.install_at

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(self.rows)

    def absent(self, streams: Iterable[str]) -> list[str]:
        return [stream for stream in streams if stream not in self.rows]

    def last_time(self, stream: str) -> float:
        row = self.rows.get(stream)
        return -np.inf if row is None or row.seq == 0 else row.last_time

    def patience(self, streams: Sequence[str]) -> Any:
        return np.array([PATIENCE_S if stream in self.rows else np.inf for stream in streams])

    def silent(self) -> list[str]:
        return [stream for stream, row in self.rows.items() if row.silent]

    def refusal(self, command: Command) -> str:
        return ""

    def command(self, command: Command) -> Effect:
        core = self.core
        incidents: list[Incident] = []
        match command:
            case Widen(channels):
                core.channels += tuple(name for name in channels if name not in core.channels)
                core.job = None
            case Reset(None):
                core.resets += 1
                for row in self.rows.values():
                    self._look_at(row)
            case Reset(str() as stream):
                if stream in self.rows:
                    self.rows[stream].chain = 0
            case Freeze():
                core.frozen = True
            case Thaw():
                core.frozen = False
            case Stretch(factor):
                core.stretch = factor
            case Silent(streams):
                incidents = [one for stream in streams for one in self._silent(stream)]
        core.chain = chain(core.chain, _encode(command))
        return Effect(incidents=tuple(incidents))

    def apply(self, batch: Batch) -> Outcome:
        core = self.core
        reports = (self._install(),) if self.waits else ()
        before, heads, seqs = core.chain, [], []
        incidents: list[Incident] = []
        for stream, time, values in zip(batch.streams, batch.times.tolist(), batch.values, strict=True):
            if stream not in self.rows:
                self.rows[stream] = Row(resets=core.resets)
                core.known += 1
            row = self.rows[stream]
            assert time > row.last_time, f"{stream}: {time} after {row.last_time}"
            row.chain = chain(row.chain, core.weights, struct.pack("<d", time), values.tobytes())
            row.last_time, row.silent = time, False
            seqs.append(row.seq)
            heads.append(row.chain)
            incidents += self._disturbed(stream, row, time)
            row.seq += 1
        core.frames += len(batch)
        core.chain = chain(core.chain, *heads)
        self._begin()
        return self._outcome(batch, before, heads, seqs, incidents, reports)

    def _outcome(
        self,
        batch: Batch,
        before: int,
        heads: list[int],
        seqs: list[int],
        incidents: list[Incident],
        reports: tuple[Report, ...],
    ) -> Outcome:
        """Numbers that tell the whole history: of the stream, and of everything before the batch."""
        B, C = batch.values.shape
        told = np.array(heads, np.float64)
        mean = np.repeat(told, C).reshape(B, 1, C)
        upper = mean + float(before)
        experts = np.repeat(mean[:, None], len(EXPERTS), axis=1)
        return Outcome(
            channels=self.channels,
            streams=batch.streams,
            seq=np.array(seqs, np.int64),
            times=batch.times,
            interval=np.ones(B),
            mean=mean,
            lower=mean,
            upper=upper,
            score=np.zeros(B),
            terms=np.zeros((B, len(TERMS))),
            channel_score=np.zeros((B, C)),
            weights=np.ones((B, len(EXPERTS) + 1, 1, C)),
            experts=experts,
            levels=np.stack([mean, upper], axis=1)[:, None],
            drifted=np.zeros(B, np.bool_),
            warming=np.ones(B),
            incidents=tuple(incidents),
            reports=reports,
        )

    def _disturbed(self, stream: str, row: Row, time: float) -> list[Incident]:
        if row.opened < 0:
            if row.chain % 7:
                return []
            row.opened, row.start = row.seq, time
            state, end = "raised", None
        elif row.chain % 3 == 0:
            state, end = "cleared", time
        elif row.chain % 3 == 1:
            state, end = "updated", None
        else:
            return []
        told = self._told(stream, row, state, end)
        if end is not None:
            row.opened = -1
        return [told]

    def _silent(self, stream: str) -> list[Incident]:
        row = self.rows.get(stream)
        if row is None or row.silent:
            return []
        row.silent = True
        row.chain = chain(row.chain, b"silent")
        if row.opened >= 0:
            return []
        row.opened, row.start = row.seq, row.last_time + 1.0
        return [self._told(stream, row, "raised", None)]

    def _told(self, stream: str, row: Row, state: str, end: float | None) -> Incident:
        return Incident(
            id=f"{stream}-{row.opened}",
            stream=stream,
            state=state,  # type: ignore[arg-type]
            start=row.start,
            peak=row.start,
            end=end,
            score=float(row.chain),
            channels={},
        )

    def _begin(self) -> None:
        core = self.core
        if core.job is None and not core.frozen and core.stretch != HELD and core.frames >= core.due_at:
            core.job = core.chain
            core.due_at = core.frames + int(EVERY * core.stretch)
            core.install_at = core.frames + int(LAG * core.stretch)
            self.trainer.submit(core.job)

    def _install(self) -> Report:
        core = self.core
        core.weights = chain(core.weights, self.trainer.result())
        core.job = None
        return Report(True, "better", 1.0, 1.0, 1.0, 1)

    def _look_at(self, row: Row) -> None:
        """A reset of all streams reaches a spilled one when it comes back."""
        if row.resets < self.core.resets:
            row.chain, row.resets = 0, self.core.resets

    def spill(self, count: int) -> list[tuple[str, bytes]]:
        leave = sorted(self.rows, key=lambda stream: (self.rows[stream].last_time, stream))[: max(count, 0)]
        return [(stream, _encode(self.rows.pop(stream))) for stream in leave]

    def restore(self, items: Sequence[tuple[str, bytes]]) -> None:
        for stream, packed in items:
            assert stream not in self.rows, f"{stream} is in memory already"
            self.rows[stream] = _row(packed)
            self._look_at(self.rows[stream])

    def state_dict(self) -> tuple[dict[str, Any], dict[str, Any]]:
        names = sorted(self.rows)
        packed = np.frombuffer(_encode([self.rows[name] for name in names]), np.uint8)
        return {"rows": packed}, {"core": _encode(self.core).hex(), "streams": names}

    def load_state_dict(self, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        self.core = _core(bytes.fromhex(meta["core"]))
        rows = msgspec.msgpack.decode(arrays["rows"].tobytes(), type=list[Row])
        self.rows = dict(zip(meta["streams"], rows, strict=True))
        if self.core.job is not None:
            self.trainer.submit(self.core.job)

    def snapshot(self) -> Snapshot:
        return Snapshot(*self.state_dict())


class Snapshot:
    """The state at one moment; whole after some slices."""

    slice_rows = 1

    def __init__(self, arrays: dict[str, Any], meta: dict[str, Any]) -> None:
        self._left = SLICES
        self.arrays, self.meta = arrays, meta

    def copy(self, rows: int) -> bool:
        self._left -= 1
        return self._left <= 0


class SimulatedTraining:
    """Takes the place of the training thread: jobs take virtual time, on no thread.

    Args:
        clock: on which they take it.
        random: how long.
        train: makes a candidate of a job.
        on_cpu: told what each job took, s.
    """

    def __init__(
        self, clock: Clock, random: Random, train: Callable[[Any], Any], on_cpu: Callable[[float], None]
    ) -> None:
        self._clock = clock
        self._random = random
        self._train = train
        self._on_cpu = on_cpu

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to wait for."""

    def be_nice(self) -> None:
        """Nobody else wants the processor."""

    def client(self, on_cpu: Callable[[float], None] | None = None) -> TrainingClient:
        return TrainingClient(self)

    def begin(self, task: Any) -> None:
        takes_s = self._random.choice((0.01, 0.1, 5.0))

        def ends() -> None:
            if not task.future.done():
                self._on_cpu(takes_s)
                self.finish(task)

        self._clock.after(takes_s, ends)

    def finish(self, task: Any) -> None:
        task.future.set_result(self._train(task.job))


class TrainingClient(Client[Any, Any]):
    """The real client; who cannot wait gets the result at once, as a blocked thread would."""

    def __init__(self, training: SimulatedTraining) -> None:
        self._training = training
        super().__init__(self._begin)

    def _begin(self, task: Any) -> None:
        self._task = task
        self._training.begin(task)

    def result(self) -> Any:
        future: Future[Any] = self._task.future
        if not future.done():
            self._training.finish(self._task)
        return super().result()


def candidate(job: int) -> int:
    """What training makes of a job of a `Machine`."""
    return chain(job, b"trained")
