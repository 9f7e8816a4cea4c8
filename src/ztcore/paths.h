/* What each byte of a path or query means to the scanner in paths.pxd. */
#ifndef ZT_PATHS_H
#define ZT_PATHS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(_MSC_VER)
#include <intrin.h>
static __forceinline int zt_ctz64(uint64_t x) { unsigned long i; _BitScanForward64(&i, x); return (int)i; }
static __forceinline int zt_clz64(uint64_t x) { unsigned long i; _BitScanReverse64(&i, x); return 63 - (int)i; }
#else
#define zt_ctz64(x) __builtin_ctzll(x)
#define zt_clz64(x) __builtin_clzll(x)
#endif

#define BYTE_STOP 1     /* ends a plain segment, or makes it one that needs a closer look */
#define BYTE_DIGIT 2
#define BYTE_LETTER 4   /* ASCII letters and all of UTF-8 beyond ASCII */
#define BYTE_OTHER 8
#define BYTE_AT 16
#define BYTE_TRIGGER 32 /* no suspicious pattern without one of these */
#define BYTE_QUERY 64   /* a trigger in the query, ordinary in a path */

#define S BYTE_STOP
#define ST (BYTE_STOP | BYTE_TRIGGER)
#define SQ (BYTE_STOP | BYTE_QUERY)
#define D BYTE_DIGIT
#define L BYTE_LETTER
#define LT (BYTE_LETTER | BYTE_TRIGGER)
#define O BYTE_OTHER
#define OA (BYTE_OTHER | BYTE_AT)
#define OT (BYTE_OTHER | BYTE_TRIGGER)
#define OQ (BYTE_OTHER | BYTE_QUERY)

static const unsigned char byte_class[256] = {
    OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT,
    OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT, OT,
    /* space ! " # $ % & ' ( ) * + , - . / */
    OT, O, OT, S, OT, ST, O, OT, OT, O, OT, OT, O, O, O, SQ,
    /* 0-9 : ; < = > ? */
    D, D, D, D, D, D, D, D, D, D, OQ, ST, ST, O, O, S,
    /* @ A-O */
    OA, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    /* P-Z [ \ ] ^ _ */
    L, L, L, L, L, L, L, L, L, L, L, O, OT, O, O, O,
    /* ` a-o */
    OT, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    /* p-z { | } ~ delete */
    L, L, L, L, L, L, L, L, L, L, L, S, O, O, O, OT,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    /* c0, c1: never in UTF-8, but in disguised dots and slashes */
    LT, LT, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
};

#undef S
#undef ST
#undef SQ
#undef D
#undef L
#undef LT
#undef O
#undef OA
#undef OT
#undef OQ

/* Bit i tells of byte i what it is. Bytes in none of the masks are unusual in a path. */
struct path_masks {
    uint64_t slash, query, digit, letter, join; /* join: - . _ */
};

/* Of the first n <= 64 bytes. Nothing outside of them is read. */
#if defined(__SSE2__)

static inline __m128i path_load_short(const unsigned char *s, size_t n)
{
    uint64_t low = 0, high = 0;
    if (n >= 8) {
        memcpy(&low, s, 8);
        if (n > 8) {
            memcpy(&high, s + n - 8, 8);
            high >>= 8 * (16 - n);
        }
    } else if (n >= 4) {
        uint32_t first, last;
        memcpy(&first, s, 4);
        memcpy(&last, s + n - 4, 4);
        low = first | (uint64_t)last << (8 * (n - 4));
    } else if (n) {
        low = s[0] | (uint64_t)s[n >> 1] << (8 * (n >> 1)) | (uint64_t)s[n - 1] << (8 * (n - 1));
    }
    return _mm_set_epi64x((long long)high, (long long)low);
}

static inline void path_masks_add(struct path_masks *m, __m128i v, unsigned at, unsigned skip)
{
#define MASK(x) ((uint64_t)((unsigned)_mm_movemask_epi8(x) >> skip) << at)
#define WITHIN(x, low, high) _mm_and_si128(_mm_cmpgt_epi8(x, _mm_set1_epi8(low - 1)), _mm_cmplt_epi8(x, _mm_set1_epi8(high + 1)))
    __m128i folded = _mm_or_si128(v, _mm_set1_epi8(32));
    __m128i join = _mm_or_si128(WITHIN(v, '-', '.'), _mm_cmpeq_epi8(v, _mm_set1_epi8('_')));
    m->slash |= MASK(_mm_cmpeq_epi8(v, _mm_set1_epi8('/')));
    m->query |= MASK(_mm_cmpeq_epi8(v, _mm_set1_epi8('?')));
    m->digit |= MASK(WITHIN(v, '0', '9'));
    m->letter |= MASK(WITHIN(folded, 'a', 'z'));
    m->join |= MASK(join);
#undef MASK
#undef WITHIN
}

static inline void path_masks_of(const unsigned char *s, size_t n, struct path_masks *m)
{
    size_t i;
    m->slash = m->query = m->digit = m->letter = m->join = 0;
    if (n < 16) {
        path_masks_add(m, path_load_short(s, n), 0, 0);
        return;
    }
    for (i = 0; i + 16 <= n; i += 16)
        path_masks_add(m, _mm_loadu_si128((const __m128i *)(s + i)), (unsigned)i, 0);
    if (i < n)
        path_masks_add(m, _mm_loadu_si128((const __m128i *)(s + n - 16)), (unsigned)i, (unsigned)(16 - (n - i)));
}

#else

static inline void path_masks_of(const unsigned char *s, size_t n, struct path_masks *m)
{
    m->slash = m->query = m->digit = m->letter = m->join = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t bit = (uint64_t)1 << i;
        unsigned char c = s[i];
        if (c >= 0x80)
            continue;
        if (byte_class[c] & BYTE_LETTER)
            m->letter |= bit;
        else if (byte_class[c] & BYTE_DIGIT)
            m->digit |= bit;
        else if (c == '/')
            m->slash |= bit;
        else if (c == '?')
            m->query |= bit;
        else if (c == '-' || c == '.' || c == '_')
            m->join |= bit;
    }
}

#endif

#endif
