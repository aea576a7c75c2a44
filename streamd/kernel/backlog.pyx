"""What a frame teaches, put where a regression takes it from; see `streamd.engine.backlog`."""

from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport fabs
from libc.stdint cimport int64_t


cdef class Backlog:
    """The arrays of `streamd.engine.backlog.Backlog`, and what is done to them."""

    cdef public float[:, :, :, ::1] targets, weights
    cdef public float[:, ::1] haste
    cdef public int64_t[::1] count

    def add(
        self, const int64_t[::1] slots, const int64_t[::1] n, const double[:, :, :] errors, const double[:, :, :] trusted,
        const double[:, :, :] usual, const double[::1] haste, double large,
    ):
        """Keep errors of frames n, [B, H, C], as far as these are `trusted` and not `large` beside the usual ones."""
        cdef Py_ssize_t b, h, c
        cdef int64_t s, frame
        cdef double target, weight, far
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                frame = n[b] % self.targets.shape[1]
                self.haste[s, frame] = <float>haste[b]
                self.count[s] += 1
                for h in range(errors.shape[1]):
                    for c in range(errors.shape[2]):
                        target = errors[b, h, c]
                        if not fabs(target) <= DBL_MAX:
                            self.targets[s, frame, h, c] = 0.0
                            self.weights[s, frame, h, c] = 0.0
                            continue
                        weight, far = trusted[b, h, c], large * usual[b, h, c]
                        if not fabs(target) <= far:
                            far = fabs(target) / far
                            weight = weight / far / far
                        target *= weight
                        target = -FLT_MAX if target < -FLT_MAX else target
                        self.targets[s, frame, h, c] = <float>(FLT_MAX if target > FLT_MAX else target)
                        self.weights[s, frame, h, c] = <float>weight
