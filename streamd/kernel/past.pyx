"""What was forecast and scored, put into rings; see `streamd.engine.past`."""

from libc.float cimport FLT_MAX
from libc.stdint cimport int64_t


cdef inline float single(double value) noexcept nogil:
    """The nearest number of single precision that is finite; NaN stays."""
    return FLT_MAX if value > FLT_MAX else -FLT_MAX if value < -FLT_MAX else <float>value


def remember(
    const int64_t[::1] slots, const int64_t[:] n, const double[:] times, const double[:] score,
    const double[:, :] terms, const double[:, :] offset, const double[:, :, :] bounds,
    double[:, ::1] time_ring, float[:, ::1] score_ring, float[:, :, ::1] terms_ring, float[:, :, :, ::1] ahead_ring,
):
    """Keep frames n, [B], in row n % R, and the forecast for the next ones in the row after.

    times, score: [B]; terms: [B, T]; offset: [B, C] from the last values; bounds: [B, 2, C] from there.
    """
    cdef Py_ssize_t b, t, c, R = time_ring.shape[1]
    cdef int64_t s, row, following
    with nogil:
        for b in range(slots.shape[0]):
            s = slots[b]
            row, following = n[b] % R, (n[b] + 1) % R
            time_ring[s, row] = times[b]
            score_ring[s, row] = single(score[b])
            for t in range(terms.shape[1]):
                terms_ring[s, row, t] = single(terms[b, t])
            for c in range(offset.shape[1]):
                ahead_ring[s, following, 0, c] = single(offset[b, c])
                ahead_ring[s, following, 1, c] = single(offset[b, c] + bounds[b, 0, c])
                ahead_ring[s, following, 2, c] = single(offset[b, c] + bounds[b, 1, c])
