# One event as it came over the wire, whatever it was packed in: where its fields lie, and the Event they make. What every
# reader of telemetry shares: JSON here in jsonwire.pxd, datagrams elsewhere.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from ztcore.event cimport EVENT_SUSPICIOUS, Event
from ztcore.hash cimport SipKey
from ztcore.json cimport Span
from ztcore.keys cimport app_hash, app_key, partner_key, source_key
from ztcore.learner cimport Learner, learner_meet
from ztcore.namerecord cimport record_put, record_size
from ztcore.paths cimport PATH_SUSPICIOUS, Path, method_index, path_parse

cdef enum:                      # fields, a bit each
    WIRE_APP = 1
    WIRE_PARTNER = 2
    WIRE_TIMESTAMP = 4
    WIRE_ENDPOINT = 8
    WIRE_METHOD = 16
    WIRE_STATUS = 32
    WIRE_LATENCY = 64
    WIRE_REQUIRED = 127
    WIRE_REQUEST_BYTES = 128
    WIRE_RESPONSE_BYTES = 256
    WIRE_SOURCE = 512
    WIRE_USER_AGENT = 1024
    WIRE_COUNT = 2048

cdef enum:                      # bytes of a text at most; ztmon.wire says the same
    WIRE_NAME = 255             # of an application, a partner, a method, an address
    WIRE_TEXT = 8192            # of a path, a user agent

cdef enum:
    WIRE_APPS = 16              # whose keys are remembered
    WIRE_APP_SHORT = 48

cdef extern from *:
    """
    #define WIRE_LAST_MS 253402300800000.0      /* the end of the year 9999 */
    #define WIRE_COUNT_MOST 4294967295LL
    """
    const double WIRE_LAST_MS
    const int64_t WIRE_COUNT_MOST

cdef struct Wire:
    uint32_t have               # which fields there were
    Span app
    Span partner
    Span endpoint
    Span method
    Span source
    double timestamp            # ms since the epoch
    double latency_ms
    double request_bytes
    double response_bytes
    int64_t status
    int64_t count

cdef struct WireApp:
    unsigned char name[WIRE_APP_SHORT]
    uint64_t size               # 0: free
    uint64_t hash
    SipKey key

cdef struct Intake:             # what makes events of them; of one thread
    SipKey key
    Learner learner
    int64_t earliest            # ns: what is before it is taken for it
    int64_t latest
    uint64_t clamped            # time stamps so far that were outside of the two
    const uint64_t *allowed     # hashes of the applications it may be about, NULL: any
    uint64_t n_allowed
    unsigned char *names        # records
    uint64_t names_size
    uint64_t names_room
    WireApp app[WIRE_APPS]

cdef inline WireApp *wire_app(Intake *intake, const Span *name, WireApp *other) noexcept nogil:
    """An application's keys; other: what is filled in where its name is too long to be remembered."""
    cdef WireApp *found = &intake.app[(name.size ^ name.at[0] ^ (name.at[name.size - 1] << 1)) % WIRE_APPS]
    if found.size == name.size and memcmp(found.name, name.at, name.size) == 0:
        return found
    if name.size > WIRE_APP_SHORT:
        found = other
    found.hash = app_hash(&intake.key, name.at, name.size)
    app_key(&intake.key, found.hash, &found.key)
    if found != other:
        memcpy(found.name, name.at, name.size)
        found.size = name.size
    return found

cdef inline bint wire_allowed(const Intake *intake, uint64_t app) noexcept nogil:
    cdef uint64_t i
    if intake.allowed == NULL:
        return True
    for i in range(intake.n_allowed):
        if intake.allowed[i] == app:
            return True
    return False

cdef inline int64_t wire_time(Intake *intake, double ms) noexcept nogil:
    cdef double ns = ms * 1e6
    if ns < <double>intake.earliest:
        intake.clamped += 1
        return intake.earliest
    if ns > <double>intake.latest:
        intake.clamped += 1
        return intake.latest
    return <int64_t>ms * 1000000 + <int64_t>((ms - <double><int64_t>ms) * 1e6)

cdef inline bint wire_event(Intake *intake, const Wire *w, Event *e) noexcept nogil:
    """Fill in an event. False where a field is missing or is not what it may be; ztmon.wire then says which. The
    caller sees to it that there is room for its names."""
    cdef const unsigned char *s = w.endpoint.at
    cdef WireApp other
    cdef WireApp *app
    cdef Path path
    if w.have & WIRE_REQUIRED != WIRE_REQUIRED:
        return False
    if not (0 < w.app.size <= WIRE_NAME and 0 < w.partner.size <= WIRE_NAME and 0 < w.endpoint.size <= WIRE_TEXT
            and 0 < w.method.size <= WIRE_NAME and 100 <= w.status <= 599 and 0.0 <= w.timestamp < WIRE_LAST_MS):
        return False
    if w.have & WIRE_COUNT and not 0 < w.count <= WIRE_COUNT_MOST or w.have & WIRE_SOURCE and w.source.size > WIRE_NAME:
        return False
    app = wire_app(intake, &w.app, &other)
    if not wire_allowed(intake, app.hash) or record_size(w.app.size, w.partner.size) > intake.names_room - intake.names_size:
        return False
    e.timestamp = wire_time(intake, w.timestamp)
    e.partner = partner_key(&app.key, w.partner.at, w.partner.size)
    e.name = <uint32_t>intake.names_size + 1
    intake.names_size += record_put(intake.names + intake.names_size, w.app.at, w.app.size, w.partner.at, w.partner.size)
    e.source = source_key(&intake.key, w.source.at, w.source.size) if w.have & WIRE_SOURCE and w.source.size else 0
    e.method = <uint8_t>method_index(w.method.at, w.method.size)
    path_parse(&intake.key, s, w.endpoint.size, e.method, True, &path)
    e.endpoint = path.endpoint
    e.object_id = path.object_id
    e.flags = EVENT_SUSPICIOUS if path.flags & PATH_SUSPICIOUS else 0
    e.status = <uint16_t>w.status
    e.latency_ms = <float>w.latency_ms
    e.request_bytes = <float>w.request_bytes if w.have & WIRE_REQUEST_BYTES else 0.0
    e.response_bytes = <float>w.response_bytes if w.have & WIRE_RESPONSE_BYTES else 0.0
    e.count = <uint32_t>w.count if w.have & WIRE_COUNT else 1
    learner_meet(&intake.learner, &intake.key, &path, s, w.endpoint.size, e)
    return True
