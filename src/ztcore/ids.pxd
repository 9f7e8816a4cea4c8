# Is a path segment an id or a word? Ids would make every call an endpoint of its own and may be
# personal, so in doubt it is an id: a word taken for an id only merges a few endpoints.
#
# Asked only about segments with a digit or an "@" that are not plain decimal numbers. A file name
# ("logo-2.gif") is judged by what stands before its extension. In this order:
#
#   digits and signs, no letter      id      2024-01-31, 4111 1111 1111 1111, +49-171-1234567
#       but a dot and two digits     word    1.1, 2.0
#   an "@" and something after it    id      ann@example.com, @ann
#       but @2x, @3x                 word    logo@2x.png
#   v and up to four digits          word    v1, v2.1, v2024
#   a standard and its number        word    iso20022, pain.001.001.09, camt.053, sha256, rfc7807
#   hex of 8 or more, with a digit   id      8f3k2... is not; deadbeef1, UUIDs and hashes are
#   16 or more, and in it 10 in a    id      cus_NffrFeUfNV2Hib, base64, tokens
#       row with A, a and 1
#   16 in a row with a digit, of 24  id      base32, lower-case tokens
#   three digits, in a file five     id      ord_8f3k2, INV-2024-0012, 0x1f3a9c01, DE89370400440532
#   else                             word    oauth2, s3, 3ds, top-10, jquery-3.6.0.min.js

from libc.stdint cimport uint32_t
from libc.string cimport memcmp

cdef extern from "paths.h" nogil:
    enum:
        BYTE_STOP
        BYTE_DIGIT
        BYTE_LETTER
        BYTE_OTHER
        BYTE_AT
        BYTE_TRIGGER
        BYTE_QUERY
    const unsigned char byte_class[256]

cdef enum:
    RUN_DIGIT = 1
    RUN_LOWER = 2
    RUN_UPPER = 4
    TOKEN = 16                  # bytes of a token of mixed case, of which
    TOKEN_RUN = 10              # so many in a row
    LONG_TOKEN = 24             # the same for one of a single case
    LONG_RUN = 16
    HEX = 8
    DIGITS = 3
    FILE_DIGITS = 5
    VERSION_DIGITS = 4
    EXTENSION = 5               # bytes at most

cdef struct Shape:              # of a segment, or of a file name's stem
    uint32_t digits
    uint32_t letters
    uint32_t not_hex            # neither hex digits nor dashes
    uint32_t dashes
    uint32_t dots
    uint32_t longest            # run of letters and digits with at least one digit
    uint32_t longest_mixed      # run with a digit, a lower and an upper case letter

cdef inline bint is_digit(unsigned char c) noexcept nogil:
    return <unsigned char>(c - 48) < 10

cdef inline bint is_letter(unsigned char c) noexcept nogil:
    return <unsigned char>((c | 32) - 97) < 26

cdef inline int hex_digit(unsigned char c) noexcept nogil:
    """Its value, -1 where it is none."""
    if is_digit(c):
        return c - 48
    c |= 32
    return c - 87 if 97 <= c <= 102 else -1

cdef inline void shape_of(const unsigned char *s, size_t n, Shape *out) noexcept nogil:
    """An escape counts as one sign."""
    cdef uint32_t run = 0, kinds = 0
    cdef size_t i = 0
    cdef unsigned char c = 0
    out.digits = out.letters = out.not_hex = out.dashes = out.dots = 0
    out.longest = out.longest_mixed = 0
    while i <= n:
        c = s[i] if i < n else 47
        if is_digit(c):
            out.digits += 1
            run += 1
            kinds |= RUN_DIGIT
        elif byte_class[c] & BYTE_LETTER:
            out.letters += 1
            out.not_hex += not (is_letter(c) and (c | 32) <= 102)
            run += 1
            kinds |= RUN_LOWER if c & 32 else RUN_UPPER
        else:
            out.dashes += c == 45
            out.dots += c == 46
            out.not_hex += c != 45 and i < n
            if kinds & RUN_DIGIT and run > out.longest:
                out.longest = run
            if kinds == (RUN_DIGIT | RUN_LOWER | RUN_UPPER) and run > out.longest_mixed:
                out.longest_mixed = run
            run = kinds = 0
            if c == 37 and i + 2 < n and hex_digit(s[i + 1]) >= 0 and hex_digit(s[i + 2]) >= 0:
                i += 2
        i += 1

cdef inline size_t stem_length(const unsigned char *s, size_t n) noexcept nogil:
    """Of a file name: what stands before the extension (a dot, a letter and up to four letters or
    digits); n where there is none."""
    cdef size_t i = n
    while i > 0 and n - i <= EXTENSION:
        i -= 1
        if s[i] == 46:
            return i if 0 < i < n - 1 and is_letter(s[i + 1]) else n
        if not (is_digit(s[i]) or is_letter(s[i])):
            return n
    return n

cdef inline bint is_address(const unsigned char *s, size_t n) noexcept nogil:
    """Like a mail address or a handle; not @2x, the size of a picture."""
    cdef size_t i
    for i in range(n - 1):
        if s[i] == 64:
            return not (is_digit(s[i + 1]) and i + 2 < n and s[i + 2] | 32 == 120)
    return False

cdef inline bint is_version(const unsigned char *s, size_t n, const Shape *shape) noexcept nogil:
    return (s[0] | 32 == 118 and shape.digits <= VERSION_DIGITS and shape.digits + shape.dots == n - 1)

cdef inline bint is_standard(const unsigned char *s, size_t n) noexcept nogil:
    """Letters that stand for a standard, then at most four groups of up to five digits."""
    cdef char prefix[4]
    cdef size_t i
    cdef int groups = 0, digits = 0
    if n < 4:
        return False
    for i in range(4):
        prefix[i] = s[i] | 32
    if memcmp(prefix, b"pain", 4) == 0 or memcmp(prefix, b"pacs", 4) == 0 or memcmp(prefix, b"camt", 4) == 0:
        i = 4
    elif (memcmp(prefix, b"iso", 3) == 0 or memcmp(prefix, b"sha", 3) == 0 or memcmp(prefix, b"rfc", 3) == 0
          or memcmp(prefix, b"utf", 3) == 0):
        i = 3
    else:
        return False
    while i < n:
        if is_digit(s[i]):
            digits += 1
        elif s[i] == 46 or s[i] == 45 or s[i] == 95:
            groups += 1
            digits = 0
        else:
            return False
        if digits > 5 or groups > 4:
            return False
        i += 1
    return True

cdef inline bint segment_is_id(const unsigned char *s, size_t n, int classes) noexcept nogil:
    """The list above. classes: the segment's byte classes together; n is at least 1."""
    cdef size_t stem = n
    cdef Shape shape
    if classes & BYTE_LETTER and n <= 3 and classes & BYTE_AT == 0:
        return False
    if classes & BYTE_AT and is_address(s, n):
        return True
    if classes & BYTE_OTHER:
        stem = stem_length(s, n)
    shape_of(s, stem, &shape)
    if shape.digits == 0:
        return False
    if shape.letters == 0:
        return not (shape.dots == 1 and shape.digits <= 2 and stem == shape.digits + 1)
    if is_version(s, stem, &shape) or is_standard(s, stem):
        return False
    if shape.not_hex == 0 and (shape.dashes == 0 and stem >= HEX or stem >= 32):
        return True
    if shape.longest_mixed >= TOKEN_RUN and stem >= TOKEN:
        return True
    if shape.longest >= LONG_RUN and stem >= LONG_TOKEN:
        return True
    return shape.digits >= <uint32_t>(DIGITS if stem == n else FILE_DIGITS)
