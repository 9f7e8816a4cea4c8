# Object ids: does the next id follow the last one, and was it seen before?
#
# "Seen before" is a Bloom filter in two halves of 192 bits, two bits an id. When the young half
# is full (40 ids) it becomes the old one: the last 40 to 80 distinct ids are remembered.

from libc.stdint cimport uint32_t, uint64_t

from ztcore.fixed cimport random_mix

cdef enum:
    OBJECT_WORDS = 3            # of 64 bits, a half
    OBJECT_FULL = 40

cdef struct ObjectIds:
    uint64_t last
    uint64_t bits[2][OBJECT_WORDS]
    uint32_t added              # to the young half
    uint32_t young              # which half that is

cdef inline bint object_follows(ObjectIds *o, uint64_t object_id) noexcept nogil:
    """True where this id is the last one plus one; it becomes the last one."""
    cdef bint follows = object_id == o.last + 1 and o.last != 0
    o.last = object_id
    return follows

cdef inline bint object_is_new(ObjectIds *o, uint64_t object_id) noexcept nogil:
    """True where the id is not among those remembered; it is from now on."""
    cdef uint64_t h = random_mix(object_id)
    cdef uint32_t a = <uint32_t>((<uint64_t><uint32_t>h * 192) >> 32), b = <uint32_t>(((h >> 32) * 192) >> 32)
    cdef uint64_t bit_a = <uint64_t>1 << (a & 63), bit_b = <uint64_t>1 << (b & 63)
    cdef uint64_t *young = o.bits[o.young]
    cdef uint64_t *old = o.bits[o.young ^ 1]
    cdef int i
    if young[a >> 6] & bit_a and young[b >> 6] & bit_b:
        return False
    cdef bint known = (old[a >> 6] & bit_a) != 0 and (old[b >> 6] & bit_b) != 0
    if o.added >= OBJECT_FULL:
        o.young ^= 1
        o.added = 0
        young = o.bits[o.young]
        for i in range(OBJECT_WORDS):
            young[i] = 0
    young[a >> 6] |= bit_a
    young[b >> 6] |= bit_b
    o.added += 1
    return not known

cdef inline void objects_merge(ObjectIds *into, const ObjectIds *other) noexcept nogil:
    """Known is what either knows; the last id stays ours."""
    cdef int i
    for i in range(OBJECT_WORDS):
        into.bits[into.young][i] |= other.bits[other.young][i]
        into.bits[into.young ^ 1][i] |= other.bits[other.young ^ 1][i]
    into.added += other.added
