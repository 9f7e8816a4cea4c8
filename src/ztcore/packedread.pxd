# A packed batch (packed.pxd) to events: what is found out about a text, its key or what it is as a path, is found out once.

from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ztcore.atomic cimport zt_prefetch
from ztcore.event cimport EVENT_SUSPICIOUS, Event, METHOD_OTHER
from ztcore.fields cimport NAME_BYTES, Span, TEXT_BYTES, TIMESTAMP_END
from ztcore.hash cimport SipKey
from ztcore.keys cimport source_key
from ztcore.knownnames cimport KnownName, known_partner, name_place
from ztcore.knownpaths cimport known_parse
from ztcore.learner cimport learner_meet
from ztcore.namerecord cimport record_put_wide
from ztcore.packed cimport PACKED_VERSION, PackedHead, PackedRecord
from ztcore.paths cimport PATH_SUSPICIOUS, Path
from ztcore.utf8 cimport utf8_good
from ztcore.wire cimport Intake, WireApp, wire_app

cdef enum:
    PACKED_EVENTS = 2048        # of one batch
    PACKED_TEXTS = 4096         # likewise
    PACKED_PATHS = 2            # of a text, by the last bit of the method: GET and POST of a route are kept apart

cdef struct PackedText:
    Span text
    uint64_t partner            # key, as a partner of `app`
    KnownName *known            # where it may be known as a partner
    uint64_t source             # key, as an address; 0: not yet
    uint16_t app                # number of a text; 0: not yet
    int8_t method[PACKED_PATHS] # of `path`; -1: not yet
    uint32_t name               # of the partner's record
    Path path[PACKED_PATHS]
    uint64_t hash               # as an application; 0: not yet
    SipKey key                  # likewise

cdef struct PackedBatch:
    KnownName *known            # names of partners that were seen before
    PackedText *text            # by number; the one of number 0 is empty
    int texts
    int64_t base                # us
    int64_t earliest            # us from there: what is before it is clamped
    int64_t latest

cdef inline void text_start(PackedText *text, const unsigned char *s, uint64_t size) noexcept nogil:
    text.text.at = s
    text.text.size = size
    text.source = text.hash = text.app = 0
    text.method[0] = text.method[1] = -1

cdef inline bint text_fits(const PackedText *text, uint64_t most) noexcept nogil:
    return 1 <= text.text.size <= most

cdef inline bint packed_texts(PackedBatch *b, const unsigned char *s, const unsigned char *end) noexcept nogil:
    cdef uint16_t size
    cdef int i
    text_start(b.text, s, 0)
    for i in range(b.texts):
        if end - s < 2:
            return False
        memcpy(&size, s, 2)
        s += 2
        if end - s < size or not utf8_good(s, size):
            return False
        text_start(b.text + i + 1, s, size)
        b.text[i + 1].known = name_place(b.known, s, size)
        zt_prefetch(b.text[i + 1].known)
        s += size
    return s == end

cdef inline int64_t packed_time(Intake *wire, const PackedBatch *b, int64_t after) noexcept nogil:
    """ns"""
    if after < b.earliest:
        wire.clamped += 1
        return wire.earliest
    if after > b.latest:
        wire.clamped += 1
        return wire.latest
    return (b.base + after) * 1000

cdef inline bint packed_partner(Intake *wire, PackedText *app, PackedText *partner) noexcept nogil:
    """A partner's key and its record."""
    cdef WireApp other
    cdef WireApp *found
    if app.hash == 0:
        if not text_fits(app, NAME_BYTES):
            return False
        found = wire_app(wire, &app.text, &other)
        app.hash = found.hash
        app.key = found.key
    if not text_fits(partner, NAME_BYTES):
        return False
    partner.partner = known_partner(partner.known, app.hash, &app.key, partner.text.at, partner.text.size)
    partner.name = <uint32_t>wire.names_size + 1
    wire.names_size += record_put_wide(wire.names + wire.names_size, app.text.at, app.text.size,
                                       partner.text.at, partner.text.size)
    return True

cdef inline Path *packed_path(Intake *wire, PackedText *endpoint, uint8_t method) noexcept nogil:
    """What a text is as a path, NULL where it cannot be one."""
    cdef Path *path = &endpoint.path[method % PACKED_PATHS]
    if endpoint.method[method % PACKED_PATHS] != method:
        if method > METHOD_OTHER or not text_fits(endpoint, TEXT_BYTES):
            return NULL
        known_parse(wire.path, &wire.key, endpoint.text.at, endpoint.text.size, method, path)
        endpoint.method[method % PACKED_PATHS] = <int8_t>method
    return path

cdef inline bint packed_source(Intake *wire, PackedText *source) noexcept nogil:
    if source.source == 0:
        if not text_fits(source, NAME_BYTES):
            return False
        source.source = source_key(&wire.key, source.text.at, source.text.size)
    return True

cdef inline bint packed_event(Intake *wire, PackedBatch *b, const PackedRecord *r, Event *e) noexcept nogil:
    """False where a number of the record names no text of this batch that would do, or a value is not allowed."""
    cdef PackedText *partner = b.text + r.partner
    cdef PackedText *endpoint = b.text + r.endpoint
    cdef const Path *path
    if (r.app > b.texts or r.partner > b.texts or r.endpoint > b.texts or r.source > b.texts or r.app == 0
            or not 100 <= r.status <= 599 or r.count == 0
            or not (r.latency_ms >= 0.0 and r.request_bytes >= 0.0 and r.response_bytes >= 0.0)):
        return False
    if partner.app != r.app:
        if not packed_partner(wire, b.text + r.app, partner):
            return False
        partner.app = r.app
    path = packed_path(wire, endpoint, r.method)
    if path == NULL or (r.source and not packed_source(wire, b.text + r.source)):
        return False
    e.timestamp = packed_time(wire, b, r.after)
    e.partner = partner.partner
    e.endpoint = path.endpoint
    e.source = b.text[r.source].source
    e.object_id = path.object_id
    e.latency_ms = r.latency_ms
    e.request_bytes = r.request_bytes
    e.response_bytes = r.response_bytes
    e.status = r.status
    e.method = r.method
    e.flags = EVENT_SUSPICIOUS if path.flags & PATH_SUSPICIOUS else 0
    e.count = r.count
    e.name = partner.name
    learner_meet(&wire.learner, &wire.key, path, endpoint.text.at, endpoint.text.size, e)
    return True

cdef inline int packed_read(Intake *wire, KnownName *known, PackedText *text, const unsigned char *s, uint64_t n,
                            Event *to) noexcept nogil:
    """A datagram's events; how many, 0 where something is wrong with any of it: all of a batch is taken or nothing.
    known, text, to: room for KNOWN_NAMES, 1 + PACKED_TEXTS and PACKED_EVENTS; the names' room is the caller's business, too.
    Behind the n bytes and behind the names 15 more are touched."""
    cdef PackedHead head
    cdef PackedRecord record
    cdef PackedBatch b
    cdef const unsigned char *at = s + sizeof(PackedHead)
    cdef uint64_t names = wire.names_size, clamped = wire.clamped
    cdef int i
    if n < sizeof(PackedHead):
        return 0
    memcpy(&head, s, sizeof(PackedHead))
    b.known = known
    b.text = text
    b.texts = head.texts
    b.base = head.base
    b.earliest = wire.earliest // 1000 - head.base
    b.latest = wire.latest // 1000 - head.base
    if (head.version != PACKED_VERSION or not 1 <= head.events <= PACKED_EVENTS or head.texts > PACKED_TEXTS
            or not 0 <= head.base < <int64_t>(1000.0 * TIMESTAMP_END)
            or n - sizeof(PackedHead) < head.events * sizeof(PackedRecord)
            or not packed_texts(&b, at + head.events * sizeof(PackedRecord), s + n)):
        return 0
    for i in range(head.events):
        memcpy(&record, at + i * sizeof(PackedRecord), sizeof(PackedRecord))
        if not packed_event(wire, &b, &record, to + i):
            wire.names_size = names
            wire.clamped = clamped
            return 0
    return head.events
