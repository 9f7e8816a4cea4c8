# Suspicious patterns in a raw path and query: SQL injection, path traversal, script injection,
# JNDI lookups. docs/patterns.md lists what is found and, as important, what is not.

from ztcore.ids cimport is_digit, is_letter
from ztcore.sql cimport BLANK, LOOK, Text, after, in_word, is_quote, sql_found, starts
from ztcore.unescape cimport UNESCAPE_MOST, has_byte, strip_comments, unescape

cdef enum:
    SLASH = 47
    BACKSLASH = 92
    DOT = 46
    TAG_MOST = 256              # bytes from a "<" or a quote to the handler in it

cdef inline bint is_slash(unsigned char c) noexcept nogil:
    return c == SLASH or c == BACKSLASH

cdef inline bint climbs(Text t, Text start) noexcept nogil:
    """At two dots: a step up in a path."""
    cdef unsigned char before = (t - 1)[0] if t > start else SLASH
    if before == DOT or is_digit(before):
        return False
    if is_slash(t[2]):
        return True
    return is_slash(before) and (t[2] == 0 or t[2] == 59 or t[2] == 63)

cdef inline bint is_loot(Text t) noexcept nogil:
    """Behind a slash or "=": a file that only an intruder asks for."""
    if t[0] == 101:
        return starts(t, b"etc/passwd") or starts(t, b"etc/shadow") or starts(t, b"etc\\passwd")
    if t[0] == 119:
        return starts(t, b"win.ini") and not in_word(t[7])
    if t[0] == 98:
        return starts(t, b"boot.ini") and not in_word(t[8])
    return starts(t, b"proc/self/")

cdef inline bint is_tag(Text t) noexcept nogil:
    """Behind "<": an element that runs a script."""
    cdef Text behind
    if t[0] == SLASH:
        t += 1
    behind = after(t, b"script")
    if behind == NULL:
        behind = after(t, b"iframe")
    return behind != NULL and not in_word(behind[0]) and behind[0] != 45

cdef inline bint is_handler(Text t) noexcept nogil:
    """At "on": an event handler of HTML and the "=" behind it."""
    cdef Text name = t + 2
    cdef int i = 2
    while is_letter(t[i]) and i < 24:
        i += 1
    while t[i] == BLANK:
        i += 1
    if t[i] != 61 or t[i + 1] == 61:
        return False
    return (starts(name, b"error") or starts(name, b"load") or starts(name, b"click") or starts(name, b"mouse")
            or starts(name, b"focus") or starts(name, b"blur") or starts(name, b"toggle") or starts(name, b"pointer")
            or starts(name, b"animation") or starts(name, b"begin") or starts(name, b"key") or starts(name, b"submit")
            or starts(name, b"start") or starts(name, b"wheel") or starts(name, b"transition") or starts(name, b"pageshow")
            or starts(name, b"input") or starts(name, b"change") or starts(name, b"hashchange") or starts(name, b"message"))

cdef inline bint is_script_url(Text t) noexcept nogil:
    """javascript: with code behind it, not the title of a book."""
    cdef Text behind = after(t, b"javascript:")
    cdef int i
    if behind == NULL:
        behind = after(t, b"vbscript:")
    if behind == NULL or behind[0] == BLANK:
        return False
    for i in range(LOOK):
        if behind[i] == 0 or behind[i] == 38:
            return False
        if behind[i] == 40 or behind[i] == 96 or behind[i] == 61:
            return True
    return False

cdef inline bint is_lookup(Text t) noexcept nogil:
    """Behind "${": a lookup of Log4j, plain or disguised by other lookups inside it."""
    cdef int i
    if starts(t, b"jndi:") or starts(t, b"lower:") or starts(t, b"upper:") or starts(t, b"::-") or starts(t, b"base64:"):
        return True
    for i in range(LOOK):
        if t[i] == 0 or t[i] == 125:
            return False
        if t[i] == 36 and t[i + 1] == 123:
            return True
        if t[i] == 58 and t[i + 1] == 45 and i:
            return True
    return False

cdef inline bint other_found(Text t) noexcept nogil:
    """Traversal, script and JNDI."""
    cdef Text start = t
    cdef Text tag = NULL            # the last "<" or quote that a handler could follow
    cdef unsigned char before = SLASH
    while t[0]:
        if t[0] == DOT:
            if t[1] == DOT and climbs(t, start):
                return True
        elif t[0] == 60:
            if is_tag(t + 1):
                return True
            if is_letter(t[1]):
                tag = t
        elif is_quote(t[0]):
            tag = t
        elif t[0] == 36:
            if t[1] == 123 and is_lookup(t + 2):
                return True
        elif is_letter(t[0]) and not in_word(before):
            if (is_slash(before) or before == 61) and is_loot(t):
                return True
            if t[0] == 111 and t[1] == 110 and tag != NULL and t - tag < TAG_MOST and before != 38 and is_handler(t):
                return True
            if (t[0] == 106 or t[0] == 118) and is_script_url(t):
                return True
            while is_letter(t[1]):
                t += 1
        before = t[0]
        t += 1
    return False

cdef inline bint patterns_found(const unsigned char *s, size_t n) noexcept nogil:
    """Is there a suspicious pattern in the first 4096 bytes of a raw path and query?"""
    cdef unsigned char text[UNESCAPE_MOST + 1]
    n = unescape(s, n, text)
    if n == <size_t>-1 or other_found(text):
        return True
    if has_byte(text, n, 42):
        strip_comments(text, n)
    return sql_found(text)
