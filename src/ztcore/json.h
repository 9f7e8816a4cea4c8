/* Where a JSON text's plain bytes end, many at a time; and numbers that are more than a double holds exactly. */
#ifndef ZT_JSON_H
#define ZT_JSON_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define ZT_ONES 0x0101010101010101ULL
#define ZT_HIGH 0x8080808080808080ULL

/* The first byte that is a quote, a backslash, below a blank or above ASCII; `end` where there is none before it. Up to
   `room`, which is not before `end`, bytes may be looked at. */
static inline const unsigned char *zt_json_plain(const unsigned char *p, const unsigned char *end, const unsigned char *room) {
#if defined(__SSE2__)
    while (p < end && room - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)p);
        __m128i odd = _mm_cmplt_epi8(x, _mm_set1_epi8(0x20)); /* signed: what is above ASCII as well */
        unsigned special;
        odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8('"')));
        odd = _mm_or_si128(odd, _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));
        special = (unsigned)_mm_movemask_epi8(odd);
        if (special) {
            p += __builtin_ctz(special);
            return p < end ? p : end;
        }
        p += 16;
    }
    if (p > end) return end;
#else
    uint64_t x, special;
    while (end - p >= 8) { /* each test may mark a byte above the one that it is true of, never one below */
        memcpy(&x, p, 8);
        special = ((x ^ ZT_ONES * '"') - ZT_ONES) | ((x ^ ZT_ONES * '\\') - ZT_ONES) | (x - ZT_ONES * 0x20);
        special = (special & ~x & ZT_HIGH) | (x & ZT_HIGH);
        if (special) return p + (__builtin_ctzll(special) >> 3);
        p += 8;
    }
    (void)room;
#endif
    while (p < end && *p != '"' && *p != '\\' && *p >= 0x20 && *p < 0x80) p++;
    return p;
}

/* Are all eight bytes digits? */
static inline int zt_json_digits(uint64_t x) {
    return ((x & 0xf0f0f0f0f0f0f0f0ULL) | ((x + 0x0606060606060606ULL) & 0xf0f0f0f0f0f0f0f0ULL) >> 4) == 0x3333333333333333ULL;
}

#define ZT_DECIMAL_DIGITS 780   /* so many decide how a double is rounded, and whether one more is not 0 */

/* A number without its sign, correctly rounded whatever its length: its digits and its exponent are given to strtod() without
   a point, whose form is the locale's. */
static double zt_json_decimal(const unsigned char *p, const unsigned char *end) {
    char text[ZT_DECIMAL_DIGITS + 32];
    long scale = 0, exponent = 0;
    int n = 0, point = 0, more = 0, down;
    for (; p < end && (*p | 32) != 'e'; p++) {
        if (*p == '.') point = 1;
        else if (n == 0 && *p == '0') scale -= point;
        else if (n < ZT_DECIMAL_DIGITS) {
            text[n++] = (char)*p;
            scale -= point;
        } else {
            more |= *p != '0';
            scale += !point;
        }
    }
    if (p < end) {
        p++;
        down = *p == '-';
        p += *p == '-' || *p == '+';
        for (; p < end; p++)
            if (exponent < 1000000) exponent = exponent * 10 + (*p - '0');
        scale += down ? -exponent : exponent;
    }
    if (n == 0) return 0.0;
    if (more) {
        text[n++] = '1';
        scale--;
    }
    snprintf(text + n, 24, "e%ld", scale);
    return strtod(text, NULL);
}

#endif
