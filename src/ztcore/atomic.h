/* Atomic operations on 64-bit words that may lie in memory shared between processes. */
#ifndef ZT_ATOMIC_H
#define ZT_ATOMIC_H

#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)

/* Acquire: what the word's releaser wrote before is visible after. */
static inline uint64_t word_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
/* Relaxed: for counters and hints whose order against other memory does not matter. */
static inline uint64_t word_peek(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
/* The same for a counter of one byte and for a time. */
static inline uint8_t byte_peek(const uint8_t *byte) { return __atomic_load_n(byte, __ATOMIC_RELAXED); }
static inline void byte_poke(uint8_t *byte, uint8_t value) { __atomic_store_n(byte, value, __ATOMIC_RELAXED); }
static inline int64_t time_peek(const int64_t *time) { return __atomic_load_n(time, __ATOMIC_RELAXED); }
static inline void time_poke(int64_t *time, int64_t value) { __atomic_store_n(time, value, __ATOMIC_RELAXED); }
/* Release: pairs with word_load and with the acquire of word_swap. */
static inline void word_store(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
/* Compare-and-swap, acquire and release on success; *expected is refreshed on failure. */
static inline int word_swap(uint64_t *word, uint64_t *expected, uint64_t wanted)
{
    return __atomic_compare_exchange_n(word, expected, wanted, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}
static inline uint64_t word_add(uint64_t *word, uint64_t n) { return __atomic_fetch_add(word, n, __ATOMIC_RELAXED); }
static inline void fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
static inline void fence_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
/* Stores before it are made before stores after it, as a process that is killed in between leaves them. */
static inline void barrier(void) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
#if defined(__x86_64__)
/* For writing; without -mprfchw GCC fetches a line to read it, and a second trip makes it one's own. Every 64-bit
 * x86 takes the instruction, the oldest as no operation. */
static inline void zt_prefetch(const void *p) { __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p)); }
#else
#define zt_prefetch(p) __builtin_prefetch((p), 1)
#endif
#define zt_likely(x) __builtin_expect(!!(x), 1)
#define zt_unlikely(x) __builtin_expect(!!(x), 0)
#define zt_ctz(x) __builtin_ctz(x)
/* What a function returns that stays one by itself: were it part of its caller, the constants of what seldom happens would
 * be made ready for what always does. Cython calls every function of a .pxd inline; this one is not meant to be. */
#define ZT_APART __attribute__((noinline)) void
#pragma GCC diagnostic ignored "-Wattributes"

#elif defined(_MSC_VER)

#include <intrin.h>
static __forceinline uint64_t word_load(const uint64_t *word) { uint64_t v = *(volatile const uint64_t *)word; _ReadWriteBarrier(); return v; }
static __forceinline uint64_t word_peek(const uint64_t *word) { return *(volatile const uint64_t *)word; }
static __forceinline uint8_t byte_peek(const uint8_t *byte) { return *(volatile const uint8_t *)byte; }
static __forceinline void byte_poke(uint8_t *byte, uint8_t value) { *(volatile uint8_t *)byte = value; }
static __forceinline int64_t time_peek(const int64_t *time) { return *(volatile const int64_t *)time; }
static __forceinline void time_poke(int64_t *time, int64_t value) { *(volatile int64_t *)time = value; }
static __forceinline void word_store(uint64_t *word, uint64_t value) { _InterlockedExchange64((volatile __int64 *)word, (__int64)value); }
static __forceinline int word_swap(uint64_t *word, uint64_t *expected, uint64_t wanted)
{
    uint64_t seen = (uint64_t)_InterlockedCompareExchange64((volatile __int64 *)word, (__int64)wanted, (__int64)*expected);
    int done = seen == *expected;
    *expected = seen;
    return done;
}
static __forceinline uint64_t word_add(uint64_t *word, uint64_t n) { return (uint64_t)_InterlockedExchangeAdd64((volatile __int64 *)word, (__int64)n); }
static __forceinline void fence_acquire(void) { _ReadWriteBarrier(); }
static __forceinline void fence_release(void) { _ReadWriteBarrier(); }
static __forceinline void barrier(void) { _ReadWriteBarrier(); }
static __forceinline int zt_ctz(unsigned x) { unsigned long i; _BitScanForward(&i, x); return (int)i; }
#define zt_prefetch(p) ((void)(p))
#define zt_likely(x) (x)
#define zt_unlikely(x) (x)
#define ZT_APART void

#else
#error "ztmon needs GCC, Clang or MSVC"
#endif

/* Which of eight words are `value`, a bit each. All are compared: an exit at the one that is it would be guessed wrong
 * by the processor every time. */
static inline unsigned words_equal(const uint64_t *words, uint64_t value)
{
    unsigned a = (unsigned)(word_peek(words) == value) | (unsigned)(word_peek(words + 1) == value) << 1;
    unsigned b = (unsigned)(word_peek(words + 2) == value) << 2 | (unsigned)(word_peek(words + 3) == value) << 3;
    unsigned c = (unsigned)(word_peek(words + 4) == value) << 4 | (unsigned)(word_peek(words + 5) == value) << 5;
    unsigned d = (unsigned)(word_peek(words + 6) == value) << 6 | (unsigned)(word_peek(words + 7) == value) << 7;
    return (a | b) | (c | d);
}

#include <time.h>
#if defined(__unix__) || defined(__APPLE__)
#include <sched.h>
#define zt_yield() sched_yield()
static inline void zt_sleep(long ns)
{
    struct timespec span = {0, ns};
    nanosleep(&span, 0);
}
/* A tenth of a millisecond; ten milliseconds. */
#define zt_nap() zt_sleep(100000L)
#define zt_rest() zt_sleep(10000000L)
/* ns since some moment, never 0 */
static inline uint64_t zt_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + 1;
}
#else
#define zt_yield() ((void)0)
#define zt_nap() ((void)0)
#define zt_rest() ((void)0)
static inline uint64_t zt_now(void) { return (uint64_t)clock() * (1000000000u / CLOCKS_PER_SEC) + 1; }
#endif

/* Let others go on, for two milliseconds since the first call (*since is 0); 0 when that time is over. A count of
 * yields would not do: where all cores are busy, each takes as long as the others like. */
static inline int zt_patience(uint64_t *since)
{
    uint64_t now = zt_now();
    if (*since == 0)
        *since = now;
    if (now - *since > 2000000u)
        return 0;
    if (now - *since < 200000u)
        zt_yield();
    else
        zt_nap();
    return 1;
}

#endif
