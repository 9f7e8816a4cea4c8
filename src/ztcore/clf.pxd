# A line of an access log in the common or combined format of Apache and nginx:
#
#   client ident user [time] "METHOD path HTTP/x" status bytes "referer" "user agent" more
#
# with a virtual host in front where there is one ("host:443 client ident user [time] ...") and a
# time in seconds behind where there is one: the last field, or a field rt= or request_time=.
# Nothing is copied: the fields are places in the line.

from libc.stdint cimport int64_t, uint16_t
from libc.string cimport memchr, memcmp

from ztcore.clftime cimport NO_TIME, ClfTime, clf_time
from ztcore.ids cimport hex_digit, is_digit, is_letter
from ztcore.paths cimport method_index

ctypedef const unsigned char *Text

cdef enum:                      # what is wrong with a line
    LINE_GOOD = 0
    LINE_EMPTY = 1              # not counted
    LINE_NO_CLIENT = 2
    LINE_NO_TIME = 3
    LINE_BAD_TIME = 4
    LINE_NO_REQUEST = 5
    LINE_NO_STATUS = 6
    LINE_NO_SIZE = 7
    LINE_LONG = 8
    LINE_KINDS = 9

cdef enum:
    LINE_MOST = 65536           # bytes
    METHOD_MOST = 20
    OTHER_METHOD = 7
    BLANK = 32
    MINUS = 45
    QUOTE = 34
    BACKSLASH = 92

cdef struct Field:
    Text at
    size_t size

cdef struct Line:
    Field host                  # virtual host, size 0: none
    Field client
    Field user                  # "-" where there is none
    Field path                  # of a request that is one, else size 0
    Field request               # all of it
    int64_t timestamp           # ns
    double response_bytes
    double latency              # in the unit it was given in, negative: none
    bint latency_named          # it had a name, so it is in seconds
    bint latency_whole          # no decimal point
    uint16_t status             # 0: "-"
    int method

cdef inline Text find(Text s, Text end, int c) noexcept nogil:
    """The first byte c, or end."""
    cdef Text at = <Text>memchr(s, c, end - s)
    return end if at == NULL else at

cdef inline Text find_last(Text s, Text end, int c) noexcept nogil:
    """The last byte c, or NULL."""
    while end > s:
        end -= 1
        if end[0] == c:
            return end
    return NULL

cdef inline Text closing_quote(Text s, Text end) noexcept nogil:
    """The first quote that no odd number of backslashes stands before, or end."""
    cdef Text at = find(s, end, QUOTE)
    cdef Text before
    while at < end:
        before = at
        while before > s and (before - 1)[0] == BACKSLASH:
            before -= 1
        if (at - before) & 1 == 0:
            return at
        at = find(at + 1, end, QUOTE)
    return end

cdef inline bint like_address(Field *f) noexcept nogil:
    """Could it be a client's address?"""
    return f.size > 1 and (memchr(f.at, 46, f.size) != NULL or memchr(f.at, 58, f.size) != NULL)

cdef inline Text find_time(Text s, Text end) noexcept nogil:
    """The bracket before the time, or end."""
    cdef Text at = find(s, end, 91)
    while at < end and not (at > s and (at - 1)[0] == BLANK and end - at > 20 and is_digit(at[1]) and is_digit(at[2])):
        at = find(at + 1, end, 91)
    return at

cdef inline bint read_who(Line *line, Text s, Text end) noexcept nogil:
    """`client ident user `, perhaps with a host in front; `end` is behind the last blank."""
    cdef Text at = find(s, end, BLANK)
    cdef Text next
    line.host.size = 0
    line.client.at = s
    line.client.size = at - s
    line.user.at = at + 3
    line.user.size = 1
    if end - at == 5 and at[1] == MINUS and at[3] == MINUS and at[2] == BLANK:
        return at > s
    if at == s or at == end:
        return False
    next = find(at + 1, end, BLANK)
    line.user.at = at + 1
    line.user.size = next - at - 1
    if like_address(&line.user) and find(next + 1, end, BLANK) < end - 1:
        line.host = line.client
        line.client = line.user
        at = next
        next = find(at + 1, end, BLANK)
    if next >= end - 1:
        return False
    line.user.at = next + 1
    line.user.size = end - 1 - line.user.at
    if line.user.size == 2 and line.user.at[0] == QUOTE:
        line.user.size = 0
    return True

cdef inline void read_request(Line *line) noexcept nogil:
    """Method and path, where the request has them; else the method is "other" and the path empty."""
    cdef Text s = line.request.at
    cdef Text end = s + line.request.size
    cdef Text at = s
    line.method = OTHER_METHOD
    line.path.at = s
    line.path.size = 0
    while at < end and (is_letter(at[0]) or at[0] == MINUS or at[0] == 95):
        at += 1
    if at == s or at == end or at[0] != BLANK or at - s > METHOD_MOST:
        return
    line.method = method_index(s, at - s)
    at += 1
    if end - at >= 9 and memcmp(end - 9, b" HTTP/", 6) == 0:
        end -= 9
    elif end - at >= 7 and memcmp(end - 7, b" HTTP/", 6) == 0:
        end -= 7
    line.path.at = at
    line.path.size = end - at

cdef inline Text read_number(Text s, Text end, double *out, bint *whole) noexcept nogil:
    """Behind digits with or without a point; `s` where there are none."""
    cdef double unit = 1.0
    cdef double x = 0.0
    cdef Text start = s
    whole[0] = True
    while s < end and is_digit(s[0]) and s - start < 18:
        x = x * 10.0 + (s[0] - 48)
        s += 1
    if s > start and end - s > 1 and s[0] == 46 and is_digit(s[1]):
        whole[0] = False
        s += 1
        while s < end and is_digit(s[0]):
            unit *= 0.1
            x += (s[0] - 48) * unit
            s += 1
    out[0] = x
    return s

cdef inline bint named_time(Text s, Text end, Text *value) noexcept nogil:
    """rt=, request_time= at `s`; value: behind it."""
    if end - s > 3 and memcmp(s, b"rt=", 3) == 0:
        value[0] = s + 3
    elif end - s > 13 and memcmp(s, b"request_time=", 13) == 0:
        value[0] = s + 13
    else:
        return False
    if value[0][0] == QUOTE:
        value[0] += 1
    return True

cdef inline void read_more(Line *line, Text s, Text end) noexcept nogil:
    """Look for a time in what stands behind the usual fields."""
    cdef Text value
    cdef Text last = find_last(s, end, BLANK)
    cdef double x
    cdef bint whole
    while s < end:
        while s < end and s[0] == BLANK:
            s += 1
        if named_time(s, end, &value) and read_number(value, end, &x, &whole) > value:
            line.latency = x
            line.latency_named = True
            return
        s = find(s, end, BLANK)
    if last == NULL:
        return
    last += 1
    if last < end and last[0] == QUOTE and (end - 1)[0] == QUOTE:
        last += 1
        end -= 1
    if last < end and read_number(last, end, &x, &whole) == end:
        line.latency = x
        line.latency_whole = whole

cdef inline void read_rest(Line *line, Text s, Text end) noexcept nogil:
    """Referer, user agent and what is behind them. Cut off, they take nothing from the event."""
    cdef int fields = 0
    while fields < 2 and end - s > 1 and s[1] == QUOTE:
        s = closing_quote(s + 2, end)
        s += s < end
        fields += 1
    if s < end:
        read_more(line, s, end)

cdef inline int line_read(Line *line, ClfTime *last, Text s, Text end) noexcept nogil:
    """Read a line without its end. LINE_GOOD, or what is wrong with it."""
    cdef Text at
    cdef Text stop
    cdef bint whole
    if s < end and (end - 1)[0] == 13:
        end -= 1
    if s == end:
        return LINE_EMPTY
    at = find_time(s, end)
    if at == end:
        return LINE_NO_TIME
    if not read_who(line, s, at):
        return LINE_NO_CLIENT
    stop = at + 27 if end - at > 28 and at[27] == 93 else find(at, end, 93)
    if stop == end:
        return LINE_NO_TIME
    line.timestamp = clf_time(last, at + 1, stop - at - 1)
    if line.timestamp == NO_TIME:
        return LINE_BAD_TIME
    if end - stop < 4 or stop[1] != BLANK or stop[2] != QUOTE:
        return LINE_NO_REQUEST
    line.request.at = stop + 3
    at = closing_quote(stop + 3, end)
    if at == end:
        return LINE_NO_REQUEST
    line.request.size = at - line.request.at
    read_request(line)
    line.latency = -1.0
    line.latency_named = False
    line.latency_whole = False
    if end - at >= 5 and at[1] == BLANK and is_digit(at[2]) and is_digit(at[3]) and is_digit(at[4]):
        line.status = <uint16_t>((at[2] - 48) * 100 + (at[3] - 48) * 10 + at[4] - 48)
        at += 5
    elif end - at >= 3 and at[1] == BLANK and at[2] == MINUS:
        line.status = 0
        at += 3
    else:
        return LINE_NO_STATUS
    if end - at < 2 or at[0] != BLANK:
        return LINE_NO_SIZE
    at += 1
    line.response_bytes = 0.0
    if at[0] == MINUS:
        at += 1
    else:
        stop = at
        at = read_number(at, end, &line.response_bytes, &whole)
        if at == stop or not whole:
            return LINE_NO_SIZE
    if at < end and at[0] != BLANK:
        return LINE_NO_SIZE
    read_rest(line, at, end)
    return LINE_GOOD

cdef inline size_t unescape_field(const Field *f, unsigned char *out) noexcept nogil:
    """Undo \\", \\\\, \\xHH and \\n of a field; as many bytes or fewer. Their number."""
    cdef size_t i = 0, size = 0
    cdef unsigned char c
    cdef int high, low
    while i < f.size:
        c = f.at[i]
        i += 1
        if c == BACKSLASH and i < f.size:
            c = f.at[i]
            i += 1
            if c | 32 == 120 and i + 1 < f.size:
                high = hex_digit(f.at[i])
                low = hex_digit(f.at[i + 1])
                if high >= 0 and low >= 0:
                    c = <unsigned char>(high << 4 | low)
                    i += 2
            elif c == 110 or c == 116 or c == 114 or c == 118 or c == 98:
                c = BLANK
        out[size] = c
        size += 1
    return size
