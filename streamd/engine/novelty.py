"""What was not seen before: how far a value, its level and its level beside the time of day lie from all known ones.

Each view of a channel keeps a grid over the range that it has been in and marks the cells that it has visited; a cell
that nobody visits any more is forgotten. Novelty is the way to the nearest visited cell, in ranges. One event, one
alarm: right after an alarm there is no other, and each makes the stream harder to impress for a while.
Knows single channels, no coupling and no forecast.
"""

from __future__ import annotations

from typing import Final

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
        centre = 0.5 * (low + high)
        # what follows is written where it changes, which is in few places: the cells are most of what there is
        without = np.nonzero((width == 0.0) & seen & (span > 0.0))
        if len(without[0]):
            wanted = _width(span[without], centre[without])
            begins = tuple(axis[wanted > 0.0] for axis in without)
            wide = wanted[wanted > 0.0]
            width[begins] = wide
            origin[begins] = np.floor(centre[begins] / wide) - CELLS // 2
            self._put(slots, begins, width, origin)
            place = np.clip(np.floor(first[begins] / wide) - origin[begins], 0, CELLS - 1).astype(np.int64)
            self.recent[(slots[begins[0]], *begins[1:], place >> 3)] |= _bit(place)
        active = seen & (width > 0.0)

        # where a range has grown by hundreds of orders, the way in old cells is no number
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            cell = np.floor(views / width) - origin
        tight = span > FULL * CELLS * width
        moved = np.nonzero(active & (tight | (cell < 0) | (cell >= CELLS)))
        if len(moved[0]):
            wanted = _width(span[moved], centre[moved])
            wider = np.where(tight[moved], np.maximum(wanted, 2.0 * width[moved]), width[moved])
            start = np.floor(centre[moved] / wider) - CELLS // 2
            at = slots[moved[0]], *moved[1:]
            for bits in (self.recent, self.older):
                bits[at] = _regrid(bits[at], width[moved], origin[moved], wider, start)
            width[moved], origin[moved] = wider, start
            self._put(slots, moved, width, origin)
            cell[moved] = np.clip(np.floor(views[moved] / wider) - start, 0, CELLS - 1)

        here_at = np.nonzero(active)
        at = slots[here_at[0]], *here_at[1:]
        place = cell[here_at].astype(np.int64)
        byte, bit = place >> 3, _bit(place)
        recent = self.recent[(*at, byte)]
        new = (recent | self.older[(*at, byte)]) & bit == 0
        self.recent[(*at, byte)] = recent | bit
        distance = np.zeros(views.shape)
        if new.any():
            rows, place, there = tuple(axis[new] for axis in at), place[new], tuple(axis[new] for axis in here_at)
            # the cell itself is marked by now, and is none of those that were known
            steps = _nearest(self.recent[rows] | self.older[rows], place)
            distance[there] = np.minimum(steps * width[there] / span[there], 1.0)
        total: F64 = distance.sum(axis=1)
        return total

    def _put(self, slots: I64, where: tuple[I64, ...], width: F64, origin: F64) -> None:
        """Take over the grids [B, V, C] of a batch in these places."""
        at = slots[where[0]], *where[1:]
        self.width[at], self.origin[at] = width[where], origin[where]

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


def _width(span: F64, centre: F64) -> F64:
    """Of a cell, for ranges of this span around a centre [n]; 0 where there is none."""
    # the smallest numbers have no fractions: of a range of a few of them a cell has no width, and it counts as none
    some = span > 0.0
    width = np.where(some, np.exp2(np.ceil(np.log2(np.where(some, span, 1.0))) - (CELLS_LOG - 1)), 0.0)
    # a range that is nothing beside the level has cells as fine as numbers are
    finest = np.exp2(np.ceil(np.log2(np.abs(centre) + 1e-300))) / _FURTHEST
    wide: F64 = np.where(width > 0.0, np.maximum(width, finest), 0.0)
    return wide


def _bit(place: I64) -> U8:
    """Which bit of its byte a cell is."""
    bit: U8 = _BITS[place & 7]
    return bit


def _nearest(bits: U8, place: I64) -> F64:
    """Steps from each cell [n] to the nearest other one that is marked in its row [n, CELLS / 8]; CELLS if none is.

    A byte holds eight cells, the first in its highest bit: the nearest are in the cell's own byte, or else in the last
    byte before that has any, or the first after.
    """
    byte = place >> 3
    marked = bits != 0
    at = _PLACES - byte[:, None].astype(np.int8)
    before = np.where(marked & (at < 0), at, np.int8(-128)).max(axis=1).astype(np.int64)
    after = np.where(marked & (at > 0), at, np.int8(127)).min(axis=1).astype(np.int64)
    row = np.arange(len(place))
    own = bits[row, byte]
    lower, higher = own & _BEFORE[place & 7], own & _AFTER[place & 7]
    last = 8 * (byte + before) + _LAST[bits[row, np.maximum(byte + before, 0)]]
    first = 8 * (byte + after) + _FIRST[bits[row, np.minimum(byte + after, CELLS // 8 - 1)]]
    last = np.where(lower > 0, 8 * byte + _LAST[lower], np.where(before > -128, last, -CELLS))
    first = np.where(higher > 0, 8 * byte + _FIRST[higher], np.where(after < 127, first, 2 * CELLS))
    steps: F64 = np.minimum(np.minimum(place - last, first - place), CELLS).astype(np.float64)
    return steps


_PLACES: Final = np.arange(CELLS // 8, dtype=np.int8)
_BITS: Final = (128 >> np.arange(8)).astype(np.uint8)  # of a byte, the first cell's first
_AFTER: Final = (_BITS - 1).astype(np.uint8)
_BEFORE: Final = (~(_BITS | _AFTER)).astype(np.uint8)
_FIRST: Final = np.array([0] + [8 - value.bit_length() for value in range(1, 256)])  # marked cell of a byte
_LAST: Final = np.array([0] + [8 - (value & -value).bit_length() for value in range(1, 256)])


def _regrid(bits: U8, width: F64, origin: F64, wider: F64, start: F64) -> U8:
    """The same visits on a grid of other cells [rows, CELLS / 8]; what lies outside of it is forgotten."""
    row, old = np.nonzero(np.unpackbits(bits, axis=1))
    middle = (old + 0.5 + origin[row]) * (width / wider)[row]
    place = np.floor(middle - start[row])
    inside = (place >= 0) & (place < CELLS)
    fresh = np.zeros((len(bits), CELLS), np.uint8)
    fresh[row[inside], place[inside].astype(np.int64)] = 1
    return np.packbits(fresh, axis=1)
