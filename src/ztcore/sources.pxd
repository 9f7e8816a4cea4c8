# The addresses a partner comes from: 24 keyed 16-bit fingerprints. A wrong match (one in 2,700 new
# addresses) only overlooks one new source.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from ztcore.familiar cimport Familiar, familiar_merge, familiar_rank
from ztcore.lanes cimport pair_find

cdef enum:
    SOURCES = 24

cdef struct Source:
    uint16_t mark               # 0: free
    Familiar familiar

cdef struct SourceSet:
    Source source[SOURCES]

cdef inline uint16_t source_mark(uint64_t source) noexcept nogil:
    cdef uint16_t mark = <uint16_t>(source >> 40)
    return mark if mark else 1

cdef inline int sources_find(const SourceSet *s, uint64_t source) noexcept nogil:
    """The slot of a source, -1 where it is unknown."""
    return pair_find(&s.source[0].mark, SOURCES, source_mark(source))

cdef inline int sources_least(const SourceSet *s, uint32_t hour) noexcept nogil:
    """A free slot, or that of the least familiar, least recent."""
    cdef int i, slot = 0
    cdef uint32_t rank, least = <uint32_t>-1
    for i in range(SOURCES):
        rank = familiar_rank(&s.source[i].familiar, hour) if s.source[i].mark else 0
        if rank < least:
            least = rank
            slot = i
    return slot

cdef inline int sources_take(SourceSet *s, uint64_t source, uint32_t hour) noexcept nogil:
    """A slot for a new source."""
    cdef int slot = sources_least(s, hour)
    s.source[slot].mark = source_mark(source)
    s.source[slot].familiar.hours = 0
    s.source[slot].familiar.last = 0
    return slot

cdef inline void sources_merge(SourceSet *into, const SourceSet *other, uint32_t hour) noexcept nogil:
    """The most familiar, most recent of both."""
    cdef int i, slot
    cdef uint64_t source
    for i in range(SOURCES):
        if other.source[i].mark == 0:
            continue
        source = <uint64_t>other.source[i].mark << 40
        slot = sources_find(into, source)
        if slot < 0:
            slot = sources_least(into, hour)
            if into.source[slot].mark and familiar_rank(&into.source[slot].familiar, hour) >= familiar_rank(
                    &other.source[i].familiar, hour):
                continue
            into.source[slot] = other.source[i]
        else:
            familiar_merge(&into.source[slot].familiar, &other.source[i].familiar)
