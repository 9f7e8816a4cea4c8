# How a sender writes: what stood between the values of two fields the last time. Events of one program look all alike, and
# then one comparison says which field comes next, in JSON (`, "method": `) as in msgpack. What does not look alike is read
# the long way, and learned.

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from ztcore.fields cimport FIELDS
from ztcore.hash cimport load64

cdef enum:
    HABIT_START = FIELDS + 1    # what comes before an event's first field; FIELD_UNKNOWN is before it
    HABITS = FIELDS + 2
    BETWEEN = 32                # bytes that are remembered at most

cdef struct Between:            # two fields
    uint64_t bytes[4]
    uint64_t mask[4]            # of those that count

cdef struct Habit:
    Between behind[HABITS]      # by the field whose value was read last
    uint8_t size[HABITS]        # 0: nothing is known
    uint8_t field[HABITS]       # that came next

cdef inline bint habit_holds(const Habit *h, int last, const unsigned char *at, const unsigned char *end,
                             const unsigned char *room) noexcept nogil:
    """Whether the same stands at `at` again. room: behind the last byte that may be looked at, not before `end`."""
    cdef const Between *b = &h.behind[last]
    cdef uint64_t size = h.size[last]
    if size == 0 or room - at < BETWEEN or <uint64_t>(end - at) < size:
        return False
    return (((load64(at) ^ b.bytes[0]) & b.mask[0]) | ((load64(at + 8) ^ b.bytes[1]) & b.mask[1])
            | ((load64(at + 16) ^ b.bytes[2]) & b.mask[2]) | ((load64(at + 24) ^ b.bytes[3]) & b.mask[3])) == 0

cdef inline void habit_learn(Habit *h, int last, const unsigned char *at, uint64_t n, int field) noexcept nogil:
    """Those n bytes were read the long way, and led to that field."""
    cdef Between *b = &h.behind[last]
    cdef uint64_t i
    if n > BETWEEN:
        return
    h.size[last] = <uint8_t>n
    h.field[last] = <uint8_t>field
    for i in range(4):
        b.bytes[i] = b.mask[i] = 0
    memcpy(b.bytes, at, n)
    for i in range(n):
        (<uint8_t *>b.mask)[i] = 255
