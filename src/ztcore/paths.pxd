# A raw path or a route template becomes an endpoint: the keyed hash of method and template, in
# which every id segment and every parameter of a route is the same placeholder.
#
#   GET /users/42?page=2        ->  0 "/users/" PLACEHOLDER
#   GET /users/{id}             ->  the same
#   https://host/users/%34%32/  ->  the same: scheme, host, query, fragment, empty segments, path
#                                   parameters (";x=1") and escapes that need not be are dropped
#
# One scan with a table of byte classes; what is rare (escapes, braces, ";") is taken up again
# more slowly. What counts as an id is in ids.pxd.

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from ztcore.atomic cimport zt_likely, zt_unlikely
from ztcore.hash cimport SipKey, SipStream, load64, load_rest, sip_end, sip_feed, sip_feed_few, sip_start, siphash
from ztcore.ids cimport (BYTE_AT, BYTE_DIGIT, BYTE_LETTER, BYTE_OTHER, BYTE_QUERY, BYTE_STOP, BYTE_TRIGGER, HEX,
                         byte_class, hex_digit, is_letter, segment_is_id)
from ztcore.patterns cimport patterns_found
from ztcore.unescape cimport UNESCAPE_MOST

cdef enum:                      # Path.flags
    PATH_HAS_ID = 1             # object_id is set
    PATH_SUSPICIOUS = 2         # a pattern of patterns.pxd is in the raw path or query
    PATH_TEMPLATE = 4           # a parameter of a route is in it: "{id}", "<int:id>", ":id"
    PATH_LONG = 8               # the template is not in one piece and cannot be named

cdef enum:
    TEMPLATE_SIZE = 768         # bytes of the buffer
    SEGMENT_MOST = 240          # a longer segment is an id, whatever is in it
    TEMPLATE_FULL = TEMPLATE_SIZE - SEGMENT_MOST - 16
    PLACEHOLDER = 1             # byte that stands for an id
    MARKERS_MOST = 16           # braces looked at in a path
    MARKER_MOST = 64            # bytes of a parameter in braces
    SLASH = 47
    QUERY = 63
    FRAGMENT = 35

cdef extern from "paths.h" nogil:
    ctypedef struct PathMasks "struct path_masks":
        uint64_t slash
        uint64_t query
        uint64_t digit
        uint64_t letter
        uint64_t join           # - . _
    void path_masks_of(const unsigned char *s, size_t n, PathMasks *out) noexcept
    int zt_ctz64(uint64_t x) noexcept
    int zt_clz64(uint64_t x) noexcept

cdef extern from *:
    """
    #define OBJECT_HASHED (1ULL << 63)
    #define OBJECT_LIMIT (1ULL << 62)
    #define ENDPOINT_MARK (1ULL << 48)
    #define FOLD 0x2020202020202020ULL
    #define FIVE_BYTES 0xffffffffffULL
    #define ETC 0x2f6374652fULL
    """
    const uint64_t OBJECT_HASHED    # the object id is a hash, not a number
    const uint64_t OBJECT_LIMIT     # decimal ids below this stand for themselves
    const uint64_t ENDPOINT_MARK    # set where the upper 16 bits would be 0
    const uint64_t FOLD
    const uint64_t FIVE_BYTES
    const uint64_t ETC              # "/etc/" as a number

cdef struct Path:
    uint64_t endpoint           # never 0, nor are its upper 16 bits
    uint64_t object_id          # of the first id: a number below 2^62, or a hash with bit 63; 0: none
    uint32_t flags

cdef struct Scan:               # where the reading of a path is
    const unsigned char *at     # at last the byte behind the path
    const unsigned char *end
    size_t size                 # of the template
    int classes                 # of the bytes of the segment, as written
    int seen                    # of all bytes, as read
    int markers                 # braces looked at
    bint marker                 # the segment is or has a parameter

cdef inline int method_is(const unsigned char *s, const char *name, size_t n, int index) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if s[i] & 0xdf != <unsigned char>name[i]:
            return 7
    return index

cdef inline int method_index(const unsigned char *s, size_t n) noexcept nogil:
    """0..7: GET HEAD OPTIONS POST PUT PATCH DELETE, other; in any case."""
    if n == 3:
        return method_is(s, b"GET", 3, 0) if s[0] & 0xdf == 71 else method_is(s, b"PUT", 3, 4)
    if n == 4:
        return method_is(s, b"POST", 4, 3) if s[0] & 0xdf == 80 else method_is(s, b"HEAD", 4, 1)
    if n == 5:
        return method_is(s, b"PATCH", 5, 5)
    if n == 6:
        return method_is(s, b"DELETE", 6, 6)
    if n == 7:
        return method_is(s, b"OPTIONS", 7, 2)
    return 7

cdef inline uint64_t eight_digits(uint64_t x) noexcept nogil:
    """The number that eight ASCII digits are, the first one in the lowest byte."""
    x = (x & <uint64_t>0x0f0f0f0f0f0f0f0f) * 2561 >> 8
    x = (x & <uint64_t>0x00ff00ff00ff00ff) * 6553601 >> 16
    return (x & <uint64_t>0x0000ffff0000ffff) * <uint64_t>42949672960001 >> 32

cdef inline uint64_t object_id_of(const SipKey *key, const unsigned char *s, size_t n, bint decimal) noexcept nogil:
    cdef uint64_t number
    cdef size_t i
    if decimal and n <= 19:
        if n < 8:
            number = eight_digits(load_rest(s, n) << (64 - 8 * n))
        else:
            number = eight_digits(load64(s))
            for i in range(8, n):
                number = number * 10 + (s[i] & 15)
        if zt_likely(0 < number < OBJECT_LIMIT):
            return number
    return siphash(key, s, n) | OBJECT_HASHED

cdef inline const unsigned char *path_start(const unsigned char *s, const unsigned char *end) noexcept nogil:
    """Behind scheme and host, where the path has them."""
    cdef const unsigned char *p = s
    while p < end and (byte_class[p[0]] & (BYTE_LETTER | BYTE_DIGIT) or p[0] == 43):
        p += 1
    if p == s or end - p < 3 or p[0] != 58 or p[1] != SLASH or p[2] != SLASH:
        return s
    p += 3
    while p < end and p[0] != SLASH and p[0] != QUERY and p[0] != FRAGMENT:
        p += 1
    return p

cdef inline const unsigned char *marker_end(const unsigned char *p, const unsigned char *end) noexcept nogil:
    """Behind the bracket that closes the one at `p`, which may hold a regular expression with
    slashes; NULL where it is not closed near by."""
    cdef unsigned char opened = p[0], closes = 125 if p[0] == 123 else 62
    cdef int depth = 0
    if end - p > MARKER_MOST:
        end = p + MARKER_MOST
    while p < end:
        if p[0] == opened:
            depth += 1
        elif p[0] == closes:
            depth -= 1
            if depth == 0:
                return p + 1
        p += 1
    return NULL

cdef inline bint ends_segment(unsigned char c) noexcept nogil:
    return c == SLASH or c == QUERY or c == FRAGMENT

cdef inline void skip_segment(Scan *g) noexcept nogil:
    while g.at < g.end and not ends_segment(g.at[0]):
        g.seen |= byte_class[g.at[0]]
        g.at += 1

cdef inline void put_byte(unsigned char *out, Scan *g, unsigned char c) noexcept nogil:
    g.classes |= byte_class[c]
    out[g.size] = c
    g.size += 1

cdef inline void put_escaped(unsigned char *out, Scan *g, int high, int low) noexcept nogil:
    out[g.size] = 37
    out[g.size + 1] = <unsigned char>(high + (48 if high < 10 else 55))
    out[g.size + 2] = <unsigned char>(low + (48 if low < 10 else 55))
    g.size += 3

cdef inline void put_escape(unsigned char *out, Scan *g) noexcept nogil:
    """At "%": the byte that the escape stands for, or %XX in upper case where it needs one. A "%"
    that is no escape is %25."""
    cdef int high = -1, low = -1
    cdef unsigned char c
    if g.end - g.at >= 3:
        high = hex_digit(g.at[1])
        low = hex_digit(g.at[2])
    if high < 0 or low < 0:
        g.classes |= BYTE_OTHER
        put_escaped(out, g, 2, 5)
        g.at += 1
        return
    c = <unsigned char>(high << 4 | low)
    g.at += 3
    if byte_class[c] & (BYTE_LETTER | BYTE_DIGIT) or c == 45 or c == 46 or c == 64 or c == 95 or c == 126:
        put_byte(out, g, c)
        return
    g.classes |= byte_class[c] | BYTE_OTHER
    put_escaped(out, g, high, low)

cdef inline bint skip_marker(Scan *g) noexcept nogil:
    """Step over a parameter in brackets. False where there is none."""
    cdef const unsigned char *behind
    if g.markers >= MARKERS_MOST:
        return False
    g.markers += 1
    behind = marker_end(g.at, g.end)
    if behind == NULL:
        return False
    while g.at < behind:
        g.seen |= byte_class[g.at[0]]
        g.at += 1
    g.marker = True
    return True

cdef inline void segment_slow(unsigned char *out, Scan *g) noexcept nogil:
    """Read a segment with escapes, brackets or path parameters, or as much of it as fits."""
    cdef size_t most = g.size + SEGMENT_MOST
    cdef unsigned char c
    g.classes = 0
    while g.at < g.end and g.size < most and not ends_segment(g.at[0]):
        c = g.at[0]
        g.seen |= byte_class[c]
        if c == 37:
            put_escape(out, g)
            continue
        if (c == 123 or c == 60) and skip_marker(g):
            continue
        if c == 59:
            skip_segment(g)
            break
        put_byte(out, g, c)
        g.at += 1

cdef inline void segment_read(unsigned char *out, Scan *g) noexcept nogil:
    """Write the next segment as it is, unescaped where it may be; an id too."""
    cdef const unsigned char *first = g.at
    cdef const unsigned char *p = first
    cdef const unsigned char *most = p + SEGMENT_MOST if g.end - p > SEGMENT_MOST else g.end
    cdef unsigned char *to = out + g.size
    cdef unsigned char c = SLASH
    cdef int classes = 0
    while p < most:
        c = p[0]
        if byte_class[c] & BYTE_STOP:
            break
        classes |= byte_class[c]
        to[0] = c
        to += 1
        p += 1
    g.marker = False
    if zt_unlikely(p < most and not ends_segment(c)):
        segment_slow(out, g)
    else:
        g.at = p
        g.classes = classes
        g.size = to - out
    g.seen |= g.classes

cdef inline void segment_close(const SipKey *key, unsigned char *out, size_t start, Scan *g, Path *path) noexcept nogil:
    """Keep a word; put the placeholder over an id or a parameter."""
    cdef size_t n = g.size - start
    cdef bint decimal = g.classes == BYTE_DIGIT
    if zt_unlikely(n and (out[start] == 46 or out[g.size - 1] == 46)):
        g.seen |= BYTE_TRIGGER
    if zt_unlikely(g.classes & BYTE_QUERY and out[start] == 58 and n > 1 and (is_letter(out[start + 1]) or out[start + 1] == 95)):
        g.marker = True
    if zt_unlikely(g.marker):
        path.flags |= PATH_TEMPLATE
    elif g.classes & (BYTE_DIGIT | BYTE_AT) == 0:
        if n == 0:
            g.size = start - 1
        return
    elif decimal or segment_is_id(out + start, n, g.classes):
        if path.object_id == 0:
            path.object_id = object_id_of(key, out + start, n, decimal)
    else:
        return
    out[start] = PLACEHOLDER
    g.size = start + 1

cdef inline void segment_long(const SipKey *key, unsigned char *out, size_t start, const unsigned char *first,
                              Scan *g, Path *path) noexcept nogil:
    """An id, whatever is in it: the placeholder. first: where the segment started."""
    skip_segment(g)
    if path.object_id == 0:
        path.object_id = siphash(key, first, g.at - first) | OBJECT_HASHED
    out[start] = PLACEHOLDER
    g.size = start + 1

cdef inline void template_write(const SipKey *key, unsigned char *out, Scan *g, Path *path) noexcept nogil:
    """Write the template into TEMPLATE_SIZE bytes, and object id and flags into `path`; g: at and
    end are set."""
    cdef const unsigned char *first
    cdef size_t start
    cdef uint64_t h
    g.seen = g.markers = 0
    path.object_id = 0
    path.flags = 0
    g.size = 0
    if zt_unlikely(g.at < g.end and g.at[0] != SLASH):
        g.at = path_start(g.at, g.end)
    while True:
        while g.at < g.end and g.at[0] == SLASH:
            g.at += 1
        if g.at == g.end or g.at[0] == QUERY or g.at[0] == FRAGMENT:
            break
        if zt_unlikely(g.size > TEMPLATE_FULL):
            h = siphash(key, out, g.size)
            memcpy(out, &h, 8)
            g.size = 8
            path.flags |= PATH_LONG
        out[g.size] = SLASH
        g.size += 1
        start = g.size
        first = g.at
        segment_read(out, g)
        if zt_unlikely(g.at < g.end and not ends_segment(g.at[0])):
            segment_long(key, out, start, first, g, path)
        else:
            segment_close(key, out, start, g, path)
    if path.object_id:
        path.flags |= PATH_HAS_ID

cdef inline void template_parse(const SipKey *key, const unsigned char *s, size_t n, Scan *g, Path *path) noexcept nogil:
    """Any path."""
    cdef unsigned char template[TEMPLATE_SIZE]
    g.at = s
    g.end = s + n
    template_write(key, template, g, path)
    path.endpoint = siphash(key, template, g.size)

cdef inline uint64_t bits_below(size_t n) noexcept nogil:
    """n = 0..64."""
    return <uint64_t>-1 >> (64 - n) if n else 0

cdef inline bint plain_is_id(const unsigned char *s, size_t n, uint64_t segment, const PathMasks *m) noexcept nogil:
    """segment_is_id(), and the short cut for words like "v1" and "oauth2"."""
    cdef uint64_t digits = segment & m.digit
    digits &= digits - 1
    if n < HEX and segment & m.letter and segment & m.join == 0 and digits & (digits - 1) == 0:
        return False
    return segment_is_id(s, n, BYTE_DIGIT | (BYTE_LETTER if segment & m.letter else 0)
                         | (BYTE_OTHER if segment & m.join else 0))

cdef inline bint plain_parse(const SipKey *key, const unsigned char *s, size_t n, Scan *g, Path *out) noexcept nogil:
    """The same for what most paths are: at most 64 bytes, without empty segments and unusual bytes,
    a word or a number in each segment. False for another path."""
    cdef PathMasks m
    cdef SipStream h
    cdef uint64_t path, segment, digits
    cdef size_t size = n if n <= 64 else 64, start, end, done = 0
    path_masks_of(s, size, &m)
    if m.query:
        size = zt_ctz64(m.query)
    elif n > 64:
        return False
    g.at = s + size
    path = bits_below(size)
    if (path & ~(m.slash | m.digit | m.letter | m.join) or m.slash & path & 1 == 0
            or path & (m.slash << 1) & (m.slash | m.join) or path & (m.join << 1) & m.slash):
        return False
    if m.slash >> (size - 1) & 1:
        size -= 1
        path >>= 1
    out.object_id = 0
    out.flags = 0
    digits = m.digit & path
    if digits == 0:
        out.endpoint = siphash(key, s, size)
        return True
    sip_start(&h.state, key)
    h.rest = h.size = 0
    while digits:
        start = 64 - zt_clz64(m.slash & bits_below(zt_ctz64(digits)))
        segment = m.slash & path & ~bits_below(start)
        end = zt_ctz64(segment) if segment else size
        segment = bits_below(end) & ~bits_below(start)
        digits &= ~bits_below(end)
        if segment & ~m.digit and not plain_is_id(s + start, end - start, segment, &m):
            continue
        if out.object_id == 0:
            out.object_id = object_id_of(key, s + start, end - start, segment & ~m.digit == 0)
            out.flags = PATH_HAS_ID
        sip_feed(&h, s + done, start - done)
        sip_feed_few(&h, PLACEHOLDER, 1)
        done = end
    sip_feed(&h, s + done, size - done)
    out.endpoint = sip_end(&h.state, h.rest, h.size)
    return True

cdef inline bint path_suspicious(const unsigned char *s, size_t n, const Scan *g) noexcept nogil:
    """Is there a pattern in path or query? Looked for only where a byte could be part of one."""
    cdef const unsigned char *p = g.at
    cdef const unsigned char *end
    cdef int seen = g.seen & BYTE_TRIGGER
    if n > UNESCAPE_MOST:
        n = UNESCAPE_MOST
    end = s + n
    while p < end:
        seen |= byte_class[p[0]]
        p += 1
    if seen & (BYTE_TRIGGER | BYTE_QUERY):
        return patterns_found(s, n)
    return n >= 10 and (load64(s) | FOLD) & FIVE_BYTES == ETC and patterns_found(s, n)

cdef inline void path_parse(const SipKey *key, const unsigned char *s, size_t n, int method, bint patterns,
                            Path *out) noexcept nogil:
    """Of a raw path with its query, or of a route template; any bytes, any length.

    method: 0..7, from method_index(); patterns: look for suspicious patterns too.
    """
    cdef SipKey own
    cdef Scan g
    own.k0 = key.k0 ^ (<uint64_t>method << 56)
    own.k1 = key.k1
    g.seen = 0
    if zt_unlikely(not plain_parse(&own, s, n, &g, out)):
        template_parse(&own, s, n, &g, out)
    if zt_unlikely(out.endpoint < ENDPOINT_MARK):
        out.endpoint |= ENDPOINT_MARK
    if patterns and path_suspicious(s, n, &g):
        out.flags |= PATH_SUSPICIOUS
