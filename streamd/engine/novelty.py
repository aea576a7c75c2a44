"""What was not seen before: how far a value, its level and its level beside the time of day lie from all known ones.

Each view of a channel keeps a grid over the range that it has been in and marks the cells that it has visited; a cell
that nobody visits any more is forgotten. Novelty is the way to the nearest visited cell, in ranges. One event, one
alarm: right after an alarm there is no other, and each makes the stream harder to impress for a while.
Knows single channels, no coupling and no forecast.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamd.engine.rows import Rows, column
from streamd.records import F32, F64, I64, Bool

LINE: Final = 0.01  # of the range, all views together: what alone makes an event
VIEWS: Final = 3  # the value; its level beside what the time of day lets expect; its level
SMOOTH: Final = 0.1  # how far a level follows a value
SLOTS: Final = 48  # of a day
PROFILE: Final = 0.07  # how far the profile of a day follows a value
BIAS: Final = 0.001  # how far the level that goes with the profile does
RANGE_KEEP: Final = 0.9997  # of the range, per frame: what lies outside of it by then is strange again
CELLS_LOG: Final = 9
CELLS: Final = 2**CELLS_LOG
FULL: Final = 0.75  # a range of more than so many cells, as a share, gets cells twice as wide
ERA_FRAMES: Final = 8192  # a visited cell is known for one to two eras
REFRACTORY_FRAMES: Final = 25  # after an alarm
YOUNG: Final = 4.0  # periods: until so many have passed, the line lies higher
CALM_FRAMES: Final = 2000.0  # half-life of what an alarm taught
DAY_S: Final = 86_400.0
_FURTHEST: Final = 2.0**50  # cells off zero: beyond it numbers have no fractions to tell cells apart

U8 = NDArray[np.uint8]


class Novelty(Rows):
    """What a stream has been like: 256 cells of 512 take 128 bytes for each view of a channel."""

    level: F64 = column("C", fill=np.nan)
    aside: F64 = column("C")  # the same of what the time of day does not explain
    bias: F64 = column("C")
    profile: F64 = column(SLOTS, "C")
    visits: F32 = column(SLOTS, "C", dtype=np.float32)
    low: F64 = column(VIEWS, "C", fill=np.nan)
    high: F64 = column(VIEWS, "C", fill=np.nan)
    width: F64 = column(VIEWS, "C")  # of a cell, a power of two; 0: all values were equal so far
    origin: F64 = column(VIEWS, "C")  # the first cell begins at origin * width
    recent: U8 = column(VIEWS, "C", CELLS // 8, dtype=np.uint8)  # cells visited in this era, one bit each
    older: U8 = column(VIEWS, "C", CELLS // 8, dtype=np.uint8)  # and in the one before
    era: F64 = column()  # frames since it began
    frames: F64 = column()
    hardened: F64 = column()  # alarms lately
    quiet: F64 = column()  # frames until there may be another

    def observe(self, slots: I64, times: F64, values: F64, period: F64) -> F64:
        """How new a frame is, [B, C], 1.0 at the line; and remember it.

        Args:
            times: [B] s since the epoch.
            values: [B, C]; NaN where missing: not strange.
            period: [B] frames that may pass between two false alarms.
        """
        here = np.isfinite(values)
        views = self._views(slots, times, values, here)
        distance = self._distance(slots, views, here, period)
        return self._events(slots, distance, period)

    def _views(self, slots: I64, times: F64, values: F64, here: Bool) -> F64:
        """The views of each channel, [B, V, C]; moves levels and profile."""
        at = slots, np.floor(times % DAY_S / DAY_S * SLOTS).astype(np.int64)
        profile, visits = self.profile[at], self.visits[at].astype(np.float64)
        level, aside, bias = self.level[slots], self.aside[slots], self.bias[slots]
        known = here & (visits > 0)
        usual = np.where(known, profile, 0.0)
        rest = np.where(known, values - usual - bias, 0.0)
        value = np.where(here, values, 0.0)

        aside = np.where(here, aside + SMOOTH * (rest - aside), aside)
        fresh = np.isnan(level)
        level = np.where(here, np.where(fresh, value, level + SMOOTH * (value - np.where(fresh, 0.0, level))), level)
        rate = np.maximum(PROFILE, 1.0 / (visits + 1.0))
        profile = np.where(here, usual + rate * (value - bias - usual), profile)
        bias = np.where(here & ~fresh, bias + BIAS * (value - np.where(here, profile, 0.0) - bias), bias)
        self.profile[at] = profile
        self.visits[at] = np.minimum(visits + here, 1.0 / PROFILE)
        self.level[slots], self.aside[slots], self.bias[slots] = level, aside, bias
        return np.stack([values, aside, level], axis=1)

    def _distance(self, slots: I64, views: F64, here: Bool, period: F64) -> F64:
        """How far each channel is from what it knows, in ranges, all views together [B, C]; marks the cells."""
        self._turn(slots, period)
        low, high = self.low[slots], self.high[slots]
        seen = np.broadcast_to(here[:, None], views.shape)
        fresh = seen & np.isnan(low)
        low, high = np.where(fresh, views, low), np.where(fresh, views, high)
        first = low  # where all were equal so far, that is the only value known
        middle, half = 0.5 * (low + high), 0.5 * RANGE_KEEP * (high - low)
        low = np.where(seen, np.fmin(middle - half, views), low)
        high = np.where(seen, np.fmax(middle + half, views), high)
        self.low[slots], self.high[slots] = low, high
        span = high - low

        width, origin = self.width[slots], self.origin[slots]
        recent, older = self.recent[slots], self.older[slots]
        centre = 0.5 * (low + high)
        # the smallest numbers have no fractions: of a range of a few of them a cell has no width, and it counts as none
        wanted = np.ceil(np.log2(np.where(span > 0.0, span, 1.0))) - (CELLS_LOG - 1)
        wanted = np.where(seen & (span > 0.0), np.exp2(wanted), 0.0)
        # a range that is nothing beside the level has cells as fine as numbers are
        wanted = np.maximum(
            wanted, np.where(wanted > 0.0, np.exp2(np.ceil(np.log2(np.abs(centre) + 1e-300))) / _FURTHEST, 0.0)
        )
        begins = (width == 0.0) & (wanted > 0.0)
        width = np.where(begins, wanted, width)
        origin = np.where(begins, np.floor(centre / np.where(begins, width, 1.0)) - CELLS // 2, origin)
        active = seen & (width > 0.0)
        marks = np.nonzero(begins)
        _mark(recent, marks, np.floor(first[marks] / width[marks]) - origin[marks])

        # where a range has grown by hundreds of orders, the way in old cells is no number
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            cell = np.floor(views / width) - origin
        tight = active & (span > FULL * CELLS * width)
        moved = np.nonzero(tight | (active & ((cell < 0) | (cell >= CELLS))))
        if len(moved[0]):
            wider = np.where(tight[moved], np.maximum(wanted[moved], 2.0 * width[moved]), width[moved])
            start = np.floor(centre[moved] / wider) - CELLS // 2
            for bits in (recent, older):
                bits[moved] = _regrid(bits[moved], width[moved], origin[moved], wider, start)
            width[moved], origin[moved] = wider, start
            cell[moved] = np.clip(np.floor(views[moved] / wider) - start, 0, CELLS - 1)
        self.width[slots], self.origin[slots] = width, origin

        at = np.nonzero(active)
        place = cell[at].astype(np.int64)
        byte, bit = place >> 3, np.left_shift(1, 7 - (place & 7)).astype(np.uint8)
        known = (recent[(*at, byte)] | older[(*at, byte)]) & bit > 0
        new = tuple(axis[~known] for axis in at)
        away = np.zeros(len(place))
        if len(new[0]):
            visited = np.unpackbits(recent[new] | older[new], axis=1).astype(np.bool_)  # [rows, CELLS]
            steps = np.abs(np.arange(CELLS) - place[~known][:, None])
            steps = np.where(visited, steps, CELLS).min(axis=1)
            away[~known] = np.minimum(steps * width[new] / span[new], 1.0)
        recent[(*at, byte)] |= bit
        self.recent[slots], self.older[slots] = recent, older
        distance = np.zeros(views.shape)
        distance[at] = away
        total: F64 = distance.sum(axis=1)
        return total

    def _turn(self, slots: I64, period: F64) -> None:
        """Forget the cells of the era before, where an era ends."""
        era = self.era[slots] + 1.0
        over = era >= np.maximum(ERA_FRAMES, 4.0 * period)
        self.era[slots] = np.where(over, 0.0, era)
        ended = slots[over]
        if len(ended):
            self.older[ended] = self.recent[ended]
            self.recent[ended] = 0

    def _events(self, slots: I64, distance: F64, period: F64) -> F64:
        frames = self.frames[slots] + 1.0
        hardened = self.hardened[slots] * np.exp2(-1.0 / np.maximum(period, CALM_FRAMES))
        quiet = self.quiet[slots]
        # while little was seen yet, much is new: a budget of one in so many frames can't be spent on that
        young = np.sqrt(np.maximum(YOUNG * period / frames, 1.0))
        strength = np.where(quiet > 0.0, 0.0, 1.0 / ((1.0 + hardened) * young))[:, None] * distance
        alarm = (strength > LINE).any(axis=1)
        self.frames[slots] = frames
        self.hardened[slots] = hardened + alarm
        self.quiet[slots] = np.where(alarm, REFRACTORY_FRAMES, np.maximum(quiet - 1.0, 0.0))
        # of events, twice as far is not twice as strange; the line stays where it is
        ratio = strength / LINE
        return np.where(ratio > 1.0, 1.0 + 0.5 * np.log(np.maximum(ratio, 1.0)), ratio)


def _mark(bits: U8, rows: tuple[NDArray[Any], ...], cell: F64) -> None:
    """Set one bit in each of these rows."""
    place = np.clip(cell, 0, CELLS - 1).astype(np.int64)
    bits[(*rows, place >> 3)] |= np.left_shift(1, 7 - (place & 7)).astype(np.uint8)


def _regrid(bits: U8, width: F64, origin: F64, wider: F64, start: F64) -> U8:
    """The same visits on a grid of other cells [rows, CELLS / 8]; what lies outside of it is forgotten."""
    visited = np.unpackbits(bits, axis=1)
    middle = (np.arange(CELLS) + 0.5 + origin[:, None]) * (width / wider)[:, None]
    place = np.floor(middle - start[:, None])
    row, old = np.nonzero(visited & (place >= 0) & (place < CELLS))
    fresh = np.zeros_like(visited)
    fresh[row, place[row, old].astype(np.int64)] = 1
    return np.packbits(fresh, axis=1)
