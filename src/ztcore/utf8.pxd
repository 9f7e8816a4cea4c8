# Is it UTF-8 (RFC 3629)? Overlong forms, surrogates and what lies beyond U+10FFFF are not.

from libc.stdint cimport uint32_t, uint64_t

from ztcore.hash cimport load64

cdef inline size_t utf8_length(const unsigned char *s, const unsigned char *end) noexcept nogil:
    """Bytes of the character at s, 0 where it is none."""
    cdef uint32_t c = s[0]
    cdef size_t n = 1 if c < 0x80 else 2 if c & 0xe0 == 0xc0 else 3 if c & 0xf0 == 0xe0 else 4 if c & 0xf8 == 0xf0 else 0
    cdef size_t i
    if n == 0 or <size_t>(end - s) < n:
        return 0
    if n == 1:
        return 1
    c &= 0x7f >> n
    for i in range(1, n):
        if s[i] & 0xc0 != 0x80:
            return 0
        c = c << 6 | (s[i] & 0x3f)
    if n == 2:
        return n if c >= 0x80 else 0
    if n == 3:
        return n if c >= 0x800 and not 0xd800 <= c < 0xe000 else 0
    return n if 0x10000 <= c < 0x110000 else 0

cdef inline bint utf8_good(const unsigned char *s, size_t size) noexcept nogil:
    cdef const unsigned char *end = s + size
    cdef size_t n
    while end - s >= 8 and load64(s) & <uint64_t>0x8080808080808080 == 0:
        s += 8
    while s < end:
        n = utf8_length(s, end)
        if n == 0:
            return False
        s += n
    return True

cdef inline size_t utf8_put(unsigned char *to, uint32_t c) noexcept nogil:
    """Write a character; how many bytes it has."""
    if c < 0x80:
        to[0] = <unsigned char>c
        return 1
    if c < 0x800:
        to[0] = <unsigned char>(0xc0 | c >> 6)
        to[1] = <unsigned char>(0x80 | (c & 0x3f))
        return 2
    if c < 0x10000:
        to[0] = <unsigned char>(0xe0 | c >> 12)
        to[1] = <unsigned char>(0x80 | (c >> 6 & 0x3f))
        to[2] = <unsigned char>(0x80 | (c & 0x3f))
        return 3
    to[0] = <unsigned char>(0xf0 | c >> 18)
    to[1] = <unsigned char>(0x80 | (c >> 12 & 0x3f))
    to[2] = <unsigned char>(0x80 | (c >> 6 & 0x3f))
    to[3] = <unsigned char>(0x80 | (c & 0x3f))
    return 4
