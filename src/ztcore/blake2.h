/* BLAKE2b (RFC 7693) with a key, for messages that lie in one piece: what hashlib.blake2b(message, key=key,
   digest_size=size) is, without Python. Little-endian machines. */

#ifndef ZT_BLAKE2_H
#define ZT_BLAKE2_H

#include <stdint.h>
#include <string.h>

static const uint64_t zt_blake2_iv[8] = {
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL};

static const uint8_t zt_blake2_sigma[12][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3}};

static inline uint64_t zt_blake2_turn(uint64_t x, int n) { return (x >> n) | (x << (64 - n)); }

static inline void zt_blake2_mix(uint64_t *a, uint64_t *b, uint64_t *c, uint64_t *d, uint64_t x, uint64_t y)
{
    *a += *b + x;
    *d = zt_blake2_turn(*d ^ *a, 32);
    *c += *d;
    *b = zt_blake2_turn(*b ^ *c, 24);
    *a += *b + y;
    *d = zt_blake2_turn(*d ^ *a, 16);
    *c += *d;
    *b = zt_blake2_turn(*b ^ *c, 63);
}

/* done: bytes so far, this block's among them */
static inline void zt_blake2_block(uint64_t h[8], const unsigned char block[128], uint64_t done, int last)
{
    uint64_t v[16], m[16];
    int i;
    memcpy(m, block, 128);
    for (i = 0; i < 8; i++) {
        v[i] = h[i];
        v[i + 8] = zt_blake2_iv[i];
    }
    v[12] ^= done;
    if (last)
        v[14] = ~v[14];
    for (i = 0; i < 12; i++) {
        const uint8_t *s = zt_blake2_sigma[i];
        zt_blake2_mix(&v[0], &v[4], &v[8], &v[12], m[s[0]], m[s[1]]);
        zt_blake2_mix(&v[1], &v[5], &v[9], &v[13], m[s[2]], m[s[3]]);
        zt_blake2_mix(&v[2], &v[6], &v[10], &v[14], m[s[4]], m[s[5]]);
        zt_blake2_mix(&v[3], &v[7], &v[11], &v[15], m[s[6]], m[s[7]]);
        zt_blake2_mix(&v[0], &v[5], &v[10], &v[15], m[s[8]], m[s[9]]);
        zt_blake2_mix(&v[1], &v[6], &v[11], &v[12], m[s[10]], m[s[11]]);
        zt_blake2_mix(&v[2], &v[7], &v[8], &v[13], m[s[12]], m[s[13]]);
        zt_blake2_mix(&v[3], &v[4], &v[9], &v[14], m[s[14]], m[s[15]]);
    }
    for (i = 0; i < 8; i++)
        h[i] ^= v[i] ^ v[i + 8];
}

/* key: 1..64 bytes; out: size (1..64) bytes */
static inline void zt_blake2(unsigned char *out, int size, const unsigned char *key, int key_size,
                             const unsigned char *message, uint64_t n)
{
    uint64_t h[8], done = 128;
    unsigned char block[128];
    memcpy(h, zt_blake2_iv, sizeof(h));
    h[0] ^= 0x01010000ULL ^ ((uint64_t)key_size << 8) ^ (uint64_t)size;
    memset(block, 0, 128);
    memcpy(block, key, key_size);
    zt_blake2_block(h, block, done, n == 0);
    while (n > 128) {
        done += 128;
        zt_blake2_block(h, message, done, 0);
        message += 128;
        n -= 128;
    }
    if (n) {
        memset(block, 0, 128);
        memcpy(block, message, n);
        zt_blake2_block(h, block, done + n, 1);
    }
    memcpy(out, h, size);
}

#endif
