# SQL that breaks out of a value. Works on text from unescape(), comments stripped.

from ztcore.ids cimport is_digit, is_letter

ctypedef const unsigned char *Text

cdef enum:
    LOOK = 64                   # bytes ahead, where something further on decides
    QUOTED = 1                  # behind a quote
    OPENED = 2                  # behind the first, third .. quote of a value
    QUOTE = 39
    DOUBLE_QUOTE = 34
    BLANK = 32

cdef inline Text after(Text t, const char *word) noexcept nogil:
    """Behind the word that `t` starts with, NULL where it starts otherwise. A blank in the word
    stands for any number of blanks and opening parentheses, at least one."""
    cdef size_t i = 0
    while word[i]:
        if word[i] == BLANK:
            if t[0] != BLANK and t[0] != 40:
                return NULL
            while t[0] == BLANK or t[0] == 40:
                t += 1
        elif t[0] == <unsigned char>word[i]:
            t += 1
        else:
            return NULL
        i += 1
    return t

cdef inline bint starts(Text t, const char *word) noexcept nogil:
    return after(t, word) != NULL

cdef inline bint in_word(unsigned char c) noexcept nogil:
    return is_letter(c) or is_digit(c) or c == 95

cdef inline bint is_quote(unsigned char c) noexcept nogil:
    return c == QUOTE or c == DOUBLE_QUOTE

cdef inline Text skip(Text t) noexcept nogil:
    """Over blanks and parentheses."""
    while t[0] == BLANK or t[0] == 40 or t[0] == 41:
        t += 1
    return t

cdef inline Text blanks(Text t) noexcept nogil:
    while t[0] == BLANK:
        t += 1
    return t

cdef inline bint ends_value(Text t) noexcept nogil:
    """Nothing but blanks up to the end of a query's value."""
    t = blanks(t)
    return t[0] == 0 or t[0] == 38

cdef inline bint is_comment(Text t) noexcept nogil:
    """A comment that cuts off the rest of the statement."""
    return (t[0] == 45 and t[1] == 45) or t[0] == 35 or (t[0] == 47 and t[1] == 42)

cdef inline Text literal(Text t) noexcept nogil:
    """Behind a number or a quoted string (which may be cut off by the end), NULL for others."""
    cdef unsigned char quote = t[0]
    cdef int i
    if is_digit(t[0]):
        while is_digit(t[0]) or t[0] == 46:
            t += 1
        if not in_word(t[0]):
            return t
    if not is_quote(quote):
        return NULL
    for i in range(1, LOOK):
        if t[i] == quote:
            return t + i + 1
        if t[i] == 0:
            return t + i
    return NULL

cdef inline Text comparison(Text t) noexcept nogil:
    """Behind = < > <> != >= <= or like, NULL for others."""
    cdef Text start = t
    while t[0] == 61 or t[0] == 60 or t[0] == 62 or t[0] == 33:
        t += 1
    if t == start:
        return after(t, b"like ")
    if t - start < 4:
        return t
    return NULL

cdef inline bint is_selection(Text t) noexcept nogil:
    """Behind "select": is it a list of columns and not prose?"""
    cdef int i = 0
    t = skip(t)
    if is_digit(t[0]) or is_quote(t[0]) or t[0] == 64 or t[0] == 42 or (t - 1)[0] == 40:
        return True
    if starts(t, b"null") or starts(t, b"distinct "):
        return True
    while in_word(t[i]):
        i += 1
    if i and t[i] == 40:
        return True
    for i in range(LOOK):
        if t[i] == 0 or t[i] == 38:
            return False
        if t[i] == 44 or (t[i] == BLANK and starts(t + i, b" from ")):
            return True
    return False

cdef inline Text name(Text t) noexcept nogil:
    """Behind the name of a column, NULL for others."""
    cdef Text start = t
    while in_word(t[0]) or t[0] == 46:
        t += 1
    if t == start or is_digit(start[0]):
        return NULL
    return t

cdef inline bint always_true(Text t, int quoted) noexcept nogil:
    """Behind "or", "and", "where": literals compared with each other, "true" or a number before a
    comment, or a query of its own; behind an opening quote any column compared with a string."""
    cdef Text operand = skip(t)
    cdef Text behind
    behind = after(operand, b"not ")
    if behind != NULL:
        operand = skip(behind)
    if starts(operand, b"select ") and operand > t and (operand - 1)[0] == 40:
        return is_selection(operand + 6)
    if starts(operand, b"exists select "):
        return True
    if starts(operand, b"true"):
        behind = operand + 4
        return quoted and (is_comment(skip(behind)) or ends_value(skip(behind)))
    behind = literal(operand)
    if behind == NULL:
        behind = name(operand) if quoted == OPENED else NULL
        if behind == NULL:
            return False
        t = comparison(blanks(behind))
        return t != NULL and is_quote(blanks(t)[0])
    t = comparison(skip(behind))
    if t != NULL:
        t = skip(t)
        return literal(t) != NULL
    return quoted and is_comment(skip(behind))

cdef inline bint is_union(Text t) noexcept nogil:
    cdef Text behind = after(t, b"union ")
    cdef Text more
    if behind == NULL:
        return False
    more = after(behind, b"all ")
    if more == NULL:
        more = after(behind, b"distinct ")
    behind = after(behind if more == NULL else more, b"select")
    if behind == NULL or in_word(behind[0]) and not is_digit(behind[0]):
        return False
    return is_selection(behind)

cdef inline bint is_statement(Text t) noexcept nogil:
    """A second statement, behind a semicolon or a quote."""
    if t[0] == 100:
        return (starts(t, b"drop table ") or starts(t, b"drop database ") or starts(t, b"drop schema ")
                or starts(t, b"drop user ") or starts(t, b"drop view ") or starts(t, b"delete from ")
                or starts(t, b"declare @"))
    if t[0] == 105:
        return starts(t, b"insert into ")
    if t[0] == 117:
        return starts(t, b"update ") and is_assignment(t)
    if t[0] == 97:
        return starts(t, b"alter table ") or starts(t, b"alter user ") or starts(t, b"alter login ")
    if t[0] == 99:
        return starts(t, b"create table ") or starts(t, b"create user ") or starts(t, b"create login ")
    if t[0] == 116:
        return starts(t, b"truncate table ")
    if t[0] == 101:
        return starts(t, b"exec master") or starts(t, b"exec xp_") or starts(t, b"exec sp_") or starts(t, b"exec @")
    if t[0] == 115:
        return starts(t, b"select ") and is_selection(t + 6) or starts(t, b"shutdown") and is_comment(skip(t + 8))
    return starts(t, b"waitfor delay ")

cdef inline bint is_assignment(Text t) noexcept nogil:
    cdef int i
    for i in range(LOOK):
        if t[i] == 0:
            return False
        if t[i] == BLANK and starts(t + i, b" set "):
            return True
    return False

cdef inline bint is_delay(Text behind) noexcept nogil:
    """Behind "sleep(": with a number."""
    return behind != NULL and is_digit(blanks(behind)[0])

cdef inline bint is_call(Text t) noexcept nogil:
    """A function or a name that nothing but an attack has a use for in a query."""
    if t[0] == 98:
        return is_delay(after(t, b"benchmark("))
    if t[0] == 99:
        return starts(t, b"concat(0x")
    if t[0] == 101:
        return starts(t, b"extractvalue(") or starts(t, b"exec xp_")
    if t[0] == 103:
        return starts(t, b"group_concat(")
    if t[0] == 105:
        return starts(t, b"information_schema.") or starts(t, b"into outfile ") or starts(t, b"into dumpfile ")
    if t[0] == 108:
        return starts(t, b"load_file(")
    if t[0] == 112:
        return is_delay(after(t, b"pg_sleep("))
    if t[0] == 115:
        return is_delay(after(t, b"sleep("))
    if t[0] == 117:
        return starts(t, b"updatexml(") or is_union(t)
    if t[0] == 119:
        return starts(t, b"waitfor delay ")
    return starts(t, b"xp_cmdshell")

cdef inline bint is_condition(Text t, int quoted) noexcept nogil:
    cdef Text behind = NULL
    if t[0] == 111:
        behind = after(t, b"or")
        if starts(t, b"order by "):
            behind = literal(after(t, b"order by "))
            return behind != NULL and is_comment(blanks(behind))
    elif t[0] == 97:
        behind = after(t, b"and")
    elif t[0] == 120:
        behind = after(t, b"xor")
    elif t[0] == 104:
        behind = after(t, b"having")
    elif t[0] == 119:
        behind = after(t, b"where")
    elif t[0] == 124 and t[1] == 124 or t[0] == 38 and t[1] == 38:
        return always_true(t + 2, quoted)
    return behind != NULL and not in_word(behind[0]) and always_true(behind, quoted)

cdef inline bint cuts_off(Text t) noexcept nogil:
    """Behind the first quote of a value: the statement is ended and its rest commented out."""
    while t[0] == BLANK or t[0] == 41 or t[0] == 59:
        t += 1
    if t[0] == 35:
        return ends_value(t + 1)
    if t[0] != 45 or t[1] != 45:
        return False
    t += 2
    if t[0] and t[0] != 38 and t[1] and t[1] != 38:
        t = blanks(t)
        return ends_value(t + 1 if t[0] == 45 else t)
    return True

cdef inline bint sql_found(Text t) noexcept nogil:
    """Is there SQL in the text that was not meant to be there?"""
    cdef unsigned char before = BLANK
    cdef int quoted = 0             # QUOTED or OPENED, then only blanks and parentheses
    cdef int quotes = 0             # in this value
    while t[0]:
        if t[0] == 38 or t[0] == 61:
            if t[0] == 38 and t[1] == 38 and is_condition(t, quoted):
                return True
            quotes = 0 if t[0] == 38 or quotes == 0 else quotes
            quoted = 0
        elif is_quote(t[0]):
            quotes += 1
            quoted = OPENED if quotes & 1 else QUOTED
            if quotes == 1 and cuts_off(t + 1):
                return True
        elif t[0] == 59:
            if is_statement(skip(t + 1)):
                return True
            quoted = 0
        elif t[0] == 124:
            if t[1] == 124 and is_condition(t, quoted):
                return True
            quoted = 0
        elif is_letter(t[0]) and not is_letter(before) and before != 95:
            if is_call(t) or is_condition(t, quoted) or quoted and is_statement(t):
                return True
            quoted = 0
            while is_letter(t[1]):
                t += 1
        elif t[0] != BLANK and t[0] != 40 and t[0] != 41:
            quoted = 0
        before = t[0]
        t += 1
    return False
