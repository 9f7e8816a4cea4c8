from ztcore.verdict cimport REASONS, Why

cdef class Decision:
    cdef readonly int level
    cdef readonly float score
    cdef readonly bint enforced
    cdef readonly double retry_after
    cdef readonly double interval
    cdef readonly int remaining
    cdef double since           # s: the first evidence
    cdef tuple own              # names of the user's signals
    cdef int whys
    cdef Why why[REASONS]

cdef Decision CALM
cdef tuple reasons_of(const Why *why, int n, double since, tuple own)
