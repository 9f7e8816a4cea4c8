# Python strings seen before, found by their addresses: most callers pass the same objects again and
# again, and hashing a name costs more than all the statistics. A reference keeps each object, so
# an address is never that of another one. Sets of two in a cache line; the newer way comes first.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t, uintptr_t

from ztcore.atomic cimport zt_likely
from ztcore.hash cimport SipKey
from ztcore.row cimport Row

cdef extern from "Python.h":
    void Py_INCREF(PyObject *object)
    void Py_XDECREF(PyObject *object)

cdef enum:
    ENDPOINT_SET_BITS = 8
    PARTNER_SET_BITS = 11
    APP_CACHE = 16

cdef struct CachedEndpoint:
    PyObject *text
    PyObject *method
    uint64_t endpoint
    uint64_t index              # of the method

cdef struct CachedPartner:      # a pair of names, and where its row was
    PyObject *partner
    PyObject *app
    uint64_t key
    Row *row

cdef struct CachedApp:
    PyObject *text
    SipKey key                  # of this application's partners
    uint64_t hash
    int index                   # in the header, -1: not looked up yet

cdef struct Identity:
    CachedEndpoint endpoints[2 << ENDPOINT_SET_BITS]
    CachedPartner partners[2 << PARTNER_SET_BITS]
    CachedApp apps[APP_CACHE]

cdef struct IdentityRoom:       # holds an Identity that begins with a cache line, wherever it lies itself
    Identity identity
    char more[64]

cdef inline Identity *identity_in(IdentityRoom *room) noexcept:
    return <Identity *>((<uintptr_t>room + 63) & ~<uintptr_t>63)

cdef inline uint64_t identity_set(uint64_t address, uint64_t more, int bits) noexcept:
    return ((address ^ (more << 7)) * <uint64_t>0x9e3779b97f4a7c15) >> (64 - bits)

cdef inline CachedApp *identity_app(Identity *c, PyObject *app) noexcept:
    """Where the application would stand."""
    return &c.apps[(<uint64_t>app >> 4) % APP_CACHE]

cdef inline CachedPartner *identity_partners(Identity *c, PyObject *partner, PyObject *app) noexcept:
    """The two places where the pair may stand."""
    return &c.partners[2 * identity_set(<uint64_t>partner, <uint64_t>app, PARTNER_SET_BITS)]

cdef inline CachedPartner *identity_partner(CachedPartner *two, PyObject *partner, PyObject *app) noexcept:
    """Which of the two is the pair's, NULL: none."""
    two += (two.partner != partner) | (two.app != app)      # no branch: which way it is, no processor can guess
    return two if zt_likely(two.partner == partner and two.app == app) else NULL

cdef inline CachedEndpoint *identity_endpoints(Identity *c, PyObject *text, PyObject *method) noexcept:
    """The two places where the endpoint may stand."""
    return &c.endpoints[2 * identity_set(<uint64_t>text, <uint64_t>method, ENDPOINT_SET_BITS)]

cdef inline CachedEndpoint *identity_endpoint(CachedEndpoint *two, PyObject *text, PyObject *method) noexcept:
    """Which of the two is the endpoint's, NULL: none."""
    two += (two.text != text) | (two.method != method)
    return two if zt_likely(two.text == text and two.method == method) else NULL

cdef inline void identity_keep_partner(CachedPartner *two, const CachedPartner *new) noexcept:
    """Take the first place of the two; who stood there moves on."""
    Py_INCREF(new.partner)
    Py_INCREF(new.app)
    Py_XDECREF(two[1].partner)
    Py_XDECREF(two[1].app)
    two[1] = two[0]
    two[0] = new[0]

cdef inline void identity_keep_endpoint(CachedEndpoint *two, const CachedEndpoint *new) noexcept:
    """The same for an endpoint and its method."""
    Py_INCREF(new.text)
    Py_INCREF(new.method)
    Py_XDECREF(two[1].text)
    Py_XDECREF(two[1].method)
    two[1] = two[0]
    two[0] = new[0]

cdef inline void identity_keep_app(CachedApp *place, PyObject *text) noexcept:
    """The application's name, whose keys stand there already."""
    Py_INCREF(text)
    Py_XDECREF(place.text)
    place.text = text

cdef inline void identity_forget_partners(Identity *c) noexcept:
    """Let go of all pairs of names."""
    cdef int i
    for i in range(2 << PARTNER_SET_BITS):
        Py_XDECREF(c.partners[i].partner)
        Py_XDECREF(c.partners[i].app)
        c.partners[i].partner = c.partners[i].app = NULL

cdef inline void identity_clear(Identity *c) noexcept:
    """Let go of everything."""
    cdef int i
    identity_forget_partners(c)
    for i in range(2 << ENDPOINT_SET_BITS):
        Py_XDECREF(c.endpoints[i].text)
        Py_XDECREF(c.endpoints[i].method)
        c.endpoints[i].text = c.endpoints[i].method = NULL
    for i in range(APP_CACHE):
        Py_XDECREF(c.apps[i].text)
        c.apps[i].text = NULL
