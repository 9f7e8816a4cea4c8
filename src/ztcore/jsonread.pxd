# One object of JSON to an event's fields.

from ztcore.atomic cimport zt_likely, zt_unlikely
from ztcore.fields cimport Span, Telemetry, field_named, telemetry_bad, telemetry_null, telemetry_number, telemetry_start, telemetry_text
from ztcore.habit cimport HABIT_START, Habit, habit_holds, habit_learn
from ztcore.ids cimport is_digit
from ztcore.json cimport (BLANK, COMMA, Json, OBJECT_CLOSE, OBJECT_OPEN, QUOTE, json_blank, json_is, json_key, json_number, json_skip,
                          json_text, json_word)

cdef inline int json_next(Json *j, Habit *habit, int last) noexcept nogil:
    """Behind the value of `last`: the field whose value comes next, -1: the object ended, -2: it is none."""
    cdef const unsigned char *start = j.at
    cdef unsigned char *scratch = j.scratch
    cdef Span name
    cdef int field
    if zt_likely(habit_holds(habit, last, j.at, j.end, j.room)):
        j.at += habit.size[last]
        if zt_unlikely(j.at < j.end and j.at[0] <= BLANK):      # more of them than the last time
            json_blank(j)
        return habit.field[last]
    if json_is(j, OBJECT_CLOSE) and last != HABIT_START:
        return -1
    if not json_is(j, OBJECT_OPEN if last == HABIT_START else COMMA):
        return -2
    if last == HABIT_START and json_is(j, OBJECT_CLOSE):
        return -1
    if not json_key(j, &name):
        return -2
    field = field_named(name.at, name.size)
    j.scratch = scratch
    habit_learn(habit, last, start, j.at - start, field)
    return field

cdef inline bint json_field(Json *j, Telemetry *t, int field) noexcept nogil:
    """The value of a field; where it comes twice the last one counts."""
    cdef Span text
    cdef double number
    cdef bint whole
    if j.at >= j.end:
        return False
    if j.at[0] == QUOTE:
        if not json_text(j, &text):
            return False
        telemetry_text(t, field, text.at, text.size)
        return True
    if is_digit(j.at[0]) or j.at[0] == 45:
        if not json_number(j, &number, &whole):
            return False
        telemetry_number(t, field, number, whole)
        return True
    if j.at[0] == 110:
        telemetry_null(t, field)
        return json_word(j, b"null", 4)
    telemetry_bad(t, field)
    return json_skip(j)

cdef inline bint json_event(Json *j, Habit *habit, Telemetry *t) noexcept nogil:
    """An object; j.at stands at its brace, and in the end behind it. False where it is no JSON."""
    cdef int field = HABIT_START
    telemetry_start(t)
    while True:
        field = json_next(j, habit, field)
        if field < 0:
            return field == -1
        if not json_field(j, t, field):
            return False
