"""What lies between the experts: values without their seasons, the weighted sum; see `streamd.engine.experts`."""

from libc.float cimport DBL_MAX
from libc.math cimport fabs


def rest(
    const double[:, :] values, const double[:, :] last, const double[:, :] lowest, const double[:, :] highest,
    const double[:, :] season, const double[:, :] before,
    double[:, ::1] tame, double[:, ::1] rests, double[:, ::1] here, double[:, ::1] start,
):
    """Values without their seasons; everything [B, C].

    before: the last ones without theirs, for where a value is missing, which is NaN.
    tame: values from lowest to highest; rests: these without the season; here: 1 where there is a value, 0 elsewhere;
    start: of what the seasons foretell, as an offset from the last value.
    """
    cdef Py_ssize_t b, c
    cdef double value
    with nogil:
        for b in range(values.shape[0]):
            for c in range(values.shape[1]):
                value = values[b, c]
                if not fabs(value) <= DBL_MAX:
                    tame[b, c] = value
                    rests[b, c] = before[b, c]
                    here[b, c] = 0.0
                    start[b, c] = before[b, c] - last[b, c]
                    continue
                value = value if value >= lowest[b, c] else lowest[b, c]
                value = value if value <= highest[b, c] else highest[b, c]
                tame[b, c] = value
                rests[b, c] = value - season[b, c]
                here[b, c] = 1.0
                start[b, c] = -season[b, c]


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
