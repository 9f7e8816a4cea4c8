from ztcore.row cimport Row

cdef void row_merge(Row *into, Row *other) noexcept nogil
