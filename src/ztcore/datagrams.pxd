from libc.stdint cimport uint64_t

from ztcore.reception cimport Reception

cdef enum:
    AT_ONCE = 64                # datagrams of one system call
    STRIDE = 65536 + 64         # of the buffers: DATAGRAM_MOST and PADDING; not a power of two, or all heads would share a few lines of the cache

cdef enum:
    LEAVE_EMPTY = 1
    LEAVE_NOW = 2
    LAST_BYTES = 33554432       # more than a socket's buffer has room for (UdpListener asks for half of it)
    LEAST_ROOM = 768            # bytes of it that a datagram takes beside its own

cdef class Receiver:
    cdef Reception *reception
    cdef unsigned char *buffers
    cdef object engine          # whose table it is, kept alive
    cdef int bell               # an event descriptor that wakes run(); -1: none
    cdef uint64_t leave         # 0: run() goes on
    cdef uint64_t calls
