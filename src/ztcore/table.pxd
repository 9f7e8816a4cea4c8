# The table of partners: one block of memory, fixed at the start, offsets instead of pointers.
#
#   header | bucket words | keys | sketch | active bits | journal | names | rows | pending bits | records | spills
#
# A bucket is eight rows and the cache line of their keys. A partner may live in either of two
# buckets. Who is new gets a free row, or that of an idle stranger who called less often; nobody
# under an action or a person's setting is ever evicted.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from ztcore.atomic cimport time_peek, time_poke, word_peek, word_swap, words_equal, zt_ctz
from ztcore.custom cimport Custom
from ztcore.fleet cimport Fleet
from ztcore.journal cimport Journal
from ztcore.names cimport Names
from ztcore.policy cimport Policy
from ztcore.pool cimport Record, SLOTS, Spill, Worker
from ztcore.row cimport Row

cdef enum:
    WAYS = 8
    APPS = 1024
    APP_LENGTH = 48
    LAYOUT_VERSION = 7
    CLOCK_STEP = 1000000        # ns

cdef enum:                      # counters that stats() shows
    COUNT_EVENTS_GONE = 0       # events of partners no longer in the table
    COUNT_LATE = 1
    COUNT_TURNED_AWAY = 2       # events of partners for whom there was no row
    COUNT_ADMITTED = 3
    COUNT_EVICTED = 4
    COUNT_REWOUND = 5
    COUNT_BAD_TIMESTAMP = 6
    COUNT_BAD_STATUS = 7
    COUNT_BAD_LATENCY = 8
    COUNT_BAD_REQUEST_BYTES = 9
    COUNT_BAD_RESPONSE_BYTES = 10
    COUNT_BAD_COUNT = 11
    COUNT_BAD_PARTNER = 12      # empty names
    COUNT_BAD_METHOD = 13
    COUNT_LONG_NAMES = 14
    COUNT_HASHED_APPS = 15
    COUNT_DROPPED = 16          # events for a row somebody was at work on, when no record was free
    COUNT_TAKEOVERS = 17        # rows of dead processes that were put in order
    COUNT_LOST = 18             # events that dead processes had begun to post
    COUNTERS_ALL = 19

cdef struct App:
    uint64_t key
    uint8_t length
    char name[APP_LENGTH - 1]

cdef struct Header:
    char magic[8]
    uint32_t version
    uint32_t row_size
    uint64_t size               # of the whole block, bytes
    uint64_t rows
    uint64_t buckets
    uint64_t capacity           # with the next five statefile.HEAD is the same
    unsigned char hash_key[16]
    unsigned char boot[16]      # when it was last attached to
    uint64_t clean              # 1: all had detached, and the checksum holds
    uint64_t checksum
    unsigned char signals[16]   # which of the user's own it was made with
    uint64_t bucket_words_at    # offsets from the header
    uint64_t keys_at
    uint64_t sketch_at
    uint64_t sketch_size        # a power of two
    uint64_t active_at
    uint64_t journal_at
    uint64_t names_at
    uint64_t rows_at
    uint64_t slots              # processes that may be attached, 0: private memory
    uint64_t pending_at
    uint64_t records_at
    uint64_t spills_at
    uint64_t sketch_added
    int64_t clock               # newest event time of any partner, ns
    uint64_t counter[COUNTERS_ALL]
    Policy policy
    Fleet fleet
    Worker worker[SLOTS]
    uint64_t apps_word          # the tag of who writes the list, 0: nobody
    uint64_t apps
    App app[APPS]

cdef struct Table:              # where one process sees the block
    Header *header
    uint64_t *bucket_words
    uint64_t *keys
    uint8_t *sketch
    uint64_t *active
    Journal *journal
    Names *names
    Row *rows
    uint64_t *pending
    Record *records             # of all processes
    Record *pool                # its own
    Spill *spills               # its own
    Worker *worker
    uint64_t me                 # its tag in a row's word
    bint shared
    Custom custom

cdef inline void clock_move(const Table *t, int64_t timestamp) noexcept nogil:
    """Where others have it too, by a millisecond and more: else its line went from core to core with every event."""
    if timestamp > time_peek(&t.header.clock) + (CLOCK_STEP if t.shared else 0):
        time_poke(&t.header.clock, timestamp)

cdef inline uint64_t table_bucket(const Table *t, uint64_t key) noexcept nogil:
    """The first of a key's two buckets: the high bits of key times buckets, without a division."""
    return ((key >> 32) * t.header.buckets) >> 32

cdef inline uint64_t table_other(const Table *t, uint64_t key) noexcept nogil:
    return (<uint64_t><uint32_t>key * t.header.buckets) >> 32

cdef inline Row *table_look(const Table *t, uint64_t bucket, uint64_t key) noexcept nogil:
    cdef unsigned int found = words_equal(t.keys + bucket * WAYS, key)
    return t.rows + bucket * WAYS + zt_ctz(found) if found else NULL

cdef inline Row *table_find(const Table *t, uint64_t key) noexcept nogil:
    """The partner's row, NULL where it has none."""
    cdef Row *row = table_look(t, table_bucket(t, key), key)
    return row if row != NULL else table_look(t, table_other(t, key), key)

cdef inline uint64_t table_occupied(const Table *t) noexcept nogil:
    """How many partners there are. Looked at, not kept: a process killed between a row and its count would leave it
    wrong for good."""
    cdef uint64_t i, n = 0
    for i in range(t.header.rows):
        n += word_peek(&t.keys[i]) != 0
    return n

cdef inline uint64_t row_index(const Table *t, const Row *row) noexcept nogil:
    return <uint64_t>(row - t.rows)

cdef inline void active_set(const Table *t, const Row *row, bint on) noexcept nogil:
    """Mark a row that advance() must look at. The order against the row does not matter: a bit
    too many costs a look, and a level is only reached by who sets the bit after it."""
    cdef uint64_t i = row_index(t, row), bit = <uint64_t>1 << (i & 63)
    cdef uint64_t seen = word_peek(&t.active[i >> 6]), wanted
    while True:
        wanted = seen | bit if on else seen & ~bit
        if wanted == seen or word_swap(&t.active[i >> 6], &seen, wanted):
            return

cdef inline void pending_set(const Table *t, const Row *row) noexcept nogil:
    """Mark a row that is left with posted records in its list."""
    cdef uint64_t i = row_index(t, row), bit = <uint64_t>1 << (i & 63)
    cdef uint64_t seen = word_peek(&t.pending[i >> 6])
    while not seen & bit and not word_swap(&t.pending[i >> 6], &seen, seen | bit):
        pass
