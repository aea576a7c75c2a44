"""The engine of one group: a deterministic state machine. Frames in, outcomes out; commands in, effects out.

`apply` and `command` are the only ways its state changes. It reads no clock, does no I/O and starts no thread; its
chance comes from a generator that is part of its state. The same records in the same order give the same state, to the
bit. What a frame does is told in `passage`, what is kept in `state`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from streamd import live
from streamd.config import Group
from streamd.engine import passage
from streamd.engine.learner import Trainer
from streamd.engine.snapshot import Snapshot
from streamd.engine.state import State
from streamd.model import network
from streamd.records import (
    F64,
    Array,
    Batch,
    Command,
    Configure,
    Effect,
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


class Engine:
    """All state of one group of streams, and what moves it.

    Args:
        settings: of the group.
        trainer: carries the training jobs out.
    """

    def __init__(self, settings: Group, trainer: Trainer) -> None:
        network.use_one_thread()
        network.make_do_without_new_code()
        self.state = state = State(settings, trainer)
        # for whoever asks what the engine knows
        self.slots, self.timing, self.recent, self.scale = state.slots, state.timing, state.recent, state.scale
        self.experts, self.hidden, self.intervals, self.pool = state.experts, state.hidden, state.intervals, state.pool
        self.judge, self.silence, self.incidents = state.judge, state.silence, state.incidents
        self.drift, self.paths, self.past = state.drift, state.paths, state.past
        self.memory, self.learner, self.feedback = state.memory, state.learner, state.feedback

    @property
    def settings(self) -> Group:
        """Those in force."""
        return self.state.settings

    @property
    def channels(self) -> tuple[str, ...]:
        """Those that are known."""
        return self.state.channels

    @property
    def frames(self) -> int:
        """Applied so far."""
        return self.state.frames

    @property
    def known(self) -> int:
        """Streams ever seen, in memory or spilled."""
        return self.state.known

    @property
    def resets(self) -> int:
        """Of all streams."""
        return self.state.resets

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
                if keys := live.fixed(self.settings, self._told(settings)):
                    return f"{', '.join(keys)} can't be changed while it runs"
        return ""

    def command(self, command: Command) -> Effect:
        """Carry out a command, or leave all as it is where there is a `refusal`; gives what came of it.

        One that names a stream finds it only in memory: `restore` it before.
        """
        match command:
            case Widen(channels):
                self.state.widen(channels)
            case Reset(None):
                self.state.reset_all()
            case Reset(str() as stream):
                slot = self.slots.get(stream)
                self.state.reset(np.array([] if slot is None else [slot], np.int64))
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
                self.state.configure(self._told(settings))
        return Effect()

    def _told(self, settings: Mapping[str, Any]) -> Group:
        """Settings as they were given; a profile that is left to us stays what it is while we run."""
        told = msgspec.convert(settings, Group)
        return msgspec.structs.replace(told, profile=self.settings.profile) if told.profile == "auto" else told

    def apply(self, batch: Batch) -> Outcome:
        """Move the state on by one batch.

        Args:
            batch: frames of different streams; values [B, C] for the channels known now, each time after the stream's
                last one. A stream that is not in memory counts as new: `restore` the spilled ones before.

        Returns:
            what was forecast, how strange it was, and what became of training, before it was learned from.
        """
        reports = (self.learner.install(),) if self.waits else ()
        return passage.apply(self.state, batch, reports)

    def _fall_silent(self, streams: Sequence[str]) -> tuple[Incident, ...]:
        """Incidents of those of the streams that are in memory, not known to be silent, and not disturbed already."""
        slots = np.array([slot for stream in streams if (slot := self.slots.get(stream)) is not None], np.int64)
        slots = slots[~self.silence.silent[slots]]
        self.state.about_to_change(slots)
        self.silence.silent[slots] = True
        # of the frames that did not come
        due = self.timing.last_time[slots] + np.nan_to_num(self.timing.interval[slots])
        names = [self.slots.names[slot] for slot in slots.tolist()]
        told = self.incidents.raise_silent(slots, names, self.channels, due)
        self.feedback.keep(told.incidents, [], np.empty((0, 0), np.float32))
        none = np.array([])
        self.state.rate.count(len(told.incidents), none, none, self.settings.alarm.per_week)
        return self.state.together.update(told, self.frames)

    def snapshot(self) -> Snapshot:
        """Mark the state as of now; give it time with `copy` between two calls of `apply`, and it will hold the state.

        It takes the place of one before that is not complete.
        """
        return self.state.snapshot()

    def spill(self, count: int) -> list[tuple[str, bytes]]:
        """Take the streams that have been silent longest out of memory; no outcome depends on it.

        Returns:
            (stream, row) of each, for `restore`; the longest silent first.
        """
        return self.state.spill(count)

    def restore(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Bring spilled streams back as they were, but for what has happened to all streams since.

        Raises:
            ValueError: a stream is in memory already, or its row can't be read; nothing is restored then.
        """
        self.state.restore(items)

    def state_dict(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """The whole state: arrays by name, and the rest as what JSON can hold. The arrays are not copies."""
        return self.state.state_dict()

    def load_state_dict(self, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave and go on exactly as that engine would have.

        Raises:
            ValueError: the state is of another shape than the settings ask for, see `migrate`, or of a newer streamd;
                the text says where.
        """
        self.state.load_state_dict(arrays, meta)
