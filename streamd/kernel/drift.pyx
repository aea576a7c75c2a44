"""Adaptive windows: what goes in, and whether two parts of one differ; see `streamd.engine.drift`."""

from libc.math cimport fabs, isnan, log, sqrt
from libc.stdint cimport int64_t


cdef void put_in(
    float* means, float* squares, Py_ssize_t levels, Py_ssize_t buckets, int64_t number, float mean
) noexcept nogil:
    """Put in the bucket of one error, which is the number-th, from 0, of its window; [levels, buckets]."""
    cdef Py_ssize_t level
    cdef int64_t place, second
    cdef bint full
    cdef float square = 0.0, one, other, half, merged
    for level in range(levels):
        place, second = number % buckets, (number + 1) % buckets
        full = number >= buckets and (number - buckets) % 2 == 0
        one, other = means[place], means[second]
        half = <float>0.5 * (one - other)
        merged = <float>0.5 * (squares[place] + squares[second]) + half * half
        means[place], squares[place] = mean, square
        if not full:
            return
        number = (number - buckets) // 2  # the two oldest become one of the next size
        mean, square = one - half, merged
        means, squares = means + buckets, squares + buckets


cdef bint parts_differ(
    const float* means, const float* squares, Py_ssize_t levels, Py_ssize_t buckets, int64_t length,
    double shortest, double delta, int64_t* got, int64_t* left,
) noexcept nogil:
    """Whether a cut leaves two parts of a window that differ by more than chance allows.

    got, left: [levels] room for what each level ever got, and for the number of the oldest that it still has.
    """
    cdef Py_ssize_t level, at
    cdef int64_t number
    cdef double size, apart, older, older_sum, younger, scarcity, doubt, whole = 0.0, whole_sum = 0.0, variance = 0.0
    for level in range(levels):
        got[level] = length
        length = (length - buckets + 1) // 2 if length >= buckets else 0
        left[level] = 2 * length
    # sums in double precision, the oldest and largest buckets first: those of a constant are exact, so that it never
    # seems to drift
    for level in range(levels - 1, -1, -1):
        size = <double>(<int64_t>1 << level)
        for number in range(left[level], got[level]):
            whole += size
            whole_sum += size * means[level * buckets + number % buckets]
    for level in range(levels - 1, -1, -1):
        size = <double>(<int64_t>1 << level)
        for number in range(left[level], got[level]):
            at = level * buckets + number % buckets
            apart = means[at] - whole_sum / whole
            variance += size * (squares[at] + apart * apart)
    variance /= whole
    doubt = log(2.0 * log(whole) / delta)
    older = older_sum = 0.0
    for level in range(levels - 1, -1, -1):
        size = <double>(<int64_t>1 << level)
        for number in range(left[level], got[level]):
            older += size
            older_sum += size * means[level * buckets + number % buckets]
            younger = whole - older
            if older < shortest or younger < shortest:
                continue
            scarcity = 1.0 / (older - shortest + 1.0) + 1.0 / (younger - shortest + 1.0)
            apart = fabs(older_sum / older - (whole_sum - older_sum) / younger)
            if apart > sqrt(2.0 * scarcity * variance * doubt) + 2.0 / 3.0 * doubt * scarcity:
                return True
    return False


cdef class Drift:
    """The arrays of `streamd.engine.drift.Drift`, and what is done to them."""

    cdef public int64_t[::1] length, since
    cdef public float[:, :, ::1] means, squares

    def update(
        self, const int64_t[::1] slots, const double[:] errors, double delta, int64_t clock, double shortest,
        double largest, unsigned char[::1] out,
    ):
        """Take in errors, [B], NaN where nothing is known; whether a drift was found with each: into out, [B]."""
        cdef Py_ssize_t b, levels = self.means.shape[1], buckets = self.means.shape[2]
        cdef int64_t s
        cdef double error
        cdef int64_t[64] got
        cdef int64_t[64] left
        if levels > 64:
            raise ValueError(f"{levels} sizes of buckets, more than numbers have bits")
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                self.since[s] += 1
                out[b] = False
                error = errors[b]
                if isnan(error):
                    continue
                error = largest if error > largest else -largest if error < -largest else error
                put_in(&self.means[s, 0, 0], &self.squares[s, 0, 0], levels, buckets, self.length[s], <float>error)
                self.length[s] += 1
                if self.length[s] % clock != 0:
                    continue
                if parts_differ(
                    &self.means[s, 0, 0], &self.squares[s, 0, 0], levels, buckets, self.length[s], shortest, delta, got, left
                ):
                    out[b] = True
                    self.length[s] = self.since[s] = 0

    def haste(self, const int64_t[::1] slots, double frames, double[::1] out):
        """How much faster to forget: into out, [B], from 1 with a drift to 0 so many frames after it."""
        cdef Py_ssize_t b
        cdef double left
        with nogil:
            for b in range(slots.shape[0]):
                left = 1.0 - self.since[slots[b]] / frames
                out[b] = left if left > 0.0 else 0.0
