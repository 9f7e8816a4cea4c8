# A thread of each attached process that never takes the GIL: every ten milliseconds it puts in order
# what dead processes left, and takes in what was left posted in rows nobody is at work on.

from libc.stdint cimport uint64_t

from ztcore.atomic cimport word_add, word_load, word_peek, word_store, word_swap, zt_rest
from ztcore.clean cimport timestamp_clean
from ztcore.event cimport Event
from ztcore.names cimport names_release
from ztcore.observe cimport observe
from ztcore.own cimport row_drain, row_leave, row_take, row_try
from ztcore.pool cimport (RECORD_FREE, RECORD_PREPARED, RECORDS, SPILL_BUSY, SPILL_FREE, SPILL_FULL, SPILLS, Record,
                          Spill)
from ztcore.row cimport Row
from ztcore.table cimport COUNT_EVENTS_GONE, COUNT_LOST, Table, pending_set, table_find
from ztcore.verdict cimport Verdict
from ztcore.word cimport OWNER_MASK, OWNER_SHIFT, word_head, word_owner

cdef extern from "liveness.h" nogil:
    const int ZT_LIVENESS
    ctypedef unsigned long pthread_t
    bint slot_lock(int fd, long slot) noexcept
    void slot_unlock(int fd, long slot) noexcept
    void fork_watch(int fd) noexcept
    void fork_unwatch(int fd) noexcept
    bint thread_start(pthread_t *thread, void *(*run)(void *) noexcept nogil, void *arg) noexcept
    void thread_join(pthread_t thread) noexcept

cdef struct Janitor:
    Table table
    int lock
    uint64_t slot
    uint64_t stop               # 1: it is to end
    bint running
    pthread_t thread

cdef inline void tag_clear(uint64_t *word, uint64_t tag) noexcept nogil:
    """Take a dead process's tag out of a word that says who is at work."""
    cdef uint64_t seen = tag
    word_swap(word, &seen, 0)

cdef inline void janitor_reap(const Table *t, uint64_t slot) noexcept nogil:
    """Put in order what a process left that is no more. The caller holds the slot's lock, so that no
    other process can come by this slot meanwhile."""
    cdef uint64_t tag = (slot + 1) << OWNER_SHIFT, i, state
    cdef Spill *spills = <Spill *>(<char *>t.header + t.header.spills_at) + slot * SPILLS
    cdef Spill *spill
    cdef Record *record
    for i in range(t.header.rows):
        if word_owner(word_peek(&t.rows[i].word)) == tag:
            row_take(t, &t.rows[i], tag)
    for i in range(t.header.buckets):
        if word_peek(&t.bucket_words[i]) == tag:
            tag_clear(&t.bucket_words[i], tag)
    tag_clear(&t.journal.word, tag)
    tag_clear(&t.header.apps_word, tag)
    names_release(t.names, tag)
    for i in range(RECORDS):
        record = t.records + slot * RECORDS + i
        if word_load(&record.state) == RECORD_PREPARED:
            word_add(&t.header.counter[COUNT_LOST], record.event.count)
            word_store(&record.state, RECORD_FREE)
    for i in range(SPILLS):
        spill = spills + i
        if word_load(&spill.state):
            word_add(&t.header.counter[COUNT_LOST], spill.event.count)
            word_store(&spill.state, SPILL_FREE)
    word_store(&t.header.worker[slot].pid, 0)

cdef inline void janitor_adopt(const Table *t) noexcept nogil:
    """Take in what was left in the lists of rows that nobody owns."""
    cdef uint64_t i, bits, bit, word
    cdef Row *row
    for i in range((t.header.rows + 63) // 64):
        bits = word_peek(&t.pending[i])
        if bits == 0 or not word_swap(&t.pending[i], &bits, 0):
            continue
        for bit in range(64):
            row = t.rows + i * 64 + bit
            if not bits >> bit & 1:
                continue
            word = word_load(&row.word)
            if word_owner(word) == 0 and word_head(word) == 0:
                continue        # whoever leaves a list there from now on marks it anew
            if row_try(t, row):
                row_drain(t, row)
            else:               # its owner may be about to leave it with a list, and has marked it already
                pending_set(t, row)

cdef inline void janitor_spill(const Table *t) noexcept nogil:
    """Take in what was coalesced, where the row is free by now."""
    cdef uint64_t state
    cdef Spill *spill
    cdef Row *row
    cdef Event e
    cdef Verdict v
    cdef int i
    for i in range(SPILLS):
        spill = &t.spills[i]
        state = SPILL_FULL
        if word_peek(&spill.state) != SPILL_FULL or not word_swap(&spill.state, &state, SPILL_BUSY):
            continue
        row = table_find(t, spill.event.partner)
        if row != NULL and not row_try(t, row):
            word_store(&spill.state, SPILL_FULL)
            continue
        e = spill.event
        if row != NULL and row.key == e.partner:
            e.timestamp = timestamp_clean(t.header, e.timestamp, row.last_seen)
            observe(t, row, &e, &v)
        else:
            word_add(&t.header.counter[COUNT_EVENTS_GONE], e.count)
        word_store(&spill.state, SPILL_FREE)
        if row != NULL:
            row_leave(t, row)

cdef inline void janitor_sweep(const Table *t, int lock, uint64_t own) noexcept nogil:
    cdef uint64_t slot
    for slot in range(t.header.slots):
        if slot != own and word_peek(&t.header.worker[slot].pid) and slot_lock(lock, slot):
            if word_peek(&t.header.worker[slot].pid):
                janitor_reap(t, slot)
            slot_unlock(lock, slot)
    janitor_adopt(t)
    janitor_spill(t)

cdef inline void *janitor_run(void *arg) noexcept nogil:
    cdef Janitor *j = <Janitor *>arg
    while not word_peek(&j.stop):
        janitor_sweep(&j.table, j.lock, j.slot)
        zt_rest()
    return NULL

cdef inline void private_forked(const Table *t) noexcept nogil:
    """Private memory after a fork: of the parent's threads none is here any more."""
    cdef uint64_t i
    for i in range(t.header.buckets):
        if t.bucket_words[i]:
            t.bucket_words[i] = 0
    t.journal.word = 0
    t.header.apps_word = 0
    names_release(t.names, t.names.word & OWNER_MASK)
