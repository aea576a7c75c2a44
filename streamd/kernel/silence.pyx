"""How strange it is that channels stand still, are missing or say nothing, and what is usual; see
`streamd.engine.silence`.

Runs are [slots, 2, C], what is known of them too: of standing still, then of being missing.
"""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, NAN, exp, fabs, isnan, log, pow, sqrt
from libc.stdint cimport int64_t


cdef struct Tail:
    double rare, fewest, fewest_young, least_factor, more_factor, settled, few_factor


cdef struct Fading:
    double memory, lasts, lasts_units, tiny, most


cdef struct Lengths:  # what is known of lengths of one kind
    double count, mean, square, longest, odd


cdef inline double larger(double a, double b) noexcept nogil:
    """NaN where one is."""
    return a if a > b or isnan(a) else b


cdef inline double smaller(double a, double b) noexcept nogil:
    """NaN where one is."""
    return a if a < b or isnan(a) else b


cdef inline double line_of(
    Tail* tail, double count, double mean, double square, double longest, double unit
) noexcept nogil:
    """From which length on it is strange."""
    cdef double n, spreads, factor
    if not count > 0.0:
        return INFINITY
    n = larger(count, 1.0)
    spreads = n * (pow(tail.rare, -1.0 / n) - 1.0) - 1.0
    factor = tail.least_factor + tail.more_factor / (1.0 + n / tail.settled) + tail.few_factor / n
    return larger(
        larger(mean + spreads * sqrt(square), factor * longest), (tail.fewest + tail.fewest_young / n) * unit
    )


cdef inline double faded(Fading* fading, double length, double passed, double unit) noexcept nogil:
    """A length that was remembered for a while more."""
    cdef double lasts
    if length == 0.0:
        return length
    lasts = fading.lasts * length + fading.lasts_units * unit
    return length * lasts / larger(lasts + passed, fading.tiny)


cdef inline void take_in(
    Lengths* seen, Fading* fading, double fewest, double length, bint ended, bint strange, double weight,
    double passed, double unit,
) noexcept nogil:
    """What is known after one more moment, in which something of this length has ended or nothing has."""
    cdef double w, rate, off
    seen.longest = faded(fading, seen.longest, passed, unit)
    seen.odd = faded(fading, seen.odd, passed, unit)
    if not ended:
        return
    if strange:
        seen.longest = larger(seen.longest, smaller(length, seen.odd))
        seen.odd = larger(seen.odd, length)
        return
    seen.longest = larger(seen.longest, length)
    w = 1.0 if seen.count < fewest else weight
    rate = w / smaller(seen.count + 1.0, fading.memory)
    off = length - seen.mean
    seen.count = smaller(seen.count + w, fading.most)
    seen.mean = seen.mean + rate * off
    seen.square = (1.0 - rate) * (seen.square + rate * off * off)


cdef inline bint finite(double value) noexcept nogil:
    return fabs(value) <= DBL_MAX


cdef inline bint moves(
    double value, double base, double changes, double change, double sure, double resolution
) noexcept nogil:
    """Whether a value is another than the one that its run began with; never where either is missing."""
    return fabs(value - base) > (resolution * exp(change) if changes >= sure else 0.0)


cdef inline double run_now(double run, bint ended, bint longer) noexcept nogil:
    return 0.0 if ended else run + 1.0 if longer else run


cdef class Silence:
    """The arrays of `streamd.engine.silence.Silence`, and what is done to them."""

    cdef public double[::1] frames, gaps, gap_mean, gap_square, gap_longest, gap_odd
    cdef public double[:, ::1] base, change
    cdef public double[:, :, ::1] run, count, mean, square, longest, odd
    cdef public unsigned char[:, :, ::1] accepted
    cdef public unsigned char[::1] silent

    def parts(
        self, const int64_t[::1] slots, const double[:, :] values, const double[:] gap, double sure, double resolution,
        double warm, double below, double growth, double shortest, double rare, double fewest, double fewest_young,
        double least_factor, double more_factor, double settled, double few_factor, double[:, ::1] out,
    ):
        """How strange the frames are by the runs of their channels and the gaps before them: into out, [B, C].

        values: [B, C], NaN where missing; gap: [B] s, not finite where there was none.
        """
        cdef Py_ssize_t b, c, k, C = values.shape[1]
        cdef int64_t s
        cdef bint here, moved, known
        cdef double now, ratio, worst, more, waited
        cdef Tail tail = Tail(rare, fewest, fewest_young, least_factor, more_factor, settled, few_factor)
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                waited = 0.0
                more = (gap[b] if finite(gap[b]) else 0.0) - self.gap_mean[s]
                if more > 0.0:
                    waited = line_of(&tail, self.gaps[s], self.gap_mean[s], self.gap_square[s], self.gap_longest[s], self.gap_mean[s])
                    waited = more / (larger(waited, shortest) - self.gap_mean[s])
                for c in range(C):
                    here, known = finite(values[b, c]), finite(self.base[s, c])
                    moved = moves(values[b, c], self.base[s, c], self.count[s, 0, c], self.change[s, c], sure, resolution)
                    worst = waited
                    for k in range(2):
                        if k == 0:
                            now = run_now(self.run[s, 0, c], moved, here and known)
                        else:
                            now = run_now(self.run[s, 1, c], here, known)
                        if not now > 0.0 or self.accepted[s, k, c]:
                            continue
                        ratio = now / line_of(
                            &tail, self.count[s, k, c], self.mean[s, k, c], self.square[s, k, c], self.longest[s, k, c], 1.0
                        )
                        if not self.frames[s] >= warm:
                            ratio = smaller(ratio, below)
                        worst = larger(worst, ratio)
                    if worst > 1.0:
                        out[b, c] = 1.0 + growth * log(worst)
                    else:
                        worst = worst * worst
                        worst = worst * worst
                        out[b, c] = worst * worst

    def learn(
        self, const int64_t[::1] slots, const double[:, :] values, const double[:] gap, const double[:] trust, double sure,
        double resolution, double warm, double change_memory, double shortest, double rare, double fewest,
        double fewest_young, double least_factor, double more_factor, double settled, double few_factor, double memory,
        double lasts, double lasts_units, double tiny, double most,
    ):
        """Take in frames: what has ended, and what goes on.

        values: [B, C], NaN where missing; gap: [B] s, not finite where there was none; trust: [B].
        """
        cdef Py_ssize_t b, c, k, C = values.shape[1]
        cdef int64_t s
        cdef bint here, known, moved, ended, strange, young
        cdef double size, rate, length, line
        cdef Lengths seen
        cdef Tail tail = Tail(rare, fewest, fewest_young, least_factor, more_factor, settled, few_factor)
        cdef Fading fading = Fading(memory, lasts, lasts_units, tiny, most)
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for c in range(C):
                    here, known = finite(values[b, c]), finite(self.base[s, c])
                    moved = moves(values[b, c], self.base[s, c], self.count[s, 0, c], self.change[s, c], sure, resolution)
                    size = fabs(values[b, c] - self.base[s, c])
                    if (moved or (here and self.accepted[s, 0, c])) and size > 0.0:
                        rate = (1.0 if self.count[s, 0, c] < sure else trust[b]) / smaller(self.count[s, 0, c] + 1.0, change_memory)
                        self.change[s, c] = self.change[s, c] + rate * (log(size) - self.change[s, c])
                    for k in range(2):
                        ended = here if k else moved
                        length = self.run[s, k, c]
                        seen = Lengths(self.count[s, k, c], self.mean[s, k, c], self.square[s, k, c], self.longest[s, k, c], self.odd[s, k, c])
                        # nothing so short is strange, whatever its line is
                        strange = ended and length >= fewest and self.frames[s] >= warm
                        if strange:
                            strange = length >= line_of(&tail, seen.count, seen.mean, seen.square, seen.longest, 1.0)
                        take_in(&seen, &fading, fewest, length, ended, strange, trust[b], 1.0, 1.0)
                        self.longest[s, k, c], self.odd[s, k, c] = seen.longest, seen.odd
                        if ended:
                            self.count[s, k, c], self.mean[s, k, c], self.square[s, k, c] = seen.count, seen.mean, seen.square
                            self.accepted[s, k, c] = False
                        self.run[s, k, c] = run_now(length, ended, known and (not here if k else here))
                    if moved or (here and isnan(self.base[s, c])):
                        self.base[s, c] = values[b, c]
                self.frames[s] += 1.0
                self.silent[s] = False
                if not (finite(gap[b]) and gap[b] > 0.0):
                    continue
                length = gap[b]
                seen = Lengths(self.gaps[s], self.gap_mean[s], self.gap_square[s], self.gap_longest[s], self.gap_odd[s])
                strange = length >= fewest * seen.mean
                if strange:
                    line = line_of(&tail, seen.count, seen.mean, seen.square, seen.longest, seen.mean)
                    strange = length >= larger(line, shortest)
                # the first gaps were no measure of those that follow: an outage, or a device that was tried out
                young = seen.count < sure and seen.odd == 0.0 and length < seen.mean / fewest
                if young:
                    strange = False
                    seen = Lengths(0.0, 0.0, 0.0, 0.0, larger(seen.longest, seen.odd))
                take_in(&seen, &fading, fewest, length, True, strange, trust[b], length, seen.mean)
                self.gaps[s], self.gap_mean[s], self.gap_square[s] = seen.count, seen.mean, seen.square
                self.gap_longest[s], self.gap_odd[s] = seen.longest, seen.odd

    def gap_lines(
        self, const int64_t[::1] slots, double shortest, double rare, double fewest, double fewest_young,
        double least_factor, double more_factor, double settled, double few_factor, double[::1] out,
    ):
        """From which gap on it is strange: into out, [B] s; inf where none was seen."""
        cdef Py_ssize_t b
        cdef int64_t s
        cdef Tail tail = Tail(rare, fewest, fewest_young, least_factor, more_factor, settled, few_factor)
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                out[b] = larger(
                    line_of(&tail, self.gaps[s], self.gap_mean[s], self.gap_square[s], self.gap_longest[s], self.gap_mean[s]), shortest
                )

    def onset(
        self, const int64_t[::1] slots, const double[:, :] parts, const double[:] times, const double[:] interval,
        double[::1] out,
    ):
        """When the longest run of those over the line, by parts [B, C], began: into out, [B] s; NaN where none is."""
        cdef Py_ssize_t b, c, k
        cdef double most
        with nogil:
            for b in range(slots.shape[0]):
                most = 0.0
                for c in range(parts.shape[1]):
                    if parts[b, c] >= 1.0:
                        for k in range(2):
                            most = larger(most, self.run[slots[b], k, c])
                out[b] = times[b] - (most - 1.0) * interval[b] if most > 0.0 else NAN

    def longest_run(self, const int64_t[::1] slots, const double[:] interval):
        """How long the longest run is so far, in s; of streams whose interval is known."""
        cdef Py_ssize_t b, c, k
        cdef double most = 0.0
        with nogil:
            for b in range(slots.shape[0]):
                for k in range(2):
                    for c in range(self.run.shape[2]):
                        if self.run[slots[b], k, c] * interval[b] > most:
                            most = self.run[slots[b], k, c] * interval[b]
        return most

    def lasting(
        self, const int64_t[::1] slots, const double[:] interval, double accept_s, double rare, double fewest,
        double fewest_young, double least_factor, double more_factor, double settled, double few_factor,
        unsigned char[::1] out,
    ):
        """Whether a run that is not accepted has been over the line for so many s: into out, [B]."""
        cdef Py_ssize_t b, c, k
        cdef int64_t s
        cdef double over
        cdef Tail tail = Tail(rare, fewest, fewest_young, least_factor, more_factor, settled, few_factor)
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                out[b] = False
                for k in range(2):
                    for c in range(self.run.shape[2]):
                        if self.accepted[s, k, c] or not self.run[s, k, c] * interval[b] >= accept_s:
                            continue
                        over = self.run[s, k, c] - line_of(
                            &tail, self.count[s, k, c], self.mean[s, k, c], self.square[s, k, c], self.longest[s, k, c], 1.0
                        )
                        if over * interval[b] >= accept_s:
                            out[b] = True
