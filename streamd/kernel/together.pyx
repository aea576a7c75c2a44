"""How many streams of a group speak; see `streamd.engine.together`."""

from libc.float cimport DBL_MAX
from libc.math cimport exp, isnan, log


def hear(
    const double[:] times, const double[:] interval, double clock, double step, double active, double known,
    double memory_frames, double active_steps,
):
    """Take in times and usual steps, [B] s, NaN where not known: (clock, step, active) after them.

    clock, step: s, NaN while not known; known: streams, which are the most that can be active.
    """
    cdef Py_ssize_t b, count = 0
    cdef double before = clock, logs = 0.0, longest = 0.0, rate, window, passed, heard = 0.0
    with nogil:
        for b in range(times.shape[0]):
            if isnan(clock) or times[b] > clock:
                clock = times[b]
            if interval[b] > 0.0 and interval[b] <= DBL_MAX:
                count += 1
                logs += log(interval[b])
                longest = interval[b] if interval[b] > longest else longest
        if count > 0:
            rate = count / (count + memory_frames)
            step = exp(logs / count) if isnan(step) else exp(log(step) + rate * (logs / count - log(step)))
            window = active_steps * step
            # a time in which nobody spoke says nothing of how many there are
            passed = 0.0 if isnan(before) else clock - before if clock - before < longest else longest
            for b in range(times.shape[0]):
                if interval[b] > 0.0 and interval[b] <= DBL_MAX:
                    heard += interval[b] / window if interval[b] < window else 1.0
            active = active * exp(-passed / window) + heard
            active = known if active > known else active  # old frames that come late count without a fading
    return clock, step, active
