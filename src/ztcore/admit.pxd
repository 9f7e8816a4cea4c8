# Who gets a row: a newcomer takes a free one, or that of the least worthy stranger who is worth
# less than the newcomer's own calls so far (TinyLFU: Einziger, Friedman, Manes 2017).
#
# Worth is the number of events, halved for each day of silence. Made-up names that call once or
# twice can only displace each other.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ztcore.atomic cimport byte_peek, byte_poke, time_peek, word_add, word_peek, word_store, word_swap, zt_patience
from ztcore.event cimport Event
from ztcore.own cimport ENTERED, GONE, row_enter, row_leave, row_try, row_wait
from ztcore.place cimport row_clear, row_move
from ztcore.row cimport NO_PIN, ROW_KEEP, ROW_NAME_HASHED, Row
from ztcore.table cimport (APPS, APP_LENGTH, COUNT_ADMITTED, COUNT_EVICTED, COUNT_HASHED_APPS, COUNT_LONG_NAMES,
                           Header, Table, WAYS, row_index, table_bucket, table_find, table_other)
from ztcore.times cimport DAY_NS

cdef enum:
    NAME_LENGTH = 64
    TURNED_AWAY = 4             # beside what becomes of an event in own.pxd: there is no row

cdef struct Name:               # a partner's name as text, or nothing where it is not at hand
    const unsigned char *partner
    uint32_t length
    uint16_t app                # index

cdef inline uint32_t sketch_add(const Table *t, uint64_t key) noexcept nogil:
    """Count a call of somebody without a row; how many there were so far, at most 255. All counts
    are halved when there are eight for each counter, so that old floods fade."""
    cdef Header *h = t.header
    cdef uint64_t mask = h.sketch_size - 1, i
    cdef uint8_t *a = &t.sketch[key & mask]
    cdef uint8_t *b = &t.sketch[(key >> 32) & mask]
    cdef uint8_t one = byte_peek(a), two = byte_peek(b), low = one if one < two else two
    if low < 255:
        if one == low:
            byte_poke(a, low + 1)
        if two == low and b != a:
            byte_poke(b, low + 1)
    if word_add(&h.sketch_added, 1) + 1 == h.sketch_size * 8:
        for i in range(h.sketch_size):
            byte_poke(t.sketch + i, byte_peek(t.sketch + i) >> 1)
        word_store(&h.sketch_added, 0)
    return low + 1

cdef inline bint row_evictable(const Row *row) noexcept nogil:
    """Of somebody else's row: as it may be a moment ago."""
    return row.level == 0 and row.pin_level == NO_PIN and not row.flags & ROW_KEEP

cdef inline bint row_own_evictable(const Table *t, Row *row) noexcept nogil:
    """Of an owned row; left again where a person or the score was faster."""
    if row.key == 0 or row_evictable(row):
        return True
    row_leave(t, row)
    return False

cdef inline uint64_t row_worth(const Row *row, int64_t now) noexcept nogil:
    cdef int64_t idle = now - row.last_seen
    cdef int64_t days = idle // DAY_NS if idle > 0 else 0
    return row.events >> days if days < 63 else 0

cdef inline Row *bucket_free(const Table *t, uint64_t bucket) noexcept nogil:
    cdef int i
    for i in range(WAYS):
        if word_peek(&t.keys[bucket * WAYS + i]) == 0:
            return t.rows + bucket * WAYS + i
    return NULL

cdef inline bint tag_own(const Table *t, uint64_t *word, bint patient) noexcept nogil:
    """Put this process's tag into a word that says who is at work on something; False where somebody else
    stays at it. What a dead process left there its janitors take away."""
    cdef uint64_t seen, since = 0
    while True:
        seen = 0
        if word_swap(word, &seen, t.me):
            return True
        if not patient or not zt_patience(&since):
            return False

cdef inline Row *bucket_make_room(const Table *t, uint64_t bucket) noexcept nogil:
    """Move one partner of an owned bucket to its other bucket, where that has room and nobody is
    at work on it; the row that became free, or NULL."""
    cdef Row *row
    cdef Row *to
    cdef uint64_t key, other
    cdef int i
    for i in range(WAYS):
        key = word_peek(&t.keys[bucket * WAYS + i])
        other = table_other(t, key) if table_bucket(t, key) == bucket else table_bucket(t, key)
        if key == 0 or other == bucket or bucket_free(t, other) == NULL or not tag_own(t, &t.bucket_words[other], False):
            continue
        row = t.rows + bucket * WAYS + i
        to = bucket_free(t, other)
        if to != NULL and row_try(t, row):
            if row_try(t, to):
                row_move(t, row, to)
                row_leave(t, to)
                row_leave(t, row)
                word_store(&t.bucket_words[other], 0)
                return row
            row_leave(t, row)
        word_store(&t.bucket_words[other], 0)
    return NULL

cdef inline Row *bucket_victim(const Table *t, uint64_t first, uint64_t other, int64_t now, uint64_t worth) noexcept nogil:
    """A free row of the two buckets, in the emptier one, or one made free by moving a partner to its
    other bucket; else that of the least worthy that is worth less than `worth`, or NULL."""
    cdef Row *row
    cdef Row *least = NULL
    cdef Row *free[2]
    cdef int frees[2]
    cdef uint64_t bucket, least_worth = worth, w
    cdef int i, j
    for i in range(2):
        bucket = first if i == 0 else other
        free[i] = NULL
        frees[i] = 0
        for j in range(WAYS):
            row = t.rows + bucket * WAYS + j
            if word_peek(&t.keys[bucket * WAYS + j]) == 0:
                free[i] = row
                frees[i] += 1
            elif row_evictable(row):
                w = row_worth(row, now)
                if w < least_worth:
                    least_worth = w
                    least = row
    if frees[0] or frees[1]:
        return free[0] if frees[0] >= frees[1] else free[1]
    row = bucket_make_room(t, first)
    if row == NULL and other != first:
        row = bucket_make_room(t, other)
    return row if row != NULL else least

cdef inline void row_name(const Table *t, Row *row, const Name *name) noexcept nogil:
    row.app = name.app
    if name.partner == NULL or name.length > NAME_LENGTH:
        row.flags |= ROW_NAME_HASHED
        if name.partner != NULL:
            word_add(&t.header.counter[COUNT_LONG_NAMES], 1)
        return
    row.name_length = <uint8_t>name.length
    memcpy(row.name, name.partner, name.length)

cdef inline Row *table_admit(const Table *t, uint64_t key, int64_t now, const Name *name, bint must) noexcept nogil:
    """A row for a new partner, NULL where there is none to be had. `must`: a person wants it, so
    anybody evictable makes room."""
    cdef uint64_t first = table_bucket(t, key), other = table_other(t, key), low, high
    cdef Row *row = NULL
    cdef uint64_t worth = <uint64_t>-1 if must else sketch_add(t, key)
    low, high = (first, other) if first < other else (other, first)
    if not tag_own(t, &t.bucket_words[low], True):
        return NULL
    if low == high or tag_own(t, &t.bucket_words[high], True):
        row = table_find(t, key)
        if row == NULL:
            row = bucket_victim(t, first, other, now, worth)
            if row != NULL and row_try(t, row) and row_own_evictable(t, row):
                if row.key:
                    row_clear(t, row)
                    word_add(&t.header.counter[COUNT_EVICTED], 1)
                row.pin_level = NO_PIN
                row.max_action = 4
                row_name(t, row, name)
                word_store(&row.key, key)
                word_store(&t.keys[row_index(t, row)], key)
                row_leave(t, row)
                word_add(&t.header.counter[COUNT_ADMITTED], 1)
            else:
                row = NULL
        if low != high:
            word_store(&t.bucket_words[high], 0)
    word_store(&t.bucket_words[low], 0)
    return row

cdef inline int table_enter(const Table *t, const Event *e, const Name *name, Row **out) noexcept nogil:
    """Enter the row of the event's partner, who gets one if there is one to be had."""
    cdef int64_t now = e.timestamp if e.timestamp > 0 else time_peek(&t.header.clock)
    cdef Row *row
    cdef int i, what
    for i in range(8):
        row = table_find(t, e.partner)
        if row == NULL:
            row = table_admit(t, e.partner, now, name, False)
            if row == NULL:
                return TURNED_AWAY
        out[0] = row
        what = row_enter(t, row, e)
        if what == ENTERED:
            if row.key == e.partner:    # eviction may have been faster
                return ENTERED
            row_leave(t, row)
        elif what != GONE:
            return what
    return TURNED_AWAY

cdef inline Row *table_own(const Table *t, uint64_t key, int64_t now, const Name *name, bint *busy) noexcept nogil:
    """The partner's row for what a person does, owned; made where `name` says so. NULL where it has none
    and gets none; busy: where somebody who does not go on owns it."""
    cdef Row *row
    cdef int i
    busy[0] = False
    for i in range(8):
        row = table_find(t, key)
        if row == NULL:
            row = table_admit(t, key, now, name, True) if name != NULL else NULL
            if row == NULL:
                return NULL
        if not row_wait(t, row):
            busy[0] = True
            return NULL
        if row.key == key:
            return row
        row_leave(t, row)
    return NULL

cdef inline uint16_t app_index(const Table *t, uint64_t key, const unsigned char *name, size_t length) noexcept nogil:
    """Where an application's name stands; 0 where the list is full or the name too long, which
    leaves the partners apart (their keys have the name in them) but the name unshown."""
    cdef Header *h = t.header
    cdef uint64_t i
    for i in range(1, h.apps):
        if h.app[i].key == key:
            return <uint16_t>i
    if length >= APP_LENGTH or h.apps >= APPS:
        word_add(&h.counter[COUNT_HASHED_APPS], 1)
        return 0
    if not tag_own(t, &h.apps_word, True):
        return 0
    i = h.apps
    if i < APPS:
        h.app[i].length = <uint8_t>length
        memcpy(h.app[i].name, name, length)
        h.app[i].key = key
        word_store(&h.apps, i + 1)
    word_store(&h.apps_word, 0)
    return <uint16_t>i if i < APPS else 0
