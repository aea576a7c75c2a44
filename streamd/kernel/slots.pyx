"""When streams spoke, and how often; see `streamd.engine.slots`."""

from libc.float cimport DBL_MAX
from libc.math cimport exp2, fabs, isnan, log2
from libc.stdint cimport int64_t


def advance(
    const int64_t[::1] slots, const double[::1] times, double rate,
    int64_t[::1] seq, int64_t[::1] age, double[::1] last_time, double[::1] interval, double[::1] steps,
):
    """Take note of frames at times, [B] s; into steps, [B], the time since the last ones in usual steps, 1 if unknown.

    rate: how far the usual step follows, of the way in doublings; a step counts as one at most.
    """
    cdef Py_ssize_t b
    cdef int64_t s
    cdef double elapsed, doublings
    with nogil:
        for b in range(slots.shape[0]):
            s = slots[b]
            steps[b] = 1.0
            if fabs(last_time[s]) <= DBL_MAX:
                elapsed = times[b] - last_time[s]
                if isnan(interval[s]):
                    interval[s] = elapsed
                steps[b] = elapsed / interval[s]
            doublings = log2(steps[b] if steps[b] > 1e-9 else 1e-9)
            doublings = 1.0 if doublings > 1.0 else -1.0 if doublings < -1.0 else doublings
            interval[s] *= exp2(rate * doublings)
            last_time[s] = times[b]
            seq[s] += 1
            age[s] += 1
