# Many events at once: rows are fetched ahead, so that one event's misses hide behind others' work.

from libc.stdint cimport int64_t, uint8_t, uint64_t

from ztcore.action cimport DECISION_ALLOWED, DECISION_MACHINE, action_settle, decision_level
from ztcore.admit cimport Name, TURNED_AWAY, app_index, table_enter
from ztcore.atomic cimport word_add, word_load, zt_prefetch
from ztcore.clean cimport event_clean, timestamp_clean
from ztcore.endpoints cimport endpoint_first, endpoint_second
from ztcore.event cimport Event
from ztcore.hash cimport SipKey
from ztcore.keys cimport app_hash
from ztcore.observe cimport observe
from ztcore.own cimport ENTERED, GONE, POSTED, row_enter, row_leave
from ztcore.row cimport Row
from ztcore.table cimport (COUNT_BAD_PARTNER, COUNT_TURNED_AWAY, Table, WAYS, clock_move, table_bucket, table_find,
                           table_other)
from ztcore.throttle cimport throttle_wait
from ztcore.verdict cimport Verdict

cdef enum:
    BUCKETS_AHEAD = 16
    ROWS_AHEAD = 8
    REFUSED = 0x80              # in `decisions`: the call would have been refused

# What batch() calls for an event: its index, the partner's row, which is left already, the row's decision, what the event
# showed (NULL: somebody else takes it in), its time in ns.
ctypedef void (*Note)(void *context, uint64_t i, Row *row, uint64_t word, const Verdict *v, int64_t when) noexcept nogil

cdef inline void row_prefetch(const Row *row, uint64_t endpoint) noexcept nogil:
    """The lines that every event touches."""
    cdef const char *at = <const char *>row
    zt_prefetch(at)
    zt_prefetch(at + 64)
    zt_prefetch(at + 128)
    zt_prefetch(at + 192)
    zt_prefetch(&row.endpoints[endpoint_first(endpoint)])
    zt_prefetch(&row.endpoints[endpoint_second(endpoint)])
    zt_prefetch(&row.mix)

cdef inline void batch_name(const Table *t, const SipKey *key, const Event *e, const unsigned char *names,
                            uint64_t size, Name *out) noexcept nogil:
    """The event's name record, or nothing where it has none or the record is cut off."""
    cdef uint64_t at = e.name
    cdef uint64_t app, app_length
    out.partner = NULL
    out.length = 0
    out.app = 0
    if at == 0 or at > size:
        return
    app_length = names[at - 1]
    app = at
    at += app_length
    if at >= size or at + 1 + names[at] > size:
        return
    out.app = app_index(t, app_hash(key, names + app, app_length), names + app, app_length)
    out.partner = names + at + 1
    out.length = names[at]

cdef inline bint batch_refused(const Table *t, Row *row, int64_t now) noexcept nogil:
    """Whether the level in force before this event would have refused it, were levels enforced."""
    cdef int level
    if row.decision == 0:
        return False
    action_settle(t, row, now)
    level = decision_level(row.decision)
    if level < 2 or row.decision & DECISION_ALLOWED:
        return False
    return level > 2 or throttle_wait(row, now, True) > 0

cdef inline uint64_t batch(const Table *t, const SipKey *key, const Event *events, uint64_t n,
                           const unsigned char *names, uint64_t size, uint8_t *levels, Note note,
                           void *context) noexcept nogil:
    """Observe them all; how many found a row. note: NULL, or called for each event of which there is more to say than
    that all is calm."""
    cdef Row *ahead[ROWS_AHEAD]
    cdef Row *row
    cdef Event e
    cdef Verdict v
    cdef Name name
    cdef uint64_t i, other, word, taken = 0
    cdef bint refused
    cdef int what
    for i in range(n if n < ROWS_AHEAD else ROWS_AHEAD):
        ahead[i] = table_find(t, events[i].partner) if events[i].partner else NULL
    for i in range(n):
        e = events[i]
        row = ahead[i % ROWS_AHEAD]
        if i + BUCKETS_AHEAD < n:
            other = events[i + BUCKETS_AHEAD].partner
            zt_prefetch(t.keys + table_bucket(t, other) * WAYS)
            zt_prefetch(t.keys + table_other(t, other) * WAYS)
        if i + ROWS_AHEAD < n:
            other = events[i + ROWS_AHEAD].partner
            ahead[i % ROWS_AHEAD] = table_find(t, other) if other else NULL
            if ahead[i % ROWS_AHEAD] != NULL:
                row_prefetch(ahead[i % ROWS_AHEAD], events[i + ROWS_AHEAD].endpoint)
        if levels != NULL:
            levels[i] = 0
        if e.partner == 0:
            word_add(&t.header.counter[COUNT_BAD_PARTNER], 1)
            continue
        event_clean(t.header, &e)
        what = GONE
        if row != NULL:
            what = row_enter(t, row, &e)
            if what == ENTERED and row.key != e.partner:
                row_leave(t, row)
                what = GONE
        if what == GONE:
            batch_name(t, key, &e, names, size, &name)
            what = table_enter(t, &e, &name, &row)
            if what == TURNED_AWAY:
                word_add(&t.header.counter[COUNT_TURNED_AWAY], e.count)
                continue
        if what != ENTERED:     # its owner takes it in, or it was counted
            word = word_load(&row.decision)
            if levels != NULL:
                levels[i] = <uint8_t>decision_level(word)
            if note != NULL and word & DECISION_MACHINE:
                note(context, i, row, word, NULL, e.timestamp)
            taken += what == POSTED
            continue
        e.timestamp = timestamp_clean(t.header, e.timestamp, row.last_seen)
        refused = levels != NULL and batch_refused(t, row, e.timestamp)
        observe(t, row, &e, &v)
        clock_move(t, e.timestamp)
        if levels != NULL:
            levels[i] = <uint8_t>(decision_level(row.decision) | (REFUSED if refused else 0))
        word = row.decision         # once it is left the row may become another partner's
        row_leave(t, row)
        if note != NULL and (word & DECISION_MACHINE or v.n):
            note(context, i, row, word, &v, e.timestamp)
        taken += 1
    return taken
