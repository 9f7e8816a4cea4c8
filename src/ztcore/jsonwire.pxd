# An object of telemetry in JSON to where its fields lie.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from ztcore.json cimport (Json, Span, json_blank, json_is, json_number, json_text, json_unknown, json_word, zt_json_plain)
from ztcore.wire cimport (WIRE_APP, WIRE_COUNT, WIRE_ENDPOINT, WIRE_LATENCY, WIRE_METHOD, WIRE_PARTNER,
                          WIRE_REQUEST_BYTES, WIRE_REQUIRED, WIRE_RESPONSE_BYTES, WIRE_SOURCE, WIRE_STATUS, WIRE_TEXT,
                          WIRE_TIMESTAMP, WIRE_USER_AGENT, Wire)

cdef inline uint32_t named(const unsigned char *s, uint64_t n, const char *name, uint32_t field) noexcept nogil:
    return field if memcmp(s, name, n) == 0 else 0

cdef inline uint32_t field_of(const unsigned char *s, uint64_t n) noexcept nogil:
    """Which field has that name, 0: none."""
    if n == 5:
        return named(s, n, b"appId", WIRE_APP) | named(s, n, b"count", WIRE_COUNT)
    if n == 6:
        return named(s, n, b"method", WIRE_METHOD)
    if n == 8:
        return named(s, n, b"endpoint", WIRE_ENDPOINT) | named(s, n, b"clientIp", WIRE_SOURCE)
    if n == 9:
        return (named(s, n, b"partnerId", WIRE_PARTNER) | named(s, n, b"timestamp", WIRE_TIMESTAMP) |
                named(s, n, b"userAgent", WIRE_USER_AGENT))
    if n == 10:
        return named(s, n, b"statusCode", WIRE_STATUS)
    if n == 11:
        return named(s, n, b"requestSize", WIRE_REQUEST_BYTES)
    if n == 12:
        return named(s, n, b"responseTime", WIRE_LATENCY) | named(s, n, b"responseSize", WIRE_RESPONSE_BYTES)
    return 0

cdef inline Span *text_place(Wire *w, uint32_t field, Span *other) noexcept nogil:
    """Where a field's text goes, NULL: it is a number."""
    if field == WIRE_APP:
        return &w.app
    if field == WIRE_PARTNER:
        return &w.partner
    if field == WIRE_ENDPOINT:
        return &w.endpoint
    if field == WIRE_METHOD:
        return &w.method
    if field == WIRE_SOURCE:
        return &w.source
    return other if field == WIRE_USER_AGENT else NULL

cdef inline bint json_field(Json *j, Wire *w, uint32_t field) noexcept nogil:
    """A field's value; where it comes twice the last one counts."""
    cdef Span other
    cdef Span *text
    cdef double x
    cdef int64_t whole
    if j.at == j.end:
        return False
    if j.at[0] == 110 and field > WIRE_REQUIRED:
        w.have &= ~field
        return json_word(j, b"null", 4)
    w.have |= field
    text = text_place(w, field, &other)
    if text != NULL:
        return json_text(j, text) and text.size <= WIRE_TEXT
    if not json_number(j, &x, &whole):
        return False
    if field == WIRE_TIMESTAMP:
        w.timestamp = x
    elif field == WIRE_LATENCY:
        w.latency_ms = x
    elif field == WIRE_REQUEST_BYTES:
        w.request_bytes = x
    elif field == WIRE_RESPONSE_BYTES:
        w.response_bytes = x
    elif field == WIRE_STATUS:
        w.status = whole
    else:
        w.count = whole
    return True

cdef inline bint json_wire(Json *j, Wire *w) noexcept nogil:
    """An object; j.at stands at its brace, and in the end behind it. False where it is none, or an unusual one."""
    cdef const unsigned char *name
    cdef uint32_t field
    w.have = 0
    if not json_is(j, 123):
        return False
    while True:
        if not json_is(j, 34):
            return False
        name = j.at
        j.at = zt_json_plain(j.at, j.end)
        if j.at == j.end or j.at[0] != 34:
            return False
        field = field_of(name, j.at - name)
        j.at += 1
        if not json_is(j, 58):
            return False
        json_blank(j)
        if not (json_field(j, w, field) if field else json_unknown(j)):
            return False
        if json_is(j, 44):
            continue
        return json_is(j, 125)
