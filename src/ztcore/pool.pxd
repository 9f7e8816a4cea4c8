# What attached processes share beside rows: a slot for each, and in it the records that it posts to
# rows somebody else is at work on. Only its own process fills a record; who owns the row frees it.

from libc.stdint cimport uint64_t

from ztcore.atomic cimport barrier, word_add, word_peek, word_store, word_swap, zt_prefetch, zt_yield
from ztcore.event cimport Event

cdef enum:
    SLOTS = 64                  # processes that may be attached at once
    RECORDS = 4096              # of each: as many events may wait

    SPILL_MOST = 1000000        # events in one: fewer than 2^20, by which row_recover() tells whether they were applied
    SPILL_TRIES = 64
    SPILLS = 64                 # of each: partners for whom events may wait, coalesced, when records have run out

cdef enum:                      # of a spill
    SPILL_FREE = 0
    SPILL_BUSY = 1
    SPILL_FULL = 2

cdef enum:                      # of a record
    RECORD_FREE = 0
    RECORD_PREPARED = 1         # being filled
    RECORD_POSTED = 2           # in, or about to get into, a row's list
    RECORD_STRAY = 3            # the same, of a process that is no more

cdef struct Record:             # two cache lines
    Event event
    uint64_t state
    uint64_t generation         # how often it was filled
    uint64_t next               # in the list, 0: the last
    uint64_t row                # whose list: its place in the table
    uint64_t unused[4]

cdef struct Spill:
    Event event                 # the newest
    uint64_t state
    uint64_t count              # of all: what of them is to be taken in, whatever else is half done

cdef struct Worker:             # an attached process
    uint64_t pid                # 0: the slot is free
    uint64_t attached           # ns since the epoch
    uint64_t cursor             # where it looks for a free record
    uint64_t posted
    uint64_t dropped            # events for which there was no record
    uint64_t takeovers          # rows of dead processes it put in order
    uint64_t stuck              # the word, without its list, of a row whose owner was last waited for in vain
    uint64_t left               # 1: of an earlier process of this slot there are strays or spills

cdef inline uint64_t record_take(Worker *worker, Record *pool) noexcept nogil:
    """A free record of the process's own, prepared: 1 + its place in the pool. 0: of the next sixteen none is."""
    cdef uint64_t at, state
    cdef int i
    for i in range(16):
        at = word_add(&worker.cursor, 1) % RECORDS
        state = RECORD_FREE
        if word_peek(&pool[at].state) == RECORD_FREE and word_swap(&pool[at].state, &state, RECORD_PREPARED):
            zt_prefetch(&pool[(at + 1) % RECORDS])
            zt_prefetch(&pool[(at + 1) % RECORDS].state)
            return at + 1
    return 0

cdef inline bint record_waits(const Record *record) noexcept nogil:
    """Whether it is in a list, or was about to get into one."""
    cdef uint64_t state = word_peek(&record.state)
    return state == RECORD_POSTED or state == RECORD_STRAY

cdef inline uint64_t spill_own(Spill *spill) noexcept nogil:
    """What the spill was before it was owned; SPILL_BUSY where another thread of the process stays at it."""
    cdef uint64_t state
    cdef int i
    for i in range(SPILL_TRIES):
        state = SPILL_FREE
        if word_swap(&spill.state, &state, SPILL_BUSY):
            return SPILL_FREE
        if state == SPILL_FULL and word_swap(&spill.state, &state, SPILL_BUSY):
            return SPILL_FULL
        zt_yield()
    return SPILL_BUSY

cdef inline bint spill_add(Spill *spills, const Event *e) noexcept nogil:
    """Keep the event with earlier ones of the same partner; False where another partner's are kept there."""
    cdef Spill *spill = &spills[e.partner % SPILLS]
    cdef uint64_t state = spill_own(spill)
    if state == SPILL_BUSY:
        return False
    if state == SPILL_FULL and (spill.event.partner != e.partner or spill.count + e.count > SPILL_MOST):
        word_store(&spill.state, SPILL_FULL)
        return False
    spill.event = e[0]
    barrier()
    word_store(&spill.count, spill.count + e.count)
    barrier()
    word_store(&spill.state, SPILL_FULL)
    return True
