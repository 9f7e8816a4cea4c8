# Where the JSON begins in a syslog message (RFC 5424, or RFC 3164 as programs write it):
#
#   <190>1 2026-01-02T03:04:05Z host app 1 id [x@1 a="b"] {"appId": ...
#   <190>Jan  2 03:04:05 host nginx: {"appId": ...

from libc.stddef cimport size_t

from ztcore.ids cimport is_digit

cdef enum:
    PRIORITY_OPEN = 60
    BRACE = 123
    HEADER_FIELDS = 5           # of RFC 5424, behind its version

cdef inline const unsigned char *structured_end(const unsigned char *s, const unsigned char *end) noexcept nogil:
    """Behind structured data, whose quoted values may hold anything; NULL where it does not end."""
    cdef bint quoted = False
    if s < end and s[0] == 45:
        return s + 1
    while s < end:
        if quoted and s[0] == 92 and end - s > 1:
            s += 1
        elif s[0] == 34:
            quoted = not quoted
        elif s[0] == 93 and not quoted and (end - s < 2 or s[1] != 91):
            return s + 1
        s += 1
    return NULL

cdef inline const unsigned char *syslog_json(const unsigned char *s, size_t n) noexcept nogil:
    """The first brace of the message, NULL where there is none."""
    cdef const unsigned char *end = s + n
    cdef int digits = 0, fields = HEADER_FIELDS
    s += 1
    while s < end and is_digit(s[0]) and digits < 4:
        s += 1
        digits += 1
    if digits == 0 or digits > 3 or s >= end or s[0] != 62:
        return NULL
    s += 1
    if end - s > 2 and s[0] == 49 and s[1] == 32:
        s += 2
        while fields and s < end:
            fields -= s[0] == 32
            s += 1
        s = structured_end(s, end)
        if s == NULL:
            return NULL
    while s < end and s[0] != BRACE:
        s += 1
    return s if s < end else NULL
