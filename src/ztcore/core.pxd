from libc.stdint cimport int64_t, uint64_t

from ztcore.decision cimport Decision
from ztcore.event cimport Event
from ztcore.identity cimport IdentityRoom
from ztcore.memory cimport Memory
from ztcore.row cimport Row
from ztcore.table cimport Table
from ztcore.verdict cimport Verdict

cdef Decision decide(const Table *t, Row *row, uint64_t word, const Verdict *v, int64_t now, bint take, tuple own)

cdef class Core(Memory):
    cdef IdentityRoom identity
    cdef public bint by_events      # "now" is the newest event's time stamp, not the clock on the wall
    cdef unsigned char crowded[256] # by the partner's key: more than 0 where somebody else was at work on its row lately
    cdef int enter(self, object partner, object app, const Event *e, Row **row) except? -1
    cdef uint64_t in_force(self, object partner, object app, object timestamp, Row **found, int64_t *now) except? 1
    cdef Decision checked(self, object partner, object app, object timestamp)
    cdef Decision observed(self, object partner, object app, object endpoint, object method, object path, object source,
                           int status, double latency_ms, long long request_bytes, long long response_bytes)
    cdef int learn_name(self, const Event *e, object endpoint) except -1
    cdef Row *own(self, object partner, object app, int64_t now, bint create) except? NULL
