# Time stamps from outside are held to a window around now, so that nobody can write another day's history.

from libc.stdint cimport int64_t, uint64_t

cdef struct Clamp:
    int64_t back                # ns
    int64_t ahead
    uint64_t old                # how many were too far back
    uint64_t early              # too far ahead

cdef inline int64_t clamp_time(Clamp *c, int64_t timestamp, int64_t now) noexcept nogil:
    """The time stamp, or the end of the window that it lies beyond; counted there. All in ns."""
    if timestamp < now - c.back:
        c.old += 1
        return now - c.back
    if timestamp > now + c.ahead:
        c.early += 1
        return now + c.ahead
    return timestamp
