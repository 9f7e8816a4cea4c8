# Changes of level, for hooks, replay and logs: a ring that keeps the newest 4,096.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ztcore.atomic cimport word_add, word_store, word_swap, zt_yield
from ztcore.verdict cimport Why

cdef enum:
    JOURNAL_SIZE = 4096
    JOURNAL_TRIES = 1000

cdef struct Transition:
    int64_t timestamp           # ns; of what fell due by time: when it fell due
    uint64_t partner
    uint32_t row
    uint8_t from_level
    uint8_t to_level
    uint8_t cause               # Signal, or one of Cause
    uint8_t whys
    float score
    float interval              # seconds between the calls that a throttle lets through
    uint8_t enforced            # the mode when it happened
    uint8_t name_length
    uint8_t app_length
    uint8_t anomaly             # the score crossed a threshold; the level did not change
    uint32_t evident            # s: since when there is evidence
    Why why[3]
    char app[48]
    char name[64]

cdef struct Journal:
    uint64_t word               # the tag of who writes or reads, 0: nobody
    uint64_t written            # since the start
    uint64_t read
    uint64_t lost               # overwritten before anybody read them
    Transition entry[JOURNAL_SIZE]

cdef inline bint journal_own(Journal *j, uint64_t me) noexcept nogil:
    """Become who writes or reads; False where somebody else stays at it."""
    cdef uint64_t free
    cdef int i
    for i in range(JOURNAL_TRIES):
        free = 0
        if word_swap(&j.word, &free, me):
            return True
        zt_yield()
    return False

cdef inline void journal_free(Journal *j) noexcept nogil:
    word_store(&j.word, 0)

cdef inline void journal_write(Journal *j, uint64_t me, const Transition *t) noexcept nogil:
    if not journal_own(j, me):
        word_add(&j.lost, 1)
        return
    if j.written - j.read == JOURNAL_SIZE:
        j.read += 1
        j.lost += 1
    memcpy(&j.entry[j.written % JOURNAL_SIZE], t, sizeof(Transition))
    j.written += 1
    journal_free(j)
