# What is asked of HTTP messages and their paths, and the clock they are timed by.

from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport uint64_t

from ztcore.arguments cimport Text, text_of

cdef extern from "<time.h>" nogil:
    ctypedef long time_t
    struct timespec:
        time_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec *now)

cdef inline double seconds_now() noexcept nogil:
    """Seconds of a clock that only goes forward."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <double>now.tv_sec + <double>now.tv_nsec * 1e-9

cdef inline uint64_t length_bit(object path) except 0:
    """One bit for the length of a text: most paths are told from those with settings by it alone."""
    return <uint64_t>1 << (PyUnicode_GET_LENGTH(<str?>path) & 63)

cdef inline Py_ssize_t size_of(object body) except -1:
    return PyBytes_GET_SIZE(body) if PyBytes_CheckExact(body) else len(body)

cdef inline int slashes_of(object path) except -2:
    """How many slashes a path has."""
    cdef Text text
    cdef int n = 0
    cdef Py_ssize_t i
    alive = text_of(path, "path", &text)
    for i in range(text.size):
        n += text.data[i] == 47
    return n
