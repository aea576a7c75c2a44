"""What a step of the network does beside its matrix products; see `streamd.model.network` and `streamd.engine.features`."""

from libc.math cimport M_PI, cos, expf, fabsf, fmax, isnan, log2, sin, tanhf


def cells(float[:, ::1] gates, const float[::1] bias, const float[:, :] before, float[:, :] hidden, float[:, :] cell):
    """LSTM cells after their matrix products.

    gates: [B, 4 K] in the order i, f, g, o, without bias, [4 K]; used up. before: [B, K] cells before.
    hidden, cell: [B, K] of now.
    """
    cdef Py_ssize_t b, k, K = before.shape[1]
    cdef float* gate
    with nogil:
        for b in range(gates.shape[0]):
            gate = &gates[b, 0]
            for k in range(4 * K):
                gate[k] += bias[k]
            for k in range(K):
                cell[b, k] = before[b, k] / (<float>1.0 + expf(-gate[K + k])) \
                    + tanhf(gate[2 * K + k]) / (<float>1.0 + expf(-gate[k]))
                hidden[b, k] = tanhf(cell[b, k]) / (<float>1.0 + expf(-gate[3 * K + k]))


def skip(const float[:, :] x, const float[:, :, :] weights, const float[::1] bias, float[:, :, ::1] out):
    """Add to out, [B, H, C], its bias, [H C], and what each channel's own planes in x, [B, inputs], say.

    weights: [H, planes, C].
    """
    cdef Py_ssize_t b, h, p, c, C = out.shape[2]
    cdef float total
    with nogil:
        for b in range(out.shape[0]):
            for h in range(out.shape[1]):
                for c in range(C):
                    total = 0.0
                    for p in range(weights.shape[1]):
                        total += x[b, p * C + c] * weights[h, p, c]
                    out[b, h, c] += bias[h * C + c] + total


cdef inline float bounded(double value, double limit) noexcept nogil:
    if isnan(value):
        return 0.0
    return <float>(limit if value > limit else -limit if value < -limit else value)


def observe(
    const double[:, :] values, const double[:, :] before, const double[:, :] level, const double[:, :] spread,
    const double[:, :, :] usual, const double[:, :, :] errors, const double[:, :, :] mixed,
    const double[:] times, const double[:] steps, double limit, const double[::1] turns, float[:, ::1] x,
):
    """What the network sees, into x, [B, 5 C + 1 + 2 T]: level, change, seen, error, ahead, and the time.

    values, before, level, spread: [B, C]; usual, errors, mixed: [B, H, C]; turns: [T] s, whose phases are wanted.
    """
    cdef Py_ssize_t b, c, t, C = values.shape[1], last = usual.shape[1] - 1
    cdef double angle
    with nogil:
        for b in range(values.shape[0]):
            for c in range(C):
                x[b, c] = bounded((values[b, c] - level[b, c]) / spread[b, c], limit)
                x[b, C + c] = bounded((values[b, c] - before[b, c]) / usual[b, 0, c], limit)
                x[b, 2 * C + c] = <float>1.0 if values[b, c] - values[b, c] == 0.0 else <float>0.0
                x[b, 3 * C + c] = bounded(errors[b, 0, c], limit)
                x[b, 4 * C + c] = bounded(mixed[b, last, c] / usual[b, last, c], limit)
            x[b, 5 * C] = bounded(log2(fmax(steps[b], 2.0 ** -limit)), limit)
            for t in range(turns.shape[0]):
                angle = times[b] * (2.0 * M_PI / turns[t])
                x[b, 5 * C + 1 + 2 * t] = <float>sin(angle)
                x[b, 5 * C + 2 + 2 * t] = <float>cos(angle)


def sound(const float[:, :, ::1] hidden, const float[:, :, ::1] cell, float most):
    """Whether all hidden states, [B, L, K], are within 1 and all cells within `most`; not if any is not a number."""
    cdef Py_ssize_t i, N = hidden.shape[0] * hidden.shape[1] * hidden.shape[2]
    cdef const float* h
    cdef const float* c
    cdef bint good = True
    if not N:
        return True
    h, c = &hidden[0, 0, 0], &cell[0, 0, 0]
    with nogil:
        for i in range(N):
            good &= (fabsf(h[i]) <= <float>1.0) & (fabsf(c[i]) <= most)
    return good
