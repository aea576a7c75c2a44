"""The replay memory: windows to train on, recent ones and a fair sample of all older ones.

Half of it is a ring of the newest windows; what falls out of that enters the other half as in reservoir sampling
(Vitter 1985, algorithm R), so that what was learnt long ago is kept. Knows windows, not streams.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from streamd.engine import horizons
from streamd.engine.features import CLOCK, PLANES, bounded, compose
from streamd.engine.recent import Recent
from streamd.engine.rows import Rows, column
from streamd.model.training import Windows
from streamd.records import F32, I64

HELD_BACK = 4  # the newest windows are not trained on: a candidate is judged by them
FRAME_ARRAYS = (*PLANES, "clock", "residual", "trust")  # cut from the rings of `Recent`


class Memory(Rows):
    """Windows of R frames, one per row: the first half of the rows is the ring, the second the reservoir."""

    level: F32 = column("R", "C", dtype=np.float32)
    change: F32 = column("R", "C", dtype=np.float32)
    seen: F32 = column("R", "C", dtype=np.float32)
    error: F32 = column("R", "C", dtype=np.float32)
    ahead: F32 = column("R", "C", dtype=np.float32)
    clock: F32 = column("R", CLOCK, dtype=np.float32)
    residual: F32 = column("R", "H", "C", dtype=np.float32, fill=np.nan)
    trust: F32 = column("R", dtype=np.float32)
    h: F32 = column("L", "K", dtype=np.float32)
    c: F32 = column("L", "K", dtype=np.float32)

    added: int = 0  # windows ever put in

    def add(
        self,
        recent: Recent,
        slots: I64,
        n: I64,
        generator: np.random.Generator,
        keep: Callable[[I64], None] | None = None,
    ) -> None:
        """Cut the windows that end with frames n, recorded just now.

        Args:
            slots, n: [W]; the windows' frames are n - R + 1 .. n.
            keep: is told which rows are about to change, where someone has to know.
        """
        R = self.sizes["R"]
        frames = slots[:, None], (n[:, None] + 1 + np.arange(R)) % R
        starts = slots, (n + 1 - R) // recent.stride % recent.sizes["S"]
        cut = {name: getattr(recent, name)[frames] for name in FRAME_ARRAYS}
        cut |= {"h": recent.start_h[starts], "c": recent.start_c[starts]}
        for i in range(len(slots)):
            row = self._make_room(generator, keep)
            for name, array in cut.items():
                getattr(self, name)[row] = array[i]

    def held_back(self) -> I64:
        """Rows of the newest windows, which are not to be trained on."""
        return (self.added - 1 - np.arange(min(HELD_BACK, self.added))) % self._ring

    def sample(self, count: int, generator: np.random.Generator, favour: float) -> I64:
        """Rows to train on, [count], with replacement: half recent, half old as soon as there are old ones.

        Args:
            favour: 0..1, how far recent ones are preferred to that.

        Raises:
            ValueError: there is nothing but the held-back windows; see `ready`.
        """
        recent = min(self.added, self._ring) - HELD_BACK
        back = HELD_BACK + generator.integers(recent, size=count)
        rows = (self.added - 1 - back) % self._ring
        old = min(max(self.added - self._ring, 0), self.slots - self._ring)
        if old:
            half = round(count / 2 * (1.0 - favour))
            rows[:half] = self._ring + generator.integers(old, size=half)
        return rows

    @property
    def ready(self) -> bool:
        """Whether there is anything to train on beside what is held back."""
        return self.added > HELD_BACK

    def windows(self, rows: I64) -> Windows:
        """What the trainer takes: inputs and targets of the frames of each window whose values have all come."""
        R, further = self.sizes["R"], horizons.of(self.sizes) - 1
        T = R - 1 - int(further[-1])
        x = compose(*(getattr(self, name)[rows, :T] for name in (*PLANES, "clock")))
        ahead = np.arange(1, T + 1)[:, None] + further  # [T, H]
        target = self.residual[rows][:, ahead, np.arange(len(further))]  # [W, T, H, C]
        trust = self.trust[rows][:, :T, None] * self.trust[rows][:, ahead]  # [W, T, H]
        weight = np.where(np.isfinite(target), trust[..., None], 0.0).astype(np.float32)
        return Windows(x, self.h[rows], self.c[rows], bounded(target), weight)

    @property
    def _ring(self) -> int:
        return self.slots // 2

    @property
    def used(self) -> int:
        """Rows in use, all in front: the reservoir takes nothing before the ring is full."""
        return min(self.added, self.slots)

    def _make_room(self, generator: np.random.Generator, keep: Callable[[I64], None] | None) -> int:
        """The ring's next row; what stood there may move into the reservoir."""
        row = self.added % self._ring
        changing = [row]
        left = self.added - self._ring  # windows that have left the ring before this one
        if left >= 0:
            size = self.slots - self._ring
            place = left if left < size else int(generator.integers(left + 1))
            if place < size:
                changing.append(self._ring + place)
        if keep is not None:
            keep(np.array(changing))
        if len(changing) > 1:
            self.move(np.array(changing[:1]), np.array(changing[1:]))
        self.added += 1
        return row
