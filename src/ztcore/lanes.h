/* Four floats in one register: one lane for each half-life, the last one for half an hour or what else stands there.
 *
 * GCC and Clang compile the vector type to SSE2 on x86-64 and to NEON on arm64, both of which
 * are the baseline there; any other compiler takes the loops below.
 */
#ifndef ZT_LANES_H
#define ZT_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER)
#define ZT_INLINE static __forceinline
#else
#define ZT_INLINE static inline __attribute__((always_inline))
#endif

#if (defined(__GNUC__) || defined(__clang__)) && !defined(ZT_NO_VECTOR)
#define ZT_VECTOR 1
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
typedef float f4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));
#else
typedef struct { float lane[4]; } f4;
#endif

#if defined(ZT_VECTOR)

ZT_INLINE f4 f4_all(float x) { return (f4){x, x, x, x}; }
ZT_INLINE f4 f4_set(float a, float b, float c, float d) { return (f4){a, b, c, d}; }
ZT_INLINE float f4_lane(f4 a, int i) { return a[i]; }
ZT_INLINE f4 f4_add(f4 a, f4 b) { return a + b; }
ZT_INLINE f4 f4_sub(f4 a, f4 b) { return a - b; }
ZT_INLINE f4 f4_mul(f4 a, f4 b) { return a * b; }
ZT_INLINE f4 f4_div(f4 a, f4 b) { return a / b; }

ZT_INLINE f4 f4_sqrt(f4 a)
{
#if defined(__SSE2__)
    return (f4)_mm_sqrt_ps((__m128)a);
#else
    return (f4){sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3])};
#endif
}

ZT_INLINE f4 f4_select(i4 mask, f4 yes, f4 no) { return (f4)((mask & (i4)yes) | (~mask & (i4)no)); }
#if defined(__SSE2__)
ZT_INLINE f4 f4_min(f4 a, f4 b) { return (f4)_mm_min_ps((__m128)a, (__m128)b); }
ZT_INLINE f4 f4_max(f4 a, f4 b) { return (f4)_mm_max_ps((__m128)a, (__m128)b); }
#else
ZT_INLINE f4 f4_min(f4 a, f4 b) { return f4_select(a < b, a, b); }
ZT_INLINE f4 f4_max(f4 a, f4 b) { return f4_select(a > b, a, b); }
#endif

/* Bit i is set where a > b in lane i, for the first three lanes. */
ZT_INLINE int f4_above(f4 a, f4 b)
{
#if defined(__SSE2__)
    return _mm_movemask_ps(_mm_cmpgt_ps((__m128)a, (__m128)b)) & 7;
#else
    i4 m = a > b;
    return (m[0] & 1) | (m[1] & 2) | (m[2] & 4);
#endif
}

/* Whether a > b in any lane. */
ZT_INLINE int f4_any_above(f4 a, f4 b)
{
#if defined(__SSE2__)
    return _mm_movemask_ps(_mm_cmpgt_ps((__m128)a, (__m128)b));
#else
    i4 m = a > b;
    return m[0] | m[1] | m[2] | m[3];
#endif
}

/* 2^x for |x| <= 125 (clamped), relative error below 4e-7. */
ZT_INLINE f4 f4_exp2(f4 x)
{
    x = f4_min(f4_max(x, f4_all(-125.0f)), f4_all(125.0f));
    i4 whole = __builtin_convertvector(x, i4);
    f4 part = x - __builtin_convertvector(whole, f4);
    i4 negative = part < f4_all(0.0f);
    whole += negative;
    part -= __builtin_convertvector(negative, f4);
    f4 square = part * part;
    f4 p = (1.0f + 6.9314687e-1f * part) + square * (2.4023040e-1f + 5.5480493e-2f * part) +
           square * square * (9.6846400e-3f + 1.2391398e-3f * part + square * 2.1870464e-4f);
    return (f4)((i4)p + (whole << 23));
}

/* log2 of positive normal numbers, absolute error below 2e-7 plus rounding. */
ZT_INLINE f4 f4_log2(f4 x)
{
    i4 bits = (i4)x - 0x3f3504f3;
    f4 exponent = __builtin_convertvector(bits >> 23, f4);
    f4 m = (f4)((bits & 0x7fffff) + 0x3f3504f3);
    f4 z = (m - 1.0f) / (m + 1.0f), z2 = z * z;
    f4 p = (2.8853901f + 0.9617967f * z2) + z2 * z2 * (0.5770780f + 0.4121985f * z2 + z2 * z2 * 0.3205989f);
    return exponent + z * p;
}

typedef uint16_t u2x4 __attribute__((vector_size(8)));

/* Lanes 1, 0, 3, 2. */
ZT_INLINE f4 f4_swap(f4 a) { return __builtin_shuffle(a, (i4){1, 0, 3, 2}); }
/* Lanes 0 and 2 of a, lanes 1 and 3 of b. */
ZT_INLINE f4 f4_weave(f4 a, f4 b) { return f4_select((i4){-1, 0, -1, 0}, a, b); }

/* Four 16-bit numbers as floats. */
ZT_INLINE f4 f4_from_u16(const uint16_t *p)
{
    u2x4 v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(__builtin_convertvector(v, i4), f4);
}

/* And back, truncated, kept within 0..65535. */
ZT_INLINE void f4_to_u16(uint16_t *p, f4 a)
{
    i4 whole = __builtin_convertvector(f4_min(f4_max(a, f4_all(0.0f)), f4_all(65535.0f)), i4);
    u2x4 v = __builtin_convertvector(whole, u2x4);
    memcpy(p, &v, sizeof v);
}

/* Sixty-four random bits as four numbers in 0..1. */
ZT_INLINE f4 f4_random(uint64_t bits)
{
    u2x4 v;
    memcpy(&v, &bits, sizeof v);
    return __builtin_convertvector(__builtin_convertvector(v, i4), f4) * (1.0f / 65536.0f);
}

#else /* loops, for compilers without vector types */

#define ZT_LOOP(expr) do { f4 r; for (int i = 0; i < 4; i++) r.lane[i] = (expr); return r; } while (0)
ZT_INLINE f4 f4_all(float x) { ZT_LOOP(x); }
ZT_INLINE f4 f4_set(float a, float b, float c, float d) { f4 r; r.lane[0] = a; r.lane[1] = b; r.lane[2] = c; r.lane[3] = d; return r; }
ZT_INLINE float f4_lane(f4 a, int i) { return a.lane[i]; }
ZT_INLINE f4 f4_add(f4 a, f4 b) { ZT_LOOP(a.lane[i] + b.lane[i]); }
ZT_INLINE f4 f4_sub(f4 a, f4 b) { ZT_LOOP(a.lane[i] - b.lane[i]); }
ZT_INLINE f4 f4_mul(f4 a, f4 b) { ZT_LOOP(a.lane[i] * b.lane[i]); }
ZT_INLINE f4 f4_div(f4 a, f4 b) { ZT_LOOP(a.lane[i] / b.lane[i]); }
ZT_INLINE f4 f4_min(f4 a, f4 b) { ZT_LOOP(a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
ZT_INLINE f4 f4_max(f4 a, f4 b) { ZT_LOOP(a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
ZT_INLINE f4 f4_sqrt(f4 a) { ZT_LOOP(sqrtf(a.lane[i])); }
ZT_INLINE f4 f4_swap(f4 a) { ZT_LOOP(a.lane[i ^ 1]); }
ZT_INLINE f4 f4_weave(f4 a, f4 b) { ZT_LOOP(i & 1 ? b.lane[i] : a.lane[i]); }
ZT_INLINE f4 f4_from_u16(const uint16_t *p) { ZT_LOOP((float)p[i]); }
ZT_INLINE void f4_to_u16(uint16_t *p, f4 a)
{
    for (int i = 0; i < 4; i++) {
        float x = a.lane[i];
        p[i] = (uint16_t)(x > 0.0f ? x < 65535.0f ? x : 65535.0f : 0.0f);
    }
}
ZT_INLINE f4 f4_random(uint64_t bits) { ZT_LOOP((float)((bits >> (16 * i)) & 0xffff) * (1.0f / 65536.0f)); }
ZT_INLINE f4 f4_exp2(f4 x) { ZT_LOOP(exp2f(x.lane[i] < -125.0f ? -125.0f : x.lane[i] > 125.0f ? 125.0f : x.lane[i])); }
ZT_INLINE f4 f4_log2(f4 x) { ZT_LOOP(log2f(x.lane[i])); }
ZT_INLINE int f4_any_above(f4 a, f4 b)
{
    int any = 0;
    for (int i = 0; i < 4; i++) any |= a.lane[i] > b.lane[i];
    return any;
}
ZT_INLINE int f4_above(f4 a, f4 b)
{
    int mask = 0;
    for (int i = 0; i < 3; i++) mask |= (a.lane[i] > b.lane[i]) << i;
    return mask;
}

#endif

ZT_INLINE f4 f4_load(const float *p) { f4 r; memcpy(&r, p, sizeof r); return r; }
ZT_INLINE void f4_store(float *p, f4 a) { memcpy(p, &a, sizeof a); }

/* Nonzero where the first three lanes are within 0..most; not so for nan. */
ZT_INLINE int f4_within(f4 a, f4 most)
{
#if defined(ZT_VECTOR) && defined(__SSE2__)
    return (_mm_movemask_ps(_mm_and_ps(_mm_cmpge_ps((__m128)a, _mm_setzero_ps()), _mm_cmple_ps((__m128)a, (__m128)most))) & 7) == 7;
#else
    for (int i = 0; i < 3; i++)
        if (!(f4_lane(a, i) >= 0.0f && f4_lane(a, i) <= f4_lane(most, i)))
            return 0;
    return 1;
#endif
}

ZT_INLINE float f1_max3(f4 a)
{
    float x = f4_lane(a, 0), y = f4_lane(a, 1), z = f4_lane(a, 2);
    x = x > y ? x : y;
    return x > z ? x : z;
}

/* Which of four 16-byte slots begins with a 24-bit mark (its upper byte is not compared), -1: none. */
ZT_INLINE int group_find(const void *slots, uint32_t mark)
{
#if defined(ZT_VECTOR) && defined(__SSE2__)
    const __m128 *s = (const __m128 *)slots;
    __m128 ab = _mm_unpacklo_ps(_mm_loadu_ps((const float *)s), _mm_loadu_ps((const float *)(s + 1)));
    __m128 cd = _mm_unpacklo_ps(_mm_loadu_ps((const float *)(s + 2)), _mm_loadu_ps((const float *)(s + 3)));
    __m128i all = _mm_slli_epi32(_mm_castps_si128(_mm_movelh_ps(ab, cd)), 8);
    int hit = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(all, _mm_set1_epi32((int)(mark << 8)))));
    return hit ? __builtin_ctz((unsigned)hit) : -1;
#else
    const uint32_t *s = (const uint32_t *)slots;
    for (int i = 0; i < 4; i++)
        if (s[4 * i] << 8 == mark << 8)
            return i;
    return -1;
#endif
}

/* Which of n (a multiple of 4) four-byte slots begins with a 16-bit mark, -1: none. */
ZT_INLINE int pair_find(const uint16_t *slots, int n, uint16_t mark)
{
#if defined(ZT_VECTOR) && defined(__SSE2__)
    __m128i wanted = _mm_set1_epi32((int)((uint32_t)mark << 16));
    for (int i = 0; i < n; i += 4) {
        __m128i all = _mm_slli_epi32(_mm_loadu_si128((const __m128i *)(slots + 2 * i)), 16);
        int hit = _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(all, wanted)));
        if (hit)
            return i + __builtin_ctz((unsigned)hit);
    }
#else
    for (int i = 0; i < n; i++)
        if (slots[2 * i] == mark)
            return i;
#endif
    return -1;
}

#endif
