"""Doors to the text functions of the core, for tests and measurements.

Texts are bytes, as they come from the wire; keys are 16 bytes.
"""

from cpython.time cimport perf_counter
from libc.stdint cimport int64_t, uint64_t

from ztcore.clftime cimport ClfTime, NO_TIME, clf_time
from ztcore.hash cimport SipKey, SipStream, sip_end, sip_feed, sip_start
from ztcore.hash cimport siphash as sip
from ztcore.keys cimport sip_key_load
from ztcore.names cimport Names, names_bytes, names_init, names_know, names_learn, names_text
from ztcore.paths cimport Path, PATH_SUSPICIOUS, Scan, TEMPLATE_SIZE, path_parse, template_write
from ztcore.paths cimport method_index as index_of_method

cdef enum:
    NAME_MOST = 4096
    ME = 0                      # nobody else is at these names


cdef SipKey _key(bytes key) except *:
    cdef SipKey out
    if len(key) != 16:
        raise ValueError(f"a key has 16 bytes, this one has {len(key)}")
    sip_key_load(&out, <const unsigned char *><const char *>key)
    return out


def siphash(bytes key, bytes text):
    """SipHash-2-4 as a number."""
    cdef SipKey k = _key(key)
    return sip(&k, text, len(text))


def siphash_pieces(bytes key, pieces):
    """The hash of the pieces' concatenation, fed one by one."""
    cdef SipKey k = _key(key)
    cdef SipStream stream
    cdef bytes piece
    sip_start(&stream.state, &k)
    stream.rest = stream.size = 0
    for piece in pieces:
        sip_feed(&stream, piece, len(piece))
    return sip_end(&stream.state, stream.rest, stream.size)


def method_index(bytes method):
    """0..7: GET HEAD OPTIONS POST PUT PATCH DELETE, other."""
    return index_of_method(method, len(method))


def path(bytes key, bytes text, int method=0, bint patterns=True):
    """(endpoint, object id, flags) of a raw path or route template."""
    cdef SipKey k = _key(key)
    cdef Path out
    path_parse(&k, text, len(text), method, patterns, &out)
    return out.endpoint, out.object_id, out.flags


def template(bytes text):
    """The template of a raw path or route template; an id is the byte 1. Of one that is too long
    to be named: what stands behind the part that was hashed."""
    cdef SipKey k = _key(bytes(16))
    cdef unsigned char out[TEMPLATE_SIZE]
    cdef Scan g
    cdef Path path
    g.at = text
    g.end = g.at + len(text)
    template_write(&k, out, &g, &path)
    return out[:g.size]


def suspicious(bytes text):
    """Is there a suspicious pattern in a raw path and query?"""
    return path(bytes(16), text)[2] & PATH_SUSPICIOUS != 0


def log_times(texts):
    """ns since the epoch of an access log's times, each read after the one before; None for what
    is no time."""
    cdef ClfTime last
    cdef bytes text
    cdef int64_t ns
    last.text[0] = 0
    found = []
    for text in texts:
        ns = clf_time(&last, text, len(text))
        found.append(None if ns == NO_TIME else ns)
    return found


cdef class NameTable:
    """Names in memory of their own. words: how many may be kept as text, at least 1."""

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
        """A partner meets an endpoint. Returns (the endpoint's key, whether all is learned)."""
        cdef Path path
        path_parse(&self.key, text, len(text), method, False, &path)
        settled = names_learn(self.names, ME, &self.key, &path, text, len(text), method, partner)
        return path.endpoint, settled

    def know(self, bytes segment):
        """May a segment be shown from now on?"""
        return names_know(self.names, ME, &self.key, segment, len(segment))

    def text(self, uint64_t endpoint, size_t size=512):
        """What an endpoint is called, in at most so many bytes (4096)."""
        cdef char out[NAME_MOST]
        cdef size_t n = names_text(self.names, endpoint, out, size if size < NAME_MOST else <size_t>NAME_MOST)
        return out[:n]

    @property
    def block(self):
        """The memory as it lies there."""
        return bytes(self.memory)


def _bench_siphash(bytes text, int rounds):
    """ns a call; each one waits for the one before."""
    cdef SipKey k = _key(bytes(range(16)))
    cdef const unsigned char *s = text
    cdef size_t n = len(text)
    cdef double started = perf_counter()
    cdef int i
    with nogil:
        for i in range(rounds):
            k.k0 ^= sip(&k, s, n)
    return (perf_counter() - started) / rounds * 1e9, k.k0


def _bench_path(texts, int rounds, bint patterns=True):
    """ns a call over many paths in turn, so that branches are not learned by heart."""
    cdef SipKey k = _key(bytes(range(16)))
    cdef bytes joined = b"".join(texts)
    cdef bytearray sizes = bytearray(len(texts) * 8)
    cdef unsigned char[::1] view = sizes
    cdef size_t *size = <size_t *>&view[0]
    cdef size_t n = len(texts), j
    cdef const unsigned char *first = joined
    cdef const unsigned char *s
    cdef double started
    cdef uint64_t sum = 0
    cdef Path out
    cdef int i
    for j in range(n):
        size[j] = <size_t>len(texts[j])
    started = perf_counter()
    with nogil:
        for i in range(rounds):
            s = first
            for j in range(n):
                path_parse(&k, s, size[j], 0, patterns, &out)
                sum += out.endpoint
                s += size[j]
    return (perf_counter() - started) / (rounds * n) * 1e9, sum
