# The endpoints (method and template) of a partner: 24 slots in six groups of four, a group a cache
# line. An endpoint may stand in either of two groups that follow from its hash alone, so that both
# lines can be on their way from memory before anything of the row is known.
#
# The least familiar, least recent, least called one of the two groups makes room for a new one;
# what it had counted goes to `rest`, so that a slot's count is a lower bound and the count plus
# `rest` an upper one. Counts are halved together when one reaches 2^24.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from ztcore.atomic cimport apart, zt_unlikely
from ztcore.familiar cimport FAMILIAR_FADE
from ztcore.lanes cimport group_find
from ztcore.moments cimport SlotMoments, slot_merge

cdef enum:
    ENDPOINTS = 24
    GROUP = 4
    GROUPS = 6
    ENDPOINT_HOURS_MOST = 200
    ENDPOINT_GONE = 10          # hours without a call, after which an endpoint's calls of old are no part of the whole

cdef struct Endpoint:
    uint32_t mark               # 24 bits of the hash, above them the distinct clock hours; 0: free
    uint32_t count              # 24 bits; above them the last of those hours, modulo 256
    SlotMoments moments

cdef inline uint32_t endpoint_mark(uint64_t endpoint) noexcept nogil:
    cdef uint32_t mark = <uint32_t>(endpoint >> 40)
    return mark if mark else 1

cdef inline int endpoint_first(uint64_t endpoint) noexcept nogil:
    """The first slot of the endpoint's first group."""
    return <int>((<uint64_t><uint32_t>endpoint * GROUPS) >> 32) * GROUP

cdef inline int endpoint_second(uint64_t endpoint) noexcept nogil:
    """The first slot of its other group, never the same."""
    cdef int group = <int>((<uint64_t><uint32_t>endpoint * GROUPS) >> 32)
    group += 1 + <int>(((endpoint >> 32) & 0xff) * (GROUPS - 1) >> 8)
    return (group if group < GROUPS else group - GROUPS) * GROUP

cdef inline int endpoints_find(const Endpoint *slots, uint64_t endpoint) noexcept nogil:
    """The slot of an endpoint, -1 where it has none."""
    cdef uint32_t mark = endpoint_mark(endpoint)
    cdef int first = endpoint_first(endpoint), found = group_find(&slots[first], mark)
    if found >= 0:
        return first + found
    first = endpoint_second(endpoint)
    found = group_find(&slots[first], mark)
    return first + found if found >= 0 else -1

cdef inline uint32_t endpoint_count(const Endpoint *e) noexcept nogil:
    return e.count & 0xffffff

cdef inline int endpoint_hours(const Endpoint *e) noexcept nogil:
    return e.mark >> 24

cdef inline uint32_t endpoint_idle(const Endpoint *e, uint32_t hour) noexcept nogil:
    """Clock hours from its last call to this one, modulo 256."""
    return (hour - (e.count >> 24)) & 0xff

cdef inline uint64_t endpoint_rank(const Endpoint *e, uint32_t hour) noexcept nogil:
    """Larger is worth more: hours, halved as in familiar_rank, how recent the last one is, calls."""
    cdef uint32_t age = endpoint_idle(e, hour)
    return (<uint64_t>(e.mark >> 24 >> min(age // FAMILIAR_FADE, 8)) << 32) | (<uint64_t>(255 - age) << 24) | endpoint_count(e) if e.mark else 0

cdef inline int endpoints_least(const Endpoint *slots, uint64_t endpoint, uint32_t hour, uint32_t gone) noexcept nogil:
    """The slot of the endpoint's two groups that is worth least; a free one is worth nothing, and next to it one that was
    last called `gone` hours ago or longer (0: it is worth what it was)."""
    cdef int i, at, slot = 0
    cdef uint64_t rank, least = <uint64_t>-1
    for i in range(2 * GROUP):
        at = endpoint_first(endpoint) + i if i < GROUP else endpoint_second(endpoint) + i - GROUP
        rank = endpoint_rank(&slots[at], hour)
        if gone and endpoint_idle(&slots[at], hour) >= gone:
            rank &= (<uint64_t>1 << 32) - 1
        if rank < least:
            least = rank
            slot = at
    return slot

cdef inline uint16_t part_gone(uint64_t calls, uint32_t rest) noexcept nogil:
    """The part of `rest` that so many calls are, see row.gone."""
    return <uint16_t>((calls * 65535 + rest // 2) // rest) if calls < rest else 65535

cdef inline uint32_t calls_gone(uint16_t part, uint32_t rest) noexcept nogil:
    """And back."""
    return <uint32_t>(<uint64_t>part * rest // 65535)

cdef inline int endpoints_take(Endpoint *slots, uint32_t *rest, uint16_t *part, uint64_t endpoint, uint32_t hour,
                               uint32_t gone) noexcept nogil:
    """A slot for a new endpoint, see endpoints_least; its moments are for the caller to start."""
    cdef int slot = endpoints_least(slots, endpoint, hour, gone)
    cdef uint32_t idle = endpoint_idle(&slots[slot], hour), calls = endpoint_count(&slots[slot])
    cdef uint64_t all_gone = calls_gone(part[0], rest[0])
    if idle > ENDPOINT_GONE or (gone and idle >= gone):
        all_gone += calls
    rest[0] += calls
    part[0] = part_gone(all_gone, rest[0])
    slots[slot].mark = endpoint_mark(endpoint)
    slots[slot].count = 0
    return slot

cdef inline void endpoint_see(Endpoint *e, uint32_t hour) noexcept nogil:
    """Make it more familiar: one more clock hour, if it is one."""
    if zt_unlikely(e.count >> 24 != (hour & 0xff) or e.mark >> 24 == 0):
        e.count = (e.count & 0xffffff) | ((hour & 0xff) << 24)
        if e.mark >> 24 < ENDPOINT_HOURS_MOST:
            e.mark += 1 << 24

cdef inline apart endpoints_halve(Endpoint *slots, uint32_t *rest) noexcept nogil:
    cdef int i
    for i in range(ENDPOINTS):
        slots[i].count = (slots[i].count & <uint32_t>(255 << 24)) | (endpoint_count(&slots[i]) >> 1)
    rest[0] >>= 1

cdef inline void endpoints_count(Endpoint *slots, uint32_t *rest, int slot, uint32_t calls) noexcept nogil:
    while zt_unlikely(endpoint_count(&slots[slot]) + calls >= 1 << 24):
        endpoints_halve(slots, rest)
    slots[slot].count += calls

cdef inline int endpoints_find_mark(const Endpoint *slots, uint32_t mark) noexcept nogil:
    """The slot with a mark of 24 bits wherever it stands, -1: none."""
    cdef int i, found = -1
    for i in range(ENDPOINTS):
        if slots[i].mark & 0xffffff == mark:
            found = i
    return found

cdef inline void endpoints_merge(Endpoint *slots, uint32_t *rest, const Endpoint *other, uint32_t other_rest,
                                 uint32_t hour) noexcept nogil:
    """Counts of the same endpoint add; where slots run out the heavier ones stay and the others go
    to `rest`, so that count <= true <= count + rest holds for the whole. An endpoint keeps the group
    it stands in, which is one of its two. Moments meet weighted by their counts."""
    cdef int i, j, at
    cdef uint32_t n, m
    rest[0] += other_rest
    for i in range(ENDPOINTS):
        if other[i].mark & 0xffffff == 0:
            continue
        m = endpoint_count(&other[i])
        at = endpoints_find_mark(slots, other[i].mark & 0xffffff)
        if at < 0:
            at = i - i % GROUP
            for j in range(at + 1, at + GROUP):
                if endpoint_rank(&slots[j], hour) < endpoint_rank(&slots[at], hour):
                    at = j
            if endpoint_rank(&slots[at], hour) >= endpoint_rank(&other[i], hour):
                rest[0] += m
                continue
            rest[0] += endpoint_count(&slots[at])
            slots[at] = other[i]
            continue
        n = endpoint_count(&slots[at])
        slot_merge(&slots[at].moments, n, &other[i].moments, m)
        if other[i].mark >> 24 > slots[at].mark >> 24:
            slots[at].mark = other[i].mark
        endpoints_count(slots, rest, at, m)
