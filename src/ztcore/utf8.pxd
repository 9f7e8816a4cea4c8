# UTF-8 (RFC 3629): is it, and a character written down. Overlong forms, surrogates and what lies beyond U+10FFFF are not.

from libc.stdint cimport uint32_t, uint64_t

from ztcore.hash cimport load64, load_rest

cdef inline uint64_t utf8_size(const unsigned char *s, const unsigned char *end) noexcept nogil:
    """How many bytes the sequence at s has, which is not ASCII; 0 where it is none."""
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

cdef inline bint ascii(const unsigned char *s, size_t size) noexcept nogil:
    cdef uint64_t bits = load64(s + size - 8) if size >= 8 else load_rest(s, size)
    cdef size_t i = 0
    while i + 8 < size:
        bits |= load64(s + i)
        i += 8
    return bits & <uint64_t>0x8080808080808080 == 0

cdef inline bint utf8_good(const unsigned char *s, size_t size) noexcept nogil:
    cdef const unsigned char *end = s + size
    cdef size_t n
    if ascii(s, size):
        return True
    while s < end:
        n = 1 if s[0] < 0x80 else utf8_size(s, end)
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
