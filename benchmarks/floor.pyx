"""Floors: methods that do nothing, called with the same values as the ones measured."""

cimport cython
from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free


cdef class Empty:
    """Cython's defaults, as anybody would write it."""

    def observe(self, partner, endpoint, method="GET", status=200, latency_ms=0.0, request_bytes=0,
                response_bytes=0, source=None, app="default", timestamp=None):
        return None

    def check(self, partner, app="default", timestamp=None):
        return None


cdef class Bare:
    """Without Cython's function objects: the cheapest call that CPython knows."""

    @cython.binding(False)
    def observe(self, partner, endpoint, method="GET", status=200, latency_ms=0.0, request_bytes=0,
                response_bytes=0, source=None, app="default", timestamp=None):
        return None

    @cython.binding(False)
    def check(self, partner, app="default", timestamp=None):
        return None


cdef extern from *:
    """
    #define lean_fetch(at) __builtin_prefetch((at), 1)
    """
    void lean_fetch(const void *at) noexcept nogil

cdef enum:
    AHEAD = 8

cdef packed struct LeanRecord:  # as a datagram has it: 32 bytes
    uint64_t partner
    int64_t timestamp
    float latency
    uint16_t status
    uint16_t method
    float request_bytes
    float response_bytes

cdef struct LeanRow:            # a cache line
    uint64_t key
    int64_t last
    double events, failed, mean, squares, rate, spare


cdef class Lean:
    """The least that anybody would keep of each partner: calls, failures, mean and variance of the latency, rate. One
    cache line in an open table, fetched eight events ahead."""
    cdef LeanRow *rows
    cdef uint64_t mask

    def __cinit__(self, int partners):
        cdef uint64_t size = 1
        while size < 2 * <uint64_t>partners:
            size *= 2
        self.mask = size - 1
        self.rows = <LeanRow *>calloc(size, sizeof(LeanRow))

    def __dealloc__(self):
        free(self.rows)

    cdef inline void take(self, uint64_t partner, int64_t timestamp, float latency, uint16_t status) noexcept nogil:
        cdef uint64_t at = partner & self.mask
        cdef LeanRow *row
        cdef double step
        while self.rows[at].key != partner and self.rows[at].key != 0:
            at = (at + 1) & self.mask
        row = &self.rows[at]
        row.key = partner
        row.events += 1.0
        row.failed += status >= 400
        step = latency - row.mean
        row.mean += 0.01 * step
        row.squares += 0.01 * (step * step - row.squares)
        row.rate += 0.01 * ((timestamp - row.last) - row.rate)
        row.last = timestamp

    def observe_batch(self, const uint64_t[::1] partner, const int64_t[::1] timestamp, const float[::1] latency,
                      const uint16_t[::1] status):
        """Columns of as many events. How many were taken in."""
        cdef Py_ssize_t i, n = partner.shape[0]
        with nogil:
            for i in range(n):
                if i + AHEAD < n:
                    lean_fetch(&self.rows[partner[i + AHEAD] & self.mask])
                self.take(partner[i], timestamp[i], latency[i], status[i])
        return n

    def observe_records(self, const LeanRecord[::1] events):
        """The same of records. How many were taken in."""
        cdef Py_ssize_t i, n = events.shape[0]
        with nogil:
            for i in range(n):
                if i + AHEAD < n:
                    lean_fetch(&self.rows[events[i + AHEAD].partner & self.mask])
                self.take(events[i].partner, events[i].timestamp, events[i].latency, events[i].status)
        return n


cdef extern from "datagrams.h" nogil:
    ctypedef struct Turn "struct zt_turn":
        pass
    void turn_make(Turn *turn, unsigned char *buffers, size_t stride, size_t size) noexcept
    int turn_receive(Turn *turn, int socket) noexcept


cdef unsigned char *buffers = <unsigned char *>calloc(64, 65600)      # kept, as a receiver's are


def drain(int socket):
    """recvmmsg until a UDP socket is empty, and nothing else. How many datagrams there were."""
    cdef Turn turn
    cdef int n, all_of_them = 0
    turn_make(&turn, buffers, 65600, 65536)
    with nogil:
        while True:
            n = turn_receive(&turn, socket)
            if n <= 0:
                break
            all_of_them += n
    return all_of_them
