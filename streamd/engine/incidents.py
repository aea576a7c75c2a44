"""One disturbance, one incident: raised over the line, cleared when the stream has been calm for a while.

Knows scores and times; not where an incident is sent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamd.engine.rows import Rows, column
from streamd.records import F64, I64, Bool, Incident

CALM = 0.7  # a score below it is calm
CALM_FRAMES = 10  # in a row end an incident
WORSE = 1.5  # a peak so much higher than the one told last is told


class Incidents(Rows):
    """Open incidents, one at most per stream."""

    open: Bool = column(dtype=np.bool_)
    seq: I64 = column(dtype=np.int64)  # of the first frame
    start: F64 = column()
    peak_time: F64 = column()
    peak: F64 = column()
    told: F64 = column()  # the peak that was told last
    calm: I64 = column(dtype=np.int64)  # calm frames in a row
    calm_since: F64 = column()
    share: F64 = column("C")  # of the blame, at the peak

    def update(
        self,
        slots: I64,
        streams: Sequence[str],
        channels: Sequence[str],
        seq: I64,
        times: F64,
        score: F64,
        channel_score: F64,
    ) -> tuple[Incident, ...]:
        """Take in a batch's scores; gives the incidents that were raised, got worse or ended, in the batch's order."""
        touched: list[int] = np.flatnonzero(self.open[slots] | (score >= 1.0)).tolist()
        found = (
            self._one(
                int(slots[i]), streams[i], channels, int(seq[i]), float(times[i]), float(score[i]), channel_score[i]
            )
            for i in touched
        )
        return tuple(incident for incident in found if incident is not None)

    def fall_silent(self, slot: int, stream: str, channels: Sequence[str], seq: int, due: float) -> Incident | None:
        """Raise one for a stream that says nothing; None where one is open: that goes on.

        Args:
            seq: of the frame that did not come.
            due: when it should have, s since the epoch.
        """
        if self.open[slot]:
            return None
        self.open[slot], self.seq[slot], self.start[slot], self.peak_time[slot] = True, seq, due, due
        self.peak[slot] = self.told[slot] = 1.0
        self.calm[slot] = 0
        self.share[slot] = 1.0 / max(len(channels), 1)
        return self._tell(slot, stream, channels, "raised")

    def hear_again(self, slot: int, stream: str, channels: Sequence[str], time: float) -> Incident:
        """End the one that `fall_silent` raised: the stream has said something at `time`."""
        self.open[slot], self.calm_since[slot] = False, time
        return self._tell(slot, stream, channels, "cleared")

    def _one(
        self, slot: int, stream: str, channels: Sequence[str], seq: int, time: float, score: float, parts: F64
    ) -> Incident | None:
        raised = not self.open[slot]
        if raised:
            self.open[slot], self.seq[slot], self.start[slot] = True, seq, time
            self.peak[slot] = self.calm[slot] = 0
        if score > self.peak[slot]:
            total = float(parts.sum())
            self.peak[slot], self.peak_time[slot] = score, time
            self.share[slot] = parts / total if total > 0 else 0.0
        if score >= CALM:
            self.calm[slot] = 0
        else:
            self.calm_since[slot] = time if self.calm[slot] == 0 else self.calm_since[slot]
            self.calm[slot] += 1
        if self.calm[slot] >= CALM_FRAMES:
            self.open[slot] = False
            return self._tell(slot, stream, channels, "cleared")
        if raised or self.peak[slot] >= WORSE * self.told[slot]:
            self.told[slot] = self.peak[slot]
            return self._tell(slot, stream, channels, "raised" if raised else "updated")
        return None

    def _tell(self, slot: int, stream: str, channels: Sequence[str], state: str) -> Incident:
        return Incident(
            id=f"{stream}-{int(self.seq[slot])}",
            stream=stream,
            state=state,  # type: ignore[arg-type]
            start=float(self.start[slot]),
            peak=float(self.peak_time[slot]),
            end=float(self.calm_since[slot]) if state == "cleared" else None,
            score=float(self.peak[slot]),
            channels=dict(zip(channels, self.share[slot].tolist(), strict=True)),
        )
