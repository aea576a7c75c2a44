"""How far vectors are off, jointly, and the covariances that say so; see `streamd.engine.joint`."""

from libc.float cimport DBL_MAX
from libc.math cimport fabs, log1p, sqrt
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc


cdef class Whitener:
    """The arrays of `streamd.engine.joint.Whitener`, and what is done to them."""

    cdef public double[:, :, ::1] mean, frames
    cdef public double[:, :, :, ::1] covariance, inverse

    def measure(
        self, const int64_t[::1] slots, const double[:, :, ::1] vectors, const unsigned char[:, :, :] matters,
        double first_frames, double large, double most, double[:, ::1] size, double[:, :, ::1] blame,
    ):
        """How far vectors [B, J, C] are off, into size [B, J] and blame [B, J, C]; not finite: missing.

        matters: [B, J, C] whether a channel's deviation counts; None: all do.
        """
        cdef Py_ssize_t b, j, c, d, C = vectors.shape[2]
        cdef int64_t s
        cdef double square, far, own, known
        cdef bint all_matter = matters is None
        cdef const double* row
        cdef double* off = <double*>malloc((2 * C + 1) * sizeof(double))
        cdef double* pull = off + C
        if off == NULL:
            raise MemoryError("no room for a vector of the channels")
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for j in range(vectors.shape[1]):
                    known = 0.0
                    for c in range(C):
                        off[c] = pull[c] = blame[b, j, c] = 0.0
                        if fabs(vectors[b, j, c]) <= DBL_MAX and self.frames[s, j, c] >= first_frames:
                            off[c], blame[b, j, c] = vectors[b, j, c] - self.mean[s, j, c], 1.0  # for now: it is known
                            known += 1.0
                    if known == 0.0:
                        size[b, j] = 0.0
                        continue
                    for d in range(C):  # the inverse is symmetric: row by row is as good as column by column
                        row = &self.inverse[s, j, d, 0]
                        for c in range(C):
                            pull[c] += row[c] * off[d]
                    square = 0.0
                    for c in range(C):
                        square += off[c] * pull[c]
                    for c in range(C):
                        own = self.inverse[s, j, c, c]
                        far = pull[c] * pull[c] / own if blame[b, j, c] > 0.0 and own > 0.0 else 0.0
                        if not (all_matter or matters[b, j, c]):
                            square -= far
                            far = 0.0
                        blame[b, j, c] = most if far > most else far
                    far = square / known
                    far = log1p(0.0 if far < 0.0 else most if far > most else far)
                    size[b, j] = large + log1p(far - large) if far > large else far
        free(off)

    def learn(
        self, const int64_t[::1] slots, const double[:, :, ::1] vectors, const unsigned char[:, ::1] outside,
        double memory_frames,
    ):
        """Take in vectors [B, J, C]; those that are outside [B, J] with the rate of the oldest frames."""
        cdef Py_ssize_t b, j, c, d, C = vectors.shape[2]
        cdef int64_t s
        cdef double off, slower
        cdef double* row
        cdef double* rate = <double*>malloc((2 * C + 1) * sizeof(double))
        cdef double* left = rate + C
        if rate == NULL:
            raise MemoryError("no room for a vector of the channels")
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for j in range(vectors.shape[1]):
                    for c in range(C):
                        rate[c] = left[c] = 0.0
                        if not fabs(vectors[b, j, c]) <= DBL_MAX:
                            continue
                        if outside[b, j]:
                            rate[c] = 1.0 / memory_frames
                        else:
                            if self.frames[s, j, c] + 1.0 < memory_frames:
                                self.frames[s, j, c] += 1.0
                            else:
                                self.frames[s, j, c] = memory_frames
                            rate[c] = 1.0 / (self.frames[s, j, c] if self.frames[s, j, c] > 1.0 else 1.0)
                        off = vectors[b, j, c] - self.mean[s, j, c]
                        left[c] = off * sqrt(1.0 - rate[c])
                        self.mean[s, j, c] += rate[c] * off
                    for c in range(C):
                        row = &self.covariance[s, j, c, 0]
                        for d in range(C):
                            slower = rate[c] if rate[c] < rate[d] else rate[d]
                            row[d] += slower * (left[c] * left[d] - row[d])
        free(rate)

    def solve(self, const int64_t[::1] slots, const double[:, :] level, double shrink, double finest, double least):
        """Bring inverses up to date; level: [S, C], NaN where not known. What is no covariance keeps the one it had."""
        cdef Py_ssize_t i, j, c, d, C = level.shape[1]
        cdef int64_t s
        cdef double fine
        cdef double* work = <double*>malloc((C * C + C + 1) * sizeof(double))
        cdef double* scale = work + C * C
        if work == NULL:
            raise MemoryError("no room for a self.covariance of the channels")
        with nogil:
            for i in range(slots.shape[0]):
                s = slots[i]
                for j in range(self.covariance.shape[1]):
                    for c in range(C):
                        fine = (finest * fabs(level[i, c]) if level[i, c] == level[i, c] else 0.0) + least
                        scale[c] = 1.0 / sqrt((1.0 + shrink) * self.covariance[s, j, c, c] + fine * fine)
                    # channels of units that differ by 10^9 would spoil each other's digits
                    for c in range(C):
                        for d in range(C):
                            work[c * C + d] = self.covariance[s, j, c, d] * scale[c] * scale[d]
                        work[c * C + c] = 1.0
                    if not inverted(work, C):
                        continue
                    for c in range(C):
                        for d in range(C):
                            self.inverse[s, j, c, d] = 0.5 * (work[c * C + d] + work[d * C + c]) * (scale[c] * scale[d])
        free(work)


cdef bint inverted(double* square, Py_ssize_t C) noexcept nogil:
    """Put the inverse of a positive definite matrix [C, C] in its place; False if it is none.

    Gauss and Jordan's, which needs no exchange of rows here: the pivots are those of Cholesky's.
    """
    cdef Py_ssize_t k, c, d
    cdef double pivot, times
    cdef double* row
    cdef double* here
    for k in range(C):
        here = square + k * C
        if not here[k] > 0.0:
            return False
        pivot = 1.0 / here[k]
        for d in range(C):
            here[d] *= pivot
        here[k] = pivot
        for c in range(C):
            if c == k:
                continue
            row = square + c * C
            times = row[k]
            row[k] = 0.0
            for d in range(C):
                row[d] -= times * here[d]
    return True


def due(const int64_t[::1] n, const int64_t[::1] turn, int64_t early, int64_t early_every, int64_t every,
        int64_t[::1] rows):
    """Which rows of a batch are due with frames n [B]: into the front of rows [B]; gives how many."""
    cdef Py_ssize_t b, count = 0
    with nogil:
        for b in range(n.shape[0]):
            if (n[b] < early and n[b] % early_every == 0) or (n[b] + turn[b]) % every == 0:
                rows[count] = b
                count += 1
    return count
