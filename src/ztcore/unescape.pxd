# A raw path and query as an attacked program might come to read them: escapes undone twice, case
# folded, white space and comments as blanks. The result ends with a NUL and has none inside.

from libc.string cimport memchr

from ztcore.ids cimport hex_digit

cdef enum:
    UNESCAPE_MOST = 4096        # bytes that are looked at

cdef inline size_t unescape_once(unsigned char *t, size_t n) noexcept nogil:
    """Undo %XX in place. The new length."""
    cdef size_t i = 0, size = 0
    cdef int high, low
    while i < n:
        if t[i] == 37 and i + 2 < n:
            high = hex_digit(t[i + 1])
            low = hex_digit(t[i + 2])
            if high >= 0 and low >= 0:
                t[size] = <unsigned char>(high << 4 | low)
                size += 1
                i += 3
                continue
        t[size] = t[i]
        size += 1
        i += 1
    return size

cdef inline size_t fold_disguised(unsigned char *t, size_t n) noexcept nogil:
    """ASCII in its forbidden two-byte forms of UTF-8 becomes ASCII, in place. The new length."""
    cdef size_t i = 0, size = 0
    while i < n:
        if (t[i] == 0xc0 or t[i] == 0xc1) and i + 1 < n and t[i + 1] & 0xc0 == 0x80:
            t[size] = <unsigned char>((t[i] & 1) << 6 | (t[i + 1] & 63))
            i += 1
        else:
            t[size] = t[i]
        size += 1
        i += 1
    return size

cdef inline bint has_byte(const unsigned char *t, size_t n, unsigned char c) noexcept nogil:
    return memchr(t, c, n) != NULL

cdef inline size_t unescape(const unsigned char *s, size_t n, unsigned char *out) noexcept nogil:
    """Write the first UNESCAPE_MOST bytes of `s` as text into `out`, which has one byte more. The
    length of the text, or -1 (the largest number) where a NUL byte is in it."""
    cdef size_t i
    cdef unsigned char c, disguised = 0, zero = 0
    if n > UNESCAPE_MOST:
        n = UNESCAPE_MOST
    for i in range(n):
        out[i] = 32 if s[i] == 43 else s[i]
    if has_byte(out, n, 37):
        n = unescape_once(out, n)
        if has_byte(out, n, 37):
            n = unescape_once(out, n)
    for i in range(n):
        disguised |= out[i] & 0xfe == 0xc0
    if disguised:
        n = fold_disguised(out, n)
    for i in range(n):
        c = out[i]
        zero |= c == 0
        c |= 32 if 65 <= c <= 90 else 0
        out[i] = 32 if 9 <= c <= 13 else c
    out[n] = 0
    return <size_t>-1 if zero else n

cdef inline void strip_comments(unsigned char *t, size_t n) noexcept nogil:
    """In place: a blank for each comment of SQL. What stands in a comment that MySQL would execute,
    /*!50000 like this */, stays."""
    cdef size_t i = 0, size = 0, close = 0
    while i < n:
        if t[i] == 47 and t[i + 1] == 42:
            if t[i + 2] == 33:
                i += 3
                while 48 <= t[i] <= 57:
                    i += 1
                t[size] = 32
                size += 1
                continue
            if close < i + 2:
                close = i + 2
                while close < n and not (t[close] == 42 and t[close + 1] == 47):
                    close += 1
            if close < n:
                i = close + 1
                t[i] = 32
        elif t[i] == 42 and t[i + 1] == 47:
            i += 1
            t[i] = 32
        t[size] = t[i]
        size += 1
        i += 1
    t[size] = 0
