"""One disturbance, one incident: raised over the line, cleared when the stream has been calm for a while.

It began with the first frame that was not calm any more, though the line was crossed later. What comes soon after its
end opens it again. One that stands still for as long as the config says is accepted: normal from then on.
Knows scores and times; neither how a score is made nor where an incident is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from streamd.config import Alarm
from streamd.engine.rows import Rows, column
from streamd.engine.score import TERMS
from streamd.kernel import incidents as kernel
from streamd.records import F64, I64, Bool, Expected, Incident

CALM = 0.7  # a score below it is calm; the first one that is not may be the beginning of a disturbance
CALM_FRAMES = 10  # in a row end an incident
REFRACTORY_STEPS = 60.0  # usual steps after the end in which an excess opens the incident again
WORSE = 1.5  # a peak so much higher than the one told last is told
LEAD = 0.1  # of the blame, by which another channel has to be ahead of the one told last
STEP_LIMIT = 4.0  # usual steps: a longer gap counts as so much where time is counted
UNSTEADY = 10.0  # times as fast as it came, what stood still so far is forgotten in a frame that does not

# how the last incident came, or went
NONE, BY_FRAME, BY_SILENCE, CALMED, ACCEPTED = range(5)
Reason = Literal["calm", "accepted", "heard again"]


class Judged(msgspec.Struct, frozen=True, gc=False):
    """What was made of a batch's frames."""

    seq: I64  # [B]
    times: F64  # [B] s since the epoch
    interval: F64  # [B] s, usual step; NaN where not known
    score: F64  # [B] 1.0 is the line
    terms: F64  # [B, T] in the order of TERMS
    channel_score: F64  # [B, C]
    values: F64  # [B, C] in the sensors' units; NaN where missing
    expected: F64  # [B, C] what was forecast for this frame one step before; NaN where nothing was
    lower: F64  # [B, C]
    upper: F64  # [B, C]
    steady: Bool  # [B] whether the values stand still, as far as they ever do
    accepted: Bool | None = None  # [B] whether where they are has just become normal, if a term knows
    onset: F64 | None = None  # [B] s since the epoch: when what is strange began, if a term knows; NaN: it does not


class Told(msgspec.Struct, frozen=True, gc=False):
    """What became of a batch's incidents."""

    incidents: tuple[Incident, ...]  # what is to be told, in the batch's order
    opened: dict[str, float]  # stream -> when its incident was raised or opened again, s since the epoch
    accepted: I64  # slots whose present level is normal from now on
    busy: bool = True  # whether an incident may be open, or was


NOTHING = Told((), {}, np.array([], np.int64), busy=False)


class Incidents(Rows, loops=kernel.Incidents):
    """Open incidents, one at most per stream, and the last one of each stream."""

    loops: kernel.Incidents

    open: Bool = column(dtype=np.bool_)
    how: I64 = column(dtype=np.int64)
    seq: I64 = column(dtype=np.int64)  # of the frame that raised it
    start: F64 = column()
    peak_time: F64 = column()
    peak: F64 = column()
    told: F64 = column()  # the peak that was told last
    calm: I64 = column(dtype=np.int64)  # calm frames in a row
    calm_since: F64 = column()
    over: F64 = column(fill=-np.inf)  # when the last one was cleared
    settled: F64 = column()  # s that the values have stood still in the incident
    share: F64 = column("C")  # of the blame, at the peak
    blamed: I64 = column(dtype=np.int64, fill=-1)  # the channel that had most of it when it was told
    terms: F64 = column(len(TERMS), fill=np.nan)  # at the peak
    band: F64 = column(4, "C", fill=np.nan)  # value, expected, lower, upper at the peak
    newest: I64 = column(dtype=np.int64, fill=-1)  # number of the stream's last frame
    seen: F64 = column(fill=np.nan)  # when it came
    restless_since: F64 = column(fill=np.nan)  # s since the epoch, first frame after the last calm one; NaN: it is calm

    def update(self, slots: I64, streams: Sequence[str], channels: Sequence[str], judged: Judged, alarm: Alarm) -> Told:
        """Take in a batch's scores; gives what was raised, got worse or ended, in the batch's order."""
        busy = self.loops.follow(slots, judged.times, judged.score, CALM, NONE, ACCEPTED, judged.seq)
        if not busy:
            return NOTHING
        incidents: list[Incident] = []
        opened: dict[str, float] = {}
        accepted: list[int] = []
        rows = np.flatnonzero(self.open[slots] | (judged.score >= 1.0)).tolist()
        for row in rows:
            slot, stream = int(slots[row]), streams[row]
            was_open = bool(self.open[slot])
            told = self._one(slot, row, stream, channels, judged, alarm)
            if told is not None:
                incidents.append(told)
            if self.open[slot] and not was_open:
                opened[stream] = float(judged.times[row])
            if told is not None and told.reason == "accepted":
                accepted.append(slot)
        self.newest[slots], self.seen[slots] = judged.seq, judged.times
        return Told(tuple(incidents), opened, np.array(accepted, np.int64))

    def raise_silent(self, slots: I64, streams: Sequence[str], channels: Sequence[str], times: F64) -> Told:
        """Open incidents of streams that ought to have spoken by now, without a frame; those that are open stay so.

        Args:
            times: [B] s since the epoch, when each one's silence began to be strange.
        """
        incidents: list[Incident] = []
        opened: dict[str, float] = {}
        for slot, stream, time in zip(slots.tolist(), streams, times.tolist(), strict=True):
            if self.open[slot]:
                continue
            self.open[slot], self.how[slot], self.seq[slot] = True, BY_SILENCE, self.newest[slot] + 1
            self.start[slot] = self.peak_time[slot] = time
            self.peak[slot] = self.told[slot] = 1.0
            self.calm[slot] = self.settled[slot] = 0
            self.terms[slot] = [float(name == "silence") for name in TERMS]
            self.band[slot] = np.nan
            self._blame(slot, np.zeros(len(channels)))
            opened[stream] = time
            incidents.append(self._tell(slot, stream, channels, "raised"))
        return Told(tuple(incidents), opened, np.array([], np.int64))

    def _one(
        self, slot: int, row: int, stream: str, channels: Sequence[str], judged: Judged, alarm: Alarm
    ) -> Incident | None:
        time, score = float(judged.times[row]), float(judged.score[row])
        state: Literal["raised", "updated"] | None = None
        if not self.open[slot]:
            state = self._open(slot, row, judged, alarm)
            if state is None:
                return None
        elif self.how[slot] == BY_SILENCE:
            # a frame that was held up may be older than the time at which its absence became strange
            self.start[slot] = min(time, self.start[slot])
            self.peak_time[slot] = min(time, self.peak_time[slot])
            if not _strange_but_for_silence(judged.terms[row]):
                return self._clear(slot, stream, channels, "heard again", end=time, over=time)
            self.how[slot] = BY_FRAME
        elif judged.onset is not None and judged.onset[row] < self.start[slot]:
            self.start[slot] = max(float(judged.onset[row]), float(self.over[slot]))  # told with whatever is told next
        if score > self.peak[slot]:
            self.peak[slot], self.peak_time[slot] = score, time
            self.terms[slot] = judged.terms[row]
            self.band[slot] = [array[row] for array in (judged.values, judged.expected, judged.lower, judged.upper)]
            self._blame(slot, judged.channel_score[row])

        if score < CALM:
            self.calm_since[slot] = time if self.calm[slot] == 0 else self.calm_since[slot]
            self.calm[slot] += 1
            if self.calm[slot] >= CALM_FRAMES:
                return self._clear(slot, stream, channels, "calm", end=float(self.calm_since[slot]), over=time)
        else:
            self.calm[slot] = 0
        if state is None:
            self._settle(slot, row, judged)
            if self.settled[slot] >= alarm.accept_s or (judged.accepted is not None and judged.accepted[row]):
                return self._clear(slot, stream, channels, "accepted", end=time, over=time)
        if state is not None or self._changed(slot):
            return self._tell(slot, stream, channels, state or "updated")
        return None

    def _open(self, slot: int, row: int, judged: Judged, alarm: Alarm) -> Literal["raised", "updated"] | None:
        """Raise an incident, or open the last one again; None: neither may be."""
        time = float(judged.times[row])
        wait = alarm.refractory_s
        if wait is None:
            wait = float(np.nan_to_num(REFRACTORY_STEPS * judged.interval[row]))
        soon = time < self.over[slot] + wait
        if soon and self.how[slot] == ACCEPTED:
            return None  # what was just accepted is still to be learnt
        again = bool(soon and self.how[slot] == CALMED)
        self.open[slot], self.how[slot] = True, BY_FRAME
        self.calm[slot] = self.settled[slot] = 0
        if again:
            return "updated"
        began = float(self.restless_since[slot])
        if judged.onset is not None:
            began = float(np.fmin(began, judged.onset[row]))
        self.start[slot] = max(began, float(self.over[slot]))  # not in the time of the one before
        self.seq[slot] = judged.seq[row]
        self.peak[slot] = 0.0
        return "raised"

    def _blame(self, slot: int, parts: F64) -> None:
        """Share the blame out; where none is to blame, all are alike."""
        parts = np.nan_to_num(np.maximum(parts, 0.0), posinf=np.finfo(np.float64).max)
        parts = parts / max(float(parts.max(initial=0.0)), 1e-300)  # so that the sum is a number
        total = float(parts.sum())
        self.share[slot] = parts / total if total > 0.0 else 1.0 / max(len(parts), 1)

    def _settle(self, slot: int, row: int, judged: Judged) -> None:
        """Count how long the values have stood still."""
        elapsed = float(np.fmin(judged.times[row] - self.seen[slot], STEP_LIMIT * judged.interval[row]))
        if np.isnan(elapsed):
            return
        settled = self.settled[slot] + (elapsed if judged.steady[row] else -UNSTEADY * elapsed)
        self.settled[slot] = max(settled, 0.0)

    def _changed(self, slot: int) -> bool:
        """Whether there is something to tell of an open incident."""
        if self.peak[slot] >= WORSE * self.told[slot]:
            return True
        share, blamed = self.share[slot], int(self.blamed[slot])
        return 0 <= blamed < len(share) and float(share.max()) >= float(share[blamed]) + LEAD

    def _clear(
        self, slot: int, stream: str, channels: Sequence[str], reason: Reason, *, end: float, over: float
    ) -> Incident:
        self.open[slot] = False
        self.how[slot] = ACCEPTED if reason == "accepted" else CALMED
        self.over[slot] = over
        return self._tell(slot, stream, channels, "cleared", reason=reason, end=end)

    def _tell(
        self,
        slot: int,
        stream: str,
        channels: Sequence[str],
        state: Literal["raised", "updated", "cleared"],
        *,
        reason: Reason | None = None,
        end: float | None = None,
    ) -> Incident:
        self.told[slot] = self.peak[slot]
        share = self.share[slot]
        share = share / total if (total := float(share.sum())) > 0.0 else np.full(len(share), 1.0 / max(len(share), 1))
        self.blamed[slot] = int(share.argmax()) if len(share) else -1
        bands = self.band[slot].T.tolist()  # [C, 4]
        return Incident(
            id=f"{stream}-{int(self.seq[slot])}",
            stream=stream,
            state=state,
            start=float(self.start[slot]),
            peak=float(self.peak_time[slot]),
            end=end,
            score=float(self.peak[slot]),
            channels=dict(zip(channels, share.tolist(), strict=True)),
            terms=dict(zip(TERMS, self.terms[slot].tolist(), strict=True)),
            expected={name: Expected(*band) for name, band in zip(channels, bands, strict=True)},
            reason=reason,
        )


def _strange_but_for_silence(terms: F64) -> bool:
    return any(term >= 1.0 for name, term in zip(TERMS, terms.tolist(), strict=True) if name != "silence")
