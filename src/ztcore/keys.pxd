# Whose is what: 64-bit keys of applications, partners and sources, by SipHash with the table's
# secret. Each application has a secret of its own derived from it, so that the same name in two
# applications is two partners.

from libc.stdint cimport uint64_t

from ztcore.hash cimport SipKey, siphash

cdef enum:
    DOMAIN_SOURCE = 0x736f757263650000      # each kind of name has its own key
    DOMAIN_APP = 0x6170700000000000

cdef inline void sip_key_load(SipKey *key, const unsigned char *secret) noexcept nogil:
    """From 16 bytes, little-endian as in the SipHash paper."""
    cdef int i
    key.k0 = key.k1 = 0
    for i in range(8):
        key.k0 |= <uint64_t>secret[i] << (8 * i)
        key.k1 |= <uint64_t>secret[8 + i] << (8 * i)

cdef inline uint64_t never_zero(uint64_t h) noexcept nogil:
    return h if h else 1

cdef inline uint64_t app_hash(const SipKey *key, const unsigned char *name, size_t size) noexcept nogil:
    cdef SipKey own
    own.k0 = key.k0 ^ <uint64_t>DOMAIN_APP
    own.k1 = key.k1
    return never_zero(siphash(&own, name, size))

cdef inline void app_key(const SipKey *key, uint64_t hash, SipKey *out) noexcept nogil:
    """The application's own secret, from its hash."""
    out.k0 = siphash(key, <const unsigned char *>&hash, 8)
    hash = ~hash
    out.k1 = siphash(key, <const unsigned char *>&hash, 8)

cdef inline uint64_t partner_key(const SipKey *app, const unsigned char *name, size_t size) noexcept nogil:
    """`app`: from app_key()."""
    return never_zero(siphash(app, name, size))

cdef inline uint64_t source_key(const SipKey *key, const unsigned char *address, size_t size) noexcept nogil:
    cdef SipKey own
    own.k0 = key.k0 ^ <uint64_t>DOMAIN_SOURCE
    own.k1 = key.k1
    return never_zero(siphash(&own, address, size))
