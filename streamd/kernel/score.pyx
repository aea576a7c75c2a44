"""The terms of the score put together, and how long a deviation lasts; see `streamd.engine.score`."""

from libc.float cimport DBL_MAX
from libc.math cimport NAN, fabs
from libc.stdint cimport int64_t


cdef inline double larger(double a, double b) noexcept nogil:
    """The larger of both; NaN if one is."""
    return a if a >= b or a != a else b


cdef class Score:
    """The arrays of `streamd.engine.score.Score`, and what is done to them."""

    cdef public double[:, ::1] seen
    cdef public double[::1] since, frames
    cdef public double[:, :, ::1] there, spread

    def warming(self, const int64_t[::1] slots, double warm_frames, double[::1] progress):
        """Into progress [B], 1.0 at most: how many of so many frames the channel has that has most."""
        cdef Py_ssize_t b, c
        cdef double most
        with nogil:
            for b in range(slots.shape[0]):
                most = 0.0
                for c in range(self.seen.shape[1]):
                    most = larger(most, self.seen[slots[b], c])
                progress[b] = 1.0 if most > warm_frames else most / warm_frames

    def parts(
        self, const int64_t[::1] slots, const double[:, :] novelty, const double[:, ::1] size,
        const double[:, :, ::1] blame, const double[:, :] silence, const double[:, ::1] line, const double[:, ::1] factor,
        double warm_frames, double unsure, double[:, :, ::1] out,
    ):
        """Each channel's part in each term into out, [B, T, C]: novelty, deviation, surprise, silence.

        The first of the sizes [B, J] is the deviation's, of the others the largest part is the surprise's. All but silence,
        which knows by itself when to be trusted, are at most unsure for channels that are not warm.
        """
        cdef Py_ssize_t b, c, j, t, C = novelty.shape[1]
        cdef double most, weight
        with nogil:
            for b in range(slots.shape[0]):
                for c in range(C):
                    out[b, 0, c] = novelty[b, c] / factor[b, 0]
                    out[b, 3, c] = silence[b, c] / factor[b, 3]
                for j in range(size.shape[1]):
                    most = 0.0
                    for c in range(C):
                        most = larger(most, blame[b, j, c])
                    most = larger(most, 1e-300)
                    t = 1 if j == 0 else 2
                    weight = size[b, j] / line[b, j] / factor[b, t]
                    for c in range(C):
                        if j < 2:
                            out[b, t, c] = weight * (blame[b, j, c] / most)
                        else:
                            out[b, t, c] = larger(out[b, t, c], weight * (blame[b, j, c] / most))
                for c in range(C):
                    if self.seen[slots[b], c] < warm_frames:
                        for t in range(3):
                            if out[b, t, c] > unsure:
                                out[b, t, c] = unsure

    def judge(
        self, const int64_t[::1] slots, const double[:, :] values, const double[:, :] silence,
        const unsigned char[:, :] outside, const unsigned char[::1] warming, const double[:, :, ::1] vectors,
        const double[:, ::1] size, const double[:, ::1] line, const double[:, :, ::1] parts, double over, double gate,
        double gate_share, double distrust, double[:, :, ::1] felt, double[:, ::1] terms, double[:, ::1] channel_score,
        double[::1] score, double[::1] trust, unsigned char[:, ::1] strange, double[:, ::1] usual,
        double[:, :, ::1] taught,
    ):
        """Judge frames by their parts, and choose what they teach.

        outside: [B, C] of values whose novelty is felt as `over` or more; None: of none. felt: [B, T, C], the parts that
        matter, may be the same array as parts: [B, T, C], all of them. trust: [B], `distrust` where a line is crossed.
        strange: [B, J], sizes beyond the gate. A channel that stands still says nothing of how it moves: its vectors are
        NaN in taught [B, J, C], and the frame's sizes zero in usual [B, J]. Gives how many are over the line. seen: frames of each channel with a value.
        """
        cdef Py_ssize_t b, c, j, t, C = values.shape[1], T = felt.shape[1]
        cdef double all_parts, least
        cdef bint hushed, none_outside = outside is None
        cdef Py_ssize_t count = 0
        with nogil:
            for b in range(slots.shape[0]):
                all_parts = score[b] = 0.0
                for t in range(T):
                    terms[b, t] = 0.0
                    for c in range(C):
                        all_parts = larger(all_parts, parts[b, t, c])
                hushed = False
                for c in range(C):
                    if not none_outside and outside[b, c] and not felt[b, 0, c] > over:
                        felt[b, 0, c] = over
                    channel_score[b, c] = felt[b, 0, c]
                    for t in range(T):
                        channel_score[b, c] = larger(channel_score[b, c], felt[b, t, c])
                        terms[b, t] = larger(terms[b, t], felt[b, t, c])
                    score[b] = larger(score[b], channel_score[b, c])
                    hushed = hushed or silence[b, c] >= 1.0
                    if fabs(values[b, c]) <= DBL_MAX:
                        self.seen[slots[b], c] += 1.0
                # what does not matter to the user is not normal for that
                count += score[b] >= 1.0
                trust[b] = distrust if score[b] >= 1.0 or (all_parts >= 1.0 and not warming[b]) else 1.0
                for j in range(line.shape[1]):
                    least = larger(gate, gate_share * line[b, j])
                    strange[b, j] = size[b, j] >= least and not warming[b]
                    usual[b, j] = 0.0 if hushed else size[b, j]
                    for c in range(C):
                        taught[b, j, c] = NAN if silence[b, c] >= 1.0 else vectors[b, j, c]
        return count

    def settle(
        self, const int64_t[::1] slots, const double[:] times, const double[:, :, ::1] vectors,
        const unsigned char[:, ::1] strange, const double[:, :, ::1] mean, double accept_s, unsigned char[::1] accepted,
    ):
        """Follow where streams are while they deviate, that is, while the first of [B, J] is strange.

        accepted: [B] whether they have done so for longer than accept_s; gives how many have.
        """
        cdef Py_ssize_t b, c, j, count = 0
        cdef int64_t s
        cdef double rate, off
        cdef bint first
        with nogil:
            for b in range(slots.shape[0]):
                s, accepted[b] = slots[b], False
                if not strange[b, 0]:
                    self.since[s], self.frames[s] = NAN, 0.0
                    continue
                first = self.frames[s] == 0.0
                if not self.since[s] <= times[b]:
                    self.since[s] = times[b]
                self.frames[s] += 1.0
                rate = 1.0 / self.frames[s]
                for j in range(vectors.shape[1]):
                    for c in range(vectors.shape[2]):
                        if first:  # a channel that is missing meanwhile stays what it was
                            self.there[s, j, c], self.spread[s, j, c] = mean[s, j, c], 0.0
                        if not fabs(vectors[b, j, c]) <= DBL_MAX:
                            continue
                        off = vectors[b, j, c] - self.there[s, j, c]
                        self.there[s, j, c] += rate * off
                        self.spread[s, j, c] += rate * ((1.0 - rate) * off * off - self.spread[s, j, c])
                accepted[b] = times[b] - self.since[s] > accept_s
                count += accepted[b]
        return count

    def onset(self, const int64_t[::1] slots, const double[:, :] terms, Py_ssize_t term, double[::1] out):
        """Since when streams have deviated, into out [B], where this term is over the line; NaN elsewhere."""
        cdef Py_ssize_t b
        with nogil:
            for b in range(slots.shape[0]):
                out[b] = self.since[slots[b]] if terms[b, term] >= 1.0 else NAN


def vectors(const int64_t[::1] slots, const double[:, :] values, const double[:, ::1] level,
            const double[:, :, :] errors, const int64_t[::1] horizons, double[:, :, ::1] out):
    """What is judged jointly into out, [B, 1 + horizons, C]: levels of the channels that are here, and errors."""
    cdef Py_ssize_t b, c, j
    with nogil:
        for b in range(slots.shape[0]):
            for c in range(values.shape[1]):
                out[b, 0, c] = level[slots[b], c] if fabs(values[b, c]) <= DBL_MAX else NAN
            for j in range(horizons.shape[0]):
                for c in range(values.shape[1]):
                    out[b, 1 + j, c] = errors[b, horizons[j], c]


def compared(const int64_t[::1] slots, const double[:, :] values, const double[:, :] before,
             const double[:, :] expected, const double[:, :, ::1] vectors, const double[:, :, ::1] mean,
             double[:, :, ::1] sides, double[:, :, ::1] others):
    """What tells whether a deviation matters, into sides and beside it others, [B, 1 + J, C].

    For novelty the value beside the level before it [B, C], itself where none was; then the level beside its mean, and
    the value beside what was forecast, as often as there are errors among the vectors.
    """
    cdef Py_ssize_t b, c, j
    with nogil:
        for b in range(slots.shape[0]):
            for c in range(values.shape[1]):
                sides[b, 0, c] = values[b, c]
                others[b, 0, c] = before[b, c] if before[b, c] == before[b, c] else values[b, c]
                sides[b, 1, c], others[b, 1, c] = vectors[b, 0, c], mean[slots[b], 0, c]
            for j in range(2, sides.shape[1]):
                for c in range(values.shape[1]):
                    sides[b, j, c], others[b, j, c] = values[b, c], expected[b, c]
