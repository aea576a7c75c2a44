"""Weights of experts from their past errors, and how they are learnt; see `streamd.engine.mix`."""

from libc.float cimport DBL_MAX
from libc.math cimport expf, fabs, pow
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc


cdef inline float limited(double error, float largest) noexcept nogil:
    return largest if error > largest else -largest if error < -largest else <float>error


cdef class Mix:
    """The arrays of `streamd.engine.mix.Mix`, and what is done to them."""

    cdef public float[:, :, :, ::1] loss, regret, square, largest
    cdef public float[:, :, ::1] judged

    def learn(
        self, const int64_t[::1] slots, const double[:, :, :, :] errors, const double[:, :, :] mixed,
        const double[::1] haste, double hastening, const double[::1] lasting, const double[::1] fading, float most,
    ):
        """Judge forecasts whose values have come.

        errors: [B, E, H, C]; mixed: [B, H, C]; neither counts beyond `most`, nor where it is not finite.
        haste: [B], so much more than once, times `hastening`, is forgotten. lasting, fading: [H], what is kept of the past by `loss`, and by
        the others, if it is once.
        """
        cdef Py_ssize_t b, e, h, c, E = errors.shape[1], H = errors.shape[2], C = errors.shape[3]
        cdef int64_t s
        cdef double off
        cdef float error, ours, saved, square_saved, kept, last, fade
        cdef bint complete
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for h in range(H):
                    last, fade = <float>lasting[h], <float>fading[h]
                    if hastening * haste[b] != 0.0:
                        last = <float>pow(lasting[h], 1.0 + hastening * haste[b])
                        fade = <float>pow(fading[h], 1.0 + hastening * haste[b])
                    for c in range(C):
                        if not fabs(mixed[b, h, c]) <= DBL_MAX:
                            continue
                        ours = limited(mixed[b, h, c], most)
                        complete = True
                        for e in range(E):
                            off = errors[b, e, h, c]
                            if not fabs(off) <= DBL_MAX:
                                complete = False
                                continue
                            error = limited(off, most)
                            saved = <float>2.0 * ours * (ours - error)
                            square_saved = saved * saved
                            self.loss[s, e, h, c] = last * self.loss[s, e, h, c] + error * error
                            self.regret[s, e, h, c] = fade * self.regret[s, e, h, c] + saved
                            self.square[s, e, h, c] = fade * self.square[s, e, h, c] + square_saved
                            kept = fade * self.largest[s, e, h, c]
                            self.largest[s, e, h, c] = kept if kept > square_saved else square_saved
                        if complete:
                            self.judged[s, h, c] += <float>1.0

    def weights(
        self, const int64_t[::1] slots, const float[::1] at_first, float young_frames, float least, float alike,
        float agreed, double[:, :, :, ::1] out,
    ):
        """What each expert counts: into out, [B, E, H, C]."""
        cdef Py_ssize_t b, e, i, E = self.loss.shape[1], H = self.loss.shape[2], C = self.loss.shape[3]
        cdef Py_ssize_t N = H * C
        cdef int64_t s
        cdef float smallest, ratio, cube, total, rate, young
        cdef double whole
        cdef const float* lost
        cdef const float* gained
        cdef const float* squares
        cdef const float* largests
        cdef double* weight
        cdef float* steady = <float*>malloc(2 * E * N * sizeof(float))
        cdef float* quick = steady + E * N
        if steady == NULL:
            raise MemoryError("no room for the weights of a stream")
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                lost, gained = &self.loss[s, 0, 0, 0], &self.regret[s, 0, 0, 0]
                squares, largests, weight = &self.square[s, 0, 0, 0], &self.largest[s, 0, 0, 0], &out[b, 0, 0, 0]
                for i in range(E * N):
                    steady[i] = lost[i] + least
                shared(steady, E, N)
                agree(steady, alike, E, H, C)
                for i in range(N):
                    smallest = steady[i]
                    for e in range(1, E):
                        smallest = steady[e * N + i] if steady[e * N + i] < smallest else smallest
                    for e in range(E):
                        ratio = smallest / steady[e * N + i]
                        cube = ratio * ratio * ratio
                        steady[e * N + i] = (cube * cube) * (cube * cube)
                shared(steady, E, N)
                for i in range(N):
                    total = 0.0
                    for e in range(E):
                        rate = largests[e * N + i] + squares[e * N + i]
                        quick[e * N + i] = gained[e * N + i] / rate if rate > 0 and gained[e * N + i] > 0 else <float>0.0
                        total += quick[e * N + i]
                    for e in range(E):  # where the mix is better than all, any weights will do
                        quick[e * N + i] = quick[e * N + i] / total if total > 0 else steady[e * N + i]
                agree(quick, agreed, E, H, C)
                for i in range(N):
                    young = expf((&self.judged[s, 0, 0])[i] / -young_frames)
                    whole = 0.0
                    for e in range(E):
                        weight[e * N + i] = (quick[e * N + i] + steady[e * N + i]) * <float>0.5 * (<float>1.0 - young) \
                            + young * at_first[e]
                        whole += weight[e * N + i]
                    for e in range(E):
                        weight[e * N + i] /= whole
        free(steady)


cdef void shared(float* share, Py_ssize_t E, Py_ssize_t N) noexcept nogil:
    """Make each of the N columns of share, [E, N], add to one."""
    cdef Py_ssize_t e, i
    cdef float total
    for i in range(N):
        total = 0.0
        for e in range(E):
            total += share[e * N + i]
        for e in range(E):
            share[e * N + i] /= total


cdef void agree(float* share, float how_far, Py_ssize_t E, Py_ssize_t H, Py_ssize_t C) noexcept nogil:
    """Draw share, [E, H, C], towards its mean over H."""
    cdef Py_ssize_t e, h, c
    cdef float mean
    for e in range(E):
        for c in range(C):
            mean = 0.0
            for h in range(H):
                mean += share[(e * H + h) * C + c]
            mean /= <float>H
            for h in range(H):
                share[(e * H + h) * C + c] += how_far * (mean - share[(e * H + h) * C + c])


cdef class Gate:
    """The arrays of `streamd.engine.mix.Gate`, and what is done to them."""

    cdef public float[:, :, ::1] gain, noise, power, square, judged

    def learn(
        self, const int64_t[::1] slots, const double[:, :, :] corrections, const double[:, :, :] errors,
        const double[::1] haste, double hastening, double lasting, double keeping, float most, float most_judged, double least,
    ):
        """Judge corrections of the mix, [B, H, C], by its errors, [B, H, C]; only where both are finite.

        haste: [B], so much more than once, times `hastening`, is forgotten. lasting, keeping: what is kept of the past by gain, noise and
        power, and by square and judged, if it is once.
        """
        cdef Py_ssize_t b, h, c
        cdef int64_t s
        cdef float correction, error, far, saved, last, keep
        with nogil:
            for b in range(slots.shape[0]):
                s, last, keep = slots[b], <float>lasting, <float>keeping
                if hastening * haste[b] != 0.0:
                    last = <float>pow(lasting, 1.0 + hastening * haste[b])
                    keep = <float>pow(keeping, 1.0 + hastening * haste[b])
                for h in range(errors.shape[1]):
                    for c in range(errors.shape[2]):
                        if not (fabs(errors[b, h, c]) <= DBL_MAX and fabs(corrections[b, h, c]) <= DBL_MAX):
                            continue
                        correction, error = limited(corrections[b, h, c], most), limited(errors[b, h, c], most)
                        far = most
                        if self.judged[s, h, c] > 0.0:
                            far = <float>(most_judged * usual_error(self.square[s, h, c], self.judged[s, h, c], least))
                        saved = correction * limited(error, far)
                        self.gain[s, h, c] = last * self.gain[s, h, c] + saved
                        self.noise[s, h, c] = last * self.noise[s, h, c] + saved * saved
                        self.power[s, h, c] = last * self.power[s, h, c] + correction * correction
                        self.square[s, h, c] = keep * self.square[s, h, c] + error * error
                        self.judged[s, h, c] = keep * self.judged[s, h, c] + <float>1.0

    def usual(self, const int64_t[::1] slots, double least, double[:, :, ::1] out):
        """Root mean square errors into out, [B, K, C], of the first K horizons."""
        cdef Py_ssize_t b, h, c
        with nogil:
            for b in range(slots.shape[0]):
                for h in range(out.shape[1]):
                    for c in range(out.shape[2]):
                        out[b, h, c] = usual_error(self.square[slots[b], h, c], self.judged[slots[b], h, c], least)

    def share(self, const int64_t[::1] slots, const int64_t[::1] steps, float doubt, float overlap, double[:, :, ::1] out):
        """How far corrections of so many steps ahead, [H], are followed: into out, [B, H, C]."""
        cdef Py_ssize_t b, h, c
        cdef int64_t s
        cdef float sure
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for h in range(out.shape[1]):
                    for c in range(out.shape[2]):
                        sure = self.gain[s, h, c] - doubt * sqrtf(self.noise[s, h, c] * (<float>1.0 + overlap * <float>(steps[h] - 1)))
                        sure = sure / self.power[s, h, c] if sure > 0 and self.power[s, h, c] > 0 else <float>0.0
                        out[b, h, c] = sure if sure < 1 else <float>1.0

    def size(
        self, const int64_t[::1] slots, const double[:, :] errors, const double[:, :] unit, float sure, double most,
        double least, double[::1] out,
    ):
        """How large errors of one step, [B, C] in units [B, C], are beside the usual ones, at most `most`: mean over channels.

        Into out, [B]; NaN where no channel is known, or is sure of what is usual.
        """
        cdef Py_ssize_t b, c, known
        cdef int64_t s
        cdef double error, total
        with nogil:
            for b in range(slots.shape[0]):
                s, known, total = slots[b], 0, 0.0
                for c in range(errors.shape[1]):
                    error = fabs(errors[b, c] / unit[b, c])
                    if error <= DBL_MAX and self.judged[s, 0, c] >= sure:
                        error = error / usual_error(self.square[s, 0, c], self.judged[s, 0, c], least)
                        total += most if error > most else error
                        known += 1
                out[b] = total / <double>known


cdef extern from "<math.h>" nogil:
    double sqrt(double)
    float sqrtf(float)


cdef inline double usual_error(float square, float judged, double least) noexcept nogil:
    cdef double mean
    if not judged > 0:
        return 1.0
    mean = <double>square / judged
    return sqrt(mean if mean > least else least)
