"""What features are made of the past, and how far they are trusted; see `streamd.engine.lags`."""

from libc.math cimport fabs
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc


cdef inline double limited(double number, double most) noexcept nogil:
    return most if number > most else -most if number < -most else number


cdef class Lags:
    """The arrays of `streamd.engine.lags.Lags`, and what is done to them."""

    cdef public double[:, :, ::1] ring, means, trust
    cdef public float[:, :, :, ::1] features

    def observe(
        self, const int64_t[::1] slots, const int64_t[::1] n, const double[:, :] rest, const double[:, :] weight,
        const double[:, :] usual, const int64_t[::1] edges, const double[::1] means_frames, double large, double limit,
        double[:, :, ::1] x,
    ):
        """Features of frames n: into x, [B, C, F], and kept until they are learned from.

        edges: [stretches + 1] where each stretch of the past begins, and where the last one ends; before the first are
            the lags, each a feature. As many of the means are features as F leaves room for.
        """
        cdef Py_ssize_t b, c, k, f, e, row, newest, C = rest.shape[1], F = x.shape[2], M = self.means.shape[1]
        cdef Py_ssize_t back = self.ring.shape[1], V = self.features.shape[1], lags = edges[0], told = F - lags - edges.shape[0]
        cdef int64_t s
        cdef double now, mean, rate, off
        cdef bint fresh
        cdef const double* past
        cdef double* total = <double*>malloc(2 * C * sizeof(double))
        cdef double* farthest = total + C
        if total == NULL:
            raise MemoryError("no room for sums over the past")
        with nogil:
            for b in range(slots.shape[0]):
                s, newest = slots[b], n[b] % back
                for c in range(C):
                    farthest[c] = 0.0
                    now = rest[b, c]
                    fresh = self.means[s, 0, c] != self.means[s, 0, c]
                    if fresh:  # as if it had always been like this
                        for k in range(back):
                            self.ring[s, k, c] = now
                    self.ring[s, newest, c] = now
                    x[b, c, lags] = limited(usual[b, c], limit)
                    for k in range(M):
                        rate = 1.0 / (<double>n[b] + 1.0)
                        rate = rate if rate > 1.0 / means_frames[k] else 1.0 / means_frames[k]
                        mean = now if fresh else self.means[s, k, c]
                        mean += rate * (now - mean)
                        if not (fresh and weight[b, c] == 0):
                            self.means[s, k, c] = mean
                        if k < told:
                            x[b, c, F - told + k] = limited(mean - now, limit)
                for k in range(lags):
                    row = newest - k - 1
                    past = &self.ring[s, row if row >= 0 else row + back, 0]
                    for c in range(C):
                        off = past[c] - rest[b, c]
                        x[b, c, k] = limited(off, limit)
                        off = fabs(off)
                        farthest[c] = off if off > farthest[c] or off != off else farthest[c]
                for e in range(edges.shape[0] - 1):
                    for c in range(C):
                        total[c] = 0.0
                    for k in range(edges[e], edges[e + 1]):
                        row = newest - k
                        past = &self.ring[s, row if row >= 0 else row + back, 0]
                        for c in range(C):
                            total[c] += past[c]
                    rate = 1.0 / <double>(edges[e + 1] - edges[e])
                    for c in range(C):
                        x[b, c, lags + 1 + e] = limited(total[c] * rate - rest[b, c], limit)
                row = n[b] % V
                for c in range(C):
                    for f in range(F):
                        self.features[s, row, c, f] = <float>x[b, c, f]
                    off = farthest[c] / (large * usual[b, c])
                    self.trust[s, row, c] = weight[b, c] if off <= 1 else weight[b, c] / (off * off)
        free(total)

    def trusted(self, const int64_t[::1] slots, const int64_t[::1] n, const int64_t[::1] steps, double[:, :, ::1] out):
        """How far the frames so many steps before frames n are trusted, [H]: into out, [B, H, C]."""
        cdef Py_ssize_t b, h, c, V = self.trust.shape[1]
        cdef const double* before
        with nogil:
            for b in range(slots.shape[0]):
                for h in range(out.shape[1]):
                    # a remainder keeps the sign, and of a young stream the frames before the first lie at the ring's end
                    before = &self.trust[slots[b], ((n[b] - steps[h]) % V + V) % V, 0]
                    for c in range(out.shape[2]):
                        out[b, h, c] = before[c]

    def filled(self, const int64_t[::1] slots, const int64_t[::1] n, const double[:, :] rest, double[:, ::1] out):
        """What is left of values, or was of the frames before n where it is NaN: into out, [B, C]."""
        cdef Py_ssize_t b, c, back = self.ring.shape[1]
        cdef const double* before
        with nogil:
            for b in range(slots.shape[0]):
                before = &self.ring[slots[b], (n[b] + back - 1) % back, 0]
                for c in range(out.shape[1]):
                    out[b, c] = rest[b, c] if rest[b, c] == rest[b, c] else before[c]
