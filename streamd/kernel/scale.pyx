"""What is usual for channels, and how it is learnt; see `streamd.engine.scale`."""

from libc.float cimport DBL_MAX
from libc.math cimport fabs, sqrt
from libc.stdint cimport int64_t

cdef extern from "<math.h>" nogil:
    const double INFINITY, NAN


cdef inline void step_spreads(
    Py_ssize_t H, Py_ssize_t C, const double* mean, const double* square, const double* steps,
    const double* step_square, double tiny, double* out,
) noexcept nogil:
    """Into out, [H, C]: the root mean square of the change over 1..H steps, or the spread until one is known."""
    cdef Py_ssize_t h, c
    cdef double least
    for h in range(H):
        for c in range(C):
            least = tiny * (1.0 + fabs(mean[c]))
            out[h * C + c] = least + (
                sqrt(step_square[h * C + c]) if steps[h * C + c] > 0 else sqrt(square[c]) + least
            )


cdef class Scale:
    """The arrays of `streamd.engine.scale.Scale`, and what is done to them."""

    cdef public double[:, ::1] seen, mean, square, last
    cdef public double[:, :, ::1] steps, step_square, top

    def enter(self, const int64_t[::1] slots, const double[:, :] sent, double most, double[:, ::1] values,
              double[:, ::1] before):
        """What was sent, [B, C], into values, NaN where it is beyond `most`; the last values until then into before."""
        cdef Py_ssize_t b, c
        with nogil:
            for b in range(slots.shape[0]):
                for c in range(values.shape[1]):
                    values[b, c] = sent[b, c] if fabs(sent[b, c]) <= most else NAN
                    before[b, c] = self.last[slots[b], c]

    def known(self, const int64_t[::1] slots, double sure, const double[:, :, ::1] usual, double[:, :, ::1] out):
        """Usual changes [B, H, C] into out, NaN where they come from fewer than so many."""
        cdef Py_ssize_t b, h, c
        with nogil:
            for b in range(slots.shape[0]):
                for h in range(usual.shape[1]):
                    for c in range(usual.shape[2]):
                        out[b, h, c] = usual[b, h, c] if self.steps[slots[b], h, c] >= sure else NAN

    def step_spread(self, const int64_t[::1] slots, double tiny, double[:, :, ::1] out):
        """Usual changes into out, [B, H, C]."""
        cdef Py_ssize_t b, H = out.shape[1], C = out.shape[2]
        cdef int64_t s
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                step_spreads(H, C, &self.mean[s, 0], &self.square[s, 0], &self.steps[s, 0, 0], &self.step_square[s, 0, 0], tiny,
                             &out[b, 0, 0])

    def learn(
        self, const int64_t[::1] slots, const double[:, :] values, const double[:, :, :] changes, const double[::1] weight,
        const double[::1] haste, double memory_frames, double more_haste, double reach, double top_keep, double widest,
        double tiny, double afar, double[:, ::1] level, double[:, ::1] spread, double[:, ::1] latest,
        double[:, ::1] lowest, double[:, ::1] highest, double[:, :, ::1] usual,
    ):
        """Take in values, [B, C], and changes, [B, H, C]; neither counts where it is not finite.

        What is usual by then goes into level, spread and latest, [B, C], and into usual, [B, H, C]; and into lowest and highest what is
        `afar` spreads off.
        """
        cdef Py_ssize_t b, h, c, H = usual.shape[1], C = usual.shape[2]
        cdef int64_t s
        cdef double value, off, far, rate, trust, memory, change, bound, largest, squared
        with nogil:
            for b in range(slots.shape[0]):
                s = slots[b]
                memory = memory_frames / (1.0 + more_haste * haste[b])
                for c in range(C):
                    value = values[b, c]
                    if fabs(value) <= DBL_MAX:
                        trust = 1.0 if self.seen[s, c] < 30 else weight[b]
                        rate = trust / (self.seen[s, c] + 1.0 if self.seen[s, c] + 1.0 < memory else memory)
                        off = value - self.mean[s, c]
                        # a constant that begins to move has no spread to bound it by: let the first change in
                        if self.seen[s, c] >= 3 and self.square[s, c] > 0:
                            far = reach * (sqrt(self.square[s, c]) + tiny * (1.0 + fabs(self.mean[s, c])))
                            off = far if off > far else -far if off < -far else off
                        self.mean[s, c] += rate * off
                        self.square[s, c] = (1.0 - rate) * (self.square[s, c] + rate * off * off)
                        self.seen[s, c] = self.seen[s, c] + trust if self.seen[s, c] + trust < memory_frames else memory_frames
                        self.last[s, c] = value
                    level[b, c], latest[b, c] = self.mean[s, c], self.last[s, c]
                    spread[b, c] = sqrt(self.square[s, c]) + tiny * (1.0 + fabs(self.mean[s, c]))
                    lowest[b, c], highest[b, c] = level[b, c] - afar * spread[b, c], level[b, c] + afar * spread[b, c]
                for h in range(H):
                    for c in range(C):
                        change = changes[b, h, c]
                        if not fabs(change) <= DBL_MAX:
                            continue
                        trust = 1.0 if self.steps[s, h, c] < 30 else weight[b]
                        rate = trust / (self.steps[s, h, c] + 1.0 if self.steps[s, h, c] + 1.0 < memory else memory)
                        squared = change * change
                        if self.steps[s, h, c] >= 3 and self.step_square[s, h, c] != 0:
                            bound = reach * reach * self.step_square[s, h, c]
                            squared = bound if squared > bound else squared
                        bound = INFINITY
                        if change != 0:
                            largest = top_keep * self.top[s, h, c]
                            change = sqrt(squared)
                            largest = change if change > largest else largest
                            self.top[s, h, c] = largest
                            bound = widest * widest * largest * largest
                        squared = self.step_square[s, h, c] + rate * (squared - self.step_square[s, h, c])
                        self.step_square[s, h, c] = bound if squared > bound else squared
                        self.steps[s, h, c] = self.steps[s, h, c] + trust if self.steps[s, h, c] + trust < memory_frames else memory_frames
                step_spreads(H, C, &self.mean[s, 0], &self.square[s, 0], &self.steps[s, 0, 0], &self.step_square[s, 0, 0], tiny,
                             &usual[b, 0, 0])


def steady(const double[:, :] values, const double[:, :] before, const double[:, :, ::1] usual, double most,
           unsigned char[::1] out):
    """Whether no value [B, C] is more than so many usual steps from the one before: into out, [B]."""
    cdef Py_ssize_t b, c
    with nogil:
        for b in range(values.shape[0]):
            out[b] = True
            for c in range(values.shape[1]):
                if fabs(values[b, c] - before[b, c]) > most * usual[b, 0, c]:
                    out[b] = False
