# Who changes a row: whoever holds its word. Nobody waits for another process; what comes for a row
# that is being worked on is posted to it, and its owner applies it before it leaves.
#
#   enter    own the row, or post the event to who does
#   leave    give it back; not before all that was posted is applied, but for a budget
#   take     go on where a process that died had to stop
#
# Every step of draining can be repeated: a process may be killed between any two stores, and what
# it stored is then a prefix, in the order of the program, of what it would have (barrier()).
# docs/concurrency.md has the protocol, the model and each atomic's partner.

from libc.stdint cimport uint64_t

from ztcore.action cimport action_publish
from ztcore.atomic cimport (barrier, word_add, word_load, word_peek, word_store, word_swap, zt_likely, zt_nap, zt_patience,
                            zt_prefetch, zt_yield)
from ztcore.clean cimport timestamp_clean
from ztcore.custom cimport gil_yield
from ztcore.event cimport Event
from ztcore.observe cimport observe
from ztcore.place cimport row_empty
from ztcore.pool cimport RECORD_FREE, RECORD_POSTED, SPILL_FREE, Record, Spill, record_take, record_waits, spill_add
from ztcore.row cimport NO_PIN, Row
from ztcore.table cimport (COUNT_DROPPED, COUNT_EVENTS_GONE, COUNT_TAKEOVERS, Table, active_set, pending_set, row_index,
                           table_bucket, table_look, table_other)
from ztcore.verdict cimport Verdict
from ztcore.word cimport (HEAD_MASK, HEAD_SHIFT, OWNER_MASK, VERSION_MASK, word_head, word_next, word_owner, word_with_head)

cdef enum:                      # what became of an event
    ENTERED = 1                 # the row is owned: go on
    POSTED = 2                  # its owner will take it in
    DROPPED = 3                 # there was no record; counted
    GONE = 0                    # the row is another partner's by now

cdef enum:
    DRAIN_MOST = 64             # records applied before the row is left with the rest in its list
    SPILL_FIRST = 1 << 23       # what row.applying calls spills, records being fewer

cdef extern from *:
    """
    #define APPLYING_GENERATION 24      /* row.applying: record | generation (20 bits) | events (20 bits) */
    #define APPLYING_EVENTS 44
    #define TWENTY 0xfffffULL
    """
    const int APPLYING_GENERATION
    const int APPLYING_EVENTS
    const uint64_t TWENTY

cdef inline Record *record_at(const Table *t, uint64_t number) noexcept nogil:
    return t.records + number - 1

cdef inline void record_fetch(const Record *record) noexcept nogil:
    zt_prefetch(record)
    zt_prefetch(&record.state)

cdef inline bint row_try(const Table *t, Row *row) noexcept nogil:
    """Own the row if nobody does. Acquire: pairs with row_leave() of who had it before."""
    cdef uint64_t seen = word_load(&row.word)
    while word_owner(seen) == 0:
        if word_swap(&row.word, &seen, seen | t.me):
            return True
    return False

cdef inline void row_apply(const Table *t, Row *row) noexcept nogil:
    """Take in the first record of `todo` and free it."""
    cdef uint64_t number = row.todo
    cdef Record *record = record_at(t, number)
    cdef Event e = record.event
    cdef Verdict v
    if record.next:
        record_fetch(record_at(t, record.next))
    row.applying = number | ((record.generation & TWENTY) << APPLYING_GENERATION) | (
        (row.events & TWENTY) << APPLYING_EVENTS)
    barrier()
    if row.key == e.partner:
        e.timestamp = timestamp_clean(t.header, e.timestamp, row.last_seen)
        observe(t, row, &e, &v)         # its last store, row.events, is what tells that it was applied
    else:
        word_add(&t.header.counter[COUNT_EVENTS_GONE], e.count)
    barrier()
    row.todo = record.next
    barrier()
    word_store(&record.state, RECORD_FREE)
    barrier()
    row.applying = 0
    barrier()

cdef inline void row_drain(const Table *t, Row *row) noexcept nogil:
    """Apply what was posted and leave. After DRAIN_MOST records the rest stays in the word's list, with
    a mark for the janitors; the next observer takes it too."""
    cdef uint64_t seen
    cdef int budget = DRAIN_MOST
    while True:
        while row.todo:
            row_apply(t, row)
            budget -= 1
        seen = word_load(&row.word)
        if word_head(seen) == 0:
            if word_swap(&row.word, &seen, word_next(seen)):
                return
            continue
        if budget <= 0:
            pending_set(t, row)
            if word_swap(&row.word, &seen, word_with_head(word_next(seen), word_head(seen))):
                return
            continue
        record_fetch(record_at(t, word_head(seen)))
        row.candidate = seen & ~OWNER_MASK
        barrier()
        if word_swap(&row.word, &seen, t.me | word_next(seen)):
            row.todo = row.candidate >> HEAD_SHIFT
            barrier()
        row.candidate = 0
        barrier()

cdef inline void row_leave(const Table *t, Row *row) noexcept nogil:
    """Give the row back. Release: pairs with the acquire of who owns it next."""
    cdef uint64_t seen = word_peek(&row.word)
    if not t.shared:
        word_store(&row.word, word_next(seen))
        return
    if zt_likely(word_head(seen) == 0 and word_swap(&row.word, &seen, word_next(seen))):
        return
    row_drain(t, row)

cdef inline void row_discard(const Table *t, Row *row) noexcept nogil:
    """Empty a row but for the records that are still to be told that their partner is gone."""
    cdef uint64_t todo = row.todo
    row_empty(t, row)
    row.todo = todo

cdef inline void row_repair(const Table *t, Row *row) noexcept nogil:
    """Put in order what a process that was killed may have left between two stores."""
    cdef uint64_t key = row.key
    cdef Row *a
    cdef Row *b
    if key == 0:                # it was leaving the table, or had not yet come in
        row_discard(t, row)
        return
    word_store(&t.keys[row_index(t, row)], 0)   # to find a second row of the same partner: it was being moved
    a = table_look(t, table_bucket(t, key), key)
    b = table_look(t, table_other(t, key), key)
    if a != NULL or b != NULL:
        row_discard(t, row)
        return
    word_store(&t.keys[row_index(t, row)], key)
    action_publish(t, row)
    active_set(t, row, row.level > 0 or row.pin_level != NO_PIN)

cdef inline void row_recover(const Table *t, Row *row, uint64_t word) noexcept nogil:
    """Finish or undo what the dead owner had begun with posted records. `word` as it was taken over."""
    cdef Record *record
    cdef Spill *spill
    cdef uint64_t number
    cdef bint applied
    if row.candidate:
        if word & VERSION_MASK == (row.candidate + 1) & VERSION_MASK:
            row.todo = row.candidate >> HEAD_SHIFT
            barrier()
        row.candidate = 0
        barrier()
    if row.applying:
        number = row.applying & 0xffffff
        applied = (row.events & TWENTY) != (row.applying >> APPLYING_EVENTS) & TWENTY
        if applied and number >= SPILL_FIRST:
            spill = <Spill *>(<char *>t.header + t.header.spills_at) + (number - SPILL_FIRST)
            word_store(&spill.count, 0)
            barrier()
            word_store(&spill.state, SPILL_FREE)
            barrier()
        elif applied:
            record = record_at(t, number)
            if record_waits(record) and (
                    (record.generation & TWENTY) == (row.applying >> APPLYING_GENERATION) & TWENTY):
                if row.todo == number:
                    row.todo = record.next
                    barrier()
                word_store(&record.state, RECORD_FREE)
                barrier()
        row.applying = 0
        barrier()

cdef inline bint row_take(const Table *t, Row *row, uint64_t dead) noexcept nogil:
    """Take the row over from a process that is no more (`dead`: its tag), put it in order, leave it.
    False where it was not its."""
    cdef uint64_t seen = word_load(&row.word)
    while word_owner(seen) == dead:
        if word_swap(&row.word, &seen, (seen & ~OWNER_MASK) | t.me):
            row_recover(t, row, seen)
            row_repair(t, row)
            word_add(&t.header.counter[COUNT_TAKEOVERS], 1)
            row_drain(t, row)
            return True
    return False

cdef inline Record *record_prepare(const Table *t, Row *row, const Event *e) noexcept nogil:
    """A record of one's own with the event in it, NULL where none is free."""
    cdef uint64_t mine = record_take(t.worker, t.pool)
    cdef Record *record
    if mine == 0:
        return NULL
    record = t.pool + mine - 1
    record.event = e[0]
    record.generation += 1
    record.row = row_index(t, row)
    barrier()                   # once it is marked as posted it is whole
    word_store(&record.state, RECORD_POSTED)
    return record

cdef inline int row_spill(const Table *t, uint64_t held, const Event *e) noexcept nogil:
    """No record was free for two milliseconds, during which the word did not change: POSTED or DROPPED."""
    word_store(&t.worker.stuck, held)
    if spill_add(t.spills, e):
        return POSTED
    word_add(&t.worker.dropped, e.count)
    word_add(&t.header.counter[COUNT_DROPPED], e.count)
    return DROPPED

cdef inline int row_post(const Table *t, Row *row, const Event *e, bint ready) noexcept nogil:
    """Own the row, or leave the event with who does: ENTERED, POSTED, DROPPED or GONE. ready: have the record at hand
    before the row is looked at, so that its owner loses the word's line once for it and not twice."""
    cdef uint64_t seen, since = 0
    cdef Record *record = NULL
    if ready:
        record = record_prepare(t, row, e)
        zt_prefetch(&row.word)
    while True:
        seen = word_load(&row.word)
        if word_owner(seen) == 0:
            if word_swap(&row.word, &seen, seen | t.me):
                if record != NULL:
                    word_store(&record.state, RECORD_FREE)
                return ENTERED
        elif not t.shared:
            if word_owner(seen) == t.me:    # a thread of this process
                gil_yield()
            else:               # one that was at it when this process was forked
                row_take(t, row, word_owner(seen))
        elif word_peek(&row.key) != e.partner:
            if record != NULL:
                word_store(&record.state, RECORD_FREE)
            return GONE
        elif record == NULL:
            record = record_prepare(t, row, e)
            if record == NULL:
                seen &= ~HEAD_MASK
                if seen == word_peek(&t.worker.stuck) or not zt_patience(&since):
                    return row_spill(t, seen, e)
        else:
            record.next = word_head(seen)
            # release: the record is whole before it is in the list; pairs with the acquire of row_drain()
            if word_swap(&row.word, &seen, word_with_head(seen, <uint64_t>(record - t.records) + 1)):
                word_add(&t.worker.posted, e.count)
                return POSTED

cdef inline bint row_wait(const Table *t, Row *row) noexcept nogil:
    """Own the row for what a person does; False where its owner does not go on for a fifth of a second."""
    cdef uint64_t seen
    cdef int i
    for i in range(2000):
        if row_try(t, row):
            return True
        seen = word_owner(word_load(&row.word))
        if not t.shared and seen and seen != t.me:
            row_take(t, row, seen)
        elif i < 100:
            zt_yield()
        else:
            zt_nap()
    return False

cdef inline int row_enter(const Table *t, Row *row, const Event *e) noexcept nogil:
    """Own the row for the event, which may be posted instead. The caller checks the key of an owned row."""
    cdef uint64_t seen = word_load(&row.word)
    if zt_likely(word_owner(seen) == 0 and word_swap(&row.word, &seen, seen | t.me)):
        return ENTERED
    return row_post(t, row, e, False)
