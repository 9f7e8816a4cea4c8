# Which methods a partner uses, and in how many hours it did.

from libc.stdint cimport uint8_t, uint32_t

from ztcore.familiar cimport Familiar, familiar_see

cdef struct MethodSet:
    Familiar familiar[8]
    uint8_t count[8]            # to three; more does not matter

cdef inline bint methods_see(MethodSet *m, int method, uint32_t hour) noexcept nogil:
    """Count a call; True where further ones in this hour change nothing."""
    familiar_see(&m.familiar[method], hour)
    if m.count[method] < 3:
        m.count[method] += 1
    return m.count[method] >= 3
