/* Where a JSON text's plain bytes end: eight at a time. */
#ifndef ZT_JSON_H
#define ZT_JSON_H

#include <stdint.h>
#include <string.h>

#define ZT_ONES 0x0101010101010101ULL
#define ZT_HIGH 0x8080808080808080ULL

/* The first byte that is a quote, a backslash, below a blank or above ASCII; `end` where there is none.
   Each test may mark a byte above the one that it is true of, never one below: the lowest mark is right. */
static inline const unsigned char *zt_json_plain(const unsigned char *p, const unsigned char *end) {
    uint64_t x, special;
    while (end - p >= 8) {
        memcpy(&x, p, 8);
        special = ((x ^ ZT_ONES * '"') - ZT_ONES) | ((x ^ ZT_ONES * '\\') - ZT_ONES) | (x - ZT_ONES * 0x20);
        special = (special & ~x & ZT_HIGH) | (x & ZT_HIGH);
        if (special) return p + (__builtin_ctzll(special) >> 3);
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\' && *p >= 0x20 && *p < 0x80) p++;
    return p;
}

#endif
