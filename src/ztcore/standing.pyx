"""What was decided about partners, as one host tells it to another: level, pin, lists, and since when.

    Standings        who stands otherwise than a moment ago
    standing_of()    how one partner stands
    put_standing()   let a row stand as another host says
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy

import numpy as np

from ztcore.layout import WHY

from ztcore.action cimport action_changed, action_settle, action_to, effective
from ztcore.admit cimport NAME_LENGTH, Name, table_own
from ztcore.atomic cimport time_peek, word_peek
from ztcore.copy cimport row_copy, row_version
from ztcore.core cimport Core
from ztcore.lookup cimport app_of
from ztcore.observe cimport row_start
from ztcore.own cimport row_leave
from ztcore.row cimport NO_PIN, ROW_ABSOLUTE, ROW_ALLOWED, ROW_KEEP, Row, WHYS
from ztcore.table cimport Table, table_find

STANDING = np.dtype([
    ("key", "u8"), ("since", "i8"), ("fresh_at", "i8"), ("below", "i8"), ("pin_until", "i8"), ("score", "f4"), ("evident", "u4"),
    ("app", "u2"), ("level", "u1"), ("pin_level", "u1"), ("max_action", "u1"), ("flags", "u1"), ("cause", "u1"), ("whys", "u1"),
    ("name_length", "u1"), ("why", WHY, 2), ("name", "S64"),
], align=True)
"""since, fresh_at, below, pin_until: ns; level: of the score, 0..4; pin_level: 255: none; flags: allowed, absolute."""

cdef enum:
    TOLD = 1 | 8                # of the flags: allowed, absolute


cdef void read(const Row *row, object out):
    out["key"], out["since"], out["fresh_at"], out["below"] = row.key, row.since, row.fresh_at, row.below
    out["pin_until"] = row.pin_until if row.pin_level != NO_PIN else 0
    out["score"], out["evident"], out["app"] = row.score, row.evident, row.app
    out["level"], out["pin_level"], out["max_action"] = row.level, row.pin_level, row.max_action
    out["flags"], out["cause"], out["whys"] = row.flags & TOLD, row.cause, row.whys
    out["name_length"] = row.name_length
    out["name"] = row.name[:row.name_length]
    out["why"] = np.frombuffer((<char *>row.why)[:sizeof(row.why)], WHY)


cdef class Standings:
    """Who of an engine's partners stands otherwise than when last asked, among those under something now or then."""

    cdef Core engine
    cdef uint64_t[::1] marks    # versions of the rows as they were last looked at
    cdef uint64_t[::1] was      # bits of those who were under something

    def __init__(self, Core engine):
        self.engine = engine
        self.marks = np.zeros(engine.table.header.rows, np.uint64)
        self.was = np.zeros((engine.table.header.rows + 63) // 64, np.uint64)

    def changed(self):
        """Their keys."""
        cdef const Table *t = &self.engine.table
        cdef uint64_t i, at, bits, version
        found = []
        for i in range(<uint64_t>self.was.shape[0]):
            bits = word_peek(&t.active[i])
            bits, self.was[i] = bits | self.was[i], bits
            while bits:
                at = i * 64 + lowest(bits)
                version = row_version(t.rows + at)
                if version != self.marks[at]:
                    self.marks[at] = version
                    found.append(word_peek(&t.keys[at]))
                bits &= bits - 1
        return [key for key in found if key]


def standing_of(Core engine, uint64_t key):
    """How one partner stands, a record of STANDING; None where it has no row. Raises BlockingIOError where somebody is at
    work on it."""
    cdef Row row
    cdef Row *at = table_find(&engine.table, key)
    if at == NULL:
        return None
    if not row_copy(at, &row):
        if word_peek(&at.key) == key:
            raise BlockingIOError("somebody is at work on the partner's row")
        return None
    if row.key != key:
        return None
    one = np.zeros(1, STANDING)[0]
    read(&row, one)
    return one


cdef inline int lowest(uint64_t bits) noexcept nogil:
    cdef int i = 0
    while bits & 1 == 0:
        bits >>= 1
        i += 1
    return i


def put_standing(Core engine, record, str app, int64_t now):
    """Let the partner of a STANDING stand like that; it gets a row where it has none. now: ns. False where there is
    no row to be had. Raises TimeoutError where somebody stays at the row."""
    cdef const Table *t = &engine.table
    cdef bytes text = bytes(record["name"])[:int(record["name_length"])]
    cdef bytes whys = np.ascontiguousarray(record["why"]).tobytes()
    cdef Name name
    cdef Row *row
    cdef bint busy
    cdef int before, level = record["level"], flags = record["flags"]
    name.app = <uint16_t>app_of(engine, app).index
    name.partner = <const unsigned char *><const char *>text if text else NULL
    name.length = <unsigned int>len(text) if len(text) <= NAME_LENGTH else 0
    row = table_own(t, record["key"], time_peek(&t.header.clock), &name, &busy)
    if row == NULL:
        if busy:
            raise TimeoutError("the partner's row is held by a process that does not go on")
        return False
    if row.reference == 0:
        row_start(t.header, row, now)
    action_settle(t, row, now)
    before = effective(row)
    if level != row.level:
        row.whys = record["whys"] if record["whys"] <= WHYS else 0
        if len(whys) == sizeof(row.why):
            memcpy(row.why, <const char *>whys, sizeof(row.why))
        action_to(&t.header.policy, row, level, record["since"])
    row.below = record["below"]
    if level > 0:
        row.score = record["score"]
        row.evident = record["evident"]
        row.fresh_at = record["fresh_at"]
    row.pin_level = record["pin_level"]
    row.pin_until = record["pin_until"]
    row.max_action = record["max_action"]
    row.flags = <uint8_t>((row.flags & ~(ROW_ALLOWED | ROW_ABSOLUTE)) | (flags & TOLD))
    if row.pin_level != NO_PIN or row.max_action != 4 or row.flags & ROW_ALLOWED:
        row.flags |= ROW_KEEP
    else:
        row.flags &= <uint8_t>(0xff ^ ROW_KEEP)
    action_changed(t, row, before, record["cause"], now)
    row_leave(t, row)
    return True

