"""Extremes that a channel comes back to, and forecasts that reach beyond none; see `streamd.engine.ends`."""

from libc.float cimport DBL_MAX
from libc.math cimport fabs
from libc.stdint cimport int64_t


cdef class Ends:
    """The arrays of `streamd.engine.ends.Ends`, and what is done to them."""

    cdef public double[:, ::1] lowest, highest, low_visits, high_visits

    def learn(self, const int64_t[::1] slots, const double[:, :] values, const double[:, :] before):
        """Take in values, [B, C], and the last ones before these; NaN where there are none."""
        cdef Py_ssize_t b, c
        cdef int64_t s
        cdef double value
        cdef bint came
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for c in range(values.shape[1]):
                    value = values[b, c]
                    came = fabs(value) <= DBL_MAX and value != before[b, c]
                    if value < self.lowest[s, c]:
                        self.lowest[s, c] = value
                        self.low_visits[s, c] = 1.0
                    elif value == self.lowest[s, c] and came:
                        self.low_visits[s, c] += 1.0
                    if value > self.highest[s, c]:
                        self.highest[s, c] = value
                        self.high_visits[s, c] = 1.0
                    elif value == self.highest[s, c] and came:
                        self.high_visits[s, c] += 1.0

    def bound(self, const int64_t[::1] slots, const double[:, :] last, double visits, double[:, :, :, :] offsets):
        """Bound offsets, [B, K, H, C], from the last values, [B, C], by extremes with so many visits."""
        cdef Py_ssize_t b, k, h, c
        cdef int64_t s
        cdef double end
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for c in range(offsets.shape[3]):
                    if self.low_visits[s, c] >= visits:
                        end = self.lowest[s, c] - last[b, c]
                        for k in range(offsets.shape[1]):
                            for h in range(offsets.shape[2]):
                                if offsets[b, k, h, c] < end:
                                    offsets[b, k, h, c] = end
                    if self.high_visits[s, c] >= visits:
                        end = self.highest[s, c] - last[b, c]
                        for k in range(offsets.shape[1]):
                            for h in range(offsets.shape[2]):
                                if offsets[b, k, h, c] > end:
                                    offsets[b, k, h, c] = end
