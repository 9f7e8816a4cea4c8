# What endpoints are called, without showing what only a few know: a word of a path is kept as text
# only once three different partners used it, or where it is on a list. Until then there is its
# keyed hash and which two partners brought it.
#
#   Names | words | endpoints | candidates       one block of fixed size, offsets, no allocation
#
# words       text of the segments that may be shown; those on the list stay for ever
# endpoints   which segments an endpoint consists of, by their hashes
# candidates  segments of one or two partners: hashes only
#
# All three are buckets of eight; who stays in a full one is in nameplace.pxd. Ids never come here:
# they are placeholders before a path is learned. Whoever finds the block being written to does not
# wait: the next occasion will do.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ztcore.atomic cimport barrier, fence_acquire, fence_release, word_load, word_peek, word_store, word_swap, zt_yield
from ztcore.hash cimport SipKey, siphash
from ztcore.ids cimport BYTE_DIGIT, BYTE_LETTER, byte_class
from ztcore.nameplace cimport (Candidate, NAMED_SEGMENTS, NAME_WAYS, Named, WORD_LENGTH, Word, candidate_place,
                               endpoint_place, partner_bit, partner_mark, word_place)
from ztcore.paths cimport PATH_LONG, PLACEHOLDER, Path, SLASH, Scan, TEMPLATE_SIZE, template_write
from ztcore.word cimport OWNER_MASK
from ztcore.words cimport ordinary_words

cdef enum:
    NAMED_PER_WORD = 4          # endpoints, and as many candidates
    REF_ID = 1                  # instead of a segment's hash
    REF_MORE = 2
    READS_MOST = 64             # tries of a reader

cdef struct Names:
    uint64_t word               # odd: being written by the tag in its upper bits; its changes tell readers to look again
    uint64_t buckets            # of words
    uint64_t listed             # the ordinary words are in

cdef extern from *:
    """
    static const char *const zt_methods[8] = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "OTHER"};
    #define SEGMENT_DOMAIN 0x7365676d656e7400ULL
    #define ALL_BITS (~0ULL)
    #define UPPER_BITS (~0ULL << 32)
    #define MARK_BITS (~0ULL << 40)    /* what a partner's slot keeps of an endpoint's hash */
    """
    const char *const zt_methods[8]
    const uint64_t SEGMENT_DOMAIN
    const uint64_t ALL_BITS
    const uint64_t UPPER_BITS
    const uint64_t MARK_BITS

# -- layout ---------------------------------------------------------------------------------------

cdef inline uint64_t words_bytes(const Names *n) noexcept nogil:
    return n.buckets * NAME_WAYS * sizeof(Word)

cdef inline uint64_t names_bytes(uint64_t words) noexcept nogil:
    """Size of a block that keeps up to so many words as text: 384 bytes a word."""
    cdef Names n
    n.buckets = (words + NAME_WAYS - 1) // NAME_WAYS
    return 64 + words_bytes(&n) + n.buckets * NAME_WAYS * NAMED_PER_WORD * (sizeof(Named) + sizeof(Candidate))

cdef inline void names_init(Names *n, uint64_t words) noexcept nogil:
    """n: zeroed memory of names_bytes(words) bytes, words at least 1."""
    n.buckets = (words + NAME_WAYS - 1) // NAME_WAYS

cdef inline uint64_t bucket_at(uint64_t key, uint64_t buckets) noexcept nogil:
    """The first entry of the bucket that the upper 32 bits of a key lead to."""
    return (((key >> 32) * buckets) >> 32) * NAME_WAYS

cdef inline Word *words_for(Names *n, uint64_t key) noexcept nogil:
    return <Word *>(<char *>n + 64) + bucket_at(key, n.buckets)

cdef inline Named *endpoints_for(Names *n, uint64_t key) noexcept nogil:
    return <Named *>(<char *>n + 64 + words_bytes(n)) + bucket_at(key, n.buckets * NAMED_PER_WORD)

cdef inline Candidate *candidates_for(Names *n, uint64_t key) noexcept nogil:
    cdef uint64_t at = n.buckets * NAME_WAYS * NAMED_PER_WORD * sizeof(Named)
    return <Candidate *>(<char *>n + 64 + words_bytes(n) + at) + bucket_at(key, n.buckets * NAMED_PER_WORD)

# -- one writer at a time, readers that look again ------------------------------------------------

cdef inline bint names_own(Names *n, uint64_t me) noexcept nogil:
    """Become the writer (`me`: a process's tag, see word.pxd); False where somebody is. Acquire: pairs with
    names_free()."""
    cdef uint64_t word = word_load(&n.word)
    if word & 1 or not word_swap(&n.word, &word, me | (word + 1)):
        return False
    fence_release()             # readers see the odd word before anything that is written now
    return True

cdef inline void names_free(Names *n) noexcept nogil:
    """Release: pairs with names_own() and with the word_load() of a reader."""
    word_store(&n.word, (n.word + 1) & ~OWNER_MASK)

cdef inline void names_release(Names *n, uint64_t dead) noexcept nogil:
    """The same for a writer that is no more."""
    cdef uint64_t word = word_load(&n.word)
    if word & 1 and word & OWNER_MASK == dead:
        word_swap(&n.word, &word, (word + 1) & ~OWNER_MASK)

# -- words ----------------------------------------------------------------------------------------

cdef inline uint64_t segment_key(const SipKey *key, const unsigned char *s, size_t n) noexcept nogil:
    """Never 0; its upper 32 bits, by which endpoints refer to it, are no REF_."""
    cdef SipKey own
    cdef uint64_t h
    own.k0 = key.k0 ^ SEGMENT_DOMAIN
    own.k1 = key.k1
    h = siphash(&own, s, n)
    return h if h >> 34 else h | <uint64_t>1 << 34

cdef inline Word *word_find(Names *n, uint64_t key, uint64_t bits) noexcept nogil:
    """bits: those of the key that must agree, the upper ones or all."""
    cdef Word *bucket = words_for(n, key)
    cdef int i
    for i in range(NAME_WAYS):
        if bucket[i].key and (bucket[i].key ^ key) & bits == 0:
            return bucket + i
    return NULL

cdef inline bint presentable(const unsigned char *s, size_t n) noexcept nogil:
    """Short enough, and without anything that a page or a terminal could take for a command."""
    cdef size_t i
    if n > WORD_LENGTH:
        return False
    for i in range(n):
        if not (byte_class[s[i]] & (BYTE_LETTER | BYTE_DIGIT) or s[i] == 37 or s[i] == 45 or s[i] == 46
                or s[i] == 58 or s[i] == 95 or s[i] == 126):
            return False
    return True

cdef inline Word *word_keep(Names *n, uint64_t key, const unsigned char *s, size_t size, bint listed) noexcept nogil:
    """Keep a segment as text; NULL where there is no place for it."""
    cdef Word *word = word_find(n, key, ALL_BITS)
    cdef int place
    if word == NULL:
        word = words_for(n, key)
        place = word_place(word, listed)
        if place < 0:
            return NULL
        word += place
        memset(word, 0, sizeof(Word))
        word.length = <uint8_t>size
        memcpy(word.text, s, size)
        barrier()               # a writer that is killed leaves no word without its text
        word.key = key
    word.known |= listed
    return word

cdef inline void candidate_meet(Names *n, uint64_t key, const unsigned char *s, size_t size, uint32_t mark) noexcept nogil:
    """A partner used a segment that is not text yet. For the third one it becomes so."""
    cdef Candidate *at = candidates_for(n, key)
    cdef Word *word
    cdef int i, place = -1
    for i in range(NAME_WAYS):
        if at[i].key == key:
            place = i
    if place < 0:
        at += candidate_place(at, mark)
        at.key = key
        at.first = mark
        at.second = 0
        return
    at += place
    if at.first == mark or at.second == mark:
        return
    if at.second == 0:
        at.second = mark
    else:
        word = word_keep(n, key, s, size, False)
        if word != NULL:
            word.partners = partner_bit(at.first) | partner_bit(at.second) | partner_bit(mark)
            at.key = 0

cdef inline uint32_t segment_meet(Names *n, const SipKey *key, const unsigned char *s, size_t size, uint32_t mark,
                                  bint *settled) noexcept nogil:
    """A partner used a segment. Returns how endpoints refer to it; settled: False where it may
    become text one day."""
    cdef uint64_t own
    cdef Word *word
    if size == 1 and s[0] == PLACEHOLDER:
        return REF_ID
    own = segment_key(key, s, size)
    word = word_find(n, own, ALL_BITS)
    if word != NULL:
        word.partners |= partner_bit(mark)
    elif presentable(s, size):
        candidate_meet(n, own, s, size, mark)
        settled[0] = False
    return <uint32_t>(own >> 32)

cdef inline size_t segment_end(const unsigned char *template, size_t at, size_t size) noexcept nogil:
    """Where the segment that starts at `at` ends."""
    while at < size and template[at] != SLASH:
        at += 1
    return at

cdef inline bint words_know(Names *n, const SipKey *key, const unsigned char *s, size_t size) noexcept nogil:
    """Of a segment or path: put its words on the list. False where one cannot be."""
    cdef unsigned char template[TEMPLATE_SIZE]
    cdef Path path
    cdef Scan g
    cdef size_t at = 1, end
    cdef bint done = True
    g.at = s
    g.end = s + size
    template_write(key, template, &g, &path)
    while at < g.size and not path.flags & PATH_LONG:
        end = segment_end(template, at, g.size)
        if not (end == at + 1 and template[at] == PLACEHOLDER):
            done &= presentable(template + at, end - at) and word_keep(
                n, segment_key(key, template + at, end - at), template + at, end - at, True) != NULL
        at = end + 1
    return done

cdef inline void names_list(Names *n, const SipKey *key) noexcept nogil:
    """Put the ordinary words on the list, once. For the writer."""
    cdef const unsigned char *word = <const unsigned char *>ordinary_words
    cdef size_t size
    if n.listed:
        return
    n.listed = 1
    while word[0]:
        size = 0
        while word[size] and word[size] != 32:
            size += 1
        words_know(n, key, word, size)
        word += size + (word[size] == 32)

cdef inline bint names_know(Names *n, uint64_t me, const SipKey *key, const unsigned char *s, size_t size) noexcept nogil:
    """A segment, or a path of several, may be shown from now on. False where it is longer than
    WORD_LENGTH or of unusual bytes, or where there is no room."""
    cdef bint done
    if not names_own(n, me):
        return False
    names_list(n, key)
    done = words_know(n, key, s, size)
    names_free(n)
    return done

# -- endpoints ------------------------------------------------------------------------------------

cdef inline Named *endpoint_take(Names *n, uint64_t key, uint32_t mark) noexcept nogil:
    """The endpoint's entry, a new one where it had none, NULL where there is no place."""
    cdef Named *bucket = endpoints_for(n, key)
    cdef int i, place
    for i in range(NAME_WAYS):
        if bucket[i].key == key:
            return bucket + i
    place = endpoint_place(bucket, mark)
    if place < 0:
        return NULL
    memset(bucket + place, 0, sizeof(Named))
    bucket[place].key = key
    bucket[place].first = mark
    return bucket + place

cdef inline bint names_learn(Names *n, uint64_t me, const SipKey *key, const Path *path, const unsigned char *s,
                             size_t size, int method, uint64_t partner) noexcept nogil:
    """A partner met an endpoint that is new to it. path: what path_parse() made of the bytes. True
    where there is nothing left to learn of this endpoint from other partners."""
    cdef unsigned char template[TEMPLATE_SIZE]
    cdef uint32_t mark = partner_mark(partner), ref
    cdef size_t at = 1, end, i = 0
    cdef Named *named
    cdef Path again
    cdef Scan g
    cdef bint settled = True
    if path.flags & PATH_LONG:
        return True
    if not names_own(n, me):
        return False
    names_list(n, key)
    g.at = s
    g.end = s + size
    template_write(key, template, &g, &again)
    named = endpoint_take(n, path.endpoint, mark)
    while at < g.size:
        end = segment_end(template, at, g.size)
        ref = segment_meet(n, key, template + at, end - at, mark, &settled)
        if named != NULL and i < NAMED_SEGMENTS:
            named.segment[i] = ref if i < NAMED_SEGMENTS - 1 or end == g.size else REF_MORE
        i += 1
        at = end + 1
    if named != NULL:
        named.partners |= partner_bit(mark)
        named.method = <uint8_t>method
        named.size = <uint8_t>(i if i < NAMED_SEGMENTS else NAMED_SEGMENTS)
    names_free(n)
    return settled and named != NULL

# -- text -----------------------------------------------------------------------------------------

cdef inline size_t put_text(char *out, size_t at, size_t size, const char *text, size_t n) noexcept nogil:
    """Append as much as there is room for."""
    if n > size - at:
        n = size - at
    memcpy(out + at, text, n)
    return at + n

cdef inline size_t text_write(Names *n, uint64_t key, char *out, size_t size) noexcept nogil:
    cdef Named *bucket = endpoints_for(n, key)
    cdef Named *named = NULL
    cdef Word *word
    cdef const char *method
    cdef size_t at = 0, length
    cdef int i
    for i in range(NAME_WAYS):
        if bucket[i].key and (bucket[i].key ^ key) & (MARK_BITS if key & ~MARK_BITS == 0 else ALL_BITS) == 0:
            named = bucket + i
    if named == NULL:
        return put_text(out, 0, size, b"{*}", 3)
    method = zt_methods[named.method & 7]
    while method[at]:
        at += 1
    at = put_text(out, 0, size, method, at)
    at = put_text(out, at, size, b" /", 2 if named.size == 0 else 1)
    for i in range(named.size if named.size < NAMED_SEGMENTS else NAMED_SEGMENTS):
        at = put_text(out, at, size, b"/", 1)
        if named.segment[i] == REF_ID:
            at = put_text(out, at, size, b"{id}", 4)
            continue
        word = word_find(n, <uint64_t>named.segment[i] << 32, UPPER_BITS) if named.segment[i] != REF_MORE else NULL
        length = 0
        if word != NULL:
            length = word.length if word.length < WORD_LENGTH else WORD_LENGTH
        at = put_text(out, at, size, word.text, length) if length else put_text(out, at, size, b"{*}", 3)
    return at

cdef inline size_t names_text(Names *n, uint64_t endpoint, char *out, size_t size) noexcept nogil:
    """Write "GET /api/users/{id}" without a NUL and return its length, at most `size`. Segments that
    may not be shown are {*}, so is the whole of an endpoint that is not remembered. An endpoint
    whose lower 40 bits are 0 is found by its upper ones."""
    cdef uint64_t word
    cdef size_t length
    cdef int i
    for i in range(READS_MOST):
        word = word_load(&n.word)
        if word & 1:
            zt_yield()
            continue
        length = text_write(n, endpoint, out, size)
        fence_acquire()         # all that was read was read before the word is looked at again
        if word_peek(&n.word) == word:
            return length
    return put_text(out, 0, size, b"{*}", 3)
