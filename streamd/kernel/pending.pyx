"""Forecasts that wait for their values, and what they were off; see `streamd.engine.pending`."""

from libc.float cimport FLT_MAX
from libc.math cimport NAN
from libc.stdint cimport int64_t


cdef class Pending:
    """The arrays of `streamd.engine.pending.Pending`, and what is done to them."""

    cdef public float[:, :, :, :, ::1] offsets
    cdef public int64_t[::1] unbroken

    def errors(
        self, const int64_t[::1] slots, const int64_t[::1] n, const int64_t[::1] ahead, const double[::1] steps,
        const double[:, :, :] changes, double gap_steps, double[:, :, :, ::1] out,
    ):
        """What forecasts for frames n were off: into out, [B, 1 + M, H, C], persistence, which foretells no change, first.

        ahead: [H] steps that are judged.
        steps: [B] since the last frame; more than `gap_steps` begin `unbroken` anew.
        changes: [B, H, C] over so many frames.
        """
        cdef Py_ssize_t b, m, h, c, W = self.offsets.shape[1], M = self.offsets.shape[2]
        cdef int64_t s, frame
        cdef double change
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                self.unbroken[s] = 0 if steps[b] > gap_steps else self.unbroken[s] + 1
                for h in range(out.shape[2]):
                    frame = n[b] % W - ahead[h]
                    frame = frame + W if frame < 0 else frame
                    for c in range(out.shape[3]):
                        change = changes[b, h, c] if ahead[h] <= self.unbroken[s] else NAN
                        out[b, 0, h, c] = NAN if self.offsets[s, frame, 0, h, c] != self.offsets[s, frame, 0, h, c] else change
                        for m in range(M):
                            out[b, 1 + m, h, c] = change - self.offsets[s, frame, m, h, c]

    def due(self, const int64_t[::1] slots, const int64_t[::1] n, double[:, ::1] out):
        """The last of the forecasts of one step for frames n: into out, [B, C]."""
        cdef Py_ssize_t b, c, W = self.offsets.shape[1], last = self.offsets.shape[2] - 1
        cdef int64_t s
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for c in range(out.shape[1]):
                    out[b, c] = self.offsets[s, (n[b] + W - 1) % W, last, 0, c] if self.unbroken[s] > 0 else NAN

    def remember(
        self, const int64_t[::1] slots, const int64_t[::1] n, const double[:, :, :, ::1] experts,
        const double[:, :, ::1] mixed, const double[:, :, ::1] corrected, const double[:, :, ::1] published,
    ):
        """Keep what was made at frames n, no larger than single precision holds.

        experts: [B, E, H, C], the first of which foretells no change; the others [B, H, C].
        """
        cdef Py_ssize_t b, m, N = experts.shape[2] * experts.shape[3], E = experts.shape[1]
        cdef float* kept
        with nogil:
            for b in range(slots.shape[0]):
                kept = &self.offsets[slots[b], n[b] % self.offsets.shape[1], 0, 0, 0]
                for m in range(1, E):
                    keep(&experts[b, m, 0, 0], kept + (m - 1) * N, N)
                keep(&mixed[b, 0, 0], kept + (E - 1) * N, N)
                keep(&corrected[b, 0, 0], kept + E * N, N)
                keep(&published[b, 0, 0], kept + (E + 1) * N, N)


cdef inline void keep(const double* given, float* kept, Py_ssize_t N) noexcept nogil:
    cdef Py_ssize_t i
    cdef double offset
    for i in range(N):
        offset = -FLT_MAX if given[i] < -FLT_MAX else given[i]
        kept[i] = <float>(FLT_MAX if offset > FLT_MAX else offset)
