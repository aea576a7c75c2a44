"""The weighted sum of forecasts; see `streamd.engine.experts`."""


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
