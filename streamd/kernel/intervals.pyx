"""Widths of intervals from past errors, a stream's own and its group's; see `streamd.engine.intervals`."""

from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport NAN, exp, fabs, log, logf
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

cdef extern from "<math.h>" nogil:
    double sqrt(double)

cdef enum:
    FACTORS = 16  # so many multipliers, none below 0.05 or above 50, have a product that single precision holds


cdef class Intervals:
    """The arrays of `streamd.engine.intervals.Intervals`, and what is done to them."""

    cdef public float[:, :, :, :, :, ::1] issued
    cdef public double[:, :, ::1] judged, error_square
    cdef public double[:, :, :, :, ::1] multiplier

    def due(self, const int64_t[::1] slots, const int64_t[::1] n, Py_ssize_t coverage, double[:, :, ::1] out):
        """Bounds of the forecasts of one step for frames n: into out, [B, 2, C]."""
        cdef Py_ssize_t b, side, c, W = self.issued.shape[1]
        cdef int64_t frame
        with nogil:
            for b in range(slots.shape[0]):
                frame = (n[b] + W - 1) % W
                for side in range(2):
                    for c in range(out.shape[2]):
                        out[b, side, c] = self.issued[slots[b], frame, coverage, side, 0, c]

    def learn(
        self, const int64_t[::1] slots, const int64_t[::1] n, const int64_t[::1] steps, const double[:, :, :] errors,
        const double[:, :, :] usual, const double[::1] trust, const double[:, ::1] factors, double memory, double young,
        double far, double narrowest, double widest,
    ):
        """Judge forecasts of so many steps, [H], for frames n by their errors, [B, H, C]; only where these are finite.

        trust: [B], what a frame's error weighs where more than `young` were judged; then one of more than `far` of the
        larger of running and usual error, squared, counts as so many.
        factors: [2, Q], of a multiplier whose bound was not missed, and was.
        """
        cdef Py_ssize_t b, q, h, c, i, W = self.issued.shape[1], Q = self.issued.shape[2], H = self.issued.shape[4]
        cdef Py_ssize_t C = self.issued.shape[5], N = H * C
        cdef int64_t s, frame
        cdef double off, bound, size, count, rate
        cdef double* error = <double*>malloc((1 + 2 * Q) * N * sizeof(double))  # [H, C], NaN where none is to be judged
        cdef double* waiting = error + N  # [Q, 2, H, C], the bounds that were issued for now
        cdef double* judgements
        cdef double* squares
        if error == NULL:
            raise MemoryError("no room for the errors of a stream")
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for h in range(H):
                    frame = n[b] % W - steps[h]
                    frame = frame + W if frame < 0 else frame
                    for q in range(Q):
                        for c in range(C):
                            waiting[2 * q * N + h * C + c] = self.issued[s, frame, q, 0, h, c]
                        for c in range(C):
                            waiting[(2 * q + 1) * N + h * C + c] = self.issued[s, frame, q, 1, h, c]
                judgements, squares = &self.judged[s, 0, 0], &self.error_square[s, 0, 0]
                i = 0
                for h in range(H):
                    for c in range(C):
                        off = errors[b, h, c]
                        error[i] = off - off + off  # of an infinite one too: not a number
                        if fabs(off) <= DBL_MAX:
                            count, size = judgements[i], off * off
                            rate = 1.0
                            if count >= young:
                                bound = usual[b, h, c] * usual[b, h, c]
                                bound = far * (squares[i] if squares[i] > bound else bound)
                                size = size if size <= bound else bound
                                rate = trust[b]
                            count = count + 1.0 if count + 1.0 < memory else memory
                            squares[i] += rate / count * (size - squares[i])
                            judgements[i] = count
                        i += 1
                for q in range(Q):
                    move(error, waiting + 2 * q * N, &self.multiplier[s, q, 0, 0, 0], N,
                         factors[0, q], factors[1, q], narrowest, widest)
        free(error)

    def bounds(
        self, const int64_t[::1] slots, const double[::1] normal, const double[:, :, ::1] spread,
        double[:, :, :, :, ::1] out,
    ):
        """Offsets of intervals, each of which holds those before it: into out, [B, Q, 2, H, C].

        normal: [Q], how far the normal distribution's reach.
        spread: [B, H, C].
        """
        cdef Py_ssize_t b, q, i, N = self.multiplier.shape[3] * self.multiplier.shape[4]
        cdef double reach
        cdef const double* usual
        cdef const double* multipliers
        cdef double* offsets
        cdef double* widest = <double*>malloc(2 * N * sizeof(double))
        if widest == NULL:
            raise MemoryError("no room for the intervals of a stream")
        with nogil:
            for b in range(slots.shape[0]):
                usual = &spread[b, 0, 0]
                for i in range(2 * N):
                    widest[i] = 0.0
                for q in range(self.multiplier.shape[1]):
                    multipliers, offsets = &self.multiplier[slots[b], q, 0, 0, 0], &out[b, q, 0, 0, 0]
                    for i in range(2 * N):
                        reach = multipliers[i] * normal[q]
                        widest[i] = widest[i] if (widest[i] >= reach) | (widest[i] != widest[i]) else reach
                    for i in range(N):
                        offsets[i] = -widest[i] * usual[i]
                    for i in range(N):
                        offsets[N + i] = widest[N + i] * usual[i]
        free(widest)

    def remember(self, const int64_t[::1] slots, const int64_t[::1] n, const double[:, :, :, :, ::1] bounds):
        """Keep the bounds of frames n, no larger than single precision holds."""
        cdef Py_ssize_t b, i, N = bounds.shape[1] * 2 * bounds.shape[3] * bounds.shape[4]
        cdef double bound
        cdef const double* given
        cdef float* kept
        with nogil:
            for b in range(slots.shape[0]):
                given, kept = &bounds[b, 0, 0, 0, 0], &self.issued[slots[b], n[b] % self.issued.shape[1], 0, 0, 0, 0]
                for i in range(N):
                    bound = -FLT_MAX if given[i] < -FLT_MAX else given[i]
                    kept[i] = <float>(FLT_MAX if bound > FLT_MAX else bound)


cdef void move(
    const double* error, const double* waiting, double* multiplier, Py_ssize_t N, double held, double missed,
    double narrowest, double widest,
) noexcept nogil:
    """Multipliers of N bounds below and N above, by what the N values were off."""
    cdef Py_ssize_t i
    cdef double factor
    for i in range(N):
        factor = missed if error[i] < waiting[i] else held
        factor = factor if (error[i] == error[i]) & (fabs(waiting[i]) <= DBL_MAX) & (waiting[i] != 0.0) else 1.0
        multiplier[i] *= factor
    for i in range(N):
        factor = missed if error[i] > waiting[N + i] else held
        factor = factor if (error[i] == error[i]) & (fabs(waiting[N + i]) <= DBL_MAX) & (waiting[N + i] != 0.0) else 1.0
        multiplier[N + i] *= factor
    for i in range(2 * N):
        multiplier[i] = narrowest if multiplier[i] < narrowest else multiplier[i]
        multiplier[i] = widest if multiplier[i] > widest else multiplier[i]


cdef class Pool:
    """The arrays of `streamd.engine.intervals.Pool`, and what is done to them."""

    cdef public double[:, :, ::1] weight, log_spread
    cdef public double[:, :, :, :, ::1] log_multiplier

    def spread(
        self, const int64_t[::1] slots, double prior_frames, double memory, double reach, double sure,
        Intervals own, const double[:, :, ::1] usual,
        const double[:, :, ::1] steps, double[:, :, ::1] out,
    ):
        """Usual errors of streams, from the group's as far as their own are not known: into out, [B, H, C].

        usual: [B, H, C] of persistence, from so many `steps`, which are kept per slot.
        weight, log_spread: [1, H, C], the group's.
        """
        cdef Py_ssize_t b, i, N = out.shape[1] * out.shape[2]
        cdef double prior, pooled, most, square
        cdef const double* counts
        cdef const double* squares
        cdef const double* persistence
        cdef const double* known
        cdef const double* weights = &self.weight[0, 0, 0]
        cdef const double* logs = &self.log_spread[0, 0, 0]
        cdef double* spread
        with nogil:
            for b in range(slots.shape[0]):
                counts, squares = &own.judged[slots[b], 0, 0], &own.error_square[slots[b], 0, 0]
                persistence, known, spread = &usual[b, 0, 0], &steps[slots[b], 0, 0], &out[b, 0, 0]
                for i in range(N):
                    prior = prior_frames * (1.0 - counts[i] / memory) if weights[i] > 0.0 else 0.0
                    if prior > 0.0:
                        pooled = exp(2.0 * logs[i])
                        if known[i] >= sure:
                            most = reach * persistence[i]
                            pooled = most * most if most * most < pooled else pooled
                        square = counts[i] * squares[i] if counts[i] > 0.0 else 0.0
                        spread[i] = sqrt((square + prior * pooled) / (counts[i] + prior))
                    elif counts[i] > 0.0:
                        spread[i] = sqrt(squares[i])
                    else:
                        spread[i] = NAN
                    if spread[i] != spread[i] and known[i] > 0.0:
                        spread[i] = persistence[i]

    def learn(
        self, const int64_t[::1] slots, double memory, double most, Intervals own,
    ):
        """Let the group, [1, H, C] and [1, Q, 2, H, C], learn from streams of which so many errors are known."""
        cdef Py_ssize_t b, i, k, waiting = 0, N = self.weight.shape[1] * self.weight.shape[2]
        cdef Py_ssize_t M = own.multiplier.shape[1] * 2
        cdef int64_t s
        cdef double rate
        cdef bint any_settled = False
        cdef const double* counts
        cdef const double* squares
        cdef const double* multipliers
        cdef double* weights = &self.weight[0, 0, 0]
        cdef double* spreads = &self.log_spread[0, 0, 0]
        cdef double* pooled = &self.log_multiplier[0, 0, 0, 0, 0]
        cdef double* settled = <double*>malloc((3 + 2 * M) * N * sizeof(double))
        cdef double* count = settled + N
        cdef double* logs = count + N
        cdef double* factors = logs + N
        cdef double* product = factors + M * N
        if settled == NULL:
            raise MemoryError("no room for what a group learns")
        with nogil:
            for i in range(2 * N):
                count[i] = 0.0
            for i in range(M * N):
                factors[i], product[i] = 0.0, 1.0
            for b in range(slots.shape[0]):
                s = slots[b]
                counts, squares = &own.judged[s, 0, 0], &own.error_square[s, 0, 0]
                for i in range(N):
                    settled[i] = 0.0
                    if counts[i] >= memory and squares[i] > 0.0:
                        settled[i] = 1.0
                        count[i] += 1.0
                        logs[i] += 0.5 * log(squares[i])
                        any_settled = True
                for k in range(M):
                    multipliers = &own.multiplier[s, 0, 0, 0, 0] + k * N
                    for i in range(N):
                        product[k * N + i] *= multipliers[i] if settled[i] > 0.0 else 1.0
                waiting += 1
                if any_settled and (waiting == FACTORS or b == slots.shape[0] - 1):
                    waiting = 0
                    for i in range(M * N):
                        factors[i] += logf(<float>product[i])
                        product[i] = 1.0
            if any_settled:
                for i in range(N):
                    if count[i] > 0.0:
                        rate = weights[i] + count[i]
                        rate = rate if rate < most else most
                        weights[i] = rate
                        rate = count[i] / (rate if rate > 1.0 else 1.0)
                        spreads[i] += rate * (logs[i] / count[i] - spreads[i])
                        for k in range(M):
                            pooled[k * N + i] += rate * (factors[k * N + i] / count[i] - pooled[k * N + i])
        free(settled)
