# A signed datagram: any other one between a head and a keyed BLAKE2b of both. All numbers are little-endian.
#
#   Signed    0xc1 's' version key (the number of the key that signed it) | 0 (4) | time, ms (8) | sender (8) | sequence (8)
#   payload
#   mac (16)
#
# A sender draws its number when it starts and counts its datagrams from 1. Of each sender the highest sequence and which of
# the 1,024 before it came are remembered. Senders can only be known who sign, so that nobody else can fill their table;
# where it is full, the one silent for longest gives way, and from then on no sender that is not known may be older than what
# that one sent last: so nothing of it can come again. Nor may one be older than the receiver, which knows of nobody at its
# start.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ztcore.packed cimport OURS

cdef extern from "blake2.h" nogil:
    void zt_blake2(unsigned char *out, int size, const unsigned char *key, int key_size, const unsigned char *message,
                   uint64_t n) noexcept

cdef enum:
    SIGNED_KIND = 115
    SIGNED_VERSION = 1
    SIGNED_HEAD = 32
    MAC_SIZE = 16
    KEY_MOST = 64               # bytes of a key
    SENDERS = 1024
    SENDER_WAYS = 8
    WINDOW = 1024               # sequences remembered of a sender
    WINDOW_WORDS = 16

cdef enum:                      # what is wrong with a signature
    SIGNATURE_GOOD = 0
    SIGNATURE_MISSING = 1
    SIGNATURE_KEY = 2           # no such key
    SIGNATURE_FORGED = 3
    SIGNATURE_STALE = 4         # too old, or too far ahead
    SIGNATURE_REPLAYED = 5

cdef struct SignedHead:
    uint8_t ours
    uint8_t kind
    uint8_t version
    uint8_t key
    uint32_t unused
    int64_t time                # ms since 1970
    uint64_t sender
    uint64_t sequence

cdef struct SigningKey:
    int size                    # 0: there is none of this number
    unsigned char secret[KEY_MOST]

cdef struct Sender:
    uint64_t number             # 0: free
    int64_t latest              # of its time stamps, ms
    uint64_t highest
    uint64_t came[WINDOW_WORDS] # a bit for each of the last sequences, by sequence % WINDOW

cdef struct Signatures:
    bint wanted                 # there is a key
    int64_t window              # ms that a time stamp may be off
    int64_t floor               # ms: who is not known must be newer
    SigningKey key[256]
    Sender sender[SENDERS]

cdef inline bint same_bytes(const unsigned char *a, const unsigned char *b, int n) noexcept nogil:
    """In a time that does not tell where they differ."""
    cdef volatile uint8_t different = 0
    cdef int i
    for i in range(n):
        different |= a[i] ^ b[i]
    return different == 0

cdef inline Sender *sender_find(Signatures *s, uint64_t number, int64_t time) noexcept nogil:
    """Its place, NULL where it is not known and too old to become so."""
    cdef Sender *set = &s.sender[(number * <uint64_t>0x9e3779b97f4a7c15 >> 32) % (SENDERS // SENDER_WAYS) * SENDER_WAYS]
    cdef Sender *place = set
    cdef int i
    for i in range(SENDER_WAYS):
        if set[i].number == number:
            return set + i
        if set[i].latest < place.latest:
            place = set + i
    if time <= s.floor:
        return NULL
    if place.number:
        if place.latest > s.floor:
            s.floor = place.latest
        if time <= s.floor:
            return NULL
    memset(place, 0, sizeof(Sender))
    place.number = number
    return place

cdef inline bint sender_new(Sender *from_, uint64_t sequence) noexcept nogil:
    """Whether the sequence has not come before; it has from now on."""
    cdef uint64_t bit = <uint64_t>1 << (sequence & 63), i
    cdef uint64_t *word = &from_.came[(sequence % WINDOW) >> 6]
    if sequence > from_.highest:
        if sequence - from_.highest >= WINDOW:
            memset(from_.came, 0, sizeof(from_.came))
        else:
            for i in range(from_.highest + 1, sequence + 1):
                from_.came[(i % WINDOW) >> 6] &= ~(<uint64_t>1 << (i & 63))
        from_.highest = sequence
    elif from_.highest - sequence >= WINDOW or word[0] & bit:
        return False
    word[0] |= bit
    return True

cdef inline int signature_check(Signatures *s, const unsigned char *data, uint64_t n, int64_t now) noexcept nogil:
    """Of n >= 1 bytes; now: ms. The payload lies SIGNED_HEAD behind the start and MAC_SIZE before the end."""
    cdef SignedHead head
    cdef SigningKey *key
    cdef Sender *sender
    cdef unsigned char mac[MAC_SIZE]
    if n < SIGNED_HEAD + MAC_SIZE or data[0] != OURS or data[1] != SIGNED_KIND or data[2] != SIGNED_VERSION:
        return SIGNATURE_MISSING
    memcpy(&head, data, sizeof(SignedHead))
    key = &s.key[head.key]
    if key.size == 0:
        return SIGNATURE_KEY
    zt_blake2(mac, MAC_SIZE, key.secret, key.size, data, n - MAC_SIZE)
    if not same_bytes(mac, data + n - MAC_SIZE, MAC_SIZE):
        return SIGNATURE_FORGED
    if not now - s.window <= head.time <= now + s.window or head.sender == 0:
        return SIGNATURE_STALE
    sender = sender_find(s, head.sender, head.time)
    if sender == NULL:
        return SIGNATURE_STALE
    if not sender_new(sender, head.sequence):
        return SIGNATURE_REPLAYED
    if head.time > sender.latest:
        sender.latest = head.time
    return SIGNATURE_GOOD
