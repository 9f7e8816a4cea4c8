# Changes of level, for hooks, replay and logs: a ring that keeps the newest 4,096.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ztcore.atomic cimport barrier, word_add, word_peek, word_store, word_swap, zt_patience
from ztcore.verdict cimport Why

cdef enum:
    JOURNAL_SIZE = 4096

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
    uint64_t stuck              # who was last waited for in vain, and how far it had come
    Transition entry[JOURNAL_SIZE]

cdef inline bint journal_own(Journal *j, uint64_t me) noexcept nogil:
    """Become who writes or reads; False where somebody else stays at it. Who does is waited for once, by one."""
    cdef uint64_t seen, since = 0
    while True:
        seen = 0
        if word_swap(&j.word, &seen, me):
            return True
        seen ^= word_peek(&j.written) + (word_peek(&j.read) << 32)
        if seen == word_peek(&j.stuck):
            return False
        if not zt_patience(&since):
            word_store(&j.stuck, seen)
            return False

cdef inline void journal_free(Journal *j) noexcept nogil:
    word_store(&j.word, 0)

cdef inline void journal_write(Journal *j, uint64_t me, const Transition *t) noexcept nogil:
    if not journal_own(j, me):
        word_add(&j.lost, 1)
        return
    if j.written - j.read == JOURNAL_SIZE:
        word_store(&j.read, j.read + 1)
        word_add(&j.lost, 1)
    memcpy(&j.entry[j.written % JOURNAL_SIZE], t, sizeof(Transition))
    barrier()                   # a writer that is killed leaves no entry that is not there
    word_store(&j.written, j.written + 1)
    journal_free(j)
