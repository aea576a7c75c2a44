"""What is usual for channels, and how it is learnt; see `streamd.engine.scale`."""

from libc.float cimport DBL_MAX
from libc.math cimport fabs, sqrt
from libc.stdint cimport int64_t

cdef extern from "<math.h>" nogil:
    const double INFINITY


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


def step_spread(const int64_t[::1] slots, double tiny, const double[:, ::1] mean, const double[:, ::1] square,
                const double[:, :, ::1] steps, const double[:, :, ::1] step_square, double[:, :, ::1] out):
    """Usual changes into out, [B, H, C]."""
    cdef Py_ssize_t b, H = out.shape[1], C = out.shape[2]
    cdef int64_t s
    with nogil:
        for b in range(slots.shape[0]):
            s = slots[b]
            step_spreads(H, C, &mean[s, 0], &square[s, 0], &steps[s, 0, 0], &step_square[s, 0, 0], tiny,
                         &out[b, 0, 0])


def learn(
    const int64_t[::1] slots, const double[:, :] values, const double[:, :, :] changes, const double[::1] weight,
    const double[::1] haste, double memory_frames, double more_haste, double reach, double top_keep, double widest,
    double tiny, double[:, ::1] seen, double[:, ::1] mean, double[:, ::1] square, double[:, ::1] last,
    double[:, :, ::1] steps, double[:, :, ::1] step_square, double[:, :, ::1] top,
    double[:, ::1] level, double[:, ::1] spread, double[:, ::1] latest, double[:, :, ::1] usual,
):
    """Take in values, [B, C], and changes, [B, H, C]; neither counts where it is not finite.

    What is usual by then goes into level, spread and latest, [B, C], and into usual, [B, H, C].
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
                    trust = 1.0 if seen[s, c] < 30 else weight[b]
                    rate = trust / (seen[s, c] + 1.0 if seen[s, c] + 1.0 < memory else memory)
                    off = value - mean[s, c]
                    # a constant that begins to move has no spread to bound it by: let the first change in
                    if seen[s, c] >= 3 and square[s, c] > 0:
                        far = reach * (sqrt(square[s, c]) + tiny * (1.0 + fabs(mean[s, c])))
                        off = far if off > far else -far if off < -far else off
                    mean[s, c] += rate * off
                    square[s, c] = (1.0 - rate) * (square[s, c] + rate * off * off)
                    seen[s, c] = seen[s, c] + trust if seen[s, c] + trust < memory_frames else memory_frames
                    last[s, c] = value
                level[b, c], latest[b, c] = mean[s, c], last[s, c]
                spread[b, c] = sqrt(square[s, c]) + tiny * (1.0 + fabs(mean[s, c]))
            for h in range(H):
                for c in range(C):
                    change = changes[b, h, c]
                    if not fabs(change) <= DBL_MAX:
                        continue
                    trust = 1.0 if steps[s, h, c] < 30 else weight[b]
                    rate = trust / (steps[s, h, c] + 1.0 if steps[s, h, c] + 1.0 < memory else memory)
                    squared = change * change
                    if steps[s, h, c] >= 3 and step_square[s, h, c] != 0:
                        bound = reach * reach * step_square[s, h, c]
                        squared = bound if squared > bound else squared
                    bound = INFINITY
                    if change != 0:
                        largest = top_keep * top[s, h, c]
                        change = sqrt(squared)
                        largest = change if change > largest else largest
                        top[s, h, c] = largest
                        bound = widest * widest * largest * largest
                    squared = step_square[s, h, c] + rate * (squared - step_square[s, h, c])
                    step_square[s, h, c] = bound if squared > bound else squared
                    steps[s, h, c] = steps[s, h, c] + trust if steps[s, h, c] + trust < memory_frames else memory_frames
            step_spreads(H, C, &mean[s, 0], &square[s, 0], &steps[s, 0, 0], &step_square[s, 0, 0], tiny,
                         &usual[b, 0, 0])
