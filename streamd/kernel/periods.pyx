"""How much of a past goes by each of some periods; see `streamd.engine.periods`."""

from libc.math cimport cos, sin

cdef extern from "<math.h>" nogil:
    const double M_PI


def power(const double[::1] past, const double[::1] periods, int harmonics, double[::1] out):
    """The past's power at each period, in frames, with its harmonics: into out, as many as there are periods."""
    cdef Py_ssize_t i, k
    cdef int harmonic
    cdef double turn, next_re, next_im, re, im, real, imaginary, moved
    with nogil:
        for i in range(periods.shape[0]):
            out[i] = 0.0
            for harmonic in range(1, harmonics + 1):
                turn = 2.0 * M_PI * harmonic / periods[i]
                next_re, next_im = cos(turn), sin(turn)
                re, im, real, imaginary = 1.0, 0.0, 0.0, 0.0
                for k in range(past.shape[0]):
                    real += past[k] * re
                    imaginary += past[k] * im
                    moved = re * next_re - im * next_im
                    im = re * next_im + im * next_re
                    re = moved
                out[i] += real * real + imaginary * imaginary
