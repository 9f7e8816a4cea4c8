# The endpoints (method and template) of a partner: 24 slots with count, familiarity and the usual
# latency and response size. The least familiar, least recent, least called one makes room for a
# new one; what it had counted goes to `rest`, so that a slot's count is a lower bound and the
# count plus `rest` an upper one.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from ztcore.familiar cimport Familiar, familiar_rank
from ztcore.lanes cimport mark_find
from ztcore.moments cimport SlotMoments

cdef enum:
    ENDPOINTS = 24

cdef struct Endpoint:
    SlotMoments moments
    uint32_t count
    Familiar familiar
    uint16_t low                # 16 more bits of the endpoint's hash, for its name

cdef inline uint16_t endpoint_mark(uint64_t endpoint) noexcept nogil:
    cdef uint16_t mark = <uint16_t>(endpoint >> 48)
    return mark if mark else 1

cdef inline uint16_t endpoint_low(uint64_t endpoint) noexcept nogil:
    return <uint16_t>(endpoint >> 32)

cdef inline int endpoints_find(const uint16_t *marks, uint64_t endpoint) noexcept nogil:
    """The slot of an endpoint, -1 where it has none."""
    return mark_find(marks, ENDPOINTS, endpoint_mark(endpoint))

cdef inline int endpoints_take(uint16_t *marks, Endpoint *slots, uint32_t *rest, uint64_t endpoint, uint32_t hour) noexcept nogil:
    """A slot for a new endpoint; its moments are for the caller to start."""
    cdef int i, slot = 0
    cdef uint64_t rank, least = <uint64_t>-1
    for i in range(ENDPOINTS):
        rank = (<uint64_t>familiar_rank(&slots[i].familiar, hour) << 32) | slots[i].count if marks[i] else 0
        if rank < least:
            least = rank
            slot = i
    rest[0] += slots[slot].count if marks[slot] else 0
    marks[slot] = endpoint_mark(endpoint)
    slots[slot].low = endpoint_low(endpoint)
    slots[slot].count = 0
    slots[slot].familiar.hours = 0
    slots[slot].familiar.last = 0
    return slot
