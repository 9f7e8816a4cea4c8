"""Thin doors to the text functions of the core, for tests and measurements."""

from cpython.time cimport perf_counter
from libc.stdint cimport uint64_t
from ztcore.hash cimport SipKey, siphash
from ztcore.keys cimport sip_key_load
from ztcore.names cimport Names, names_bytes, names_init, names_know, names_learn, names_text
from ztcore.paths cimport Path, Scan, TEMPLATE_SIZE, method_index, path_parse, template_write


cdef SipKey _key(bytes key) except *:
    cdef SipKey out
    if len(key) != 16:
        raise ValueError("a key is 16 bytes")
    sip_key_load(&out, <const unsigned char *><const char *>key)
    return out

def path(bytes key, bytes text, int method=0, bint patterns=True):
    """(endpoint, object id, flags) of a raw path or template."""
    cdef SipKey k = _key(key)
    cdef Path out
    path_parse(&k, <const unsigned char *><const char *>text, len(text), method, patterns, &out)
    return out.endpoint, out.object_id, out.flags

def template(bytes text):
    """The normalised template: segments, 1 for an id."""
    cdef SipKey k = _key(bytes(16))
    cdef unsigned char out[TEMPLATE_SIZE]
    cdef Scan g
    cdef Path path
    g.at = <const unsigned char *><const char *>text
    g.end = g.at + len(text)
    template_write(&k, out, &g, &path)
    return out[:g.size]

def bench_path(bytes text, int rounds, bint patterns=True):
    cdef SipKey k = _key(bytes(range(16)))
    cdef Path out
    cdef int i
    cdef uint64_t x = 0
    cdef double t
    cdef const unsigned char *s = text
    cdef size_t n = len(text)
    t = perf_counter()
    with nogil:
        for i in range(rounds):
            path_parse(&k, s, n - (x & 0), i & 3, patterns, &out)
            x += out.endpoint
    return (perf_counter() - t) / rounds * 1e9, x

def bench_sip(bytes text, int rounds):
    cdef SipKey k = _key(bytes(range(16)))
    cdef int i
    cdef uint64_t x = 0
    cdef double t
    cdef const unsigned char *s = text
    cdef size_t n = len(text)
    t = perf_counter()
    with nogil:
        for i in range(rounds):
            k.k0 ^= x
            x = siphash(&k, s, n)
    return (perf_counter() - t) / rounds * 1e9, x


def suspicious(bytes text):
    """Is there a suspicious pattern in a raw path and query?"""
    from_path = path(bytes(16), text)[2] & 2 != 0
    return from_path


cdef class NameTable:
    """Names in memory of their own. words: how many may be kept as text."""

    cdef bytearray memory
    cdef unsigned char[::1] view
    cdef Names *names
    cdef SipKey key

    def __cinit__(self, bytes key, int words=4096):
        self.key = _key(key)
        self.memory = bytearray(names_bytes(words))
        self.view = self.memory
        self.names = <Names *>&self.view[0]
        names_init(self.names, words)

    def learn(self, bytes text, uint64_t partner, int method=0):
        cdef Path path
        cdef const unsigned char *s = text
        path_parse(&self.key, s, len(text), method, False, &path)
        names_learn(self.names, &self.key, &path, s, len(text), method, partner)
        return path.endpoint

    def know(self, bytes segment):
        return names_know(self.names, &self.key, segment, len(segment))

    def text(self, uint64_t endpoint, size_t size=512):
        cdef char out[4096]
        cdef size_t n = names_text(self.names, endpoint, out, size if size < 4096 else 4096)
        return out[:n]

    @property
    def block(self):
        """The whole block, as it lies in memory."""
        return bytes(self.memory)
