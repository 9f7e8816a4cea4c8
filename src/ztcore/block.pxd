# How the block of memory is laid out, and how a process finds its parts.

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from ztcore.journal cimport Journal
from ztcore.names cimport Names, names_bytes, names_init
from ztcore.pool cimport RECORDS, SPILLS, Record, Spill
from ztcore.row cimport Row
from ztcore.table cimport Header, LAYOUT_VERSION, Table, WAYS
from ztcore.word cimport OWNER_SHIFT

cdef inline uint64_t align_up(uint64_t n, uint64_t to) noexcept nogil:
    return (n + to - 1) // to * to

cdef inline void block_plan(Header *h, uint64_t capacity, uint64_t segments, uint64_t slots) noexcept nogil:
    """Fill in sizes and offsets for so many partners and processes (0: private). Rows are 1/40 more than asked for: two
    choices of eight leave that much unused when full."""
    cdef uint64_t at
    h.buckets = (capacity + capacity // 40 + WAYS - 1) // WAYS
    if h.buckets < 2:
        h.buckets = 2
    h.rows = h.buckets * WAYS
    h.capacity = capacity
    h.sketch_size = 1024
    while h.sketch_size * 2 <= capacity:
        h.sketch_size *= 2
    at = align_up(sizeof(Header), 64)
    h.bucket_words_at = at
    at = align_up(at + h.buckets * 8, 64)
    h.keys_at = at
    at = align_up(at + h.rows * 8, 64)
    h.sketch_at = at
    at = align_up(at + h.sketch_size, 64)
    h.active_at = at
    at = align_up(at + (h.rows + 63) // 64 * 8, 64)
    h.journal_at = at
    at = align_up(at + sizeof(Journal), 64)
    h.names_at = at
    at = align_up(at + names_bytes(segments), 4096)
    h.rows_at = at
    at = align_up(at + h.rows * sizeof(Row), 4096)
    h.slots = slots
    h.pending_at = at
    at = align_up(at + (h.rows + 63) // 64 * 8 if slots else at, 64)
    at = align_up(at, 128)
    h.records_at = at
    at = align_up(at + slots * RECORDS * sizeof(Record), 64)
    h.spills_at = at
    h.size = align_up(at + slots * SPILLS * sizeof(Spill), 4096)

cdef inline void block_init(Header *h, const Header *plan, uint64_t segments) noexcept nogil:
    """Write the header into zeroed memory of plan.size bytes."""
    memcpy(h, plan, sizeof(Header))
    h.version = LAYOUT_VERSION
    h.row_size = sizeof(Row)
    h.apps = 1                  # index 0: the name is not shown
    names_init(<Names *>(<char *>h + h.names_at), segments)
    memcpy(h.magic, <const char *>b"ztmon\0\0\1", 8)

cdef inline void block_attach(Table *t, Header *h, uint64_t slot) noexcept nogil:
    """Find the parts; be the process of that slot. In private memory it is any number below 1,023."""
    cdef char *base = <char *>h
    t.me = (slot + 1) << OWNER_SHIFT
    t.shared = h.slots > 0
    t.pending = <uint64_t *>(base + h.pending_at)
    t.records = <Record *>(base + h.records_at)
    t.pool = t.records + slot * RECORDS if t.shared else t.records
    t.spills = <Spill *>(base + h.spills_at) + (slot * SPILLS if t.shared else 0)
    t.worker = &h.worker[slot if t.shared else 0]
    t.header = h
    t.bucket_words = <uint64_t *>(base + h.bucket_words_at)
    t.keys = <uint64_t *>(base + h.keys_at)
    t.sketch = <unsigned char *>(base + h.sketch_at)
    t.active = <uint64_t *>(base + h.active_at)
    t.journal = <Journal *>(base + h.journal_at)
    t.names = <Names *>(base + h.names_at)
    t.rows = <Row *>(base + h.rows_at)
