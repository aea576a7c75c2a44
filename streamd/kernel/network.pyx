"""What a step of the network does beside its matrix products; see `streamd.model.network` and `streamd.engine.features`."""

from libc.math cimport M_PI, cos, expf, fabsf, fmax, isnan, log2, sin, tanhf
from libc.stdint cimport int64_t


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


cdef class Layer:
    """Weights of one layer of LSTM cells: w_below [4 K, I], w_before [4 K, K], bias [4 K]; gates in the order i, f, g, o."""

    cdef const float[:, ::1] w_below, w_before
    cdef const float[::1] bias

    def __init__(self, const float[:, ::1] w_below, const float[:, ::1] w_before, const float[::1] bias):
        self.w_below, self.w_before, self.bias = w_below, w_before, bias

    cdef void step(
        self, const float* seen, const float* known, const float* cell_before, float* hidden, float* cell
    ) noexcept nogil:
        """A step of one stream: from what comes in and its state, to the state of now."""
        cdef Py_ssize_t k, row, I = self.w_below.shape[1], K = self.w_before.shape[1]
        cdef float[4] gate
        for k in range(K):
            for row in range(4):
                gate[row] = dot(&self.w_below[row * K + k, 0], seen, I) + dot(&self.w_before[row * K + k, 0], known, K) \
                    + self.bias[row * K + k]
            cell[k] = sigmoid(gate[1]) * cell_before[k] + sigmoid(gate[0]) * tanhf(gate[2])
            hidden[k] = sigmoid(gate[3]) * tanhf(cell[k])


cdef class Network:
    """Weights as they are taken step by step, stream by stream: of each layer, and of the head.

    w_head: [H C, K]; b_head: [H C]; w_skip: [H, planes, C].
    """

    cdef list layers
    cdef const float[:, ::1] w_head
    cdef const float[::1] b_head
    cdef const float[:, :, ::1] w_skip

    def __init__(
        self, list layers, const float[:, ::1] w_head, const float[::1] b_head, const float[:, :, ::1] w_skip
    ):
        self.layers = [Layer(*layer) for layer in layers]
        self.w_head, self.b_head, self.w_skip = w_head, b_head, w_skip

    def step(
        self, const float[:, :] x, const float[:, :, ::1] h, const float[:, :, ::1] c,
        float[:, :, ::1] hidden, float[:, :, ::1] cell, float[:, :, ::1] out,
    ):
        """One step from states h and c, [B, L, K], to hidden and cell, [B, L, K]; corrections into out, [B, H, C].

        x: [B, inputs], of which the first are each channel's planes; each row lies in one piece.
        """
        cdef Py_ssize_t b, i, p, k, at, C = out.shape[2], K = h.shape[2], top = h.shape[1] - 1
        cdef Layer layer
        cdef float total
        for b in range(x.shape[0]):
            layer = self.layers[0]
            layer.step(&x[b, 0], &h[b, 0, 0], &c[b, 0, 0], &hidden[b, 0, 0], &cell[b, 0, 0])
            for i in range(1, top + 1):
                layer = self.layers[i]
                layer.step(&hidden[b, i - 1, 0], &h[b, i, 0], &c[b, i, 0], &hidden[b, i, 0], &cell[b, i, 0])
            for i in range(out.shape[1]):
                for k in range(C):
                    at = i * C + k
                    total = dot(&self.w_head[at, 0], &hidden[b, top, 0], K) + self.b_head[at]
                    for p in range(self.w_skip.shape[1]):
                        total += x[b, p * C + k] * self.w_skip[i, p, k]
                    out[b, i, k] = total


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


def within(const float[:, :, ::1] numbers, float most):
    """Whether all of them are no further from 0 than so much; not if any is not a number."""
    cdef Py_ssize_t i, N = numbers.shape[0] * numbers.shape[1] * numbers.shape[2]
    cdef const float* number
    cdef bint good = True
    if not N:
        return True
    number = &numbers[0, 0, 0]
    with nogil:
        for i in range(N):
            good &= fabsf(number[i]) <= most
    return good


cdef class Hidden:
    """The arrays of `streamd.engine.hidden.Hidden`, and what is done to them."""

    cdef public float[:, :, ::1] h, c
    cdef public int64_t[::1] generation

    def due(self, const int64_t[::1] slots, const int64_t[::1] n, const int64_t[::1] turns, int64_t every,
            int64_t generation, int64_t[::1] places):
        """Which of the streams have a state that other weights made, and their turn: into places.

        Returns:
            how many there are.
        """
        cdef Py_ssize_t b, found = 0
        with nogil:
            for b in range(slots.shape[0]):
                if self.generation[slots[b]] != generation and (n[b] + turns[b]) % every == 0:
                    places[found] = b
                    found += 1
        return found

    def take(self, const int64_t[::1] slots, float[:, :, ::1] h, float[:, :, ::1] c):
        """States of streams into h and c, [B, L, K]."""
        cdef Py_ssize_t b, i, k
        with nogil:
            for b in range(slots.shape[0]):
                for i in range(h.shape[1]):
                    for k in range(h.shape[2]):
                        h[b, i, k] = self.h[slots[b], i, k]
                        c[b, i, k] = self.c[slots[b], i, k]

    def put(self, const int64_t[::1] slots, const float[:, :, ::1] h, const float[:, :, ::1] c):
        """Let these be the states of streams, [B, L, K]."""
        cdef Py_ssize_t b, i, k
        with nogil:
            for b in range(slots.shape[0]):
                for i in range(h.shape[1]):
                    for k in range(h.shape[2]):
                        self.h[slots[b], i, k] = h[b, i, k]
                        self.c[slots[b], i, k] = c[b, i, k]
