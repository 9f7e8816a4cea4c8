from libc.stdint cimport int64_t, uint64_t

from ztcore.arguments cimport Text
from ztcore.decision cimport Decision
from ztcore.event cimport Event
from ztcore.identity cimport CachedApp, CachedEndpoint, CachedPartner, Identity
from ztcore.memory cimport Memory
from ztcore.row cimport Row
from ztcore.table cimport Table
from ztcore.verdict cimport Verdict

cdef Decision decide(const Table *t, Row *row, uint64_t word, const Verdict *v, int64_t now, bint take, tuple own)

cdef class Core(Memory):
    cdef Identity identity
    cdef unsigned char crowded[256] # by the partner's key: more than 0 where somebody else was at work on its row lately
    cdef CachedPartner *partner(self, object partner, object app) except NULL
    cdef CachedPartner *partner_new(self, CachedPartner *two, object partner, object app) except NULL
    cdef int enter(self, object partner, object app, const Event *e, Row **row) except? -1
    cdef CachedApp *app_of(self, object app) except NULL
    cdef object partner_of(self, object partner, object app, CachedApp **entry, Text *text, uint64_t *key)
    cdef bint place(self, Event *e, object endpoint, object method) except -1
    cdef int parse(self, Event *e, CachedEndpoint *two, object endpoint, object method) except -1
    cdef int look(self, Event *e, object path) except -1
    cdef uint64_t in_force(self, object partner, object app, object timestamp, Row **found, int64_t *now) except? 1
    cdef int learn_name(self, const Event *e, object endpoint) except -1
    cdef Row *own(self, object partner, object app, int64_t now, bint create) except? NULL
