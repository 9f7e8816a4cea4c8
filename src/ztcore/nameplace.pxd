# Who stays in a full bucket of the tables in names.pxd. Each function says where a newcomer goes.
#
# A partner's new entries replace its own older ones; what nobody else used goes next; what many
# partners use is the last to go. So a flood of made-up paths ends where it began.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    NAME_WAYS = 8               # entries in a bucket
    WORD_LENGTH = 32            # a longer segment is never text
    NAMED_SEGMENTS = 11         # of an endpoint; what follows is one {*}
    PARTNERS_NEEDED = 3
    OWN_MOST = 2                # entries that one partner alone may hold in a full bucket

cdef struct Word:               # 64 bytes
    uint64_t key                # of the segment, 0: free
    uint32_t partners           # a bit for each of 32 groups of partners
    uint8_t known               # on a list
    uint8_t length
    uint16_t unused
    char text[WORD_LENGTH]
    uint64_t spare[2]

cdef struct Named:              # 64 bytes: an endpoint
    uint64_t key                # 0: free
    uint32_t first              # the partner who brought it
    uint32_t partners
    uint8_t method
    uint8_t size
    uint16_t unused
    uint32_t segment[NAMED_SEGMENTS]

cdef struct Candidate:
    uint64_t key                # of a segment, 0: free
    uint32_t first              # partner
    uint32_t second             # another one, 0: none yet

cdef inline uint32_t partner_mark(uint64_t partner) noexcept nogil:
    """32 bits of a partner's key, never 0."""
    return <uint32_t>(partner >> 32) | 1

cdef inline uint32_t partner_bit(uint32_t mark) noexcept nogil:
    """Which of the 32 groups of partners it belongs to."""
    return <uint32_t>1 << (mark >> 27)

cdef inline int bits_of(uint32_t x) noexcept nogil:
    cdef int n = 0
    while x:
        x &= x - 1
        n += 1
    return n

cdef inline int candidate_place(const Candidate *bucket, uint32_t mark) noexcept nogil:
    """Where a partner's new segment goes: a free place, its own third one, one that another partner
    brought and nobody else used, any."""
    cdef int i, own = 0, own_at = 0, single = -1
    for i in range(NAME_WAYS):
        if bucket[i].key == 0:
            return i
        if bucket[i].second == 0:
            if bucket[i].first == mark:
                own += 1
                own_at = i
            else:
                single = i
    if own >= OWN_MOST or own and single < 0:
        return own_at
    return single if single >= 0 else <int>(mark >> 29)

cdef inline int endpoint_place(Named *bucket, uint32_t mark) noexcept nogil:
    """Likewise for an endpoint. One that many partners use loses one of its marks instead of its
    place: -1, none for the newcomer."""
    cdef int i, bits, own = 0, own_at = 0, least = 33, place = 0
    for i in range(NAME_WAYS):
        if bucket[i].key == 0:
            return i
        bits = bits_of(bucket[i].partners)
        if bits == 1 and bucket[i].first == mark:
            own += 1
            own_at = i
        elif bits < least:
            least = bits
            place = i
    if own >= OWN_MOST or own and least > 1:
        return own_at
    if least <= 1:
        return place
    bucket[place].partners &= bucket[place].partners - 1
    return -1

cdef inline int word_place(Word *bucket, bint listed) noexcept nogil:
    """Likewise for a word that may now be shown. Those on a list stay, and need not wait."""
    cdef int i, bits, least = 33, place = -1
    for i in range(NAME_WAYS):
        if bucket[i].key == 0:
            return i
        bits = bits_of(bucket[i].partners)
        if not bucket[i].known and bits < least:
            least = bits
            place = i
    if place < 0 or listed or least < PARTNERS_NEEDED:
        return place
    bucket[place].partners &= bucket[place].partners - 1
    return -1
