"""Floors: methods that do nothing, called with the same values as the ones measured."""

cimport cython
from libc.stdlib cimport calloc


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
