"""All that an engine of one group keeps, and what becomes of it: rows for streams, room, spilling, saving.

A stream has a slot, a row in the arrays of every part; see `Rows`. Knows which parts there are and when rows change;
not what a frame does to them, which is `passage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from streamd.config import Group
from streamd.engine import fit, layout, spill
from streamd.engine.drift import Drift
from streamd.engine.experts import Experts
from streamd.engine.feedback import Feedback
from streamd.engine.hidden import Hidden
from streamd.engine.incidents import Incidents
from streamd.engine.intervals import Intervals, Pool
from streamd.engine.learner import Learner, Trainer
from streamd.engine.memory import Memory
from streamd.engine.past import Past
from streamd.engine.paths import Paths
from streamd.engine.ranges import Ranges
from streamd.engine.rate import AlarmRate
from streamd.engine.recent import Recent
from streamd.engine.rows import Rows
from streamd.engine.rules import Rules
from streamd.engine.scale import Scale
from streamd.engine.score import Judge
from streamd.engine.silence import Silence
from streamd.engine.slots import Slots, Timing
from streamd.engine.snapshot import Snapshot
from streamd.engine.together import Together
from streamd.records import I64, Array

FIRST_ROWS = 16
LASTING = ("seq", "last_time", "number")  # of a stream, when its state begins afresh
# parts whose arrays have no row per slot; weights and windows of a job never change in place, and what the group knows
# is little enough to be copied at once
KINDS = {"memory": "memory", "learner": "whole", "pool": "common", "common": "common", "feedback": "whole"}


class State:
    """Of one group of streams.

    Args:
        settings: of the group.
        trainer: carries the training jobs out.
    """

    def __init__(self, settings: Group, trainer: Trainer) -> None:
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

    def absent(self, streams: Iterable[str]) -> list[str]:
        """Which of these are not in memory: never seen, or spilled."""
        return [stream for stream in streams if stream not in self.slots]

    def parts(self) -> dict[str, Rows]:
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
            f"{name}.{key}": array for name, part in self.parts().items() for key, array in part.state_dict().items()
        }

    def open(self, streams: Sequence[str]) -> I64:
        """The slots of streams whose rows are about to change, [B]; those that are not in memory count as new."""
        before = len(self.slots)
        slots = self._take_slots(streams)
        if len(self.slots) > before:
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
        self.about_to_change(slots)
        return slots

    def _grow(self, slots: int) -> None:
        for part in self.parts().values():
            part.grow(slots)

    def about_to_change(self, slots: I64) -> None:
        """Call before rows change in place: a snapshot under way copies them first."""
        if self._snapshot is not None:
            self._snapshot.streams.keep(slots)
            if self._snapshot.complete:
                self._snapshot = None

    def reset_all(self) -> None:
        """Let all streams begin afresh, those that are spilled when they come back."""
        self.resets += 1
        self._reset_generation = self.learner.generation
        self.reset(np.arange(len(self.slots)))

    def reset(self, slots: I64) -> None:
        """Let streams begin afresh."""
        self.about_to_change(slots)
        lasting = {name: getattr(self.timing, name)[slots] for name in LASTING}
        for part in self.parts().values():
            if part is not self.incidents:  # an open one ends when the stream is calm, so that it ends for everyone
                part.clear(slots)
        self._begin(slots)
        # what others count by goes on: outcomes stay contiguous, and old readings stay old
        for name, array in lasting.items():
            getattr(self.timing, name)[slots] = array

    def _begin(self, slots: I64) -> None:
        """Let fresh rows begin with the group's weights."""
        self.hidden.generation[slots] = self.learner.generation

    def remember_windows(self, slots: I64, n: I64) -> None:
        """Put the windows that are complete with frames n, recorded just now, into the replay memory."""
        if self.recent.fills(n):
            full = ((n + 1) % self.recent.stride == 0) & (n + 1 >= self.recent.sizes["R"])
            keep = None if self._snapshot is None else self._snapshot.windows.keep
            self.memory.add(self.recent, slots[full], n[full], self.learner.generator, keep)

    def widen(self, channels: Sequence[str]) -> None:
        """Take more channels; those that are known already stay where they are."""
        self.channels += tuple(name for name in channels if name not in self.channels)
        sizes = {"C": len(self.channels)}
        for part in self.parts().values():
            part.widen(sizes)
        self.memory.widen(sizes)
        self.pool.widen(sizes)
        self.judge.common.widen(sizes)
        self.ranges = Ranges(self.settings.channel, self.channels)
        self.rules = Rules(self.settings.channel, self.channels)
        self.learner.widen(len(self.channels))
        self.feedback.widen(len(self.channels))

    def configure(self, settings: Group) -> None:
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
        kinds: dict[str, dict[str, Array]] = {"memory": {}, "whole": {}, "common": {}, "streams": {}}
        for name, array in arrays.items():
            part = name.partition(".")[0]
            kinds[KINDS.get(part, "streams")][name] = array
        whole = kinds["whole"] | {name: array.copy() for name, array in kinds["common"].items()}
        self._snapshot = Snapshot(kinds["streams"], kinds["memory"], whole, meta)
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
        self.about_to_change(np.concatenate([target, freed]))
        for part in self.parts().values():
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
                self.reset(here)
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
            self.widen(known)
        windows = self.settings.training.memory_windows
        if meta["memory_windows"] != windows:
            raise ValueError(f"memory_windows: {meta['memory_windows']} is not {windows}")
        self.frames, self.known = meta["frames"], meta["known"]
        self.resets, self._reset_generation = meta["resets"], meta["reset_generation"]
        self.slots.load(meta["streams"])
        self.memory.added = meta["memory_added"]
        rows = dict.fromkeys(self.parts(), len(self.slots)) | {"memory": min(self.memory.added, windows)}
        rows |= dict.fromkeys(self._common(), 1)
        for name, part in {**self.parts(), "memory": self.memory, **self._common()}.items():
            part.load_state_dict(_of_part(name, arrays))
            if part.slots != rows[name]:
                raise ValueError(f"{name}: {part.slots} rows are not {rows[name]}")
        if "together" in meta:  # a state of an older version does not know of it
            self.together.load_state_dict(meta["together"])
            self.rate.load_state_dict(meta["rate"])
        self.memory.grow(windows)
        for part in self._common().values():
            part.grow(1)  # which makes arrays of its own
        self.learner.load_state_dict(_of_part("learner", arrays), meta["learner"])
        if "feedback" in meta:  # a state from before there was any lacks it
            self.feedback.load_state_dict(_of_part("feedback", arrays), meta["feedback"])
        self._grow(max(len(self.slots), FIRST_ROWS))


def _of_part(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of one part, by the names that it gave them."""
    start = f"{name}."
    return {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}
