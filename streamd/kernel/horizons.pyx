"""Forecasts of the steps between those that are judged; see `streamd.engine.horizons`."""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc


def between(const int64_t[::1] steps, const double[:, :, ::1] judged, double[:, :, ::1] out):
    """Straight lines through judged, [N, P, C], of which steps [P] tell where they lie: into out, [N, W, C]."""
    cdef Py_ssize_t i, p, h, c, P = judged.shape[1], C = judged.shape[2]
    cdef double far, near
    cdef const double* before
    cdef const double* after
    cdef double* line
    with nogil:
        for i in range(judged.shape[0]):
            for p in range(P):
                before = &judged[i, p, 0]
                line = &out[i, steps[p] - 1, 0]
                for c in range(C):
                    line[c] = before[c]
                if p + 1 == P:
                    break
                after = &judged[i, p + 1, 0]
                for h in range(steps[p] + 1, steps[p + 1]):
                    far = <double>(h - steps[p]) / <double>(steps[p + 1] - steps[p])
                    near = 1.0 - far
                    line = &out[i, h - 1, 0]
                    for c in range(C):
                        line[c] = near * before[c] + far * after[c]


def mixed(
    const int64_t[::1] steps, const double[:, :, :, ::1] experts,
    const double[:, :, :, ::1] weights, const double[:, :, ::1] seasonal, const double[:, :, ::1] offset,
    double[:, :, :, ::1] all_experts, double[:, :, :, ::1] all_weights, double[:, :, ::1] out,
):
    """Forecasts of every step, offsets from the last values.

    experts, weights: [B, E, P, C] of judged steps: persistence, the seasons, and what lies on top of these.
    seasonal: [B, W, C] what the seasons say of every step; offset: [B, P, C] what was made of the experts.
    Into the first E of all_experts and of all_weights, [B, E or more, W, C], and into out, [B, W, C].
    """
    cdef Py_ssize_t b, e, h, c, low, high, P = steps.shape[0], W = seasonal.shape[1], C = seasonal.shape[2]
    cdef double far, near, said, weight
    cdef double* more = <double*>malloc(P * C * sizeof(double))  # what was added to the experts' mix
    if more == NULL:
        raise MemoryError("no room for what lies between the steps")
    with nogil:
        for b in range(experts.shape[0]):
            low = 0
            for h in range(W):
                low += low + 1 < P and steps[low + 1] == h + 1
                high = low + 1 if low + 1 < P else low
                far = <double>(h + 1 - steps[low]) / <double>(steps[high] - steps[low]) if high > low else 0.0
                near = 1.0 - far
                for c in range(C):
                    out[b, h, c] = 0.0
                for e in range(experts.shape[1]):
                    for c in range(C):
                        weight = near * weights[b, e, low, c] + far * weights[b, e, high, c]
                        said = 0.0
                        if e > 0:
                            said = seasonal[b, h, c]
                        if e > 1:
                            said += near * (experts[b, e, low, c] - seasonal[b, steps[low] - 1, c]) \
                                + far * (experts[b, e, high, c] - seasonal[b, steps[high] - 1, c])
                        all_weights[b, e, h, c] = weight
                        all_experts[b, e, h, c] = said
                        out[b, h, c] += weight * said
            for low in range(P):
                for c in range(C):
                    more[low * C + c] = offset[b, low, c] - out[b, steps[low] - 1, c]
            low = 0
            for h in range(W):
                low += low + 1 < P and steps[low + 1] == h + 1
                high = low + 1 if low + 1 < P else low
                far = <double>(h + 1 - steps[low]) / <double>(steps[high] - steps[low]) if high > low else 0.0
                for c in range(C):
                    out[b, h, c] += (1.0 - far) * more[low * C + c] + far * more[high * C + c]
    free(more)
