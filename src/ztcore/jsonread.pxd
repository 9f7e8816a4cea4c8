# One JSON object (RFC 8259) to an event's fields. Strings with escapes are written out where they lie, for what they say is
# never longer; nothing is allocated, and nesting is counted, not recursed into.
# HTTP reads JSON by json.pxd, which leaves what is unusual to a parser in Python: a datagram has none to be left to.
#
# The bytes must be one's own to change.

from libc.math cimport pow
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memmove

from ztcore.ids cimport hex_digit, is_digit
from ztcore.fields cimport (FIELD_UNKNOWN, Telemetry, field_named, telemetry_bad, telemetry_null, telemetry_number,
                               telemetry_text)
from ztcore.json cimport utf8_size, zt_json_plain
from ztcore.utf8 cimport utf8_put

cdef enum:
    DEPTH_MOST = 64             # of values that are skipped
    OBJECT_OPEN = 123
    ARRAY_OPEN = 91

cdef struct Json:
    unsigned char *at
    unsigned char *end

cdef struct JsonText:
    unsigned char *at
    uint64_t size

cdef inline void json_blanks(Json *j) noexcept nogil:
    while j.at < j.end and (j.at[0] == 32 or 9 <= j.at[0] <= 10 or j.at[0] == 13):
        j.at += 1

cdef inline int64_t four_hex(const unsigned char *s, const unsigned char *end) noexcept nogil:
    """The number that four hexadecimal digits are, -1 where they are none."""
    cdef int64_t x = 0
    cdef int i, digit
    if end - s < 4:
        return -1
    for i in range(4):
        digit = hex_digit(s[i])
        if digit < 0:
            return -1
        x = x << 4 | digit
    return x

cdef inline bint json_escape(Json *j, unsigned char **to) noexcept nogil:
    """Behind a backslash: write what it stands for."""
    cdef int64_t c, low
    if j.at >= j.end:
        return False
    c = j.at[0]
    j.at += 1
    if c == 117:
        c = four_hex(j.at, j.end)
        if c < 0 or 0xdc00 <= c < 0xe000:
            return False
        j.at += 4
        if 0xd800 <= c < 0xdc00:
            if j.end - j.at < 6 or j.at[0] != 92 or j.at[1] != 117:
                return False
            low = four_hex(j.at + 2, j.end)
            if not 0xdc00 <= low < 0xe000:
                return False
            j.at += 6
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00)
        to[0] += utf8_put(to[0], <uint32_t>c)
        return True
    if c == 110:
        c = 10
    elif c == 116:
        c = 9
    elif c == 114:
        c = 13
    elif c == 98:
        c = 8
    elif c == 102:
        c = 12
    elif c != 34 and c != 92 and c != 47:
        return False
    to[0][0] = <unsigned char>c
    to[0] += 1
    return True

cdef inline bint json_text(Json *j, JsonText *out) noexcept nogil:
    """Behind the quote that opens it."""
    cdef unsigned char *to = NULL       # where the next bytes go, once an escape was written out
    cdef unsigned char *stop
    cdef size_t n
    out.at = j.at
    while True:
        stop = <unsigned char *>zt_json_plain(j.at, j.end)
        while stop < j.end and stop[0] >= 0x80:
            n = utf8_size(stop, j.end)
            if n == 0:
                return False
            stop = <unsigned char *>zt_json_plain(stop + n, j.end)
        if to != NULL:
            memmove(to, j.at, stop - j.at)
            to += stop - j.at
        j.at = stop
        if stop == j.end or stop[0] < 32:
            return False
        j.at += 1
        if stop[0] == 34:
            out.size = (to if to != NULL else stop) - out.at
            return True
        if to == NULL:
            to = stop
        if not json_escape(j, &to):
            return False

cdef inline bint json_number(Json *j, double *out, bint *whole) noexcept nogil:
    cdef bint minus = j.at < j.end and j.at[0] == 45
    cdef uint64_t digits = 0
    cdef int64_t scale = 0, exponent = 0
    cdef int taken = 0
    cdef bint down
    cdef unsigned char *first
    j.at += minus
    first = j.at
    while j.at < j.end and is_digit(j.at[0]):
        if taken < 18:
            digits = digits * 10 + (j.at[0] - 48)
            taken += digits != 0
        else:
            scale += 1
        j.at += 1
    if j.at == first or (first[0] == 48 and j.at - first > 1):
        return False
    whole[0] = True
    if j.at < j.end and j.at[0] == 46:
        whole[0] = False
        j.at += 1
        first = j.at
        while j.at < j.end and is_digit(j.at[0]):
            if taken < 18:
                digits = digits * 10 + (j.at[0] - 48)
                taken += digits != 0
                scale -= 1
            j.at += 1
        if j.at == first:
            return False
    if j.at < j.end and j.at[0] | 32 == 101:
        whole[0] = False
        j.at += 1
        down = j.at < j.end and j.at[0] == 45
        j.at += j.at < j.end and (down or j.at[0] == 43)
        first = j.at
        while j.at < j.end and is_digit(j.at[0]):
            if exponent < 100000:
                exponent = exponent * 10 + (j.at[0] - 48)
            j.at += 1
        if j.at == first:
            return False
        scale += -exponent if down else exponent
    out[0] = <double>digits
    if scale and digits:
        out[0] = out[0] / pow(10.0, <double>-scale) if scale < 0 else out[0] * pow(10.0, <double>scale)
    if minus:
        out[0] = -out[0]
    return True

cdef inline bint json_word(Json *j, const char *word, size_t n) noexcept nogil:
    cdef size_t i
    if <size_t>(j.end - j.at) < n:
        return False
    for i in range(n):
        if j.at[i] != <unsigned char>word[i]:
            return False
    j.at += n
    return True

cdef inline bint json_key(Json *j, JsonText *name) noexcept nogil:
    """A name and the colon behind it."""
    json_blanks(j)
    if j.at >= j.end or j.at[0] != 34:
        return False
    j.at += 1
    if not json_text(j, name):
        return False
    json_blanks(j)
    if j.at >= j.end or j.at[0] != 58:
        return False
    j.at += 1
    json_blanks(j)
    return True

cdef inline bint json_plain(Json *j) noexcept nogil:
    """Skip a value that holds no others."""
    cdef JsonText text
    cdef double number
    cdef bint whole
    if j.at >= j.end:
        return False
    if j.at[0] == 34:
        j.at += 1
        return json_text(j, &text)
    if j.at[0] == 116:
        return json_word(j, b"true", 4)
    if j.at[0] == 102:
        return json_word(j, b"false", 5)
    if j.at[0] == 110:
        return json_word(j, b"null", 4)
    return json_number(j, &number, &whole)

cdef inline bint json_skip(Json *j) noexcept nogil:
    """Skip an array or an object with all that is in it."""
    cdef unsigned char open[DEPTH_MOST]
    cdef JsonText name
    cdef int depth = 0
    cdef bint first = True
    while True:
        json_blanks(j)          # a value stands here, or the end of one that is empty
        if j.at >= j.end:
            return False
        if first and depth and j.at[0] == open[depth - 1] + 2:
            j.at += 1
            depth -= 1
        else:
            if depth and open[depth - 1] == OBJECT_OPEN and not json_key(j, &name):
                return False
            if j.at < j.end and (j.at[0] == OBJECT_OPEN or j.at[0] == ARRAY_OPEN):
                if depth == DEPTH_MOST:
                    return False
                open[depth] = j.at[0]
                depth += 1
                j.at += 1
                first = True
                continue
            if not json_plain(j):
                return False
        while True:             # behind a value
            if depth == 0:
                return True
            json_blanks(j)
            if j.at >= j.end:
                return False
            if j.at[0] == 44:
                j.at += 1
                first = False
                break
            if j.at[0] != open[depth - 1] + 2:
                return False
            j.at += 1
            depth -= 1

cdef inline bint json_field(Json *j, Telemetry *t, int field) noexcept nogil:
    """The value of a field."""
    cdef JsonText text
    cdef double number
    cdef bint whole
    if j.at >= j.end:
        return False
    if j.at[0] == 34:
        j.at += 1
        if not json_text(j, &text):
            return False
        telemetry_text(t, field, text.at, text.size)
        return True
    if j.at[0] == 45 or is_digit(j.at[0]):
        if not json_number(j, &number, &whole):
            return False
        telemetry_number(t, field, number, whole)
        return True
    if j.at[0] == 110:
        telemetry_null(t, field)
        return json_word(j, b"null", 4)
    telemetry_bad(t, field)
    return json_skip(j)

cdef inline bint json_read(unsigned char *s, uint64_t n, Telemetry *t) noexcept nogil:
    """Read an object that begins at s and ends with the n bytes, but for blanks. False where it is not JSON."""
    cdef Json j
    cdef JsonText name
    j.at = s + 1
    j.end = s + n
    json_blanks(&j)
    if j.at < j.end and j.at[0] == OBJECT_OPEN + 2:
        j.at += 1
    else:
        while True:
            if not json_key(&j, &name) or not json_field(&j, t, field_named(name.at, name.size)):
                return False
            json_blanks(&j)
            if j.at >= j.end or (j.at[0] != 44 and j.at[0] != OBJECT_OPEN + 2):
                return False
            j.at += 1
            if (j.at - 1)[0] == OBJECT_OPEN + 2:
                break
    json_blanks(&j)
    return j.at == j.end
