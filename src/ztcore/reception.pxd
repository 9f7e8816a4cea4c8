# From a datagram to events, without the GIL: which of the formats it is, its fields, the keys of its names. What cannot be
# used is counted by what is wrong with it.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ztcore.batch cimport batch
from ztcore.event cimport EVENT_SUSPICIOUS, METHOD_OTHER, Event
from ztcore.fields cimport NAME_BYTES, Span, TEXT_BYTES, TIMESTAMP_END, Telemetry, telemetry_missing
from ztcore.habit cimport Habit
from ztcore.json cimport Json, OBJECT_OPEN, is_blank, json_blank
from ztcore.jsonread cimport json_event
from ztcore.keys cimport partner_key, source_key
from ztcore.knownpaths cimport known_parse
from ztcore.learner cimport learner_meet
from ztcore.msgpackread cimport msgpack_event
from ztcore.namerecord cimport record_put
from ztcore.packed cimport OURS, PACKED_KIND, PACKED_VERSION, PackedHead, PackedRecord
from ztcore.paths cimport PATH_SUSPICIOUS, Path
from ztcore.signed cimport MAC_SIZE, SIGNATURE_GOOD, SIGNED_HEAD, SIGNED_KIND, Signatures, signature_check
from ztcore.syslog cimport PRIORITY_OPEN, syslog_json
from ztcore.table cimport Table
from ztcore.utf8 cimport utf8_good
from ztcore.wire cimport Intake, WireApp, wire_app, wire_event, wire_time_us

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
    ENOUGH = 512                # events that wait: more would not stay in the nearest cache
    NAMES_ROOM = 2097152
    NAMES_MOST = 1050000        # of one datagram
    PACKED_TEXTS = 4096         # of one datagram
    DATAGRAM_MOST = 65536
    PADDING = 64                # bytes behind a datagram that may be looked at, whatever is in them

cdef struct PackedText:         # a text of a packed batch, and what was found out about it
    Span text
    uint64_t partner            # key, as a partner of `app`
    uint64_t source             # key, as an address; 0: not yet
    uint32_t app                # 0: not yet
    uint32_t name               # of the partner's record
    int method                  # of `path`; -1: not yet
    Path path

cdef struct Reception:
    const Table *table
    int64_t now                 # ns
    int64_t back                # ns: how far time stamps may be off
    int64_t ahead
    uint64_t datagrams
    uint64_t bytes
    uint64_t outcome[OUTCOMES]
    uint64_t missing[12]        # datagrams that were refused for want of a field
    uint64_t wrong[12]          # or for its value
    uint64_t received           # events in datagrams that could be used
    uint64_t observed           # events that found a row
    uint64_t waiting            # events that are not observed yet
    Event *events
    Intake wire
    Habit json_habit
    Habit msgpack_habit
    unsigned char scratch[DATAGRAM_MOST]
    PackedText text[PACKED_TEXTS]
    Signatures signatures

cdef inline int reception_event(Reception *in_, const Telemetry *t, bint whole) noexcept nogil:
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
    if not wire_event(&in_.wire, t, in_.events + in_.waiting):
        return REFUSED_FIELD
    in_.waiting += 1
    in_.received += 1
    return TAKEN

cdef inline int reception_json(Reception *in_, const unsigned char *s, uint64_t n) noexcept nogil:
    """An object, and nothing but blanks behind it."""
    cdef Telemetry t
    cdef Json j
    cdef bint whole
    j.at = s
    j.end = s + n
    j.room = j.end + PADDING
    j.scratch = in_.scratch
    whole = json_event(&j, &in_.json_habit, &t)
    json_blank(&j)
    return reception_event(in_, &t, whole and j.at == j.end)

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
        text.text.at = s
        text.text.size = size
        text.app = 0
        text.source = 0
        text.method = -1
        s += size
    return s == end

cdef inline void packed_event(Reception *in_, const PackedRecord *r, int64_t base) noexcept nogil:
    cdef Event *e = in_.events + in_.waiting
    cdef Intake *wire = &in_.wire
    cdef PackedText *app = &in_.text[r.app - 1]
    cdef PackedText *partner = &in_.text[r.partner - 1]
    cdef PackedText *endpoint = &in_.text[r.endpoint - 1]
    cdef PackedText *source
    cdef WireApp other
    e.timestamp = wire_time_us(wire, base + r.after)
    if partner.app != r.app:
        partner.app = r.app
        partner.partner = partner_key(&wire_app(wire, &app.text, &other).key, partner.text.at, partner.text.size)
        partner.name = <uint32_t>wire.names_size + 1
        wire.names_size += record_put(wire.names + wire.names_size, app.text.at, app.text.size, partner.text.at, partner.text.size)
    e.partner = partner.partner
    e.name = partner.name
    e.source = 0
    if r.source:
        source = &in_.text[r.source - 1]
        if source.source == 0:
            source.source = source_key(&wire.key, source.text.at, source.text.size)
        e.source = source.source
    e.method = r.method
    if endpoint.method != r.method:
        known_parse(wire.path, &wire.key, endpoint.text.at, endpoint.text.size, r.method, &endpoint.path)
        endpoint.method = r.method
    e.endpoint = endpoint.path.endpoint
    e.object_id = endpoint.path.object_id
    e.flags = EVENT_SUSPICIOUS if endpoint.path.flags & PATH_SUSPICIOUS else 0
    learner_meet(&wire.learner, &wire.key, &endpoint.path, endpoint.text.at, endpoint.text.size, e)
    e.latency_ms = r.latency_ms
    e.request_bytes = r.request_bytes
    e.response_bytes = r.response_bytes
    e.status = r.status
    e.count = r.count
    in_.waiting += 1

cdef inline bint text_fits(const Reception *in_, int number, int texts, uint64_t most) noexcept nogil:
    """Is there a text of this number, and not too long?"""
    return 1 <= number <= texts and 1 <= in_.text[number - 1].text.size <= most

cdef inline bint packed_fits(const Reception *in_, const PackedRecord *r, int texts) noexcept nogil:
    """Do the numbers of a record name texts of this batch, and are its values allowed?"""
    return (text_fits(in_, r.app, texts, NAME_BYTES) and text_fits(in_, r.partner, texts, NAME_BYTES)
            and text_fits(in_, r.endpoint, texts, TEXT_BYTES) and (r.source == 0 or text_fits(in_, r.source, texts, NAME_BYTES))
            and r.method <= METHOD_OTHER and 100 <= r.status <= 599 and r.count >= 1
            and r.latency_ms >= 0.0 and r.request_bytes >= 0.0 and r.response_bytes >= 0.0)

cdef inline int reception_packed(Reception *in_, const unsigned char *s, uint64_t n) noexcept nogil:
    """All of a batch or nothing."""
    cdef PackedHead head
    cdef PackedRecord record
    cdef const unsigned char *at = s + sizeof(PackedHead)
    cdef uint64_t i
    if n < sizeof(PackedHead):
        return REFUSED_PACKED
    memcpy(&head, s, sizeof(PackedHead))
    if (head.version != PACKED_VERSION or not 1 <= head.events <= EVENTS_MOST or head.texts > PACKED_TEXTS
            or not 0 <= head.base < <int64_t>(1000.0 * TIMESTAMP_END)
            or n - sizeof(PackedHead) < head.events * sizeof(PackedRecord)
            or not packed_texts(in_, at + head.events * sizeof(PackedRecord), s + n, head.texts)):
        return REFUSED_PACKED
    for i in range(head.events):
        memcpy(&record, at + i * sizeof(PackedRecord), sizeof(PackedRecord))
        if not packed_fits(in_, &record, head.texts):
            return REFUSED_PACKED
    for i in range(head.events):
        memcpy(&record, at + i * sizeof(PackedRecord), sizeof(PackedRecord))
        packed_event(in_, &record, head.base)
    in_.received += head.events
    return TAKEN

cdef inline int reception_payload(Reception *in_, const unsigned char *s, uint64_t n) noexcept nogil:
    """A datagram whose signature has been looked at."""
    cdef Telemetry t
    cdef bint whole
    cdef const unsigned char *json
    if n > 2 and s[0] == 0xef and s[1] == 0xbb and s[2] == 0xbf:
        s += 3
        n -= 3
    while n and is_blank(s[0]):
        s += 1
        n -= 1
    if n == 0:
        return REFUSED_EMPTY
    if s[0] == OBJECT_OPEN:
        return reception_json(in_, s, n)
    if s[0] & 0xf0 == 0x80 or s[0] == 0xde or s[0] == 0xdf:
        whole = msgpack_event(s, n, s + n + PADDING, &in_.msgpack_habit, &t)
        return reception_event(in_, &t, whole)
    if s[0] == OURS and n > 1 and s[1] == PACKED_KIND:
        return reception_packed(in_, s, n)
    if s[0] == PRIORITY_OPEN:
        while n and (s[n - 1] == 0 or is_blank(s[n - 1])):
            n -= 1
        json = syslog_json(s, n)
        if json == NULL:
            return REFUSED_SYSLOG
        return reception_json(in_, json, n - (json - s))
    return REFUSED_KIND

cdef inline void reception_flush(Reception *in_) noexcept nogil:
    """Let the engine observe what waits."""
    if in_.waiting:
        in_.observed += batch(in_.table, &in_.wire.key, in_.events, in_.waiting, in_.wire.names, in_.wire.names_size, NULL, NULL, NULL)
    in_.waiting = 0
    in_.wire.names_size = 0

cdef inline void reception_at(Reception *in_, int64_t now) noexcept nogil:
    """What comes from here on came at that time."""
    in_.now = now
    in_.wire.earliest = now - in_.back
    in_.wire.latest = now + in_.ahead

cdef inline int reception_datagram(Reception *in_, const unsigned char *s, uint64_t n) noexcept nogil:
    """Take in n bytes, behind which PADDING more may be looked at. reception_at() said when."""
    cdef int outcome = SIGNATURE_GOOD
    in_.datagrams += 1
    in_.bytes += n
    if in_.waiting >= ENOUGH or in_.wire.names_size + NAMES_MOST > NAMES_ROOM:
        reception_flush(in_)
    if in_.signatures.wanted or (n > 1 and s[0] == OURS and s[1] == SIGNED_KIND):
        outcome = signature_check(&in_.signatures, s, n, in_.now // 1000000)
        s += SIGNED_HEAD
        n -= SIGNED_HEAD + MAC_SIZE
    outcome = REFUSED_SIGNATURE + outcome if outcome else reception_payload(in_, s, n)
    in_.outcome[outcome] += 1
    return outcome
