# From a datagram to events, without the GIL: which of the formats it is, its fields, the keys of its names. What cannot be
# used is counted by what is wrong with it.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ztcore.batch cimport batch
from ztcore.clamp cimport Clamp, clamp_time
from ztcore.event cimport EVENT_SUSPICIOUS, METHOD_OTHER, Event
from ztcore.hash cimport SipKey
from ztcore.jsonread cimport json_read
from ztcore.keys cimport app_hash, app_key, partner_key, source_key
from ztcore.learned cimport Learned, learned_see
from ztcore.msgpackread cimport msgpack_read
from ztcore.names cimport Names
from ztcore.packed cimport OURS, PACKED_KIND, PACKED_VERSION, PackedHead, PackedRecord
from ztcore.paths cimport PATH_SUSPICIOUS, Path, method_index, path_parse
from ztcore.signed cimport (MAC_SIZE, SIGNATURE_GOOD, SIGNATURE_MISSING, SIGNED_HEAD, SIGNED_KIND, Signatures,
                            signature_check)
from ztcore.syslog cimport PRIORITY_OPEN, syslog_json
from ztcore.table cimport Table
from ztcore.fields cimport (FIELD_APP, FIELD_COUNT, FIELD_ENDPOINT, FIELD_LATENCY, FIELD_METHOD, FIELD_PARTNER,
                               FIELD_REQUEST, FIELD_RESPONSE, FIELD_SOURCE, FIELD_STATUS, FIELD_TIMESTAMP, Telemetry,
                               telemetry_amount, telemetry_missing, telemetry_start)
from ztcore.utf8 cimport utf8_good

cdef extern from "paths.h" nogil:
    int zt_ctz64(uint64_t x) noexcept

cdef enum:                      # what became of a datagram
    TAKEN = 0
    REFUSED_EMPTY = 1
    REFUSED_KIND = 2
    REFUSED_MALFORMED = 3
    REFUSED_MISSING = 4
    REFUSED_FIELD = 5
    REFUSED_PACKED = 6
    REFUSED_SYSLOG = 7
    REFUSED_SIGNATURE = 7       # and what signature_check() found
    OUTCOMES = 13

cdef enum:
    EVENTS_ROOM = 4096
    EVENTS_MOST = 2048          # of one datagram
    NAME_MOST = 255
    NAMES_ROOM = 2097152
    NAMES_MOST = 1050000        # of one datagram
    PACKED_TEXTS = 4096         # of one datagram
    APPS_KEPT = 256
    COUNT_USABLE = 2147483647

cdef struct KeptApp:            # an application's secret
    uint64_t hash
    SipKey key

cdef struct PackedText:         # a text of a packed batch, and what was found out about it
    const unsigned char *at
    uint64_t size
    uint64_t partner            # key, as a partner of `app`
    uint64_t source             # key, as an address; 0: not yet
    uint32_t app                # 0: not yet
    uint32_t name               # of the partner's record
    int method                  # of `path`; -1: not yet
    Path path

cdef struct Reception:
    const Table *table
    const SipKey *key
    Names *names
    uint64_t me
    int64_t now                 # ns
    uint64_t datagrams
    uint64_t bytes
    uint64_t outcome[OUTCOMES]
    uint64_t missing[12]        # datagrams that were refused for want of a field
    uint64_t wrong[12]          # or for its value
    uint64_t received           # events in datagrams that could be used
    uint64_t observed           # events that found a row
    uint64_t waiting            # events that are not observed yet
    uint64_t names_size
    Event *events
    unsigned char *name
    Clamp clamp
    Learned learned
    KeptApp app[APPS_KEPT]
    PackedText text[PACKED_TEXTS]
    Signatures signatures

cdef inline const SipKey *reception_app(Reception *in_, const unsigned char *name, uint64_t size) noexcept nogil:
    cdef uint64_t hash = app_hash(in_.key, name, size)
    cdef KeptApp *kept = &in_.app[hash & (APPS_KEPT - 1)]
    if kept.hash != hash:
        kept.hash = hash
        app_key(in_.key, hash, &kept.key)
    return &kept.key

cdef inline uint32_t reception_name(Reception *in_, const unsigned char *app, uint64_t app_size, const unsigned char *partner,
                                 uint64_t size) noexcept nogil:
    """Write down who a partner is; its place, from 1."""
    cdef unsigned char *to = in_.name + in_.names_size
    cdef uint32_t at = <uint32_t>in_.names_size + 1
    app_size = app_size if app_size < NAME_MOST else NAME_MOST
    size = size if size < NAME_MOST else NAME_MOST
    to[0] = <unsigned char>app_size
    memcpy(to + 1, app, app_size)
    to[1 + app_size] = <unsigned char>size
    memcpy(to + 2 + app_size, partner, size)
    in_.names_size += 2 + app_size + size
    return at

cdef inline void reception_path(Reception *in_, Event *e, const Path *path, const unsigned char *s, uint64_t n) noexcept nogil:
    e.endpoint = path.endpoint
    e.object_id = path.object_id
    e.flags = EVENT_SUSPICIOUS if path.flags & PATH_SUSPICIOUS else 0
    learned_see(&in_.learned, in_.names, in_.me, in_.key, path, s, n, e)

cdef inline void reception_event(Reception *in_, const Telemetry *t) noexcept nogil:
    """An event whose fields are all there."""
    cdef Event *e = in_.events + in_.waiting
    cdef const SipKey *app = reception_app(in_, t.text[FIELD_APP], t.size[FIELD_APP])
    cdef double count = telemetry_amount(t, FIELD_COUNT)
    cdef Path path
    e.timestamp = clamp_time(&in_.clamp, <int64_t>(t.number[FIELD_TIMESTAMP] * 1e6), in_.now)
    e.partner = partner_key(app, t.text[FIELD_PARTNER], t.size[FIELD_PARTNER])
    e.name = reception_name(in_, t.text[FIELD_APP], t.size[FIELD_APP], t.text[FIELD_PARTNER], t.size[FIELD_PARTNER])
    e.source = 0
    if t.seen & (1 << FIELD_SOURCE) and t.size[FIELD_SOURCE]:
        e.source = source_key(in_.key, t.text[FIELD_SOURCE], t.size[FIELD_SOURCE])
    e.latency_ms = <float>t.number[FIELD_LATENCY]
    e.request_bytes = <float>telemetry_amount(t, FIELD_REQUEST)
    e.response_bytes = <float>telemetry_amount(t, FIELD_RESPONSE)
    e.status = <uint16_t>t.number[FIELD_STATUS]
    e.method = <uint8_t>method_index(t.text[FIELD_METHOD], t.size[FIELD_METHOD])
    e.count = (<uint32_t>count if count < COUNT_USABLE else 0) if t.seen & (1 << FIELD_COUNT) else 1
    path_parse(in_.key, t.text[FIELD_ENDPOINT], t.size[FIELD_ENDPOINT], e.method, True, &path)
    reception_path(in_, e, &path, t.text[FIELD_ENDPOINT], t.size[FIELD_ENDPOINT])
    in_.waiting += 1
    in_.received += 1

cdef inline int reception_fields(Reception *in_, const Telemetry *t, bint whole) noexcept nogil:
    """whole: it was readable to its end."""
    cdef uint32_t missing = telemetry_missing(t)
    if not whole:
        return REFUSED_MALFORMED
    if t.bad:
        in_.wrong[zt_ctz64(t.bad)] += 1
        return REFUSED_FIELD
    if missing:
        in_.missing[zt_ctz64(missing)] += 1
        return REFUSED_MISSING
    reception_event(in_, t)
    return TAKEN

cdef inline bint packed_texts(Reception *in_, const unsigned char *s, const unsigned char *end, int texts) noexcept nogil:
    cdef PackedText *text
    cdef uint16_t size
    cdef int i
    for i in range(texts):
        if end - s < 2:
            return False
        memcpy(&size, s, 2)
        s += 2
        if end - s < size or not utf8_good(s, size):
            return False
        text = &in_.text[i]
        text.at = s
        text.size = size
        text.app = 0
        text.source = 0
        text.method = -1
        s += size
    return s == end

cdef inline void packed_event(Reception *in_, const PackedRecord *r, int64_t base) noexcept nogil:
    cdef Event *e = in_.events + in_.waiting
    cdef PackedText *app = &in_.text[r.app - 1]
    cdef PackedText *partner = &in_.text[r.partner - 1]
    cdef PackedText *endpoint = &in_.text[r.endpoint - 1]
    cdef PackedText *source
    e.timestamp = clamp_time(&in_.clamp, base + <int64_t>r.after * 1000, in_.now)
    if partner.app != r.app:
        partner.app = r.app
        partner.partner = partner_key(reception_app(in_, app.at, app.size), partner.at, partner.size)
        partner.name = reception_name(in_, app.at, app.size, partner.at, partner.size)
    e.partner = partner.partner
    e.name = partner.name
    e.source = 0
    if r.source:
        source = &in_.text[r.source - 1]
        if source.source == 0 and source.size:
            source.source = source_key(in_.key, source.at, source.size)
        e.source = source.source
    e.method = r.method
    if endpoint.method != r.method:
        path_parse(in_.key, endpoint.at, endpoint.size, r.method, True, &endpoint.path)
        endpoint.method = r.method
    reception_path(in_, e, &endpoint.path, endpoint.at, endpoint.size)
    e.latency_ms = r.latency_ms
    e.request_bytes = r.request_bytes
    e.response_bytes = r.response_bytes
    e.status = r.status
    e.count = r.count
    in_.waiting += 1

cdef inline bint packed_fits(const Reception *in_, const PackedRecord *r, int texts) noexcept nogil:
    """Do the numbers of a record name texts of this batch, and are its values allowed?"""
    return (1 <= r.app <= texts and 1 <= r.partner <= texts and 1 <= r.endpoint <= texts and r.source <= texts
            and r.method <= METHOD_OTHER and 100 <= r.status <= 599 and r.count >= 1
            and r.latency_ms >= 0.0 and r.request_bytes >= 0.0 and r.response_bytes >= 0.0
            and in_.text[r.app - 1].size > 0 and in_.text[r.partner - 1].size > 0 and in_.text[r.endpoint - 1].size > 0)

cdef inline int reception_packed(Reception *in_, const unsigned char *s, uint64_t n) noexcept nogil:
    """All of a batch or nothing."""
    cdef PackedHead head
    cdef PackedRecord record
    cdef const unsigned char *at = s + sizeof(PackedHead)
    cdef uint64_t i
    cdef int64_t base
    if n < sizeof(PackedHead):
        return REFUSED_PACKED
    memcpy(&head, s, sizeof(PackedHead))
    if (head.version != PACKED_VERSION or not 1 <= head.events <= EVENTS_MOST or head.texts > PACKED_TEXTS
            or not 0 <= head.base < <int64_t>253402300800000000
            or n - sizeof(PackedHead) < head.events * sizeof(PackedRecord)
            or not packed_texts(in_, at + head.events * sizeof(PackedRecord), s + n, head.texts)):
        return REFUSED_PACKED
    for i in range(head.events):
        memcpy(&record, at + i * sizeof(PackedRecord), sizeof(PackedRecord))
        if not packed_fits(in_, &record, head.texts):
            return REFUSED_PACKED
    base = head.base * 1000 if head.base < <int64_t>9000000000000000 else <int64_t>9000000000000000000
    for i in range(head.events):
        memcpy(&record, at + i * sizeof(PackedRecord), sizeof(PackedRecord))
        packed_event(in_, &record, base)
    in_.received += head.events
    return TAKEN

cdef inline bint is_blank(int c) noexcept nogil:
    return c == 32 or 9 <= c <= 10 or c == 13

cdef inline int reception_payload(Reception *in_, unsigned char *s, uint64_t n) noexcept nogil:
    """A datagram whose signature has been looked at."""
    cdef Telemetry t
    cdef const unsigned char *json
    if n > 2 and s[0] == 0xef and s[1] == 0xbb and s[2] == 0xbf:
        s += 3
        n -= 3
    while n and is_blank(s[0]):
        s += 1
        n -= 1
    if n == 0:
        return REFUSED_EMPTY
    telemetry_start(&t)
    if s[0] == 123:
        return reception_fields(in_, &t, json_read(s, n, &t))
    if s[0] & 0xf0 == 0x80 or s[0] == 0xde or s[0] == 0xdf:
        return reception_fields(in_, &t, msgpack_read(s, n, &t))
    if s[0] == OURS and n > 1 and s[1] == PACKED_KIND:
        return reception_packed(in_, s, n)
    if s[0] == PRIORITY_OPEN:
        while n and (s[n - 1] == 0 or is_blank(s[n - 1])):
            n -= 1
        json = syslog_json(s, n)
        if json == NULL:
            return REFUSED_SYSLOG
        return reception_fields(in_, &t, json_read(<unsigned char *>json, n - (json - s), &t))
    return REFUSED_KIND

cdef inline void reception_flush(Reception *in_) noexcept nogil:
    """Let the engine observe what waits."""
    if in_.waiting:
        in_.observed += batch(in_.table, in_.key, in_.events, in_.waiting, in_.name, in_.names_size, NULL)
    in_.waiting = 0
    in_.names_size = 0

cdef inline int reception_datagram(Reception *in_, unsigned char *s, uint64_t n) noexcept nogil:
    """Take in n bytes that may be changed, with READ_AHEAD of jsonread.pxd behind them. in_.now is the time."""
    cdef int outcome = SIGNATURE_GOOD
    in_.datagrams += 1
    in_.bytes += n
    if in_.waiting + EVENTS_MOST > EVENTS_ROOM or in_.names_size + NAMES_MOST > NAMES_ROOM:
        reception_flush(in_)
    if in_.signatures.wanted or (n > 1 and s[0] == OURS and s[1] == SIGNED_KIND):
        outcome = signature_check(&in_.signatures, s, n, in_.now // 1000000)
        s += SIGNED_HEAD
        n -= SIGNED_HEAD + MAC_SIZE
    outcome = REFUSED_SIGNATURE + outcome if outcome else reception_payload(in_, s, n)
    in_.outcome[outcome] += 1
    return outcome
