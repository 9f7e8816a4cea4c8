# Spans of time in nanoseconds.

from libc.stdint cimport int64_t, uint32_t

cdef extern from *:
    """
    #define SECOND_NS 1000000000LL
    #define MINUTE_NS 60000000000LL
    #define HOUR_NS 3600000000000LL
    #define DAY_NS 86400000000000LL
    """
    const int64_t SECOND_NS
    const int64_t MINUTE_NS
    const int64_t HOUR_NS
    const int64_t DAY_NS

cdef inline uint32_t seconds_of(int64_t ns) noexcept nogil:
    """Whole seconds since the epoch, of a time stamp before 2106."""
    return <uint32_t>(ns // SECOND_NS)

cdef inline float span_s(int64_t ns) noexcept nogil:
    """A span of time in seconds."""
    return <float>(ns * 1e-9)
