"""The few frozen records that travel between the parts.

Knows what a thing is called and in which unit; knows nothing of how it is made, sent or kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]
Array: TypeAlias = NDArray[Any]


class Reading(msgspec.Struct, frozen=True, gc=False):
    """Values of some channels of one stream at one time, as decoded from a payload."""

    stream: str
    time: float | None  # s since the epoch, by the sensor's clock; None: the message carries no time
    values: Mapping[str, float]  # channel -> value, in the sensor's own unit; always finite


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames of different streams of one group, in order: what the engine applies at once."""

    streams: tuple[str, ...]  # [B], all different
    times: F64  # [B] s since the epoch
    values: F64  # [B, C] in the sensors' units; NaN where a channel is missing

    def __len__(self) -> int:
        return len(self.streams)


class Widen(msgspec.Struct, frozen=True, tag="widen"):
    """The group gains channels; what was learnt about the others is kept."""

    channels: tuple[str, ...]


class Reset(msgspec.Struct, frozen=True, tag="reset"):
    """Forget the state of one stream, or of all of the group (None); the network's weights stay."""

    stream: str | None = None


class Freeze(msgspec.Struct, frozen=True, tag="freeze"):
    """Stop training the group's network; forecasts and scores go on."""


class Thaw(msgspec.Struct, frozen=True, tag="thaw"):
    """Train again."""


HELD: Final = 0.0  # the factor of a schedule on which no job begins


class Stretch(msgspec.Struct, frozen=True, tag="stretch"):
    """Training jobs fall due `factor` times as many frames apart as the config says; HELD: they wait for another."""

    factor: float


class Silent(msgspec.Struct, frozen=True, tag="silent"):
    """Nothing has been heard of streams for longer than is usual for each: they are silent until their next frame."""

    streams: tuple[str, ...]


Verdict: TypeAlias = Literal["false", "real"]


class Teach(msgspec.Struct, frozen=True, tag="teach"):
    """What somebody says an incident was: a false alarm, or a real one."""

    incident: str
    verdict: Verdict


class Withdraw(msgspec.Struct, frozen=True, tag="withdraw"):
    """Take back what was said of an incident."""

    incident: str


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """The group's settings are others from here on; only such as can be changed while it runs, see `live`."""

    settings: dict[str, Any]  # all of the group's, as plain values


class Marks(msgspec.Struct, frozen=True, tag="marks"):
    """Messages that are dealt with, and may come again all the same: [packet id, checksum] each. Moves no engine.

    None of them: the broker's session is new, so that none of those before comes again, and packet ids begin anew.
    """

    messages: tuple[tuple[int, int], ...]


Command: TypeAlias = Widen | Reset | Freeze | Thaw | Stretch | Silent | Teach | Withdraw | Configure
Record: TypeAlias = Batch | Command | Marks  # what the journal holds


@dataclass(frozen=True, slots=True)
class Effect:
    """What came of a command."""

    incidents: tuple[Incident, ...] = ()
    said: str = ""  # to whoever gave it


def named(command: Command) -> tuple[str, ...]:
    """The streams that a command names, and finds only if they are in memory."""
    match command:
        case Silent(streams):
            return streams
        case Reset(str() as stream):
            return (stream,)
    return ()


class Expected(msgspec.Struct, frozen=True):
    """A channel's value beside what was forecast for it one step before; NaN where it is not known."""

    value: float  # in the sensor's unit, as the rest
    expected: float
    lower: float  # of the group's main coverage
    upper: float


class Incident(msgspec.Struct, frozen=True):
    """One disturbance, of one stream or of many of a group at once: one event."""

    id: str  # stream-seq of the frame that raised it, of many group#frames: the same again after a restart
    stream: str  # empty where it is of many
    state: Literal["raised", "updated", "cleared"]  # updated: worse, other channels, more streams, or opened again
    start: float  # s since the epoch, when it began, though it was found later
    peak: float  # s since the epoch, time of the highest score
    end: float | None  # s since the epoch; None while open
    score: float  # the highest so far
    channels: dict[str, float]  # channel -> share of the blame at the peak; shares add to one
    terms: dict[str, float] = {}  # the score's terms at the peak
    expected: dict[str, Expected] = {}  # by channel, at the peak
    reason: Literal["calm", "accepted", "heard again"] | None = None  # why it was cleared; None while open
    streams: tuple[str, ...] = ()  # the members of one of many streams, in the order in which they joined
    part_of: str | None = None  # id of the open incident of many streams that this one belongs to


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Frames before or in an incident, with what was forecast for each of them one step before."""

    incident: str
    stream: str
    channels: tuple[str, ...]  # [C]
    seq: int  # of the first; the others follow without a gap
    times: F64  # [N] s since the epoch
    values: F64  # [N, C] in the sensors' units; NaN: missing
    mean: F64  # [N, C]
    lower: F64  # [N, C] of the group's main coverage
    upper: F64  # [N, C]
    score: F32  # [N]
    terms: F32  # [N, T] in the order of engine.score.TERMS
    patterns: F32  # [n, P] the incident's, so far; see engine.feedback


@dataclass(frozen=True, slots=True)
class Outcome:
    """What applying one batch gave, row by row as in the batch; made before the batch was learned from."""

    channels: tuple[str, ...]  # [C]
    streams: tuple[str, ...]  # [B]
    seq: I64  # [B] the stream's frame number, from 0, no gaps
    times: F64  # [B] s since the epoch
    interval: F64  # [B] s, the stream's usual step: row h of a forecast is meant for time + (h + 1) * interval
    mean: F64  # [B, H, C] forecast for 1..H steps ahead; NaN for a channel that was never seen
    lower: F64  # [B, H, C]
    upper: F64  # [B, H, C]
    score: F64  # [B] 1.0 is the alarm line; high is strange
    terms: F64  # [B, T] the score's terms, in the order of engine.score.TERMS, same scale
    channel_score: F64  # [B, C] each channel's part, same scale
    weights: F64  # [B, E + 1, H, C] what each expert counts in the mean, and the network's correction, which is last
    experts: F64  # [B, E, H, C] what each expert forecast; NaN of one that the compact profile does without
    levels: F64  # [B, Q, 2, H, C] lower and upper for each of the group's coverages, ascending
    drifted: Bool  # [B] the stream's errors have changed, says this frame
    warming: F64  # [B] progress of the warm-up, 1.0 when the score is calibrated
    incidents: tuple[Incident, ...] = ()
    reports: tuple[Report, ...] = ()
    paths: F64 | None = None  # [B, P, H, C] sample paths
    repaired: int = 0  # hidden states that were not finite or out of bounds, and were set right
    alarm_rate: float = math.nan  # alarms raised over those that the budget promised, as far as the memory reaches
    muted: Bool | None = None  # [B] over the line, but like what people called false; None: none is
    excerpts: tuple[Excerpt, ...] = ()  # of incidents, to be kept with them


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one training candidate."""

    accepted: bool
    reason: Literal["better", "worse", "not_finite"]
    loss: float  # mean over the trained windows, before the step
    held_back_before: float  # loss on held-back recent windows with the weights in use
    held_back_after: float  # ... with the candidate
    steps: int  # gradient steps made
