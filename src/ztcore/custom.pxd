# The user's own signals: functions that the core calls for every event, without the GIL where numba
# compiled them. Their state is in the row, so the row's owner calls them, one at a time.

from libc.stdint cimport uint8_t, uint32_t

from ztcore.event cimport Event
from ztcore.verdict cimport CUSTOM, CUSTOMS

cdef extern from *:
    """
    #include "atomic.h"
    /* Let other threads go on. One that is at a signal in Python may need the GIL that this one holds. */
    static inline void gil_yield(void)
    {
        PyThreadState *own = PyGILState_Check() ? PyEval_SaveThread() : 0;
        zt_yield();
        if (own)
            PyEval_RestoreThread(own);
    }
    """
    void gil_yield() noexcept nogil

ctypedef uint32_t (*CustomCall)(const Event *e, void *state, void *own) noexcept nogil

cdef struct Custom:
    int n
    uint32_t at[CUSTOMS]        # where in the row's bytes its state begins
    CustomCall call[CUSTOMS]
    void *own[CUSTOMS]          # for who needs it: the Python object

cdef inline uint32_t custom_hits(const Custom *c, uint8_t *bytes, const Event *e) noexcept nogil:
    cdef uint32_t hits = 0
    cdef int i
    for i in range(c.n):
        if c.call[i](e, bytes + c.at[i], c.own[i]):
            hits |= <uint32_t>1 << (CUSTOM + i)
    return hits
