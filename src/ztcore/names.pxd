from libc.stdint cimport uint64_t
from ztcore.hash cimport SipKey
from ztcore.paths cimport Path
cdef struct Names:
    uint64_t size
cdef inline uint64_t names_bytes(uint64_t n) noexcept nogil:
    return sizeof(Names)
cdef inline void names_init(Names *n, uint64_t c) noexcept nogil:
    n.size = c
cdef inline void names_learn(Names *n, const SipKey *key, const Path *path, const unsigned char *s, size_t size, int method, uint64_t partner) noexcept nogil:
    pass
cdef inline size_t names_text(Names *n, uint64_t key, char *out, size_t size) noexcept nogil:
    return 0
cdef inline void names_know(Names *n, const SipKey *key, const unsigned char *s, size_t size) noexcept nogil:
    pass
