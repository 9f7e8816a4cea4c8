# Exponentially weighted moving average: the first `most` values count equally, later ones 1/most.

cdef inline float ewma_add(float mean, float x, float n, float most) noexcept nogil:
    """The mean after the n-th value x (n counted from 1)."""
    return mean + (x - mean) / (n if n < most else most)
