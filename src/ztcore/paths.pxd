from libc.stdint cimport uint64_t, uint32_t
from ztcore.hash cimport SipKey, siphash
cdef enum:
    PATH_HAS_ID = 1
    PATH_SUSPICIOUS = 2
cdef struct Path:
    uint64_t endpoint
    uint64_t object_id
    uint32_t flags
cdef inline int method_index(const unsigned char *s, size_t n) noexcept nogil:
    return 3 if s[0] == 80 else 6 if s[0] == 68 else 0
cdef inline void path_parse(const SipKey *key, const unsigned char *s, size_t n, int method, bint patterns, Path *out) noexcept nogil:
    out.endpoint = siphash(key, s, n) + <uint64_t>method * <uint64_t>0x9e3779b97f4a7c15
    out.object_id = 0
    out.flags = 0
