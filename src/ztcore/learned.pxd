# Names of endpoints learned from a stream of events: once for a pair of partner and endpoint, and where all words of an
# endpoint are known, for one pair in 64.

from libc.stdint cimport uint64_t

from ztcore.event cimport Event
from ztcore.hash cimport SipKey
from ztcore.names cimport Names, names_learn
from ztcore.paths cimport Path

cdef enum:
    LEARNED_HALF = 4096

cdef struct Learned:            # what was learned lately
    uint64_t settled[LEARNED_HALF]
    uint64_t met[LEARNED_HALF]

cdef inline void learned_see(Learned *l, Names *names, uint64_t me, const SipKey *key, const Path *path,
                             const unsigned char *s, uint64_t n, const Event *e) noexcept nogil:
    """path: what path_parse() made of the n bytes at s."""
    cdef uint64_t pair = (e.partner ^ e.endpoint) * <uint64_t>0x9e3779b97f4a7c15
    cdef uint64_t *settled = &l.settled[0] + (e.endpoint >> 32) % LEARNED_HALF
    cdef uint64_t *met = &l.met[0] + (pair >> 32) % LEARNED_HALF
    if settled[0] == e.endpoint and pair & 63 or met[0] == pair:
        return
    met[0] = pair
    if names_learn(names, me, key, path, s, n, e.method, e.partner):
        settled[0] = e.endpoint
