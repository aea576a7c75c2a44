"""Frames into rings and out of them; see `streamd.engine.recent`."""

from libc.stdint cimport int64_t


cdef class Recent:
    """The arrays of `streamd.engine.recent.Recent`, and what is done to them."""

    cdef public double[:, :, ::1] base
    cdef public float[:, :, ::1] level, change, seen, error, ahead, clock
    cdef public float[:, :, :, ::1] residual, start_h, start_c
    cdef public float[:, ::1] trust

    def changes(
        self, const int64_t[::1] slots, const int64_t[::1] n, const int64_t[::1] steps, const double[:, :] values,
        double[:, :, ::1] out,
    ):
        """Values of frames n less those so many steps before, [H]: into out, [B, H, C]."""
        cdef Py_ssize_t b, h, c, R = self.base.shape[1]
        cdef const double* before
        with nogil:
            for b in range(slots.shape[0]):
                for h in range(out.shape[1]):
                    # a remainder keeps the sign, and of a young stream the frames before the first lie at the ring's end
                    before = &self.base[slots[b], ((n[b] - steps[h]) % R + R) % R, 0]
                    for c in range(out.shape[2]):
                        out[b, h, c] = values[b, c] - before[c]

    def record(
        self, const int64_t[::1] slots, const int64_t[::1] n, const double[:, :] last, const float[:, ::1] inputs,
        const double[:, :, :] errors, const double[:] trusted, double limit,
    ):
        """Put frames n in their places.

        inputs: [B, 5 * C + clock] in the order of these arrays; errors: [B, H, C], for residual, none beyond the limit.
        """
        cdef Py_ssize_t b, h, c, row, R = self.base.shape[1], C = self.base.shape[2]
        cdef int64_t s
        cdef double off
        cdef const float* x
        with nogil:
            for b in range(slots.shape[0]):
                s, row, x = slots[b], n[b] % R, &inputs[b, 0]
                for c in range(C):
                    self.base[s, row, c] = last[b, c]
                    self.level[s, row, c] = x[c]
                    self.change[s, row, c] = x[C + c]
                    self.seen[s, row, c] = x[2 * C + c]
                    self.error[s, row, c] = x[3 * C + c]
                    self.ahead[s, row, c] = x[4 * C + c]
                for c in range(self.clock.shape[2]):
                    self.clock[s, row, c] = x[5 * C + c]
                for h in range(self.residual.shape[2]):
                    for c in range(C):
                        off = errors[b, h, c]  # NaN stays what it is
                        off = -limit if off < -limit else off
                        self.residual[s, row, h, c] = <float>(limit if off > limit else off)
                self.trust[s, row] = <float>trusted[b]

    def fills(self, const int64_t[::1] n, int64_t stride):
        """Whether a window is complete with one of the frames n, that is, a stride and all the ring."""
        cdef Py_ssize_t b
        for b in range(n.shape[0]):
            if (n[b] + 1) % stride == 0 and n[b] + 1 >= self.base.shape[1]:
                return True
        return False

    def mark(
        self, const int64_t[::1] slots, const int64_t[::1] n, int64_t stride, const float[:, :, :] h,
        const float[:, :, :] c,
    ):
        """Keep the states h and c, [B, L, K], before frames n where a stride begins."""
        cdef Py_ssize_t b, i, k, row
        with nogil:
            for b in range(slots.shape[0]):
                if n[b] % stride != 0:
                    continue
                row = n[b] // stride % self.start_h.shape[1]
                for i in range(h.shape[1]):
                    for k in range(h.shape[2]):
                        self.start_h[slots[b], row, i, k] = h[b, i, k]
                        self.start_c[slots[b], row, i, k] = c[b, i, k]
