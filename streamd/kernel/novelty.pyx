"""How far values, levels and levels beside the time of day lie from all known ones; see `streamd.engine.novelty`."""

from libc.float cimport DBL_MAX
from libc.math cimport ceil, exp2, fabs, floor, fmod, isnan, log, log2, sqrt
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset


cdef struct Rules:
    double range_keep, full, furthest
    Py_ssize_t cells
    unsigned char* scratch  # cells / 8 bytes


cdef inline double width_of(Rules* rules, double span, double centre) noexcept nogil:
    """Of a cell, for a range of this span around a centre; 0 where there is none."""
    cdef double width, finest
    # the smallest numbers have no fractions: of a range of a few of them a cell has no width, and it counts as none
    width = exp2(ceil(log2(span))) / (rules.cells // 2) if span > 0.0 else 0.0
    if not width > 0.0:
        return 0.0
    # a range that is nothing beside the level has cells as fine as numbers are
    finest = exp2(ceil(log2(fabs(centre) + 1e-300))) / rules.furthest
    return width if width > finest else finest


cdef inline Py_ssize_t place_of(double cell, Py_ssize_t cells) noexcept nogil:
    """The cell itself, or the nearest that there is."""
    return cells - 1 if cell >= cells else <Py_ssize_t>cell if cell > 0.0 else 0


cdef inline unsigned char bit(Py_ssize_t place) noexcept nogil:
    """Which bit of its byte a cell is, the first in the highest."""
    return 128 >> (place & 7)


cdef void regrid(Rules* rules, unsigned char* bits, double width, double origin, double wider, double start) noexcept nogil:
    """The same visits on a grid of other cells; what lies outside of it is forgotten."""
    cdef Py_ssize_t old, place
    cdef double at
    memset(rules.scratch, 0, rules.cells // 8)
    for old in range(rules.cells):
        if bits[old >> 3] & bit(old):
            at = floor((old + 0.5 + origin) * (width / wider) - start)
            if at >= 0.0 and at < rules.cells:
                place = <Py_ssize_t>at
                rules.scratch[place >> 3] |= bit(place)
    memcpy(bits, rules.scratch, rules.cells // 8)


cdef double nearest(
    Py_ssize_t cells, const unsigned char* recent, const unsigned char* older, Py_ssize_t place
) noexcept nogil:
    """Steps from a cell to the nearest other one that is marked; as many as there are cells if none is."""
    cdef Py_ssize_t steps, at
    for steps in range(1, cells):
        at = place - steps
        if at >= 0 and (recent[at >> 3] | older[at >> 3]) & bit(at):
            return steps
        at = place + steps
        if at < cells and (recent[at >> 3] | older[at >> 3]) & bit(at):
            return steps
    return cells


cdef double distance(
    Rules* rules, double value, double* low, double* high, double* width, double* origin,
    unsigned char* recent, unsigned char* older,
) noexcept nogil:
    """How far a value is from what one view of one channel knows, in ranges; marks its cell."""
    cdef double first, middle, half, span, centre, wide, cell, start, far
    cdef Py_ssize_t place
    cdef bint tight, known
    if isnan(low[0]):
        low[0] = high[0] = value
    first = low[0]  # where all were equal so far, that is the only value known
    middle, half = 0.5 * (low[0] + high[0]), 0.5 * rules.range_keep * (high[0] - low[0])
    low[0] = middle - half if middle - half < value else value
    high[0] = middle + half if middle + half > value else value
    span, centre = high[0] - low[0], 0.5 * (low[0] + high[0])

    if width[0] == 0.0:
        wide = width_of(rules, span, centre)
        if not wide > 0.0:
            return 0.0
        width[0], origin[0] = wide, floor(centre / wide) - rules.cells // 2
        place = place_of(floor(first / wide) - origin[0], rules.cells)
        recent[place >> 3] |= bit(place)

    # where a range has grown by hundreds of orders, the way in old cells is no number
    cell = floor(value / width[0]) - origin[0]
    tight = span > rules.full * rules.cells * width[0]
    if tight or not (cell >= 0.0 and cell < rules.cells):
        wide = width[0]
        if tight:
            wide = width_of(rules, span, centre)
            wide = wide if wide > 2.0 * width[0] else 2.0 * width[0]
        start = floor(centre / wide) - rules.cells // 2
        regrid(rules, recent, width[0], origin[0], wide, start)
        regrid(rules, older, width[0], origin[0], wide, start)
        width[0], origin[0] = wide, start
        cell = floor(value / wide) - start

    place = place_of(cell, rules.cells)
    known = (recent[place >> 3] | older[place >> 3]) & bit(place) != 0
    recent[place >> 3] |= bit(place)
    if known:
        return 0.0
    far = nearest(rules.cells, recent, older, place) * width[0] / span
    return 1.0 if far > 1.0 else far


cdef class Novelty:
    """The arrays of `streamd.engine.novelty.Novelty`, and what is done to them."""

    cdef public double[:, ::1] level, aside, bias
    cdef public double[:, :, ::1] profile, low, high, width, origin
    cdef public float[:, :, ::1] visits
    cdef public unsigned char[:, :, :, ::1] recent, older
    cdef public double[::1] era, frames, hardened, quiet

    def observe(
        self, const int64_t[::1] slots, const double[:] times, const double[:, :] values, const double[:] period,
        double line, double smooth, double profile_rate, double bias_rate, double range_keep, double full,
        double era_frames, double refractory_frames, double young_periods, double calm_frames, double day_s,
        double furthest, double[:, ::1] out,
    ):
        """How new frames are, 1.0 at the line: into out, [B, C]; and remember them.

        times: [B] s since the epoch; values: [B, C], not finite where missing; period: [B] frames.
        """
        cdef Py_ssize_t b, c, v, when, C = values.shape[1], PARTS = self.profile.shape[1], V = self.recent.shape[1]
        cdef Py_ssize_t grids = V * C * self.recent.shape[3]
        cdef int64_t s
        cdef bint alarm, ended
        cdef double today, value, usual, rest, rate, taught, young, strength, ratio
        cdef double[3] views
        cdef Rules rules = Rules(range_keep, full, furthest, 8 * self.recent.shape[3], NULL)
        if V != 3:
            raise ValueError(f"{V} views of a channel, not 3")
        rules.scratch = <unsigned char*>malloc(self.recent.shape[3])
        if rules.scratch == NULL:
            raise MemoryError("no room for the cells of a grid")
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                self.era[s] += 1.0
                ended = self.era[s] >= era_frames and self.era[s] >= 4.0 * period[b]
                if ended:
                    self.era[s] = 0.0
                if ended and grids > 0:
                    memcpy(&self.older[s, 0, 0, 0], &self.recent[s, 0, 0, 0], grids)
                    memset(&self.recent[s, 0, 0, 0], 0, grids)
                today = fmod(times[b], day_s)
                today = today + day_s if today < 0.0 else today
                when = place_of(floor(today / day_s * PARTS), PARTS)
                for c in range(C):
                    out[b, c] = 0.0
                    value = values[b, c]
                    if not fabs(value) <= DBL_MAX:
                        continue
                    usual, rest = 0.0, 0.0
                    if self.visits[s, when, c] > 0.0:
                        usual = self.profile[s, when, c]
                        rest = value - usual - self.bias[s, c]
                    self.aside[s, c] = self.aside[s, c] + smooth * (rest - self.aside[s, c])
                    rate = 1.0 / (<double>self.visits[s, when, c] + 1.0)
                    rate = rate if rate > profile_rate else profile_rate
                    self.profile[s, when, c] = usual + rate * (value - self.bias[s, c] - usual)
                    rest = <double>self.visits[s, when, c] + 1.0
                    self.visits[s, when, c] = <float>(rest if rest < 1.0 / profile_rate else 1.0 / profile_rate)
                    if isnan(self.level[s, c]):
                        self.level[s, c] = value
                    else:
                        self.level[s, c] = self.level[s, c] + smooth * (value - self.level[s, c])
                        self.bias[s, c] = self.bias[s, c] + bias_rate * (value - self.profile[s, when, c] - self.bias[s, c])
                    views[0], views[1], views[2] = value, self.aside[s, c], self.level[s, c]
                    for v in range(3):
                        out[b, c] += distance(
                            &rules, views[v], &self.low[s, v, c], &self.high[s, v, c], &self.width[s, v, c], &self.origin[s, v, c],
                            &self.recent[s, v, c, 0], &self.older[s, v, c, 0],
                        )

                self.frames[s] += 1.0
                taught = self.hardened[s] * exp2(-1.0 / (period[b] if period[b] > calm_frames else calm_frames))
                # while little was seen yet, much is new: a budget of one in so many frames can't be spent on that
                young = young_periods * period[b] / self.frames[s]
                strength = 0.0 if self.quiet[s] > 0.0 else 1.0 / ((1.0 + taught) * sqrt(young if young > 1.0 else 1.0))
                alarm = False
                for c in range(C):
                    alarm = alarm or strength * out[b, c] > line
                    # of events, twice as far is not twice as strange; the line stays where it is
                    ratio = strength * out[b, c] / line
                    out[b, c] = 1.0 + 0.5 * log(ratio) if ratio > 1.0 else ratio
                self.hardened[s] = taught + alarm
                self.quiet[s] = refractory_frames if alarm else self.quiet[s] - 1.0 if self.quiet[s] > 1.0 else 0.0
        free(rules.scratch)
