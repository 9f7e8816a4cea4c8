# A thread of each attached process that never takes the GIL: every ten milliseconds it puts in order
# what dead processes left, and takes in what was left posted in rows nobody is at work on.

from libc.stdint cimport uint32_t, uint64_t

from ztcore.atomic cimport barrier, word_add, word_load, word_peek, word_store, word_swap, zt_rest
from ztcore.clean cimport timestamp_clean
from ztcore.event cimport Event
from ztcore.names cimport names_release
from ztcore.observe cimport observe
from ztcore.own cimport (APPLYING_EVENTS, SPILL_FIRST, TWENTY, row_drain, row_leave, row_take, row_try)
from ztcore.pool cimport (RECORD_FREE, RECORD_POSTED, RECORD_PREPARED, RECORD_STRAY, RECORDS, SLOTS, SPILL_BUSY, SPILL_FREE,
                          SPILL_FULL, SPILLS, Record, Spill, Worker)
from ztcore.row cimport Row
from ztcore.table cimport COUNT_EVENTS_GONE, COUNT_LOST, Table, pending_set, table_find
from ztcore.verdict cimport Verdict
from ztcore.word cimport OWNER_MASK, OWNER_SHIFT, word_head, word_owner

cdef extern from "liveness.h" nogil:
    const int ZT_LIVENESS
    ctypedef unsigned long pthread_t
    bint slot_lock(int fd, long slot) noexcept
    void slot_unlock(int fd, long slot) noexcept
    bint map_apart(void *at, size_t size, const char *path, unsigned long inode) noexcept
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

cdef inline Spill *spills_of(const Table *t, uint64_t slot) noexcept nogil:
    return <Spill *>(<char *>t.header + t.header.spills_at) + slot * SPILLS

cdef inline void janitor_reap(const Table *t, uint64_t slot) noexcept nogil:
    """Put in order what a process left that is no more. The caller holds the slot's lock, so that no
    other process can come by this slot meanwhile. Every step can be repeated: it may be killed too."""
    cdef uint64_t tag = (slot + 1) << OWNER_SHIFT, i, state
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
        state = RECORD_POSTED
        if word_peek(&record.state) == RECORD_PREPARED:     # its event is not whole: nobody can say what it was
            word_store(&record.state, RECORD_FREE)
        else:
            word_swap(&record.state, &state, RECORD_STRAY)
    word_store(&t.header.worker[slot].left, 1)
    word_store(&t.header.worker[slot].pid, 0)

cdef inline bint list_has(const Table *t, uint64_t first, const Record *record) noexcept nogil:
    """Whether a record is in a list of the row that the caller owns: nobody else takes any out."""
    cdef uint64_t left = SLOTS * RECORDS
    while first and left:
        if t.records + first - 1 == record:
            return True
        first = t.records[first - 1].next
        left -= 1
    return False

cdef inline bint janitor_strays(const Table *t, uint64_t slot) noexcept nogil:
    """Of the records that a dead process was about to post, free those that never came into a list. False where
    a row's owner does not go on."""
    cdef Record *record
    cdef Row *row
    cdef uint64_t i
    cdef bint done = True
    for i in range(RECORDS):
        record = t.records + slot * RECORDS + i
        if word_peek(&record.state) != RECORD_STRAY:
            continue
        row = t.rows + record.row
        if not row_try(t, row):
            done = False
            continue
        if word_load(&record.state) == RECORD_STRAY and not list_has(t, word_head(word_load(&row.word)), record) and (
                not list_has(t, row.todo, record)):
            word_store(&record.state, RECORD_FREE)
            word_add(&t.header.counter[COUNT_LOST], record.event.count)
        row_drain(t, row)
        done &= word_peek(&record.state) != RECORD_STRAY
    return done

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

cdef inline void spill_apply(const Table *t, Row *row, Spill *spill) noexcept nogil:
    """Take in what was coalesced; the caller owns the spill, and the row where there is one."""
    cdef Event e = spill.event
    cdef Verdict v
    e.count = <uint32_t>spill.count
    if row != NULL and row.key == e.partner:
        e.timestamp = timestamp_clean(t.header, e.timestamp, row.last_seen)
        row.applying = (SPILL_FIRST + <uint64_t>(spill - spills_of(t, 0))) | ((row.events & TWENTY) << APPLYING_EVENTS)
        barrier()
        observe(t, row, &e, &v)
    else:
        word_add(&t.header.counter[COUNT_EVENTS_GONE], e.count)
    barrier()
    word_store(&spill.count, 0)
    barrier()
    word_store(&spill.state, SPILL_FREE)
    barrier()
    if row != NULL:
        row.applying = 0
        barrier()

cdef inline bint janitor_spill(const Table *t, uint64_t slot, bint alive) noexcept nogil:
    """Take in what was coalesced, where the row is free by now; False where one is not. alive: the slot's
    process may be at its spills."""
    cdef uint64_t state, i
    cdef Spill *spill
    cdef Row *row
    cdef bint done = True
    for i in range(SPILLS):
        spill = spills_of(t, slot) + i
        if word_peek(&spill.state) == SPILL_FREE:
            continue
        state = SPILL_FULL
        if alive and not word_swap(&spill.state, &state, SPILL_BUSY):
            continue
        row = table_find(t, spill.event.partner) if spill.count else NULL
        if row != NULL and not row_try(t, row):
            if alive:
                word_store(&spill.state, SPILL_FULL)
            done = False
            continue
        if spill.count:         # else it was never whole, or was taken in by who died of it
            spill_apply(t, row, spill)
        word_store(&spill.state, SPILL_FREE)
        if row != NULL:
            row_leave(t, row)
    return done

cdef inline void janitor_left(const Table *t, uint64_t slot) noexcept nogil:
    """What earlier processes of a slot left behind. The caller holds its lock."""
    if janitor_strays(t, slot) and janitor_spill(t, slot, t.header.worker[slot].pid != 0):
        word_store(&t.header.worker[slot].left, 0)

cdef inline void janitor_settle(const Table *t, uint64_t slot) noexcept nogil:
    """Before a process begins in a slot: put in order what an earlier one left there. The caller holds its lock."""
    cdef Worker *worker = &t.header.worker[slot]
    cdef Spill *spill
    cdef uint64_t i
    if word_peek(&worker.pid):
        janitor_reap(t, slot)
    if word_peek(&worker.left):
        janitor_left(t, slot)
    for i in range(SPILLS):
        spill = spills_of(t, slot) + i
        if word_peek(&spill.state) == SPILL_BUSY:
            word_store(&spill.state, SPILL_FULL if spill.count else SPILL_FREE)

cdef inline void janitor_sweep(const Table *t, int lock, uint64_t own) noexcept nogil:
    cdef uint64_t slot
    cdef Worker *worker
    for slot in range(t.header.slots):
        worker = &t.header.worker[slot]
        if slot == own or not (word_peek(&worker.pid) or word_peek(&worker.left)) or not slot_lock(lock, slot):
            continue
        if word_peek(&worker.pid):
            janitor_reap(t, slot)
        if word_peek(&worker.left):
            janitor_left(t, slot)
        slot_unlock(lock, slot)
    if word_peek(&t.worker.left):
        janitor_left(t, own)
    janitor_adopt(t)
    janitor_spill(t, own, True)

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
