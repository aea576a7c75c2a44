"""The weighted sum of forecasts, and what goes into them; see `streamd.engine.experts`."""

from libc.float cimport DBL_MAX
from libc.math cimport fabs


def mix(const double[:, :, :, ::1] weights, const double[:, :, :, ::1] experts, double[:, :, ::1] out):
    """The weighted sum of forecasts, [B, E, H, C]: into out, [B, H, C]."""
    cdef Py_ssize_t b, e, i, N = out.shape[1] * out.shape[2]
    cdef const double* weight
    cdef const double* expert
    cdef double* mixed
    with nogil:
        for b in range(out.shape[0]):
            mixed = &out[b, 0, 0]
            for i in range(N):
                mixed[i] = 0.0
            for e in range(experts.shape[1]):
                weight, expert = &weights[b, e, 0, 0], &experts[b, e, 0, 0]
                for i in range(N):
                    mixed[i] += weight[i] * expert[i]


def tame(const double[:, :] values, const double[:, :] lowest, const double[:, :] highest,
         double[:, ::1] out, double[:, ::1] here):
    """Values [B, C] within lowest and highest into out, NaN stays; 1 into here where one is finite, 0 where none is."""
    cdef Py_ssize_t b, c
    cdef double value
    with nogil:
        for b in range(values.shape[0]):
            for c in range(values.shape[1]):
                value = values[b, c]
                here[b, c] = 1.0 if fabs(value) <= DBL_MAX else 0.0
                if value == value:
                    value = value if value >= lowest[b, c] else lowest[b, c]
                    value = value if value <= highest[b, c] or value != value else highest[b, c]
                out[b, c] = value


def seasonal(const double[:, ::1] here, const double[:, :] season, const double[:, :] rest, const double[:, :] last,
             double[:, :, ::1] ahead):
    """What the profiles add up to ahead, [B, W, C], made offsets from the last values [B, C], in place.

    A channel that is missing rests where its seasons have carried it meanwhile.
    """
    cdef Py_ssize_t b, h, c
    cdef double resting
    with nogil:
        for b in range(ahead.shape[0]):
            for h in range(ahead.shape[1]):
                for c in range(ahead.shape[2]):
                    resting = -season[b, c] if here[b, c] > 0.0 else rest[b, c] - last[b, c]
                    ahead[b, h, c] = resting + ahead[b, h, c]
