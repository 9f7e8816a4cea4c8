# Familiarity: in how many distinct clock hours a thing was seen. A thousand calls in one minute
# make nothing familiar.

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    FAMILIAR_HOURS = 3
    FAMILIAR_MOST = 200
    FAMILIAR_FADE = 6           # hours: of a hundred a night leaves a quarter

cdef struct Familiar:
    uint8_t hours               # distinct clock hours, saturating
    uint8_t last                # the last of them, modulo 256

cdef inline void familiar_see(Familiar *f, uint32_t hour) noexcept nogil:
    if f.last != <uint8_t>hour or f.hours == 0:
        f.last = <uint8_t>hour
        if f.hours < FAMILIAR_MOST:
            f.hours += 1

cdef inline uint32_t familiar_rank(const Familiar *f, uint32_t hour) noexcept nogil:
    """Larger is worth more: first the hours, halved for each FAMILIAR_FADE in which it did not come, then how recent
    the last one is. What was given up for something else makes room for it within days."""
    cdef uint32_t age = <uint8_t>(<uint8_t>hour - f.last)
    return (<uint32_t>f.hours >> min(age // FAMILIAR_FADE, 8) << 8) | (255 - age)

cdef inline void familiar_merge(Familiar *into, const Familiar *other) noexcept nogil:
    """The more familiar of the two: the hours of both may be the same ones, so never their sum."""
    if other.hours > into.hours:
        into[0] = other[0]
