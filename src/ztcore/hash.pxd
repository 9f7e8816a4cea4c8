# SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed 64-bit hash of short strings. Who does not
# know the key can neither make two names collide nor find a name by its hash.
#
# Numbers are loaded as they lie in memory; the processors ztmon runs on are little-endian.

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef struct SipKey:
    uint64_t k0
    uint64_t k1

cdef struct SipState:
    uint64_t v0
    uint64_t v1
    uint64_t v2
    uint64_t v3

cdef inline uint64_t load64(const unsigned char *p) noexcept nogil:
    cdef uint64_t x
    memcpy(&x, p, 8)
    return x

cdef inline uint64_t load32(const unsigned char *p) noexcept nogil:
    cdef uint32_t x
    memcpy(&x, p, 4)
    return x

cdef inline uint64_t load_rest(const unsigned char *data, size_t n) noexcept nogil:
    """The last n % 8 of n bytes as a number; reads nothing outside of the n bytes."""
    cdef size_t rest = n & 7
    if rest == 0:
        return 0
    if n >= 8:
        return load64(data + n - 8) >> (64 - 8 * rest)
    if rest >= 4:
        return load32(data) | load32(data + rest - 4) << (8 * (rest - 4))
    return data[0] | <uint64_t>data[rest >> 1] << (8 * (rest >> 1)) | <uint64_t>data[rest - 1] << (8 * (rest - 1))

cdef inline uint64_t rotate(uint64_t x, int n) noexcept nogil:
    return (x << n) | (x >> (64 - n))

cdef inline void sip_round(SipState *s) noexcept nogil:
    s.v0 += s.v1
    s.v2 += s.v3
    s.v1 = rotate(s.v1, 13) ^ s.v0
    s.v3 = rotate(s.v3, 16) ^ s.v2
    s.v0 = rotate(s.v0, 32)
    s.v2 += s.v1
    s.v0 += s.v3
    s.v1 = rotate(s.v1, 17) ^ s.v2
    s.v3 = rotate(s.v3, 21) ^ s.v0
    s.v2 = rotate(s.v2, 32)

cdef inline void sip_word(SipState *s, uint64_t m) noexcept nogil:
    s.v3 ^= m
    sip_round(s)
    sip_round(s)
    s.v0 ^= m

cdef inline void sip_start(SipState *s, const SipKey *key) noexcept nogil:
    s.v0 = key.k0 ^ <uint64_t>0x736f6d6570736575
    s.v1 = key.k1 ^ <uint64_t>0x646f72616e646f6d
    s.v2 = key.k0 ^ <uint64_t>0x6c7967656e657261
    s.v3 = key.k1 ^ <uint64_t>0x7465646279746573

cdef inline uint64_t sip_end(SipState *s, uint64_t rest, size_t n) noexcept nogil:
    """rest: the last n % 8 of all n bytes."""
    sip_word(s, rest | <uint64_t>n << 56)
    s.v2 ^= 0xff
    sip_round(s)
    sip_round(s)
    sip_round(s)
    sip_round(s)
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3

cdef inline uint64_t siphash(const SipKey *key, const unsigned char *data, size_t n) noexcept nogil:
    """The hash of n bytes; `data` may be NULL where n is 0."""
    cdef SipState s
    cdef size_t i = 0
    sip_start(&s, key)
    while i + 8 <= n:
        sip_word(&s, load64(data + i))
        i += 8
    return sip_end(&s, load_rest(data, n), n)

cdef struct SipStream:          # the same hash of bytes that do not lie together
    SipState state
    uint64_t rest               # bytes that do not fill a word yet
    size_t size                 # of all bytes so far

cdef inline void sip_feed_few(SipStream *s, uint64_t x, size_t n) noexcept nogil:
    """n = 1..8 bytes; those of x above them are 0."""
    cdef size_t at = 8 * (s.size & 7)
    s.rest |= x << at
    if (s.size & 7) + n >= 8:
        sip_word(&s.state, s.rest)
        s.rest = x >> (64 - at) if at else 0
    s.size += n

cdef inline void sip_feed(SipStream *s, const unsigned char *data, size_t n) noexcept nogil:
    cdef size_t i = 0
    while i + 8 <= n:
        sip_feed_few(s, load64(data + i), 8)
        i += 8
    if n & 7:
        sip_feed_few(s, load_rest(data, n), n & 7)
