"""Which streams are calm; see `streamd.engine.incidents`."""

from libc.math cimport NAN, isnan
from libc.stdint cimport int64_t


cdef class Incidents:
    """The arrays of `streamd.engine.incidents.Incidents`, and what is done to them."""

    cdef public unsigned char[::1] open
    cdef public int64_t[::1] how, newest
    cdef public double[::1] seen, restless_since

    def follow(
        self, const int64_t[::1] slots, const double[:] times, const double[:] score, double calm, int64_t none,
        int64_t accepted, const int64_t[::1] seq,
    ):
        """Take in times and scores, [B]: since when each stream is restless, and whether what was accepted is over.

        Whether there is an incident to look at: one that is open, or a score over the line. If there is
        none, takes note of the frames with these numbers, seq [B].
        """
        cdef Py_ssize_t b
        cdef int64_t s
        cdef bint busy = False
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                if not score[b] >= calm:
                    self.restless_since[s] = NAN
                elif isnan(self.restless_since[s]):
                    self.restless_since[s] = times[b]
                if self.how[s] == accepted and score[b] < calm:
                    self.how[s] = none  # whatever comes now is another disturbance
                if self.open[s] or score[b] >= 1.0:
                    busy = True
            if not busy:
                for b in range(slots.shape[0]):
                    self.newest[slots[b]], self.seen[slots[b]] = seq[b], times[b]
        return busy
