# The names of an event's partner and application as they lie beside a batch: [length of app][app]
# [length of partner][partner], lengths of one byte. batch_name() in batch.pxd reads them.

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef enum:
    RECORD_NAME = 255           # bytes of a name

cdef inline uint64_t record_size(uint64_t app, uint64_t name) noexcept nogil:
    return 2 + (app if app < RECORD_NAME else RECORD_NAME) + (name if name < RECORD_NAME else RECORD_NAME)

cdef inline uint64_t record_put(unsigned char *to, const unsigned char *app, uint64_t app_size,
                                const unsigned char *name, uint64_t size) noexcept nogil:
    """Write one; what is too long is cut. How many bytes: record_size()."""
    if app_size > RECORD_NAME:
        app_size = RECORD_NAME
    if size > RECORD_NAME:
        size = RECORD_NAME
    to[0] = <unsigned char>app_size
    memcpy(to + 1, app, app_size)
    to[1 + app_size] = <unsigned char>size
    memcpy(to + 2 + app_size, name, size)
    return 2 + app_size + size

cdef inline void copy_wide(unsigned char *to, const unsigned char *s, uint64_t size) noexcept nogil:
    """In steps of 16 bytes, without a call: up to 15 more are read and written."""
    cdef uint64_t i = 0
    while i < size:
        memcpy(to + i, s + i, 16)
        i += 16

cdef inline uint64_t record_put_wide(unsigned char *to, const unsigned char *app, uint64_t app_size,
                                     const unsigned char *name, uint64_t size) noexcept nogil:
    """record_put() of names of at most RECORD_NAME bytes, behind which 15 more may be read and, in the record, written."""
    to[0] = <unsigned char>app_size
    copy_wide(to + 1, app, app_size)
    to[1 + app_size] = <unsigned char>size
    copy_wide(to + 2 + app_size, name, size)
    return 2 + app_size + size
