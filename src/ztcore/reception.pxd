# From a datagram to events, without the GIL: which of the formats it is, its fields, the keys of its names. What cannot be
# used is counted by what is wrong with it.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ztcore.batch cimport batch
from ztcore.event cimport Event
from ztcore.fields cimport Telemetry, telemetry_missing
from ztcore.habit cimport Habit
from ztcore.json cimport Json, OBJECT_OPEN, is_blank, json_blank
from ztcore.jsonread cimport json_event
from ztcore.knownnames cimport KNOWN_NAMES, KnownName
from ztcore.msgpackread cimport msgpack_event
from ztcore.packed cimport OURS, PACKED_KIND
from ztcore.packedread cimport PACKED_TEXTS, PackedText, packed_read
from ztcore.signed cimport MAC_SIZE, SIGNATURE_GOOD, SIGNED_HEAD, SIGNED_KIND, Signatures, signature_check
from ztcore.syslog cimport PRIORITY_OPEN, syslog_json
from ztcore.table cimport Table
from ztcore.wire cimport Intake, wire_event

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
    ENOUGH = 512                # events that wait: more would not stay in the nearest cache
    NAMES_ROOM = 2097152
    NAMES_MOST = 1050000        # of one datagram
    DATAGRAM_MOST = 65536
    PADDING = 64                # bytes behind a datagram that may be looked at, whatever is in them

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
    PackedText text[1 + PACKED_TEXTS]
    KnownName name[KNOWN_NAMES]
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

cdef inline int reception_packed(Reception *in_, const unsigned char *s, uint64_t n) noexcept nogil:
    cdef int events = packed_read(&in_.wire, in_.name, in_.text, s, n, in_.events + in_.waiting)
    in_.waiting += events
    in_.received += events
    return TAKEN if events else REFUSED_PACKED

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
