# A row loses its partner, or gives it to another row. The caller owns the rows.

from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from ztcore.atomic cimport word_add, word_store
from ztcore.row cimport NO_PIN, Row
from ztcore.table cimport COUNT_EVENTS_GONE, Table, active_set, row_index

cdef inline void row_empty(const Table *t, Row *row) noexcept nogil:
    """Zero an owned row: the decision first, so that no reader sees a level without a partner."""
    word_store(&row.decision, 0)
    word_store(&t.keys[row_index(t, row)], 0)
    word_store(&row.key, 0)
    memset(<char *>row + sizeof(uint64_t), 0, sizeof(Row) - sizeof(uint64_t))
    active_set(t, row, False)

cdef inline void row_clear(const Table *t, Row *row) noexcept nogil:
    """A partner leaves the table."""
    word_add(&t.header.counter[COUNT_EVENTS_GONE], row.events)
    row_empty(t, row)

cdef inline void row_move(const Table *t, Row *row, Row *to) noexcept nogil:
    """Give a partner another row; both are owned. Who still holds the old address finds another
    key there and looks again."""
    memcpy(<char *>to + 2 * sizeof(uint64_t), <char *>row + 2 * sizeof(uint64_t), sizeof(Row) - 2 * sizeof(uint64_t))
    word_store(&to.key, row.key)
    word_store(&t.keys[row_index(t, to)], row.key)
    active_set(t, to, row.level > 0 or row.pin_level != NO_PIN)
    row_empty(t, row)
