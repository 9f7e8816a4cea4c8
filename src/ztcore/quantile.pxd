# A quantile learned without keeping values (Robbins and Monro 1951) on the logarithm: up by
# step * q when a value is above, down by step * (1 - q) when it is not.

from libc.math cimport expf

cdef inline float quantile_add(float estimate, float x, float q, float step) noexcept nogil:
    """The estimate after x; both positive. `step` is the largest relative move."""
    if estimate <= 0.0:
        return x
    return estimate * expf(step * q if x > estimate else -step * (1.0 - q))
