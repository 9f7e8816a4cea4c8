# The values of JSON (RFC 8259). What is taken here every parser takes, with the same value; nothing is allocated, and
# nesting is counted, not recursed into.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ztcore.atomic cimport zt_unlikely
from ztcore.fields cimport Span
from ztcore.hash cimport load64
from ztcore.ids cimport hex_digit, is_digit
from ztcore.paths cimport eight_digits
from ztcore.utf8 cimport utf8_put, utf8_size

cdef extern from "json.h" nogil:
    const unsigned char *zt_json_plain(const unsigned char *p, const unsigned char *end, const unsigned char *room) noexcept
    bint zt_json_digits(uint64_t x) noexcept            # eight of them
    double zt_json_decimal(const unsigned char *p, const unsigned char *end) noexcept

cdef enum:
    DIGITS = 18                 # of a number: more may not fit 64 bits
    EXACT_POWER = 22            # the largest power of ten that a double holds
    DEPTH_MOST = 64             # of values that are judged and skipped
    NESTED = 512                # levels that json_past() follows
    BLANK = 32                  # the largest of them
    QUOTE = 34
    COMMA = 44
    COLON = 58
    ARRAY_OPEN = 91             # two less than what closes it, as with objects
    BACKSLASH = 92
    OBJECT_OPEN = 123
    OBJECT_CLOSE = 125

cdef extern from *:
    """
    static const double zt_tens[23] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
                                       1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    #define EXACT_WHOLE (1ULL << 53)
    """
    const double zt_tens[23]
    const uint64_t EXACT_WHOLE

cdef struct Json:
    const unsigned char *at
    const unsigned char *end
    const unsigned char *room   # behind the last byte that may be looked at: `end` or more
    unsigned char *scratch      # texts with escapes are written here; it has room for all of the input

cdef inline bint is_blank(unsigned char c) noexcept nogil:
    return c == 32 or c == 10 or c == 13 or c == 9

cdef inline void json_blank(Json *j) noexcept nogil:
    while j.at < j.end and is_blank(j.at[0]):
        j.at += 1

cdef inline bint json_is(Json *j, unsigned char c) noexcept nogil:
    """Whether that byte is next, blanks aside; it is taken."""
    if j.at < j.end and j.at[0] == c:
        j.at += 1
        return True
    json_blank(j)
    if j.at < j.end and j.at[0] == c:
        j.at += 1
        return True
    return False

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
            if j.end - j.at < 6 or j.at[0] != BACKSLASH or j.at[1] != 117:
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
    elif c != QUOTE and c != BACKSLASH and c != 47:
        return False
    to[0][0] = <unsigned char>c
    to[0] += 1
    return True

cdef inline bint text_escaped(Json *j, const unsigned char *start, const unsigned char *at, Span *text) noexcept nogil:
    """A text that begins at `start` and is read as far as `at`, where it is not plain."""
    cdef unsigned char *to = NULL       # where the next bytes go, once an escape was seen
    cdef uint64_t n
    text.at = start
    while True:
        while at < j.end and at[0] >= 0x80:
            n = utf8_size(at, j.end)
            if n == 0:
                return False
            at = zt_json_plain(at + n, j.end, j.room)
        if at == j.end or at[0] < BLANK:
            return False
        if to == NULL and at[0] == BACKSLASH:
            text.at = to = j.scratch
        if to != NULL:
            memcpy(to, start, at - start)
            to += at - start
        j.at = at + 1
        if at[0] == QUOTE:
            break
        if not json_escape(j, &to):
            return False
        start = j.at
        at = zt_json_plain(start, j.end, j.room)
    if to != NULL:
        text.size = to - text.at
        j.scratch = to
    else:
        text.size = at - start
    return True

cdef inline bint json_text(Json *j, Span *text) noexcept nogil:
    """A text; j.at stands at its quote. Without escapes it lies in the input."""
    cdef const unsigned char *start = j.at + 1
    cdef const unsigned char *at = zt_json_plain(start, j.end, j.room)
    if zt_unlikely(at == j.end or at[0] != QUOTE):
        return text_escaped(j, start, at, text)
    text.at = start
    text.size = at - start
    j.at = at + 1
    return True

cdef inline bint json_number(Json *j, double *x, bint *whole) noexcept nogil:
    """A number, rounded once. whole: it was written without point and exponent."""
    cdef bint minus = j.at < j.end and j.at[0] == 45, down
    cdef const unsigned char *first
    cdef const unsigned char *part
    cdef uint64_t value = 0
    cdef int64_t digits, scale = 0, exponent = 0
    j.at += minus
    first = j.at
    while j.end - j.at >= 8 and zt_json_digits(load64(j.at)):
        value = value * 100000000 + eight_digits(load64(j.at))
        j.at += 8
    while j.at < j.end and is_digit(j.at[0]):
        value = value * 10 + (j.at[0] - 48)
        j.at += 1
    digits = j.at - first
    if digits == 0 or (first[0] == 48 and digits > 1):
        return False
    whole[0] = True
    if j.at < j.end and j.at[0] == 46:
        whole[0] = False
        j.at += 1
        part = j.at
        while j.at < j.end and is_digit(j.at[0]):
            value = value * 10 + (j.at[0] - 48)
            j.at += 1
        scale = part - j.at
        if scale == 0:
            return False
        digits -= scale
    if j.at < j.end and j.at[0] | 32 == 101:
        whole[0] = False
        j.at += 1
        down = j.at < j.end and j.at[0] == 45
        j.at += j.at < j.end and (down or j.at[0] == 43)
        part = j.at
        while j.at < j.end and is_digit(j.at[0]):
            if exponent < 1000000:
                exponent = exponent * 10 + (j.at[0] - 48)
            j.at += 1
        if j.at == part:
            return False
        scale += -exponent if down else exponent
    if zt_unlikely(digits > DIGITS or value > EXACT_WHOLE or not -EXACT_POWER <= scale <= EXACT_POWER):
        x[0] = zt_json_decimal(first, j.at)
        if x[0] - x[0] != 0.0:          # beyond what a double holds
            return False
    else:                               # both are exact, so the result is rounded once
        x[0] = <double>value / zt_tens[-scale] if scale < 0 else <double>value * zt_tens[scale]
    if minus:
        x[0] = -x[0]
    return True

cdef inline bint json_word(Json *j, const char *word, size_t n) noexcept nogil:
    """true, false or null."""
    cdef size_t i
    if <size_t>(j.end - j.at) < n:
        return False
    for i in range(n):
        if j.at[i] != <unsigned char>word[i]:
            return False
    j.at += n
    return True

cdef inline bint json_key(Json *j, Span *name) noexcept nogil:
    """A name and the colon behind it."""
    json_blank(j)
    if j.at >= j.end or j.at[0] != QUOTE or not json_text(j, name) or not json_is(j, COLON):
        return False
    json_blank(j)
    return True

cdef inline bint json_single(Json *j) noexcept nogil:
    """Skip a value that holds no others."""
    cdef unsigned char *scratch = j.scratch
    cdef Span text
    cdef double number
    cdef bint whole
    if j.at >= j.end:
        return False
    if j.at[0] == QUOTE:
        if not json_text(j, &text):
            return False
        j.scratch = scratch
        return True
    if j.at[0] == 116:
        return json_word(j, b"true", 4)
    if j.at[0] == 102:
        return json_word(j, b"false", 5)
    if j.at[0] == 110:
        return json_word(j, b"null", 4)
    return json_number(j, &number, &whole)

cdef inline bint json_skip(Json *j) noexcept nogil:
    """Skip a value with all that is in it; False where it is no JSON, or nested too deeply."""
    cdef unsigned char open[DEPTH_MOST]
    cdef unsigned char *scratch = j.scratch
    cdef Span name
    cdef int depth = 0
    cdef bint first = True
    while True:
        json_blank(j)           # a value stands here, or the end of one that is empty
        if j.at >= j.end:
            return False
        if first and depth and j.at[0] == open[depth - 1] + 2:
            j.at += 1
            depth -= 1
        else:
            if depth and open[depth - 1] == OBJECT_OPEN and not json_key(j, &name):
                return False
            j.scratch = scratch
            if j.at < j.end and (j.at[0] == OBJECT_OPEN or j.at[0] == ARRAY_OPEN):
                if depth == DEPTH_MOST:
                    return False
                open[depth] = j.at[0]
                depth += 1
                j.at += 1
                first = True
                continue
            if not json_single(j):
                return False
        while True:             # behind a value
            if depth == 0:
                return True
            json_blank(j)
            if j.at >= j.end:
                return False
            if j.at[0] == COMMA:
                j.at += 1
                first = False
                break
            if j.at[0] != open[depth - 1] + 2:
                return False
            j.at += 1
            depth -= 1

cdef inline bint json_past(Json *j) noexcept nogil:
    """Go to the end of a value that may be anything, without judging it; False where its brackets do not match."""
    cdef unsigned char nested[NESTED]
    cdef int depth = 0
    cdef unsigned char c
    while j.at < j.end:
        c = j.at[0]
        if c == QUOTE:
            j.at += 1
            while j.at < j.end and j.at[0] != QUOTE:
                j.at += 2 if j.at[0] == BACKSLASH else 1
            if j.at >= j.end:
                return False
        elif c == OBJECT_OPEN or c == ARRAY_OPEN:
            if depth == NESTED:
                return False
            nested[depth] = c + 2
            depth += 1
        elif c == OBJECT_CLOSE or c == ARRAY_OPEN + 2:
            if depth == 0:
                return True
            depth -= 1
            if nested[depth] != c:
                return False
            if depth == 0:
                j.at += 1
                return True
        elif depth == 0 and c == COMMA:
            return True
        j.at += 1
    return depth == 0
