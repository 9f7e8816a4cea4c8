# A quantile learned without keeping values (Robbins and Monro 1951) on the logarithm: up by
# step * q when a value is above, down by step * (1 - q) when it is not.

from libc.math cimport expf, logf

cdef inline float quantile_add(float estimate, float x, float q, float step) noexcept nogil:
    """The estimate after x; both positive. `step` is the largest relative move."""
    if estimate <= 0.0:
        return x
    return estimate * expf(step * q if x > estimate else -step * (1.0 - q))

cdef inline float quantile_merge(float a, float n, float b, float m) noexcept nogil:
    """Two estimates of the same quantile from n and m values: their weighted geometric mean, which
    lies between them. 0: not learned yet."""
    if a <= 0.0 or b <= 0.0:
        return a if a > 0.0 else b
    return expf((logf(a) * n + logf(b) * m) / (n + m)) if n + m > 0.0 else a
