"""Tails of sizes, the lines drawn from them, and how strict alarms make a stream; see `streamd.engine.calibration`."""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, fabs, log, pow
from libc.stdint cimport int64_t


cdef inline double larger(double a, double b) noexcept nogil:
    """The larger of both; NaN if one is."""
    return a if a >= b or a != a else b


cdef inline double smaller(double a, double b) noexcept nogil:
    """The smaller of both; NaN if one is."""
    return a if a <= b or a != a else b


cdef inline double beyond(double mean, double square, double rarity, double lowest, double highest) noexcept nogil:
    """The excess that a generalised Pareto tail of this mean and mean square exceeds once in rarity peaks.

    lowest, highest: limits of its shape.
    """
    cdef double shape = 0.5 * (1.0 - mean * mean / larger(square - mean * mean, 1e-12))
    shape = lowest if shape < lowest else highest if shape > highest else shape
    if fabs(shape) < 1e-6:
        shape = 1e-6
    return mean * (1.0 - shape) / shape * (pow(larger(rarity, 1.0), shape) - 1.0)


def periods(const double[:] interval, double most, double[::1] period):
    """Frames in `most` seconds, at least 1, into period [B]; as if they were 1 s apart where that is not known."""
    cdef Py_ssize_t b
    cdef double frames
    with nogil:
        for b in range(interval.shape[0]):
            frames = most
            if interval[b] > 0.0 and interval[b] <= DBL_MAX:
                frames = most / interval[b]
            period[b] = frames if frames > 1.0 else 1.0


cdef class Common:
    """The arrays of `streamd.engine.calibration.Common`, and what is done to them."""

    cdef public double[:, ::1] blocks, level, peaks, excess, square, log_strictness
    cdef public double[::1] streams

    def learn(self, const double[:, :, ::1] learnt, double memory_blocks):
        """Take what `close` has learnt into the group's tails, [1, J]."""
        cdef Py_ssize_t k, j
        cdef double number, rate
        for k in range(learnt.shape[0]):
            for j in range(learnt.shape[2]):
                number = learnt[k, 0, j]
                if number > 0.0:
                    self.blocks[0, j] += number
                    rate = number / larger(smaller(self.blocks[0, j], memory_blocks), number + 1e-9)
                    self.level[0, j] += rate * (learnt[k, 1, j] / number - self.level[0, j])
                number = learnt[k, 2, j]
                if number > 0.0:
                    self.peaks[0, j] = smaller(self.peaks[0, j] + number, memory_blocks)
                    rate = number / larger(self.peaks[0, j], 1.0)
                    self.excess[0, j] += rate * (learnt[k, 3, j] / number - self.excess[0, j])
                    self.square[0, j] += rate * (learnt[k, 4, j] / number - self.square[0, j])

    def follow(self, const double[:, ::1] log, double memory):
        """Move what the streams of a group have in common, [1, T], towards the mean of those of a batch, [B, T]."""
        cdef Py_ssize_t b, t, B = log.shape[0]
        cdef double total
        self.streams[0] = smaller(self.streams[0] + B, memory)
        for t in range(log.shape[1]):
            total = 0.0
            for b in range(B):
                total += log[b, t]
            self.log_strictness[0, t] += B / self.streams[0] * (total / B - self.log_strictness[0, t])


cdef class Tails:
    """The arrays of `streamd.engine.calibration.Tails`, and what is done to them."""

    cdef public double[:, ::1] top, worst, lasts, calm, blocks, level, peaks, excess, square, largest

    def lines(
        self, const int64_t[::1] slots, const double[::1] reach, const double[::1] period, double natural, double share,
        double block, double bound_blocks, double fade, double margin, double most, double prior_weight, double prior,
        double lowest, double highest, Common common,
        double[:, ::1] line,
    ):
        """Where lines lie, into line [B, J]: of tails that the group's, which counts like `most` peaks, is put to.

        prior_weight, prior: how many peaks what is assumed beforehand counts like, and of which mean excess.
        """
        cdef Py_ssize_t b, j
        cdef int64_t s
        cdef double group, shared, weight, middle, mean, squares, known, rarity, drawn, seen, further, bound
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for j in range(self.blocks.shape[1]):
                    group, shared = smaller(common.peaks[0, j], most), smaller(common.blocks[0, j], most)
                    middle = (self.blocks[s, j] * self.level[s, j] + shared * common.level[0, j]) / (self.blocks[s, j] + shared)
                    weight = self.peaks[s, j] + group + prior_weight
                    mean = (self.peaks[s, j] * self.excess[s, j] + group * common.excess[0, j] + prior_weight * prior) / weight
                    squares = (
                        self.peaks[s, j] * self.square[s, j] + group * common.square[0, j] + prior_weight * 2.0 * (prior * prior)
                    ) / weight
                    known = block * larger(larger(self.blocks[s, j], common.blocks[0, j]), 1.0)
                    rarity = smaller(period[b] / share, reach[j] * known) / block
                    drawn = middle + beyond(mean, squares, 0.5 * rarity, lowest, highest)
                    if self.blocks[s, j] >= bound_blocks:
                        seen = 1.0 / fade if self.blocks[s, j] > 1.0 / fade else self.blocks[s, j]
                        further = log(2.0 * larger(rarity, 1.0)) / log(seen)
                        bound = self.level[s, j] + margin * larger(further, 1.0) * (self.largest[s, j] - self.level[s, j])
                        if fabs(bound) <= DBL_MAX and bound < drawn:
                            drawn = bound
                    line[b, j] = drawn if drawn > natural else natural

    def push(self, const int64_t[::1] slots, const int64_t[::1] n, int64_t block, const double[:, ::1] size):
        """Take sizes [B, J] into the largest of the blocks so far; gives how many blocks frames n [B] end."""
        cdef Py_ssize_t b, j, full = 0
        with nogil:
            for b in range(slots.shape[0]):
                for j in range(size.shape[1]):
                    self.top[slots[b], j] = larger(self.top[slots[b], j], size[b, j])
                full += (n[b] + 1) % block == 0
        return full

    def close(
        self, const int64_t[::1] slots, const int64_t[::1] n, int64_t block, const double[:, ::1] line,
        const unsigned char[::1] warming, double sign, double settled, double calm_blocks, double longest_blocks,
        double clip, double begin_blocks, double memory_blocks, double fade, double lowest, double highest,
        double[:, :, ::1] learnt,
    ):
        """Learn from the blocks that frames n [B] end; they begin anew.

        learnt: [2, 5, J] zeros; becomes for blocks, and for disturbances that are over, what has been learned from: how
        many, the sum of the medians, how many were peaks, the sums of their excesses and of the squares of these.
        """
        cdef Py_ssize_t b, j
        cdef int64_t s
        cdef double most, extent
        cdef bint disturbed, over
        with nogil:
            for b in range(slots.shape[0]):
                if (n[b] + 1) % block != 0:
                    continue
                s = slots[b]
                for j in range(line.shape[1]):
                    most, self.top[s, j] = self.top[s, j], 0.0
                    if most >= line[b, j] and not warming[b]:
                        self.worst[s, j] = larger(self.worst[s, j], most)
                    disturbed = self.worst[s, j] > 0.0
                    self.lasts[s, j] = self.lasts[s, j] + 1.0 if disturbed else 0.0
                    self.calm[s, j] = self.calm[s, j] + 1.0 if disturbed and most < sign * line[b, j] else 0.0
                    # once it is over, for if it taught while it lasts, it would lift the line over itself
                    over = disturbed and (self.calm[s, j] >= calm_blocks or self.lasts[s, j] >= longest_blocks)
                    if most > 0.0 and (not disturbed or self.calm[s, j] >= settled):
                        self.peak(s, j, most, begin_blocks, memory_blocks, fade, lowest, highest,
                             learnt[0])
                    if over:
                        extent = smaller(self.worst[s, j], clip * line[b, j])
                        self.peak(s, j, extent, begin_blocks, memory_blocks, fade, lowest, highest,
                             learnt[1])
                        self.worst[s, j] = self.lasts[s, j] = self.calm[s, j] = 0.0

    cdef void peak(
        self, int64_t s, Py_ssize_t j, double top, double begin_blocks, double memory_blocks, double fade,
        double lowest, double highest,
        double[:, ::1] learnt,
    ) noexcept nogil:
        """Learn from the largest of a block; learnt: [5, J] see `close`."""
        cdef double length, step, above, rate, known = self.largest[s, j]
        cdef double mean = self.excess[s, j], squares = self.square[s, j]
        if self.blocks[s, j] == 0.0:
            self.level[s, j] = top
        else:
            # the first one may be far off, from where it would take short steps a thousand blocks
            length = fabs(top - self.level[s, j]) if self.blocks[s, j] < begin_blocks else larger(mean, 0.05)
            step = larger(1.0 / (self.blocks[s, j] + 1.0), 0.01) * length
            self.level[s, j] += step if top > self.level[s, j] else -step if top < self.level[s, j] else 0.0
        if known != known:
            # in a state of an older version, it is what the tail lets expect of so many blocks
            known = top
            if self.blocks[s, j] > 0.0:
                known = self.level[s, j] + beyond(mean, squares, 0.5 * self.blocks[s, j], lowest, highest)
        self.largest[s, j] = larger(known - fade * (known - self.level[s, j]), top)
        self.blocks[s, j] += 1.0
        learnt[0, j] += 1.0
        learnt[1, j] += self.level[s, j]
        above = top - self.level[s, j]
        if not above > 0.0:
            return
        self.peaks[s, j] = smaller(self.peaks[s, j] + 1.0, memory_blocks)
        rate = 1.0 / larger(self.peaks[s, j], 1.0)
        self.excess[s, j] = mean + rate * (above - mean)
        self.square[s, j] = squares + rate * (above * above - squares)
        learnt[2, j] += 1.0
        learnt[3, j] += above
        learnt[4, j] += above * above


cdef class Strictness:
    """The arrays of `streamd.engine.calibration.Strictness`, and what is done to them."""

    cdef public double[:, ::1] log, alarms
    cdef public double[::1] lasts, calm

    def learn(
        self, const int64_t[::1] slots, const double[:, ::1] terms, const unsigned char[::1] raised,
        const unsigned char[::1] counts, const double[::1] period, double sign, double calm_frames, double longest_frames,
        double by, double lean, double lowest, double highest,
    ):
        """Take in terms [B, T] and which frames raised an incident: the term that was highest has done so."""
        cdef Py_ssize_t b, t, highest_at, T = terms.shape[1]
        cdef int64_t s
        cdef double spent, moved
        cdef bint disturbed, quiet, over
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                if raised[b]:
                    highest_at = 0
                    for t in range(1, T):
                        if terms[b, t] > terms[b, highest_at]:
                            highest_at = t
                    self.alarms[s, highest_at] += 1.0
                disturbed, quiet = False, True
                for t in range(T):
                    disturbed = disturbed or self.alarms[s, t] != 0.0
                    quiet = quiet and terms[b, t] < sign
                self.lasts[s] = self.lasts[s] + 1.0 if disturbed else 0.0
                self.calm[s] = self.calm[s] + 1.0 if disturbed and quiet else 0.0
                over = disturbed and (self.calm[s] >= calm_frames or self.lasts[s] >= longest_frames)
                spent = lean / period[b] if counts[b] else 0.0
                for t in range(T):
                    moved = self.log[s, t] + by * ((self.alarms[s, t] if over else 0.0) - spent)
                    self.log[s, t] = lowest if moved < lowest else highest if moved > highest else moved
                    if over:
                        self.alarms[s, t] = 0.0
                if over:
                    self.lasts[s] = self.calm[s] = 0.0
