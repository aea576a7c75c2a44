"""When streams spoke, and how often; see `streamd.engine.slots`."""

from libc.float cimport DBL_MAX
from libc.math cimport exp2, fabs, isnan, log2
from libc.stdint cimport int64_t


cdef class Timing:
    """The arrays of `streamd.engine.slots.Timing`, and what is done to them."""

    cdef public int64_t[::1] seq, age, number
    cdef public double[::1] last_time, interval

    def advance(
        self, const int64_t[::1] slots, const double[:] times, double rate,
        int64_t[::1] seq, int64_t[::1] age, int64_t[::1] number, double[::1] gap, double[::1] steps,
        double[::1] interval,
    ):
        """Take note of frames at times, [B] s: what they are numbered by, and the time since the last ones.

        Into gap, in s, and into steps, in usual steps, 1 if unknown; into interval, in s, what is usual by now. All [B].
        Gives whether one is the first of its stream since that was fresh.

        rate: how far the usual step follows, of the way in doublings; a step counts as one at most.
        """
        cdef Py_ssize_t b
        cdef int64_t s
        cdef double elapsed, doublings
        cdef bint first = False
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                seq[b], age[b], number[b] = self.seq[s], self.age[s], self.number[s]
                first = first or self.age[s] == 0
                gap[b] = times[b] - self.last_time[s]
                steps[b] = 1.0
                if fabs(self.last_time[s]) <= DBL_MAX:
                    elapsed = times[b] - self.last_time[s]
                    if isnan(self.interval[s]):
                        self.interval[s] = elapsed
                    steps[b] = elapsed / self.interval[s]
                doublings = log2(steps[b] if steps[b] > 1e-9 else 1e-9)
                doublings = 1.0 if doublings > 1.0 else -1.0 if doublings < -1.0 else doublings
                self.interval[s] *= exp2(rate * doublings)
                self.last_time[s] = times[b]
                self.seq[s] += 1
                self.age[s] += 1
                interval[b] = self.interval[s]
        return first
