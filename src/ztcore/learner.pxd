# Learning what endpoints are called from many events at once: once for a pair of partner and endpoint,
# remembered in a small table, so that the names' own block is seldom written to.

from libc.stdint cimport uint64_t

from ztcore.event cimport Event
from ztcore.hash cimport SipKey
from ztcore.names cimport Names, names_learn
from ztcore.paths cimport Path

cdef enum:
    LEARNED = 8192              # half of them endpoints all of whose words are known, half (partner, endpoint) pairs

cdef struct Learner:
    Names *names                # NULL: nobody's names are learned
    uint64_t me                 # the engine's tag
    uint64_t learned[LEARNED]

cdef inline void learner_meet(Learner *l, const SipKey *key, const Path *path, const unsigned char *s, uint64_t n,
                              const Event *e) noexcept nogil:
    """Once for a pair of partner and endpoint; where all words of an endpoint are known, for one
    pair in 64."""
    cdef uint64_t pair = (e.partner ^ e.endpoint) * <uint64_t>0x9e3779b97f4a7c15
    cdef uint64_t *settled = l.learned + (e.endpoint >> 32) % (LEARNED // 2)
    cdef uint64_t *met = l.learned + LEARNED // 2 + (pair >> 32) % (LEARNED // 2)
    if l.names == NULL or settled[0] == e.endpoint and pair & 63 or met[0] == pair:
        return
    met[0] = pair
    if names_learn(l.names, l.me, key, path, s, n, e.method, e.partner):
        settled[0] = e.endpoint
