"""Frames into rings and out of them; see `streamd.engine.recent`."""

from libc.stdint cimport int64_t


def changes(const int64_t[::1] slots, const int64_t[::1] n, const int64_t[::1] steps, const double[:, :] values,
            const double[:, :, ::1] base, double[:, :, ::1] out):
    """Values of frames n less those so many steps before, [H]: into out, [B, H, C]."""
    cdef Py_ssize_t b, h, c, R = base.shape[1]
    cdef const double* before
    with nogil:
        for b in range(slots.shape[0]):
            for h in range(out.shape[1]):
                # a remainder keeps the sign, and of a young stream the frames before the first lie at the ring's end
                before = &base[slots[b], ((n[b] - steps[h]) % R + R) % R, 0]
                for c in range(out.shape[2]):
                    out[b, h, c] = values[b, c] - before[c]


def record(
    const int64_t[::1] slots, const int64_t[::1] n, const double[:, :] last, const float[:, ::1] inputs,
    const double[:, :, :] errors, const double[:] trusted, double[:, :, ::1] base, float[:, :, ::1] level,
    float[:, :, ::1] change, float[:, :, ::1] seen, float[:, :, ::1] error, float[:, :, ::1] ahead,
    float[:, :, ::1] clock, float[:, :, :, ::1] residual, float[:, ::1] trust,
):
    """Put frames n in their places.

    inputs: [B, 5 * C + clock] in the order of these arrays; errors: [B, H, C], for residual.
    """
    cdef Py_ssize_t b, h, c, row, R = base.shape[1], C = base.shape[2]
    cdef int64_t s
    cdef const float* x
    with nogil:
        for b in range(slots.shape[0]):
            s, row, x = slots[b], n[b] % R, &inputs[b, 0]
            for c in range(C):
                base[s, row, c] = last[b, c]
                level[s, row, c] = x[c]
                change[s, row, c] = x[C + c]
                seen[s, row, c] = x[2 * C + c]
                error[s, row, c] = x[3 * C + c]
                ahead[s, row, c] = x[4 * C + c]
            for c in range(clock.shape[2]):
                clock[s, row, c] = x[5 * C + c]
            for h in range(residual.shape[2]):
                for c in range(C):
                    residual[s, row, h, c] = <float>errors[b, h, c]
            trust[s, row] = <float>trusted[b]


def mark(const int64_t[::1] slots, const int64_t[::1] n, int64_t stride, const float[:, :, :] h,
         const float[:, :, :] c, float[:, :, :, ::1] start_h, float[:, :, :, ::1] start_c):
    """Keep the states h and c, [B, L, K], before frames n where a stride begins."""
    cdef Py_ssize_t b, i, k, row
    with nogil:
        for b in range(slots.shape[0]):
            if n[b] % stride != 0:
                continue
            row = n[b] // stride % start_h.shape[1]
            for i in range(h.shape[1]):
                for k in range(h.shape[2]):
                    start_h[slots[b], row, i, k] = h[b, i, k]
                    start_c[slots[b], row, i, k] = c[b, i, k]
