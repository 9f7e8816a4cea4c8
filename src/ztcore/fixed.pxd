# Sixteen-bit numbers for statistics that move in steps smaller than their resolution: rounded up
# with the probability of the remainder, so that many small steps add up to what they should.

from libc.stdint cimport uint64_t

cdef inline uint64_t random_mix(uint64_t x) noexcept nogil:
    """Sixty-four bits random enough for rounding (SplitMix64's finaliser)."""
    x = (x ^ (x >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
    x = (x ^ (x >> 27)) * <uint64_t>0x94d049bb133111eb
    return x ^ (x >> 31)
