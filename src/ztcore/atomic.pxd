from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef extern from "atomic.h" nogil:
    uint64_t word_load(const uint64_t *word) noexcept
    uint64_t word_peek(const uint64_t *word) noexcept
    uint8_t byte_peek(const uint8_t *byte) noexcept
    void byte_poke(uint8_t *byte, uint8_t value) noexcept
    int64_t time_peek(const int64_t *time) noexcept
    void time_poke(int64_t *time, int64_t value) noexcept
    unsigned int words_equal(const uint64_t *words, uint64_t value) noexcept
    void word_store(uint64_t *word, uint64_t value) noexcept
    bint word_swap(uint64_t *word, uint64_t *expected, uint64_t wanted) noexcept
    uint64_t word_add(uint64_t *word, uint64_t n) noexcept
    void fence_acquire() noexcept
    void fence_release() noexcept
    void barrier() noexcept
    void zt_prefetch(const void *p) noexcept
    bint zt_likely(bint x) noexcept
    bint zt_unlikely(bint x) noexcept
    int zt_ctz(unsigned int x) noexcept
    void zt_yield() noexcept
    void zt_nap() noexcept
    void zt_rest() noexcept
    bint zt_patience(uint64_t *since) noexcept
    ctypedef void apart "ZT_APART"
