# The row's word: who is its writer, what others have posted to it, and how often it changed hands.
#
#   owner (10 bits) | first posted record (24) | version (30)
#
# The owner is the tag of an attached process: its slot + 1; 0 is nobody. Records are numbered from 1.

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #define OWNER_SHIFT 54
    #define HEAD_SHIFT 30
    #define OWNER_MASK (0x3ffULL << OWNER_SHIFT)
    #define HEAD_MASK (0xffffffULL << HEAD_SHIFT)
    #define VERSION_MASK ((1ULL << HEAD_SHIFT) - 1)
    """
    const int OWNER_SHIFT
    const int HEAD_SHIFT
    const uint64_t OWNER_MASK
    const uint64_t HEAD_MASK
    const uint64_t VERSION_MASK

cdef inline uint64_t word_owner(uint64_t word) noexcept nogil:
    """The owner's tag in its place; 0: nobody."""
    return word & OWNER_MASK

cdef inline uint64_t word_head(uint64_t word) noexcept nogil:
    """The number of the first posted record, 0: none."""
    return (word & HEAD_MASK) >> HEAD_SHIFT

cdef inline uint64_t word_next(uint64_t word) noexcept nogil:
    """The version after it, without owner and list."""
    return (word + 1) & VERSION_MASK

cdef inline uint64_t word_with_head(uint64_t word, uint64_t record) noexcept nogil:
    return (word & ~HEAD_MASK) | (record << HEAD_SHIFT)
