# Paths that come again and again, as they were parsed the last time: a service has a few hundred routes, and most of what is
# said of them is said again. Those with an id in them are not remembered, for the next one is another.

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from ztcore.hash cimport SipKey, load64
from ztcore.paths cimport PATH_HAS_ID, Path, path_parse

cdef enum:
    KNOWN_PATHS = 256
    KNOWN_LEAST = 8             # bytes of those that are remembered
    KNOWN_MOST = 62

cdef struct KnownPath:
    uint8_t size                # 0: free
    uint8_t method
    unsigned char text[KNOWN_MOST]
    Path path

cdef inline KnownPath *known_place(KnownPath *known, const unsigned char *s, uint64_t n, uint64_t method) noexcept nogil:
    """Where such a path of 8 bytes or more is or would be. Who makes two paths meet here gains nothing: they are compared."""
    cdef uint64_t h = (load64(s) ^ (n << 56) ^ (method << 48)) * <uint64_t>0x9e3779b97f4a7c15
    h = (h ^ (h >> 32) ^ load64(s + n - 8)) * <uint64_t>0x9e3779b97f4a7c15
    return known + (h >> 56) % KNOWN_PATHS

cdef inline void known_parse(KnownPath *known, const SipKey *key, const unsigned char *s, uint64_t n, int method,
                             Path *out) noexcept nogil:
    """path_parse() with patterns; always with the same key."""
    cdef KnownPath *place
    if n < KNOWN_LEAST or n > KNOWN_MOST:
        path_parse(key, s, n, method, True, out)
        return
    place = known_place(known, s, n, method)
    if place.size == n and place.method == method and memcmp(place.text, s, n) == 0:
        out[0] = place.path
        return
    path_parse(key, s, n, method, True, out)
    if not out.flags & PATH_HAS_ID:
        place.size = <uint8_t>n
        place.method = <uint8_t>method
        memcpy(place.text, s, n)
        place.path = out[0]
