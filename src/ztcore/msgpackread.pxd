# One msgpack map to an event's fields. What is not known is counted past, not recursed into.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ztcore.atomic cimport zt_likely
from ztcore.fields cimport (Telemetry, field_named, telemetry_bad, telemetry_null, telemetry_number, telemetry_start,
                            telemetry_text)
from ztcore.habit cimport HABIT_START, Habit, habit_holds, habit_learn
from ztcore.hash cimport load64
from ztcore.utf8 cimport utf8_good

cdef extern from "datagrams.h" nogil:
    uint64_t zt_bswap64(uint64_t x) noexcept

cdef struct Pack:
    const unsigned char *at
    const unsigned char *end
    const unsigned char *room   # behind the last byte that may be looked at: `end` or more

cdef inline bint pack_big(Pack *p, int n, uint64_t *out) noexcept nogil:
    """A big-endian number of n bytes."""
    cdef uint64_t x = 0
    cdef int i
    if p.end - p.at < n:
        return False
    if zt_likely(p.room - p.at >= 8):
        out[0] = zt_bswap64(load64(p.at)) >> (64 - 8 * n)
        p.at += n
        return True
    for i in range(n):
        x = x << 8 | p.at[i]
    p.at += n
    out[0] = x
    return True

cdef inline bint pack_bytes(Pack *p, uint64_t n) noexcept nogil:
    """Go past n bytes."""
    if <uint64_t>(p.end - p.at) < n:
        return False
    p.at += n
    return True

cdef inline int pack_head(Pack *p, uint64_t *size) noexcept nogil:
    """The kind of what begins here: s(tring), b(inary or extension), a(rray), m(ap), with its size; i(nteger), f(loat),
    n(il), t (a truth value), as `p` stands on its first byte; 0 where it is none. Arrays, maps, strings: goes past the head."""
    cdef int c
    if p.at >= p.end:
        return 0
    c = p.at[0]
    size[0] = 0
    if c & 0xe0 == 0xa0:        # what comes most, a short text
        p.at += 1
        size[0] = c & 31
        return 115
    if c < 0x80 or c >= 0xe0 or 0xcc <= c <= 0xd3:
        return 105
    if c == 0xca or c == 0xcb:
        return 102
    p.at += 1
    if c < 0x90:
        size[0] = c & 15
        return 109
    if c < 0xa0:
        size[0] = c & 15
        return 97
    if c == 0xc0:
        return 110
    if c == 0xc2 or c == 0xc3:
        return 116
    if 0xc4 <= c <= 0xc6:
        return 98 if pack_big(p, 1 << (c - 0xc4), size) else 0
    if 0xc7 <= c <= 0xc9:
        if not pack_big(p, 1 << (c - 0xc7), size):
            return 0
        size[0] += 1
        return 98
    if 0xd4 <= c <= 0xd8:
        size[0] = (1 << (c - 0xd4)) + 1
        return 98
    if 0xd9 <= c <= 0xdb:
        return 115 if pack_big(p, 1 << (c - 0xd9), size) else 0
    if 0xdc <= c <= 0xdd:
        return 97 if pack_big(p, 2 << (c - 0xdc), size) else 0
    if 0xde <= c <= 0xdf:
        return 109 if pack_big(p, 2 << (c - 0xde), size) else 0
    return 0

cdef inline bint pack_number(Pack *p, double *out) noexcept nogil:
    """An integer or a float."""
    cdef int c = p.at[0], n
    cdef uint64_t x
    cdef uint32_t narrow
    cdef float single
    p.at += 1
    if c < 0x80 or c >= 0xe0:
        out[0] = <double><int8_t>c
        return True
    if c == 0xca:
        if not pack_big(p, 4, &x):
            return False
        narrow = <uint32_t>x
        memcpy(&single, &narrow, 4)
        out[0] = single
        return True
    if c == 0xcb:
        if not pack_big(p, 8, &x):
            return False
        memcpy(out, &x, 8)
        return True
    n = 1 << ((c - 0xcc) & 3)
    if not pack_big(p, n, &x):
        return False
    if c < 0xd0:
        out[0] = <double>x
    else:
        out[0] = <double>(<int8_t>x if n == 1 else <int16_t>x if n == 2 else <int32_t>x if n == 4 else <int64_t>x)
    return True

cdef inline bint pack_skip(Pack *p, uint64_t left) noexcept nogil:
    """Go past so many values. Each takes at least a byte, so that a claimed size ends with the datagram."""
    cdef uint64_t size
    cdef double number
    cdef int kind
    while left:
        left -= 1
        kind = pack_head(p, &size)
        if kind == 0:
            return False
        if kind == 105 or kind == 102:
            if not pack_number(p, &number):
                return False
        elif kind == 115 or kind == 98:
            if not pack_bytes(p, size) or (kind == 115 and not utf8_good(p.at - size, size)):
                return False
        elif size > <uint64_t>(p.end - p.at):
            return False
        else:
            left += size if kind == 97 else 2 * size
    return True

cdef inline bint pack_field(Pack *p, Telemetry *t, int field) noexcept nogil:
    """The value of a field."""
    cdef uint64_t size
    cdef double number
    cdef int kind = pack_head(p, &size)
    if kind == 0:
        return False
    if kind == 115:
        if not pack_bytes(p, size) or not utf8_good(p.at - size, size):
            return False
        telemetry_text(t, field, p.at - size, size)
    elif kind == 105 or kind == 102:
        if not pack_number(p, &number):
            return False
        telemetry_number(t, field, number, kind == 105)
    elif kind == 110:
        telemetry_null(t, field)
    else:
        telemetry_bad(t, field)
        if kind == 98:
            return pack_bytes(p, size)
        if kind != 116:
            return pack_skip(p, size if kind == 97 else 2 * size)
    return True

cdef inline int pack_next(Pack *p, Habit *habit, int last) noexcept nogil:
    """Behind the value of `last`: the field whose value comes next, -1 where there is no name."""
    cdef const unsigned char *start = p.at
    cdef uint64_t size
    cdef int field
    if zt_likely(habit_holds(habit, last, p.at, p.end, p.room)):
        p.at += habit.size[last]
        return habit.field[last]
    if pack_head(p, &size) != 115 or not pack_bytes(p, size) or not utf8_good(p.at - size, size):
        return -1
    field = field_named(p.at - size, size)
    habit_learn(habit, last, start, p.at - start, field)
    return field

cdef inline bint msgpack_event(const unsigned char *s, uint64_t n, const unsigned char *room, Habit *habit,
                               Telemetry *t) noexcept nogil:
    """Read a map that takes all of the n bytes; `room` is behind the last one that may be looked at. False where it is no
    msgpack."""
    cdef Pack p
    cdef uint64_t pairs
    cdef int field = HABIT_START
    telemetry_start(t)
    p.at = s
    p.end = s + n
    p.room = room
    if pack_head(&p, &pairs) != 109 or pairs > n:
        return False
    while pairs:
        pairs -= 1
        field = pack_next(&p, habit, field)
        if field < 0 or not pack_field(&p, t, field):
            return False
    return p.at == p.end
