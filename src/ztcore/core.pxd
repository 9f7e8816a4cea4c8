from libc.stdint cimport int64_t, uint64_t

from ztcore.event cimport Event
from ztcore.hash cimport SipKey
from ztcore.identity cimport CachedApp, CachedEndpoint, CachedPartner, Identity
from ztcore.janitor cimport Janitor
from ztcore.row cimport Row
from ztcore.table cimport Table
from ztcore.arguments cimport Text

cdef class Core:
    cdef Table table
    cdef SipKey key
    cdef object __weakref__
    cdef object block           # the mapping, kept alive
    cdef readonly object state  # the file's path, None: private memory
    cdef int lock               # the descriptor whose lock says that this process is there, -1: none
    cdef readonly uint64_t slot
    cdef Janitor janitor
    cdef readonly int capacity
    cdef Identity identity
    cdef int take_memory(self, object hash_key, bint huge_pages) except -1
    cdef int attach(self, object hash_key) except -1
    cdef int settle_in(self, uint64_t slot) except -1
    cdef void end_janitor(self) noexcept
    cdef CachedPartner *partner(self, object partner, object app) except NULL
    cdef int enter(self, object partner, object app, const Event *e, Row **row) except? -1
    cdef CachedApp *app_of(self, object app) except NULL
    cdef object partner_of(self, object partner, object app, CachedApp **entry, Text *text, uint64_t *key)
    cdef bint place(self, Event *e, object endpoint, object method) except -1
    cdef int parse(self, Event *e, CachedEndpoint *two, object endpoint, object method) except -1
    cdef int learn_name(self, const Event *e, object endpoint) except -1
    cdef Row *own(self, object partner, object app, int64_t now, bint create) except? NULL
