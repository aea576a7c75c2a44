"""What profiles say of frames, and how they are learnt from them; see `streamd.engine.seasons`."""

from libc.float cimport DBL_MAX
from libc.math cimport fabs, fmod, rint
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

cdef extern from "<math.h>" nogil:
    const double INFINITY

cdef enum:
    FOUND = 2  # the profile whose period was found in the data; those before it go by the clock
    PROFILES = 3


cdef struct Spot:
    # where a turn of a profile stands, and what is learned there
    Py_ssize_t low, high  # the knots before and after it
    double share  # how near the second is
    double visit  # frames from one knot to the next
    double pace  # what a frame counts in a part of a cycle


cdef inline double turn_of(double time, double clock_s) noexcept nogil:
    cdef double passed = fmod(time, clock_s)
    return (passed + clock_s if passed < 0 else passed) / clock_s


cdef inline Spot spot_at(double turn, Py_ssize_t knots, Py_ssize_t offset) noexcept nogil:
    cdef Spot spot
    cdef double place = turn * <double>knots
    cdef Py_ssize_t low
    if not 0 <= place < <double>knots:  # a turn that was rounded up is the next one's beginning
        place = 0.0
    low = <Py_ssize_t>place
    spot.share = place - <double>low
    spot.low = low + offset
    spot.high = offset + (low + 1 if low + 1 < knots else 0)
    spot.visit = spot.pace = 1.0
    return spot


cdef inline void pace(Spot* spot, double cycle, Py_ssize_t knots, double part) noexcept nogil:
    """cycle: frames; not a number where there is none."""
    if cycle != cycle:
        cycle = INFINITY
    spot.visit = cycle / <double>knots if cycle > <double>knots else 1.0
    spot.pace = part / cycle if cycle > part else 1.0


cdef inline double counts(double match, double power, double doubt) noexcept nogil:
    """How far a profile counts: the factor that would have been best for its past foretelling, less some doubt."""
    cdef double believed = (1.0 + doubt) * (match / power) - doubt
    return (believed if believed < 1 else 1.0) if believed > 0 else 0.0  # no number where nothing was foretold


cdef class Seasons:
    """The arrays of `streamd.engine.seasons.Seasons`, and what is done to them."""

    cdef public double[:, ::1] frames, level, period, phase
    cdef public double[:, :, ::1] knots, match, power
    cdef public float[:, :, ::1] hits, rest
    cdef public double[:, :, :, ::1] recent

    def learn(
        self, const int64_t[::1] slots, const int64_t[::1] n, const int64_t[::1] turns, const double[::1] steps,
        const double[:] times, const double[::1] interval, const double[:, :] values, const double[::1] trust,
        const int64_t[::1] counted, double day_s, double week_s, double fewest_frames, double level_frames, double match_frames, double part,
        double doubt, double learnt, double limit, double longest_gap, int64_t look_from, int64_t look_young,
        int64_t look_later, int64_t young_frames, double[:, ::1] season,
    ):
        """Take in frames; what the profiles said of them, before, goes into season, [B, C].

        counted: [PROFILES] knots of each profile.

        Returns:
            how many streams are due for a search.
        """
        cdef Py_ssize_t b, c, p, row, past, C = values.shape[1], span = self.rest.shape[1]
        cdef int64_t s, age, due = 0
        cdef double gap, value, seen, here_level, weight, left, each, believed, share, turn, foretold, before, old, rate
        cdef double[2] clocks
        cdef Py_ssize_t[3] offset
        cdef Spot[3] spots
        cdef Spot spot
        cdef bint here, begun
        clocks[0], clocks[1] = day_s, week_s
        offset[0], offset[1], offset[2] = 0, counted[0], counted[0] + counted[1]
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                age = n[b] + 1
                row, past = n[b] % span, (n[b] + span - 1) % span
                due += age >= look_from and (age + turns[b]) % (look_young if age < young_frames else look_later) == 0
                gap = rint(steps[b])
                gap = 1.0 if not gap > 1 else gap if gap < longest_gap else longest_gap
                for p in range(FOUND):
                    spots[p] = spot_at(turn_of(times[b], clocks[p]), counted[p], offset[p])
                    pace(&spots[p], clocks[p] / interval[b], counted[p], part)
                for c in range(C):
                    if fabs(self.period[s, c]) <= DBL_MAX:
                        self.phase[s, c] = fmod(self.phase[s, c] + gap / self.period[s, c], 1.0)
                    else:
                        self.phase[s, c] = 0.0
                    spots[FOUND] = spot_at(self.phase[s, c], counted[FOUND], offset[FOUND])
                    pace(&spots[FOUND], self.period[s, c], counted[FOUND], part)
                    value = values[b, c]
                    here = fabs(value) <= DBL_MAX
                    seen = self.frames[s, c]
                    begun = seen > 0
                    here_level = self.level[s, c] if begun else value
                    left = value - here_level if here else 0.0
                    weight = 1.0 if seen < 30 else trust[b]
                    rate = weight / (seen + 1.0 if seen + 1.0 < match_frames else match_frames)
                    if here:
                        self.level[s, c] = here_level + left / (seen + 1.0 if seen + 1.0 < level_frames else level_frames)
                        self.frames[s, c] = seen + 1.0
                    season[b, c] = 0.0
                    for p in range(PROFILES):
                        spot = spots[p]
                        each = (1.0 - spot.share) * self.knots[s, spot.low, c] + spot.share * self.knots[s, spot.high, c]
                        if fabs(self.period[s, c]) <= DBL_MAX if p == FOUND else interval[b] * fewest_frames <= clocks[p]:
                            believed = counts(self.match[s, p, c], self.power[s, p, c], doubt)
                        else:
                            believed = 0.0
                        season[b, c] += believed * each
                        if not here:
                            continue
                        # judged by how the last part of a cycle turned, and only where the profile is from earlier cycles:
                        # a level that wanders is near to where it was, without the day having anything to do with it;
                        # but what was found was found in all of the past
                        share = (1.0 - spot.share) * self.hits[s, spot.low, c] + spot.share * self.hits[s, spot.high, c]
                        before = self.recent[s, 0, p, c] if begun else left
                        turn = left - before
                        self.recent[s, 0, p, c] = before + spot.pace * turn
                        before = self.recent[s, 1, p, c] if begun else each
                        foretold = each - before
                        self.recent[s, 1, p, c] = before + spot.pace * foretold
                        turn = turn * foretold if p == FOUND or share >= 2.0 * spot.visit - 1.0 else 0.0
                        self.match[s, p, c] += rate * (turn - self.match[s, p, c])
                        self.power[s, p, c] += rate * (foretold * foretold - self.power[s, p, c])
                        teach(&self.knots[s, spot.low, c], &self.hits[s, spot.low, c], 1.0 - spot.share, learnt / spot.visit,
                              weight * (left - each))
                        teach(&self.knots[s, spot.high, c], &self.hits[s, spot.high, c], spot.share, learnt / spot.visit,
                              weight * (left - each))
                        # what is left for each profile by those before it
                        if p < FOUND:
                            left -= believed * each
                    if here:
                        self.rest[s, row, c] = <float>(limit if left > limit else -limit if left < -limit else left)
                    else:
                        self.rest[s, row, c] = self.rest[s, past, c]
        return due

    def ahead(
        self, const int64_t[::1] slots, const double[:] times, const double[::1] interval, const int64_t[::1] counted,
        double day_s, double week_s, double fewest_frames, double doubt, double[:, :, ::1] season,
    ):
        """What the profiles add up to 1..H steps ahead: into season, [B, H, C].

        counted: [PROFILES] knots of each profile.
        """
        cdef Py_ssize_t b, h, c, p, H = season.shape[1], C = season.shape[2], offset
        cdef int64_t s
        cdef double turn, step, far
        cdef double[2] clocks
        cdef bint told
        cdef Spot spot
        cdef const double* low
        cdef const double* high
        cdef double* out
        cdef double* believed = <double*>malloc(C * sizeof(double))
        if believed == NULL:
            raise MemoryError("no room for how far each channel's profile is believed")
        clocks[0], clocks[1] = day_s, week_s
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                out = &season[b, 0, 0]
                for c in range(H * C):
                    out[c] = 0.0
                offset = 0
                for p in range(FOUND):
                    told = False
                    if interval[b] * fewest_frames <= clocks[p]:
                        for c in range(C):
                            believed[c] = counts(self.match[s, p, c], self.power[s, p, c], doubt)
                            told = told or believed[c] > 0
                    if told:
                        turn, step = turn_of(times[b], clocks[p]), interval[b] / clocks[p]
                        for h in range(H):
                            far = turn + step * <double>(h + 1)
                            spot = spot_at(far - <double><int64_t>far, counted[p], offset)
                            low, high, out = &self.knots[s, spot.low, 0], &self.knots[s, spot.high, 0], &season[b, h, 0]
                            for c in range(C):
                                out[c] += believed[c] * ((1.0 - spot.share) * low[c] + spot.share * high[c])
                    offset += counted[p]
                for c in range(C):
                    if not fabs(self.period[s, c]) <= DBL_MAX:
                        continue
                    believed[c] = counts(self.match[s, FOUND, c], self.power[s, FOUND, c], doubt)
                    if not believed[c] > 0:
                        continue
                    step = 1.0 / self.period[s, c]
                    for h in range(H):
                        far = self.phase[s, c] + step * <double>(h + 1)
                        spot = spot_at(far - <double><int64_t>far, counted[FOUND], offset)
                        season[b, h, c] += believed[c] * (
                            (1.0 - spot.share) * self.knots[s, spot.low, c] + spot.share * self.knots[s, spot.high, c])
        free(believed)


cdef inline void teach(double* knot, float* hits, double share, double speed, double error) noexcept nogil:
    cdef double met = hits[0] + share
    hits[0] = <float>met
    met = 1.0 / (met if met > 1 else 1.0)
    knot[0] += (speed if speed > met else met) * share * error
