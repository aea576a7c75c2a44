"""Normal equations: folded, solved, and what their coefficients foretell; see `streamd.engine.regression`."""

from libc.float cimport DBL_MAX, DBL_MIN, FLT_MAX
from libc.math cimport fabs, fabsf, pow
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc


def due(const int64_t[::1] n, const int64_t[::1] turn, int64_t young_frames, int64_t young_every, int64_t every,
        int64_t[::1] out):
    """Put the places of those whose turn it is into out; gives how many there are."""
    cdef Py_ssize_t b, count = 0
    with nogil:
        for b in range(n.shape[0]):
            if (n[b] + turn[b]) % (young_every if n[b] < young_frames else every) == 0:
                out[count] = b
                count += 1
    return count


cdef void add(double* row, const double* factors, const double* rows, Py_ssize_t stride, Py_ssize_t K, Py_ssize_t N
              ) noexcept nogil:
    """Add to a row of N numbers K others, each times its factor; four at once, as the row is read for all of them."""
    cdef Py_ssize_t j, k = 0
    cdef double a, b, c, d
    cdef const double* p
    cdef const double* q
    cdef const double* r
    cdef const double* s
    while k + 4 <= K:
        a, b, c, d = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
        p = rows + k * stride
        q = p + stride
        r = q + stride
        s = r + stride
        for j in range(N):
            row[j] += (a * p[j] + b * q[j]) + (c * r[j] + d * s[j])
        k += 4
    while k < K:
        a, p = factors[k], rows + k * stride
        for j in range(N):
            row[j] += a * p[j]
        k += 1


cdef class Ridge:
    """The arrays of `streamd.engine.regression._Ridge`, and what is done to them."""

    cdef public double[:, :, :, ::1] inputs, products
    cdef public float[:, :, :, ::1] slopes
    cdef public double[:, ::1] input_weight
    cdef public double[:, :, ::1] product_weight

    def fold(
        self, const int64_t[::1] slots, const int64_t[::1] n, const int64_t[::1] steps, const int64_t[::1] count,
        const float[:, :, :, ::1] targets, const float[:, :, :, ::1] weights, const float[:, ::1] haste,
        const float[:, :, :, ::1] features, double keep, double hastening,
    ):
        """Take in the last `count` of the frames up to n, as if it had been one after the other.

        steps: [H] how far ahead what was taught lies.
        targets, weights, haste: [slots, K, ...], features: [slots, V, C, F], of which the first D are looked at; rings.
        keep: what is kept of the past per frame, to the power of 1 + hastening where haste is 1.
        """
        cdef Py_ssize_t b, k, h, c, i, j, new, H = self.products.shape[1], C = self.products.shape[2], D = self.products.shape[3]
        cdef Py_ssize_t K = targets.shape[1], V = features.shape[1], far = steps[H - 1]
        cdef int64_t s, frame
        cdef double since, kept
        cdef double* sums
        cdef double* lasting = <double*>malloc((3 * K + (K + far - 1) * D) * sizeof(double))
        cdef double* factors = lasting + K  # of the features, for the sums
        cdef double* scaled = factors + K
        cdef double* x = scaled + K  # [K + far - 1, D] of one channel, the newest first
        if lasting == NULL:
            raise MemoryError("no room for what a regression takes in")
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                new = count[s] if count[s] < K else K
                since = 0.0
                for k in range(new):
                    lasting[k] = pow(keep, since)
                    since += 1.0 + hastening * haste[s, (n[b] - k + K) % K]
                kept = pow(keep, since)
                for c in range(C):
                    frame = n[b] % V
                    for k in range(new + far - 1):
                        frame = frame - 1 if frame else V - 1
                        for j in range(D):
                            x[k * D + j] = features[s, frame, c, j]
                    for k in range(new):
                        factors[k] = weights[s, (n[b] - k + K) % K, 0, c] * lasting[k]
                    for i in range(D):
                        sums = &self.inputs[s, c, i, 0]
                        for j in range(i + 1):
                            sums[j] *= kept
                        for k in range(new):
                            scaled[k] = factors[k] * x[k * D + i]
                        add(sums, scaled, x, D, new, i + 1)
                    for i in range(D):
                        for j in range(i):
                            self.inputs[s, c, j, i] = self.inputs[s, c, i, j]
                    self.input_weight[s, c] *= kept
                    for k in range(new):
                        self.input_weight[s, c] += factors[k]
                    # the forecast of so many steps that frame k before told of was made so many frames before that
                    for h in range(H):
                        self.product_weight[s, h, c] *= kept
                        for k in range(new):
                            frame = (n[b] - k + K) % K
                            factors[k] = targets[s, frame, h, c] * lasting[k]
                            self.product_weight[s, h, c] += weights[s, frame, h, c] * lasting[k]
                        sums = &self.products[s, h, c, 0]
                        for j in range(D):
                            sums[j] *= kept
                        add(sums, factors, x + (steps[h] - 1) * D, D, new, D)
        free(lasting)

    def solve(
        self, const int64_t[::1] slots, const double[:, :] usual, double ridge, double floor, double fewest,
        double most_ratio,
    ):
        """Make the slopes anew from the sums.

        The matrix is symmetric and, for its ridge, positive: nothing has to be swapped as it is eliminated.

        usual: [B, C], whose square times `ridge` is added to the diagonal, and so is `floor` times its mean.
        fewest: weight of the products that is too little; most_ratio: of the inputs' to it, that is made up for.
        """
        cdef Py_ssize_t b, h, c, i, j, k, H = self.products.shape[1], C = self.products.shape[2], D = self.products.shape[3]
        cdef Py_ssize_t width = D + H
        cdef int64_t s
        cdef double mean, more, found, ratio
        cdef double* matrix = <double*>malloc((D * width + 2 * D) * sizeof(double))  # [D, D + H]: inputs and products
        cdef double* factors = matrix + D * width
        cdef double* inverse = factors + D  # [D] of the diagonal
        cdef double* row
        if matrix == NULL:
            raise MemoryError("no room for the equations of a regression")
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for c in range(C):
                    mean = 0.0
                    for i in range(D):
                        mean += self.inputs[s, c, i, i]
                    more = ridge * usual[b, c] * usual[b, c] + floor * (mean / D) + DBL_MIN
                    for i in range(D):
                        row = matrix + i * width
                        for j in range(i, D):
                            row[j] = self.inputs[s, c, i, j]
                        row[i] += more
                        for h in range(H):
                            row[D + h] = self.products[s, h, c, i]
                        for k in range(i):
                            factors[k] = -matrix[k * width + i] * inverse[k]
                        add(row + i, factors, matrix + i, width, i, width - i)
                        inverse[i] = 1.0 / row[i]
                    for i in range(D - 1, -1, -1):
                        row = matrix + i * width
                        for j in range(i + 1, D):
                            factors[j] = -row[j]
                        add(row + D, factors + i + 1, matrix + (i + 1) * width + D, width, D - 1 - i, H)
                        for h in range(H):
                            row[D + h] *= inverse[i]
                    for h in range(H):
                        # the products of h steps lack the last h - 1 frames that the inputs have: make up for their weight
                        ratio = 0.0
                        if self.product_weight[s, h, c] > fewest:
                            ratio = self.input_weight[s, c] / self.product_weight[s, h, c]
                            ratio = most_ratio if ratio > most_ratio else ratio
                        for i in range(D):
                            found = matrix[i * width + D + h] * ratio
                            if not fabs(found) <= DBL_MAX:
                                found = 0.0
                            found = -FLT_MAX if found < -FLT_MAX else found
                            self.slopes[s, h, c, i] = <float>(FLT_MAX if found > FLT_MAX else found)
        free(matrix)

    def foretell(self, const int64_t[::1] slots, const double[:, :, :] features, double[:, :, :] out):
        """Sums of slopes times features, [B, C, F], of which there may be more: into out, [B, H, C]; 0 where too large."""
        cdef Py_ssize_t b, h, c, j, D = self.slopes.shape[3]
        cdef int64_t s
        cdef float p, q, r, t
        cdef const float* slope
        cdef float* x = <float*>malloc(D * sizeof(float))
        if x == NULL:
            raise MemoryError("no room for the features of a channel")
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for c in range(out.shape[2]):
                    for j in range(D):
                        x[j] = <float>features[b, c, j]
                    for h in range(out.shape[1]):
                        slope = &self.slopes[s, h, c, 0]
                        p, q, r, t = 0.0, 0.0, 0.0, 0.0
                        j = 0
                        while j + 4 <= D:
                            p += slope[j] * x[j]
                            q += slope[j + 1] * x[j + 1]
                            r += slope[j + 2] * x[j + 2]
                            t += slope[j + 3] * x[j + 3]
                            j += 4
                        while j < D:
                            p += slope[j] * x[j]
                            j += 1
                        p = (p + q) + (r + t)
                        out[b, h, c] = p if fabsf(p) <= FLT_MAX else <float>0.0
        free(x)


cdef class Reach:
    """The arrays of `streamd.engine.regression.Reach`, and what is done to them."""

    cdef public double[:, :, ::1] rise, fall

    def learn(
        self, const int64_t[::1] slots, const double[:, :, :] errors, const double[:, :] lowest,
        const double[:, :] highest, double keep,
    ):
        """Take in errors, [B, H, C], as the largest rise and fall so far; none counts beyond lowest to highest, [B, C]."""
        cdef Py_ssize_t b, h, c
        cdef int64_t s
        cdef double limit, seen, kept
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for h in range(errors.shape[1]):
                    for c in range(errors.shape[2]):
                        seen = errors[b, h, c]
                        if not fabs(seen) <= DBL_MAX:
                            continue
                        limit = highest[b, c] - lowest[b, c]
                        seen = -limit if seen < -limit else seen
                        seen = limit if seen > limit else seen
                        kept = keep * self.rise[s, h, c]
                        self.rise[s, h, c] = kept if kept >= seen else seen
                        kept = keep * self.fall[s, h, c]
                        self.fall[s, h, c] = kept if kept >= -seen else -seen

    def bound(
        self, const int64_t[::1] slots, const double[:, :, :] usual, double most_changes, const double[:, :, :] seasonal,
        double[:, :, :, :] changes,
    ):
        """Bound changes, [B, K, H, C], by rises and falls, and so many usual ones, [B, H, C]; then add `seasonal`."""
        cdef Py_ssize_t b, k, h, c
        cdef int64_t s
        cdef double most, up, down, change
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                for h in range(usual.shape[1]):
                    for c in range(usual.shape[2]):
                        most = most_changes * usual[b, h, c]
                        up = self.rise[s, h, c] if self.rise[s, h, c] < most else most
                        down = -(self.fall[s, h, c] if self.fall[s, h, c] < most else most)
                        for k in range(changes.shape[1]):
                            change = changes[b, k, h, c]
                            change = down if change < down else change
                            change = up if change > up else change
                            changes[b, k, h, c] = change + seasonal[b, h, c]
