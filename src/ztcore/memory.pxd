from libc.stdint cimport uint64_t

from ztcore.hash cimport SipKey
from ztcore.janitor cimport Janitor
from ztcore.table cimport Table

cdef class Memory:
    cdef Table table
    cdef SipKey key
    cdef object __weakref__
    cdef object block           # the mapping, kept alive
    cdef readonly object state  # the file's path, None: private memory
    cdef int lock               # the descriptor whose lock says that this process is there, -1: none
    cdef object places          # of the file and its lock: their inodes
    cdef readonly uint64_t slot
    cdef Janitor janitor
    cdef readonly tuple signals # of the user's own: custom.Signal
    cdef tuple own_signals      # their names
    cdef readonly int capacity
    cdef int take_memory(self, object hash_key, bint huge_pages) except -1
    cdef int take_signals(self) except -1
    cdef int attach(self, object hash_key) except -1
    cdef int settle_in(self, uint64_t slot) except -1
    cdef int part(self) except -1
    cdef void end_janitor(self) noexcept
