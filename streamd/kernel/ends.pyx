"""Extremes that a channel comes back to, and forecasts that reach beyond none; see `streamd.engine.ends`."""

from libc.float cimport DBL_MAX
from libc.math cimport fabs
from libc.stdint cimport int64_t


def learn(const int64_t[::1] slots, const double[:, :] values, const double[:, :] before, double[:, ::1] lowest,
          double[:, ::1] highest, double[:, ::1] low_visits, double[:, ::1] high_visits):
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
                if value < lowest[s, c]:
                    lowest[s, c] = value
                    low_visits[s, c] = 1.0
                elif value == lowest[s, c] and came:
                    low_visits[s, c] += 1.0
                if value > highest[s, c]:
                    highest[s, c] = value
                    high_visits[s, c] = 1.0
                elif value == highest[s, c] and came:
                    high_visits[s, c] += 1.0


def bound(const int64_t[::1] slots, const double[:, :] last, double visits, const double[:, ::1] lowest,
          const double[:, ::1] highest, const double[:, ::1] low_visits, const double[:, ::1] high_visits,
          double[:, :, :, :] offsets):
    """Bound offsets, [B, K, H, C], from the last values, [B, C], by extremes with so many visits."""
    cdef Py_ssize_t b, k, h, c
    cdef int64_t s
    cdef double end
    with nogil:
        for b in range(slots.shape[0]):
            s = slots[b]
            for c in range(offsets.shape[3]):
                if low_visits[s, c] >= visits:
                    end = lowest[s, c] - last[b, c]
                    for k in range(offsets.shape[1]):
                        for h in range(offsets.shape[2]):
                            if offsets[b, k, h, c] < end:
                                offsets[b, k, h, c] = end
                if high_visits[s, c] >= visits:
                    end = highest[s, c] - last[b, c]
                    for k in range(offsets.shape[1]):
                        for h in range(offsets.shape[2]):
                            if offsets[b, k, h, c] > end:
                                offsets[b, k, h, c] = end
