# Which methods a partner uses, and in how many hours it did.

from libc.stdint cimport uint8_t, uint32_t

from ztcore.familiar cimport Familiar, familiar_merge, familiar_see

cdef struct MethodSet:
    Familiar familiar[8]
    uint8_t count[8]            # to three; more does not matter

cdef inline bint methods_see(MethodSet *m, int method, uint32_t hour) noexcept nogil:
    """Count a call; True where further ones in this hour change nothing."""
    familiar_see(&m.familiar[method], hour)
    if m.count[method] < 3:
        m.count[method] += 1
    return m.count[method] >= 3

cdef inline void methods_merge(MethodSet *into, const MethodSet *other) noexcept nogil:
    cdef int i, n
    for i in range(8):
        familiar_merge(&into.familiar[i], &other.familiar[i])
        n = into.count[i] + other.count[i]
        into.count[i] = <uint8_t>(n if n < 3 else 3)
