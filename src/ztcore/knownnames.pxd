# Names that come again and again, with the keys they had the last time: most of what is sent is about the same few thousand
# partners, and to compare a name costs a fraction of a keyed hash.

from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from ztcore.hash cimport SipKey, load64, load_rest
from ztcore.keys cimport partner_key

cdef enum:
    KNOWN_NAMES = 4096
    KNOWN_NAME_MOST = 40        # bytes of those that are remembered

cdef struct KnownName:          # one cache line
    unsigned char text[KNOWN_NAME_MOST]
    uint64_t size               # 0: free
    uint64_t app                # whose partner it is: the application's hash
    uint64_t key

cdef inline uint64_t name_first(const unsigned char *s, uint64_t n) noexcept nogil:
    return load64(s) if n >= 8 else load_rest(s, n)

cdef inline uint64_t name_last(const unsigned char *s, uint64_t n) noexcept nogil:
    return load64(s + n - 8) if n >= 8 else 0

cdef inline KnownName *name_place(KnownName *known, const unsigned char *s, uint64_t n) noexcept nogil:
    """Where such a name is or would be. Who makes two of them meet here gains nothing: they are compared."""
    cdef uint64_t h = (name_first(s, n) ^ n) * <uint64_t>0x9e3779b97f4a7c15
    h = (h ^ (h >> 32) ^ name_last(s, n)) * <uint64_t>0x9e3779b97f4a7c15
    return known + ((h >> 32) ^ (h >> 52)) % KNOWN_NAMES

cdef inline bint name_is_at(const KnownName *at, uint64_t app, const unsigned char *s, uint64_t n) noexcept nogil:
    cdef uint64_t i = 8
    if at.size != n or at.app != app or load64(at.text) != name_first(s, n) or (n > 8 and load64(at.text + n - 8) != name_last(s, n)):
        return False
    while i + 8 < n:
        if load64(at.text + i) != load64(s + i):
            return False
        i += 8
    return True

cdef inline uint64_t known_partner(KnownName *at, uint64_t app, const SipKey *key, const unsigned char *s, uint64_t n) noexcept nogil:
    """partner_key(); at: name_place() of the name; always with the same key for an application of that hash."""
    if n > KNOWN_NAME_MOST:
        return partner_key(key, s, n)
    if not name_is_at(at, app, s, n):
        at.key = partner_key(key, s, n)
        at.app = app
        at.size = n
        memset(at.text, 0, 8)
        memcpy(at.text, s, n)
    return at.key
