# One event of the wire: its fields, and whether they may hold what they hold. The rules are those of ztmon/wire.py, which
# decides what no native reader takes; tests/test_datagrams.py holds the two against each other.

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp

cdef enum:                      # fields; the texts come first
    FIELD_APP = 0
    FIELD_PARTNER = 1
    FIELD_ENDPOINT = 2
    FIELD_METHOD = 3
    FIELD_SOURCE = 4
    FIELD_AGENT = 5
    FIELD_TIMESTAMP = 6
    FIELD_STATUS = 7
    FIELD_LATENCY = 8
    FIELD_REQUEST = 9
    FIELD_RESPONSE = 10
    FIELD_COUNT = 11
    FIELDS = 12
    TEXTS = 6
    FIELD_UNKNOWN = 12          # ignored

cdef enum:
    FIELDS_REQUIRED = 0x1cf     # application, partner, endpoint, method, time stamp, status, latency
    FIELDS_NOT_EMPTY = 0x0f
    FIELDS_OR_NULL = 0xe30
    FIELDS_LONG = 0x24

cdef enum:                      # bytes of a text at most; ztmon.wire says the same
    NAME_BYTES = 255            # of an application, a partner, a method, an address
    TEXT_BYTES = 8192           # of a path, a user agent

cdef extern from *:
    """
    #define TIMESTAMP_END 253402300800000.0         /* ms: the year 10000 */
    #define COUNT_END 4294967296.0
    """
    const double TIMESTAMP_END
    const double COUNT_END

cdef struct Span:
    const unsigned char *at
    uint64_t size

cdef struct Telemetry:
    Span text[TEXTS]            # by field, those that were seen
    double number[FIELDS]       # likewise
    uint32_t seen               # a bit for each field with a value
    uint32_t bad                # a bit for each field with one that is not allowed

cdef inline int name_is(const unsigned char *s, const char *name, size_t n, int field) noexcept nogil:
    return field if memcmp(s, name, n) == 0 else FIELD_UNKNOWN

cdef inline int field_named(const unsigned char *s, size_t n) noexcept nogil:
    """Which field has this name on the wire."""
    if n == 5:
        return name_is(s, b"appId", 5, FIELD_APP) if s[0] == 97 else name_is(s, b"count", 5, FIELD_COUNT)
    if n == 6:
        return name_is(s, b"method", 6, FIELD_METHOD)
    if n == 8:
        return name_is(s, b"endpoint", 8, FIELD_ENDPOINT) if s[0] == 101 else name_is(s, b"clientIp", 8, FIELD_SOURCE)
    if n == 9:
        if s[0] == 112:
            return name_is(s, b"partnerId", 9, FIELD_PARTNER)
        return name_is(s, b"timestamp", 9, FIELD_TIMESTAMP) if s[0] == 116 else name_is(s, b"userAgent", 9, FIELD_AGENT)
    if n == 10:
        return name_is(s, b"statusCode", 10, FIELD_STATUS)
    if n == 11:
        return name_is(s, b"requestSize", 11, FIELD_REQUEST)
    if n == 12:
        if s[8] == 83:
            return name_is(s, b"responseSize", 12, FIELD_RESPONSE)
        return name_is(s, b"responseTime", 12, FIELD_LATENCY)
    return FIELD_UNKNOWN

cdef inline void telemetry_start(Telemetry *t) noexcept nogil:
    t.seen = t.bad = 0

cdef inline void telemetry_bad(Telemetry *t, int field) noexcept nogil:
    """A value of a kind that no field has: true, an array, an object."""
    if field < FIELDS:
        t.bad |= 1 << field

cdef inline void telemetry_null(Telemetry *t, int field) noexcept nogil:
    if field < FIELDS:
        t.seen &= ~(<uint32_t>1 << field)
        t.bad |= (1 << field) & ~FIELDS_OR_NULL

cdef inline void telemetry_text(Telemetry *t, int field, const unsigned char *s, uint64_t n) noexcept nogil:
    if field >= TEXTS or (n == 0 and FIELDS_NOT_EMPTY & (1 << field)) or n > <uint64_t>(
            TEXT_BYTES if FIELDS_LONG & (1 << field) else NAME_BYTES):
        telemetry_bad(t, field)
        return
    t.text[field].at = s
    t.text[field].size = n
    t.seen |= 1 << field

cdef inline bint number_fits(int field, double x, bint whole) noexcept nogil:
    if field == FIELD_STATUS:
        return whole and 100.0 <= x <= 599.0
    if field == FIELD_COUNT:
        return whole and 1.0 <= x < COUNT_END
    if field == FIELD_TIMESTAMP:
        return 0.0 <= x < TIMESTAMP_END
    return x >= 0.0

cdef inline void telemetry_number(Telemetry *t, int field, double x, bint whole) noexcept nogil:
    """whole: it was written as a whole number."""
    if field < TEXTS or field == FIELD_UNKNOWN or not number_fits(field, x, whole):
        telemetry_bad(t, field)
        return
    t.number[field] = x
    t.seen |= 1 << field

cdef inline uint32_t telemetry_missing(const Telemetry *t) noexcept nogil:
    """A bit for each field that must be there and is not."""
    return FIELDS_REQUIRED & ~t.seen

cdef inline double telemetry_amount(const Telemetry *t, int field, double otherwise) noexcept nogil:
    """A number, or what stands for it where it was left out."""
    return t.number[field] if t.seen & (1 << field) else otherwise
