"""What a step of the network does beside its matrix products; see `streamd.model.network` and `streamd.engine.features`."""

from libc.math cimport M_PI, cos, expf, fabsf, fmax, isnan, log2, sin, tanhf


cdef enum:
    LANES = 8  # sums that go side by side, so that a dot product becomes vectors


cdef float dot(const float* a, const float* b, Py_ssize_t N) noexcept nogil:
    cdef float[LANES] sums
    cdef Py_ssize_t i, j
    cdef float total = 0.0
    for j in range(LANES):
        sums[j] = 0.0
    for i in range(N // LANES):
        for j in range(LANES):
            sums[j] += a[LANES * i + j] * b[LANES * i + j]
    for i in range(N - N % LANES, N):
        total += a[i] * b[i]
    for j in range(LANES):
        total += sums[j]
    return total


cdef inline float sigmoid(float z) noexcept nogil:
    return <float>1.0 / (<float>1.0 + expf(-z))


def layer(
    const float[:, :] below, const float[:, ::1] w_below, const float[:, ::1] w_before, const float[::1] bias,
    const float[:, :] before, const float[:, :] cell_before, float[:, :] hidden, float[:, :] cell,
):
    """A step of one layer of LSTM cells, stream by stream.

    below: [B, I] what comes in; before, cell_before: [B, K] hidden states and cells; hidden, cell: [B, K] those of now.
    w_below: [4 K, I]; w_before: [4 K, K]; bias: [4 K]; gates in the order i, f, g, o. Rows of below and before lie as
    one.
    """
    cdef Py_ssize_t b, k, row, I = below.shape[1], K = before.shape[1]
    cdef const float* seen
    cdef const float* known
    cdef float[4] gate
    with nogil:
        for b in range(below.shape[0]):
            seen, known = &below[b, 0], &before[b, 0]
            for k in range(K):
                for row in range(4):
                    gate[row] = dot(&w_below[row * K + k, 0], seen, I) + dot(&w_before[row * K + k, 0], known, K) \
                        + bias[row * K + k]
                cell[b, k] = sigmoid(gate[1]) * cell_before[b, k] + sigmoid(gate[0]) * tanhf(gate[2])
                hidden[b, k] = sigmoid(gate[3]) * tanhf(cell[b, k])


def head(
    const float[:, :] top, const float[:, ::1] weights, const float[::1] bias, const float[:, :] x,
    const float[:, :, :] skip, float[:, :, ::1] out,
):
    """Corrections into out, [B, H, C], from the top layer, [B, K], and each channel's own planes in x, [B, inputs].

    weights: [H C, K]; bias: [H C]; skip: [H, planes, C].
    """
    cdef Py_ssize_t b, h, p, c, C = out.shape[2], K = top.shape[1]
    cdef float total
    with nogil:
        for b in range(out.shape[0]):
            for h in range(out.shape[1]):
                for c in range(C):
                    total = dot(&weights[h * C + c, 0], &top[b, 0], K) + bias[h * C + c]
                    for p in range(skip.shape[1]):
                        total += x[b, p * C + c] * skip[h, p, c]
                    out[b, h, c] = total


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
