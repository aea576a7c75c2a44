"""What was forecast and scored, put into rings; see `streamd.engine.past`."""

from libc.float cimport FLT_MAX
from libc.stdint cimport int64_t


cdef inline float single(double value) noexcept nogil:
    """The nearest number of single precision that is finite; NaN stays."""
    return FLT_MAX if value > FLT_MAX else -FLT_MAX if value < -FLT_MAX else <float>value


cdef class Past:
    """The arrays of `streamd.engine.past.Past`, and what is done to them."""

    cdef public float[:, :, :, ::1] ahead
    cdef public double[:, ::1] time
    cdef public float[:, ::1] score
    cdef public float[:, :, ::1] terms

    def remember(
        self, const int64_t[::1] slots, const int64_t[:] n, const double[:] times, const double[:] score,
        const double[:, :] terms, const double[:, :] offset, const double[:, :, :] bounds,
    ):
        """Keep frames n, [B], in row n % R, and the forecast for the next ones in the row after.

        times, score: [B]; terms: [B, T]; offset: [B, C] from the last values; bounds: [B, 2, C] from there.
        """
        cdef Py_ssize_t b, t, c, R = self.time.shape[1]
        cdef int64_t s, row, following
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                row, following = n[b] % R, (n[b] + 1) % R
                self.time[s, row] = times[b]
                self.score[s, row] = single(score[b])
                for t in range(terms.shape[1]):
                    self.terms[s, row, t] = single(terms[b, t])
                for c in range(offset.shape[1]):
                    self.ahead[s, following, 0, c] = single(offset[b, c])
                    self.ahead[s, following, 1, c] = single(offset[b, c] + bounds[b, 0, c])
                    self.ahead[s, following, 2, c] = single(offset[b, c] + bounds[b, 1, c])
