# Latency in log buckets: 64 buckets, each 22.2 % wider than the last, from 0.25 ms to 93 s, so that
# the middle of a bucket is within 10 % of everything in it. Buckets are halved when one is full:
# shares survive, old traffic fades.

from libc.stdint cimport uint16_t, uint32_t


cdef enum:
    HISTOGRAM_BUCKETS = 64

cdef extern from *:
    """
    #define HISTOGRAM_LOG2_LOW (-2.0f)              /* 0.25 ms */
    #define HISTOGRAM_PER_OCTAVE (3.4542046f)       /* buckets: 1 / log2(1.1 / 0.9) */
    """
    const float HISTOGRAM_LOG2_LOW
    const float HISTOGRAM_PER_OCTAVE

cdef struct Histogram:
    uint16_t bucket[HISTOGRAM_BUCKETS]

cdef inline int histogram_bucket(float log2_ms) noexcept nogil:
    cdef float at = (log2_ms - HISTOGRAM_LOG2_LOW) * HISTOGRAM_PER_OCTAVE
    if not at > 0.0:
        return 0
    return <int>at if at < HISTOGRAM_BUCKETS else HISTOGRAM_BUCKETS - 1

cdef inline void histogram_halve(Histogram *h) noexcept nogil:
    cdef int i
    for i in range(HISTOGRAM_BUCKETS):
        h.bucket[i] >>= 1

cdef inline void histogram_add(Histogram *h, float log2_ms, uint32_t count) noexcept nogil:
    cdef int i = histogram_bucket(log2_ms)
    if count > 1000:
        count = 1000
    if h.bucket[i] > 65535 - count:
        histogram_halve(h)
    h.bucket[i] += <uint16_t>count

cdef inline void histogram_merge(Histogram *into, const Histogram *other) noexcept nogil:
    """Add the buckets; where a sum is too large, both are halved first."""
    cdef int i, shift = 0
    for i in range(HISTOGRAM_BUCKETS):
        if <uint32_t>into.bucket[i] + other.bucket[i] > 65535:
            shift = 1
    for i in range(HISTOGRAM_BUCKETS):
        into.bucket[i] = <uint16_t>((<uint32_t>into.bucket[i] + other.bucket[i]) >> shift)
