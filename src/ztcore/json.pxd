# The values of JSON that telemetry is made of, read strictly: what is accepted here every JSON parser accepts with the
# same value. What is merely unusual (an escaped surrogate, an exponent, a nested value) is refused as well: the
# caller leaves it to a parser that knows everything.

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from ztcore.ids cimport hex_digit

cdef extern from "json.h" nogil:
    const unsigned char *zt_json_plain(const unsigned char *p, const unsigned char *end) noexcept

cdef enum:
    DIGITS = 18                 # of a number: more may not fit 64 bits
    EXACT_POWER = 22            # the largest power of ten that a double holds
    NESTED = 512                # levels that json_skip() follows

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
    unsigned char *scratch      # texts with escapes are written here; it has room for all of the input

cdef struct Span:
    const unsigned char *at
    uint64_t size

cdef inline void json_blank(Json *j) noexcept nogil:
    while j.at < j.end and (j.at[0] == 32 or j.at[0] == 10 or j.at[0] == 13 or j.at[0] == 9):
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

cdef inline uint64_t utf8_size(const unsigned char *s, const unsigned char *end) noexcept nogil:
    """How many bytes the sequence at s has, 0 where it is none (RFC 3629)."""
    cdef unsigned char c = s[0]
    cdef uint64_t n
    if c < 0xc2 or c > 0xf4:
        return 0
    n = 2 if c < 0xe0 else 3 if c < 0xf0 else 4
    if <uint64_t>(end - s) < n or s[1] & 0xc0 != 0x80:
        return 0
    if n > 2 and s[2] & 0xc0 != 0x80 or n > 3 and s[3] & 0xc0 != 0x80:
        return 0
    if c == 0xe0 and s[1] < 0xa0 or c == 0xed and s[1] > 0x9f or c == 0xf0 and s[1] < 0x90 or c == 0xf4 and s[1] > 0x8f:
        return 0
    return n

cdef inline bint json_escape(Json *j, unsigned char **out) noexcept nogil:
    """One escape at j.at, written to out."""
    cdef unsigned char c
    cdef uint64_t x = 0
    cdef int i, digit
    if j.end - j.at < 2:
        return False
    c = j.at[1]
    j.at += 2
    if c == 117:
        if j.end - j.at < 4:
            return False
        for i in range(4):
            digit = hex_digit(j.at[i])
            if digit < 0:
                return False
            x = x << 4 | digit
        j.at += 4
        if 0xd800 <= x < 0xe000:
            return False
        if x < 0x80:
            out[0][0] = <unsigned char>x
            out[0] += 1
        elif x < 0x800:
            out[0][0] = <unsigned char>(0xc0 | x >> 6)
            out[0][1] = <unsigned char>(0x80 | x & 63)
            out[0] += 2
        else:
            out[0][0] = <unsigned char>(0xe0 | x >> 12)
            out[0][1] = <unsigned char>(0x80 | x >> 6 & 63)
            out[0][2] = <unsigned char>(0x80 | x & 63)
            out[0] += 3
        return True
    if c == 34 or c == 92 or c == 47:
        out[0][0] = c
    elif c == 98:
        out[0][0] = 8
    elif c == 102:
        out[0][0] = 12
    elif c == 110:
        out[0][0] = 10
    elif c == 114:
        out[0][0] = 13
    elif c == 116:
        out[0][0] = 9
    else:
        return False
    out[0] += 1
    return True

cdef inline bint json_text(Json *j, Span *text) noexcept nogil:
    """A text; j.at stands at its quote. Without escapes it lies in the input."""
    cdef const unsigned char *start
    cdef const unsigned char *at
    cdef unsigned char *out = NULL
    cdef uint64_t n
    if j.at == j.end or j.at[0] != 34:
        return False
    j.at += 1
    text.at = start = j.at
    while True:
        at = zt_json_plain(j.at, j.end)
        while at < j.end and at[0] >= 0x80:
            n = utf8_size(at, j.end)
            if n == 0:
                return False
            at = zt_json_plain(at + n, j.end)
        j.at = at
        if at == j.end or at[0] < 0x20:
            return False
        if out != NULL:
            memcpy(out, start, at - start)
            out += at - start
        if at[0] == 34:
            break
        if out == NULL:
            text.at = out = j.scratch
            memcpy(out, start, at - start)
            out += at - start
        if not json_escape(j, &out):
            return False
        start = j.at
    text.size = out - text.at if out != NULL else at - text.at
    if out != NULL:
        j.scratch = out
    j.at += 1
    return True

cdef inline bint json_number(Json *j, double *x, int64_t *whole) noexcept nogil:
    """A number that is not negative and has no exponent. whole: it, or -1 where it has a point."""
    cdef uint64_t value = 0
    cdef const unsigned char *start = j.at
    cdef int digits, fraction = 0
    while j.at < j.end and 48 <= j.at[0] <= 57 and j.at - start <= DIGITS:
        value = value * 10 + (j.at[0] - 48)
        j.at += 1
    digits = <int>(j.at - start)
    if digits == 0 or digits > DIGITS or digits > 1 and start[0] == 48:
        return False
    whole[0] = <int64_t>value
    if j.at < j.end and j.at[0] == 46:
        j.at += 1
        whole[0] = -1
        while j.at < j.end and 48 <= j.at[0] <= 57 and digits + fraction <= DIGITS:
            value = value * 10 + (j.at[0] - 48)
            j.at += 1
            fraction += 1
        if fraction == 0 or digits + fraction > DIGITS or value > EXACT_WHOLE:
            return False
    elif value > EXACT_WHOLE:
        return False
    if j.at < j.end and (j.at[0] | 32 == 101 or j.at[0] == 46 or 48 <= j.at[0] <= 57):
        return False
    x[0] = <double>value / zt_tens[fraction]        # both are exact, so the quotient is rounded once
    return True

cdef inline bint json_word(Json *j, const char *word, int n) noexcept nogil:
    """true, false or null."""
    cdef int i
    if j.end - j.at < n:
        return False
    for i in range(n):
        if j.at[i] != <unsigned char>word[i]:
            return False
    j.at += n
    return True

cdef inline bint json_unknown(Json *j) noexcept nogil:
    """A value that nobody asked for, unless it is nested."""
    cdef unsigned char *scratch = j.scratch
    cdef Span text
    cdef double x
    cdef int64_t whole
    if j.at == j.end:
        return False
    if j.at[0] == 34:
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
    return json_number(j, &x, &whole)

cdef inline bint json_skip(Json *j) noexcept nogil:
    """Go to the end of a value that may be anything, without judging it; False where its brackets do not match."""
    cdef unsigned char nested[NESTED]
    cdef int depth = 0
    cdef unsigned char c
    while j.at < j.end:
        c = j.at[0]
        if c == 34:
            j.at += 1
            while j.at < j.end and j.at[0] != 34:
                j.at += 2 if j.at[0] == 92 else 1
            if j.at >= j.end:
                return False
        elif c == 123 or c == 91:
            if depth == NESTED:
                return False
            nested[depth] = c + 2
            depth += 1
        elif c == 125 or c == 93:
            if depth == 0:
                return True
            depth -= 1
            if nested[depth] != c:
                return False
            if depth == 0:
                j.at += 1
                return True
        elif depth == 0 and c == 44:
            return True
        j.at += 1
    return depth == 0
