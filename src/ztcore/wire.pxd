# One event as it came over the wire, whatever it was packed in, to the Event that the engine observes: keys instead of names,
# its time held to a window. What every reader of telemetry shares.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from ztcore.event cimport EVENT_SUSPICIOUS, Event
from ztcore.fields cimport (FIELD_APP, FIELD_COUNT, FIELD_ENDPOINT, FIELD_LATENCY, FIELD_METHOD, FIELD_PARTNER, FIELD_REQUEST,
                            FIELD_RESPONSE, FIELD_SOURCE, FIELD_STATUS, FIELD_TIMESTAMP, Span, Telemetry, telemetry_amount,
                            telemetry_missing)
from ztcore.hash cimport SipKey
from ztcore.keys cimport app_hash, app_key, partner_key, source_key
from ztcore.knownpaths cimport KNOWN_PATHS, KnownPath, known_parse
from ztcore.learner cimport Learner, learner_meet
from ztcore.namerecord cimport record_put, record_size
from ztcore.paths cimport PATH_SUSPICIOUS, Path, method_index

cdef enum:
    WIRE_APPS = 16              # whose keys are remembered
    WIRE_APP_SHORT = 48

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
    KnownPath path[KNOWN_PATHS]

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

cdef inline bint wire_event(Intake *intake, const Telemetry *t, Event *e) noexcept nogil:
    """Fill in an event. False where a field is missing or not allowed, or the event is about an application that may not be
    told of; ztmon.wire then says which. The caller sees to it that there is room for its names."""
    cdef const Span *name = &t.text[FIELD_APP]
    cdef const Span *partner = &t.text[FIELD_PARTNER]
    cdef const Span *endpoint = &t.text[FIELD_ENDPOINT]
    cdef const Span *source = &t.text[FIELD_SOURCE]
    cdef WireApp other
    cdef WireApp *app
    cdef Path path
    if t.bad or telemetry_missing(t):
        return False
    app = wire_app(intake, name, &other)
    if not wire_allowed(intake, app.hash) or record_size(name.size, partner.size) > intake.names_room - intake.names_size:
        return False
    e.timestamp = wire_time(intake, t.number[FIELD_TIMESTAMP])
    e.partner = partner_key(&app.key, partner.at, partner.size)
    e.name = <uint32_t>intake.names_size + 1
    intake.names_size += record_put(intake.names + intake.names_size, name.at, name.size, partner.at, partner.size)
    e.source = 0
    if t.seen & (1 << FIELD_SOURCE) and source.size:
        e.source = source_key(&intake.key, source.at, source.size)
    e.method = <uint8_t>method_index(t.text[FIELD_METHOD].at, t.text[FIELD_METHOD].size)
    known_parse(intake.path, &intake.key, endpoint.at, endpoint.size, e.method, &path)
    e.endpoint = path.endpoint
    e.object_id = path.object_id
    e.flags = EVENT_SUSPICIOUS if path.flags & PATH_SUSPICIOUS else 0
    e.status = <uint16_t>t.number[FIELD_STATUS]
    e.latency_ms = <float>t.number[FIELD_LATENCY]
    e.request_bytes = <float>telemetry_amount(t, FIELD_REQUEST, 0.0)
    e.response_bytes = <float>telemetry_amount(t, FIELD_RESPONSE, 0.0)
    e.count = <uint32_t>telemetry_amount(t, FIELD_COUNT, 1.0)
    learner_meet(&intake.learner, &intake.key, &path, endpoint.at, endpoint.size, e)
    return True
