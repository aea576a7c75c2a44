"""Where numbers repeat themselves; see `streamd.engine.periods`."""

from libc.math cimport M_PI, cos, floor, rint, sin


cdef double vertex(const double* correlation, Py_ssize_t peak) noexcept nogil:
    """Where the parabola through a peak and its neighbours has its top."""
    cdef double left = correlation[peak - 1], top = correlation[peak], right = correlation[peak + 1]
    cdef double bend = left - 2.0 * top + right
    return <double>peak + (0.5 * (left - right) / bend if bend < 0.0 else 0.0)


cdef double first_high(
    const double* correlation, Py_ssize_t lags, Py_ssize_t longest, Py_ssize_t shortest, double high, double nearly,
) noexcept nogil:
    cdef Py_ssize_t at, first, near, reach, low, top, best
    cdef double lowest = correlation[0], highest = 0.0, period, multiple = 2.0
    for at in range(1, lags - 1):  # the highest peak that counts
        lowest = correlation[at] if correlation[at] < lowest else lowest
        if counts(correlation, at, shortest, longest, high, lowest) and correlation[at] > highest:
            highest = correlation[at]
    if not highest > 0.0:
        return 0.0
    first, lowest = 0, correlation[0]
    for at in range(1, lags - 1):  # the first that is nearly as high
        lowest = correlation[at] if correlation[at] < lowest else lowest
        if counts(correlation, at, shortest, longest, high, lowest) and correlation[at] >= nearly * highest:
            first = at
            break
    period = vertex(correlation, first)
    while multiple * period <= longest:
        near = <Py_ssize_t>rint(multiple * period)
        reach = <Py_ssize_t>floor(period / 4.0)
        reach = reach if reach > 1 else 1
        low = near - reach if near - reach > 1 else 1
        top = near + reach if near + reach < lags - 2 else lags - 2
        best = low
        for at in range(low, top + 1):
            if correlation[at] > correlation[best]:
                best = at
        if correlation[best] < high:
            break
        period = vertex(correlation, best) / multiple
        multiple *= 2.0
    return period


cdef inline bint counts(
    const double* correlation, Py_ssize_t at, Py_ssize_t shortest, Py_ssize_t longest, double high, double lowest,
) noexcept nogil:
    return (
        correlation[at] > correlation[at - 1] and correlation[at] >= correlation[at + 1] and correlation[at] > high
        and shortest <= at <= longest and correlation[at] - lowest > high
    )


def peaks(const double[:, ::1] correlation, Py_ssize_t longest, Py_ssize_t shortest, double high, double nearly,
          double[::1] periods):
    """The lag of the first high peak of each channel's autocorrelation, [C, lags], into periods, [C]; 0 for none."""
    cdef Py_ssize_t c
    with nogil:
        for c in range(correlation.shape[0]):
            periods[c] = first_high(
                &correlation[c, 0], correlation.shape[1], longest, shortest, high, nearly
            )


def powers(const double[::1] past, const double[::1] periods, int harmonics, double[::1] out):
    """The power of past, [N], at each of the periods, [P], and at their harmonics, into out, [P].

    A turn of each frame's angle follows from the one before: that spares N sines.
    """
    cdef Py_ssize_t p, n
    cdef int k
    cdef double x, y, turned, real, imaginary, cosine, sine
    with nogil:
        for p in range(periods.shape[0]):
            out[p] = 0.0
            for k in range(1, harmonics + 1):
                cosine, sine = cos(2.0 * M_PI * k / periods[p]), sin(2.0 * M_PI * k / periods[p])
                x, y, real, imaginary = 1.0, 0.0, 0.0, 0.0
                for n in range(past.shape[0]):
                    real += past[n] * x
                    imaginary += past[n] * y
                    turned = x * cosine - y * sine
                    y = x * sine + y * cosine
                    x = turned
                out[p] += real * real + imaginary * imaginary
