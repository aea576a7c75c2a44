"""What was forecast for the last frames of every stream and what they scored, so that an incident can be shown later.

In rings beside those of `Recent`, which have the values: frame n lies in row n % R. Knows which incidents are open; not
what becomes of what it cuts out. A reset forgets them, and what was open then tells no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from streamd.engine.ranges import Ranges
from streamd.engine.recent import Recent
from streamd.engine.rows import Rows, column
from streamd.engine.score import TERMS
from streamd.kernel import past as kernel
from streamd.records import F32, F64, I64, Bool, Excerpt, Incident

MOST = 320  # frames that are told of one incident, those before it among them


class Past(Rows, loops=kernel.Past):
    """Rings over the last R frames, and how far they were told."""

    loops: kernel.Past

    ahead: F32 = column("R", 3, "C", dtype=np.float32, fill=np.nan)  # mean, lower, upper, from the last value before
    time: F64 = column("R", fill=np.nan)  # s since the epoch
    score: F32 = column("R", dtype=np.float32, fill=np.nan)
    terms: F32 = column("R", len(TERMS), dtype=np.float32, fill=np.nan)
    told: I64 = column(dtype=np.int64)  # frames up to this number were told of the incident that was open last
    left: I64 = column(dtype=np.int64)  # frames that may still be told of it

    def remember(self, slots: I64, n: I64, times: F64, score: F64, terms: F64, offset: F64, bounds: F64) -> None:
        """Keep frames n, and what is forecast for the next ones.

        Args:
            times, score, terms: [B], [B], [B, T].
            offset: [B, C] of the forecast one step ahead, from the last values.
            bounds: [B, 2, C] of its interval, from the forecast.
        """
        self.loops.remember(slots, n, times, score, terms, offset, bounds)

    def cut(
        self,
        slots: I64,
        n: I64,
        seq: I64,
        streams: Sequence[str],
        channels: Sequence[str],
        recent: Recent,
        ranges: Ranges,
        opened: Sequence[str | None],
        incidents: Sequence[Incident],
        faces: Callable[[str], F32],
    ) -> tuple[Excerpt, ...]:
        """What is to be told of incidents by now: at the raise the frames before, then a piece now and then.

        Args:
            slots, n, seq, streams: [B] of the batch, recorded and remembered just now.
            opened: [B] the incident that is open now.
            incidents: that are told of these frames.
            faces: an incident's patterns.
        """
        told = {incident.stream: incident for incident in incidents if incident.stream}
        found = []
        piece = max(self.sizes["R"] // 2, 1)
        for row, stream in enumerate(streams):
            incident = told.get(stream)
            name = opened[row] if incident is None else incident.id
            if name is None:
                continue
            slot, now = int(slots[row]), int(n[row])
            oldest = max(now + 2 - self.sizes["R"], 0)  # that of the row behind it makes room for the next forecast
            if incident is not None and incident.state == "raised":
                self.told[slot], self.left[slot] = oldest, MOST
            first = max(int(self.told[slot]), oldest)
            count = min(now + 1 - first, int(self.left[slot]))
            if count <= 0 or (incident is None and count < min(piece, int(self.left[slot]))):
                continue
            self.told[slot] = first + count
            self.left[slot] -= count
            frames = np.arange(first, first + count)
            begin = int(seq[row]) - (now - first)
            found.append(self._excerpt(name, stream, slot, frames, begin, channels, recent, ranges, faces(name)))
        return tuple(found)

    def held(
        self,
        slot: int,
        n: int,
        seq: int,
        stream: str,
        channels: Sequence[str],
        recent: Recent,
        ranges: Ranges,
        most: int,
    ) -> Excerpt:
        """The last frames of a stream that are still there, at most so many, whether or not there is an incident.

        Args:
            n, seq: of the last one; n is less than 0 where there is none.
        """
        count = max(min(n + 1, self.sizes["R"] - 1, most), 0)  # the row behind makes room for the next forecast
        frames = np.arange(n + 1 - count, n + 1)
        none = np.empty((0, 0), np.float32)
        return self._excerpt("", stream, slot, frames, seq + 1 - count, channels, recent, ranges, none)

    def _excerpt(
        self,
        incident: str,
        stream: str,
        slot: int,
        frames: I64,
        seq: int,
        channels: Sequence[str],
        recent: Recent,
        ranges: Ranges,
        patterns: F32,
    ) -> Excerpt:
        R = self.sizes["R"]
        rows, before = frames % R, (frames - 1) % R
        base = recent.base[slot, rows]
        seen: Bool = recent.seen[slot, rows] > 0
        last = np.where((frames > 0)[:, None], recent.base[slot, before], np.nan)
        ahead = self.ahead[slot, rows].astype(np.float64)
        shown = ranges.show(last[:, None], ahead[:, :1], ahead[:, 1:])
        return Excerpt(
            incident=incident,
            stream=stream,
            channels=tuple(channels),
            seq=seq,
            times=self.time[slot, rows],
            values=np.where(seen, ranges.turned(base), np.nan),
            mean=shown.mean[:, 0],
            lower=shown.levels[:, 0],
            upper=shown.levels[:, 1],
            score=self.score[slot, rows],
            terms=self.terms[slot, rows],
            patterns=patterns,
        )
