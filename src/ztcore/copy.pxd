# A copy of a row as it was between two events, without owning it: nobody who writes ever waits for a reader.

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from ztcore.atomic cimport fence_acquire, word_load, zt_yield
from ztcore.row cimport Row
from ztcore.word cimport VERSION_MASK, word_owner

cdef enum:
    COPY_TRIES = 3

cdef inline uint64_t row_version(const Row *row) noexcept nogil:
    """Moves whenever the row was owned; 1 more, so that 0 is no version."""
    return (word_load(&row.word) & VERSION_MASK) + 1

cdef inline bint row_copy(const Row *row, Row *out) noexcept nogil:
    """False where somebody was at work on it each time: the next look will do. Acquire: pairs with the release of
    row_leave(); the fence keeps the copy before the second look."""
    cdef uint64_t seen
    cdef int i
    for i in range(COPY_TRIES):
        seen = word_load(&row.word)
        if word_owner(seen) == 0:
            memcpy(out, row, sizeof(Row))
            fence_acquire()
            if word_load(&row.word) == seen:
                return out.key != 0
        zt_yield()
    return False
