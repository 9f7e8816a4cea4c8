"""What a store keeps of a table: rows that changed since they were last asked for, and rows put back.

Rows are copied without the GIL and without owning them, so that no request waits for a snapshot.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

import hashlib

import numpy as np

from ztcore.layout import ROW, TRANSITION, WHY
from ztcore.inspect import VERSION

from ztcore.action cimport action_publish
from ztcore.admit cimport NAME_LENGTH, Name, table_own
from ztcore.atomic cimport time_peek, time_poke, word_load, word_peek
from ztcore.copy cimport row_copy, row_version
from ztcore.core cimport Core
from ztcore.fleet cimport Fleet
from ztcore.learn cimport learn_usual
from ztcore.lookup cimport app_of
from ztcore.merge cimport row_merge
from ztcore.names cimport names_free, names_own
from ztcore.own cimport row_leave
from ztcore.row cimport COUNTERS, NO_PIN, Row
from ztcore.table cimport Table, active_set, table_find


def _layout():
    described = repr((VERSION, ROW.descr, ROW.itemsize, WHY.descr, TRANSITION.itemsize)).encode()
    return f"{VERSION}-{hashlib.blake2b(described, digest_size=6).hexdigest()}"


LAYOUT = _layout()
"""What a row's bytes mean: the layout's version and a digest of every field's name, type and place."""

cdef enum:
    LOOKED_AT = 4096            # rows looked at in one call of changed()


cdef class Snapshots:
    """Which rows of an engine's table changed since they were last handed out."""

    cdef Core engine
    cdef object marks
    cdef uint64_t at

    def __init__(self, Core engine):
        self.engine = engine
        self.marks = np.zeros(engine.table.header.rows, np.uint64)
        self.at = 0

    def changed(self, int most=256):
        """Up to `most` rows that changed, an array of layout.ROW, and whether the table's end was reached; the
        next call goes on from there."""
        cdef const Table *t = &self.engine.table
        cdef uint64_t[::1] marks = self.marks
        cdef uint64_t i = self.at, end = t.header.rows, stop, version
        cdef int n = 0
        found = np.zeros(most, ROW)
        cdef unsigned char[::1] raw = found.view(np.uint8)
        stop = i + LOOKED_AT if i + LOOKED_AT < end else end
        with nogil:
            while i < stop and n < most:
                if word_peek(&t.keys[i]):
                    version = row_version(t.rows + i)
                    if version != marks[i] and row_copy(t.rows + i, <Row *>&raw[n * sizeof(Row)]):
                        marks[i] = version
                        n += 1
                else:
                    marks[i] = 0
                i += 1
        self.at = 0 if i == end else i
        return found[:n], i == end


def row_of(Core engine, uint64_t key):
    """A copy of a partner's row by its key, a record of layout.ROW; None where it has none or somebody is at work on it."""
    cdef Row *row = table_find(&engine.table, key)
    found = np.zeros(1, ROW)
    cdef unsigned char[::1] raw = found.view(np.uint8)
    if row == NULL or not row_copy(row, <Row *>&raw[0]) or int(found["key"][0]) != key:
        return None
    return found[0]


def scores(Core engine, bint everybody=False):
    """(key, score, level) of all partners who have a score or a level: an array of three columns."""
    cdef const Table *t = &engine.table
    cdef uint64_t i, key, word
    cdef int n = 0
    cdef uint64_t[::1] keys
    cdef float[::1] score
    cdef uint8_t[::1] level
    found = np.zeros(t.header.rows, [("key", "u8"), ("score", "f4"), ("level", "u1")])
    ks, ss, ls = np.zeros(t.header.rows, np.uint64), np.zeros(t.header.rows, np.float32), np.zeros(t.header.rows, np.uint8)
    keys, score, level = ks, ss, ls
    with nogil:
        for i in range(t.header.rows):
            key = word_peek(&t.keys[i])
            if key == 0:
                continue
            word = word_load(&t.rows[i].decision)
            if word & 0xffff07 == 0 and not everybody:      # neither a level nor a score
                continue
            keys[n] = key
            score[n] = <float>((word >> 8) & 0xffff) * <float>(1.0 / 256.0)
            level[n] = <uint8_t>(word & 7)
            n += 1
    found = found[:n]
    found["key"], found["score"], found["level"] = ks[:n], ss[:n], ls[:n]
    return found


cdef void quieten(Row *row) noexcept nogil:
    """Take out of a row what is recent: others tell that by themselves."""
    cdef int i, s
    for i in range(4):
        row.trials[i] = row.seen[i] = row.bytes_out[i] = 0.0
    for s in range(COUNTERS):
        for i in range(3):
            row.counts[s][i] = 0.0


def put_row(Core engine, record, str app, bint learned=False):
    """Give a partner the row it had, a record of layout.ROW.

    Nothing is done where the partner has events here already, unless `learned`: then what the record knows of the
    usual is merged into what is known here (the rules are merge.pyx's), its recent counts, events and level are not.
    False where it was not taken. Raises TimeoutError where somebody stays at the row.
    """
    cdef unsigned char[::1] raw = np.ascontiguousarray(record).reshape(1).view(np.uint8).copy()
    cdef Row *saved = <Row *>&raw[0]
    cdef const Table *t = &engine.table
    cdef Row *row
    cdef Name name
    cdef bint busy, taken = False
    cdef uint64_t events
    cdef uint16_t index = <uint16_t>app_of(engine, app).index
    if saved.key == 0:
        return False
    name.app = index
    name.partner = <const unsigned char *>saved.name if saved.name_length else NULL
    name.length = saved.name_length if saved.name_length <= NAME_LENGTH else 0
    row = table_own(t, saved.key, time_peek(&t.header.clock), &name, &busy)
    if row == NULL:
        if busy:
            raise TimeoutError("the partner's row is held by a process that does not go on")
        return False
    if row.events == 0 and row.reference == 0 and not learned:
        memcpy(<char *>row + 2 * sizeof(uint64_t), <char *>saved + 2 * sizeof(uint64_t), sizeof(Row) - 2 * sizeof(uint64_t))
        row.app = index
        row.todo = row.candidate = row.applying = 0
        if row.last_seen > time_peek(&t.header.clock):
            time_poke(&t.header.clock, row.last_seen)
        action_publish(t, row)
        active_set(t, row, row.level > 0 or row.pin_level != NO_PIN)
        taken = True
    elif learned and row.reference and saved.reference and saved.events:
        events = row.events
        quieten(saved)
        row.paced += saved.paced
        row_merge(row, saved)
        row.events = events
        row.borrowed += <uint32_t>saved.events
        learn_usual(&t.header.fleet, row)
        taken = True
    row_leave(t, row)
    return taken


def common(Core engine):
    """What belongs to no partner: (shares of all together, names of endpoints), bytes; names are None while somebody
    writes them."""
    cdef const Table *t = &engine.table
    cdef uint64_t size = t.header.rows_at - t.header.names_at
    cdef const uint64_t *shares = <const uint64_t *>&t.header.fleet
    cdef uint64_t i
    cdef bytes names = None
    copied = np.empty(sizeof(Fleet) // sizeof(uint64_t), np.uint64)
    cdef uint64_t[::1] words = copied
    for i in range(sizeof(Fleet) // sizeof(uint64_t)):      # by whole words: others write them meanwhile
        words[i] = word_peek(shares + i)
    if names_own(t.names, t.me):
        names = (<char *>t.names)[:size]
        names_free(t.names)
    return copied.tobytes(), names


def put_common(Core engine, bytes fleet, bytes names):
    """The same put back into a table that nobody has used yet; what is of another size is left alone."""
    cdef const Table *t = &engine.table
    cdef uint64_t size = t.header.rows_at - t.header.names_at, word
    if fleet is not None and len(fleet) == sizeof(Fleet):
        memcpy(&t.header.fleet, <const char *>fleet, sizeof(Fleet))
    if names is not None and <uint64_t>len(names) == size and names_own(t.names, t.me):
        memcpy(<char *>t.names + sizeof(uint64_t), <const char *>names + sizeof(uint64_t), size - sizeof(uint64_t))
        names_free(t.names)
