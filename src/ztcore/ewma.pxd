# Exponentially weighted moving average: the first `most` values count equally, later ones 1/most.

cdef inline float ewma_add(float mean, float x, float n, float most) noexcept nogil:
    """The mean after the n-th value x (n counted from 1)."""
    return mean + (x - mean) / (n if n < most else most)

cdef inline float ewma_merge(float a, float n, float b, float m) noexcept nogil:
    """The mean of two means of n and m values: exact while both are plain means."""
    return (a * n + b * m) / (n + m) if n + m > 0.0 else 0.0
