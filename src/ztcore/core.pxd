from libc.stdint cimport int64_t, uint64_t

from ztcore.event cimport Event
from ztcore.hash cimport SipKey
from ztcore.row cimport Row
from ztcore.table cimport Table
from ztcore.arguments cimport Text

cdef enum:
    ENDPOINT_CACHE = 256
    APP_CACHE = 16
    PARTNER_CACHE_BITS = 11

cdef struct CachedEndpoint:     # a str seen before, by identity; the reference keeps it alive
    void *text
    uint64_t endpoint
    int method

cdef struct CachedPartner:      # a pair of str seen before, by identity, and where its row was
    void *partner
    void *app
    uint64_t key
    Row *row

cdef struct CachedApp:
    void *text
    SipKey key                  # of this application's partners
    uint64_t hash
    int index                   # in the header, -1: not looked up yet

cdef class Core:
    cdef Table table
    cdef SipKey key
    cdef object block           # the mapping, kept alive
    cdef readonly int capacity
    cdef CachedEndpoint endpoints[ENDPOINT_CACHE]
    cdef CachedApp apps[APP_CACHE]
    cdef CachedPartner partners[1 << PARTNER_CACHE_BITS]
    cdef CachedPartner *cached(self, object partner, object app) noexcept
    cdef Row *find_or_admit(self, object partner, object app, const Event *e) except? NULL
    cdef int remember(self, CachedPartner *entry, object partner, object app) except -1
    cdef void forget_names(self) noexcept
    cdef CachedApp *app_of(self, object app) except NULL
    cdef uint64_t partner_of(self, object partner, object app, CachedApp **entry, Text *text) except? 0
    cdef bint place(self, Event *e, object endpoint, object method) except -1
    cdef int learn_name(self, const Event *e, object endpoint) except -1
    cdef Row *own(self, object partner, object app, int64_t now, bint create) except? NULL
