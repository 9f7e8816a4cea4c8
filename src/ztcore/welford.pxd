# Mean and variance in one pass (Welford 1962), merged by Chan, Golub and LeVeque (1979).

cdef struct Welford:
    float n                     # weight so far
    float mean
    float m2                    # sum of squared distances from the mean

cdef inline void welford_add(Welford *w, float x, float weight, float most) noexcept nogil:
    """Take in x. Past a weight of `most` the old values fade, so that the mean keeps moving."""
    cdef float step, delta
    if w.n + weight > most:
        step = (most - weight) / w.n if most > weight else 0.0
        w.n *= step
        w.m2 *= step
    w.n += weight
    delta = x - w.mean
    w.mean += delta * weight / w.n
    w.m2 += delta * (x - w.mean) * weight

cdef inline void welford_merge(Welford *into, const Welford *other) noexcept nogil:
    cdef float n = into.n + other.n, delta = other.mean - into.mean
    if other.n <= 0.0:
        return
    into.m2 += other.m2 + delta * delta * (into.n / n) * other.n
    into.mean += delta * (other.n / n)
    into.n = n

cdef inline float welford_variance(const Welford *w) noexcept nogil:
    """Population variance; 0 before the second value."""
    return w.m2 / w.n if w.n > 0.0 and w.m2 > 0.0 else 0.0
