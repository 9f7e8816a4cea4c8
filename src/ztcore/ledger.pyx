"""What this host adds to each partner, beside what the others add: the books behind sharing.

One thread of one process of a host keeps them (ztmon.store.sharing). Rows are read without owning them and
written as any event writes them, so that no request waits.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

from ztcore.atomic cimport time_peek, word_peek
from ztcore.contribution cimport HIT_LANES, LANES, PART_HITS, Account, Sums, account_fold, account_look, account_open, account_reopen, account_suppose
from ztcore.copy cimport row_copy, row_version
from ztcore.core cimport Core
from ztcore.own cimport row_leave, row_try
from ztcore.row cimport COUNTERS, Row
from ztcore.table cimport Table, row_index, table_find
from ztcore.times cimport SECOND_NS

SUMS = np.dtype([("whole", "f4", (PART_HITS, LANES)), ("hits", "f4", (COUNTERS, HIT_LANES))], align=True)
"""Decayed sums, a column each half-life (1, 10, 90, 30 minutes). whole: calls, bytes; hits: by signal, without the last."""

CONTRIBUTION = np.dtype([("key", "u8"), ("events", "u8"), ("at", "i8"), ("born", "i8"), ("sums", SUMS)], align=True)
"""One host's part in a partner. events: of the row that were calls here; at: ns, of its last event, to which the sums are decayed; born: ns,
of its first."""

OTHERS = np.dtype([("key", "u8"), ("events", "u8"), ("at", "i8"), ("sums", SUMS)], align=True)
"""The sum of all other hosts' contributions. events: calls they counted, ever."""

cdef struct Contribution:
    uint64_t key
    uint64_t events
    int64_t at
    int64_t born
    Sums sums

cdef struct Others:
    uint64_t key
    uint64_t events
    int64_t at
    Sums sums

cdef enum:
    LOOKED_AT = 1 << 16         # rows looked at in one call of collect()
    AHEAD_S = 5                 # another host's clock may be ahead by so much

if CONTRIBUTION.itemsize != sizeof(Contribution) or OTHERS.itemsize != sizeof(Others):
    raise ImportError("ztcore.ledger: a struct has another size in numpy than in C; the package was built for another "
                      "machine: reinstall it")

ACCOUNT_BYTES = sizeof(Account)


cdef class Ledger:
    """The accounts of an engine's partners.

    contained: the rows that are in the table now have the others' part in them already (they come from a time at
    which they were shared); else all of it is this host's own. inherited: besides, another host counts their calls up to
    now, the process this one was forked from.
    """

    cdef Core engine
    cdef object kept, marks_kept, index_kept
    cdef Account *accounts
    cdef int64_t n, room
    cdef uint32_t[::1] index    # place in accounts + 1, open addressing
    cdef uint64_t[::1] marks    # versions of the rows as they were last handed out
    cdef uint64_t at, mask
    cdef bint contained
    cdef int64_t begun

    def __init__(self, Core engine, bint contained=False, bint inherited=False):
        cdef unsigned char[::1] raw
        cdef uint64_t size = 64
        self.engine = engine
        self.room = engine.table.header.rows
        while size < 2 * <uint64_t>self.room:
            size *= 2
        self.mask = size - 1
        self.kept = np.zeros(self.room * sizeof(Account), np.uint8)     # pages are taken as partners come
        raw = self.kept
        self.accounts = <Account *>&raw[0]
        self.index_kept = np.zeros(size, np.uint32)
        self.index = self.index_kept
        self.marks_kept = np.zeros(self.room, np.uint64)
        self.marks = self.marks_kept
        self.contained = contained or inherited
        self.begun = time_peek(&engine.table.header.clock)
        if inherited:
            self.inherit()

    cdef Account *find(self, uint64_t key) noexcept nogil:
        cdef uint64_t i = key & self.mask
        while self.index[i]:
            if self.accounts[self.index[i] - 1].key == key:
                return self.accounts + self.index[i] - 1
            i = (i + 1) & self.mask
        return NULL

    cdef Account *open(self, const Row *row) noexcept nogil:
        """The row's account; a new one where there is none, or where it is another row than before."""
        cdef Account *a = self.find(row.key)
        cdef uint64_t i = row.key & self.mask
        if a != NULL:
            if a.born != row.first_seen and (row.first_seen > a.at or a.born == 0):
                account_reopen(a, row)
            a.born = row.first_seen
            return a
        if self.n == self.room:
            self.sweep()
            if self.n == self.room:
                return NULL
        while self.index[i]:
            i = (i + 1) & self.mask
        a = self.accounts + self.n
        self.n += 1
        self.index[i] = <uint32_t>self.n
        memset(a, 0, sizeof(Account))
        account_open(a, row, self.contained and row.first_seen <= self.begun)
        return a

    cdef void inherit(self) noexcept nogil:
        """Note what all rows have now."""
        cdef const Table *t = &self.engine.table
        cdef Account *a
        cdef Row row
        cdef uint64_t i
        for i in range(t.header.rows):
            if word_peek(&t.keys[i]) and row_copy(t.rows + i, &row) and row.reference:
                a = self.open(&row)
                if a != NULL:
                    a.before = row.events

    cdef void sweep(self) noexcept nogil:
        """Close the accounts of those who have left the table."""
        cdef int64_t i, n = 0
        cdef uint64_t at
        memset(&self.index[0], 0, (self.mask + 1) * sizeof(uint32_t))
        for i in range(self.n):
            if table_find(&self.engine.table, self.accounts[i].key) == NULL:
                continue
            if n != i:
                memcpy(self.accounts + n, self.accounts + i, sizeof(Account))
            n += 1
            at = self.accounts[n - 1].key & self.mask
            while self.index[at]:
                at = (at + 1) & self.mask
            self.index[at] = <uint32_t>n
        self.n = n

    cdef bint write(self, const Row *row, Contribution *out) noexcept nogil:
        cdef Account *a = self.open(row)
        if a == NULL:
            return False
        account_look(a, row)
        out.key = row.key
        out.events = row.events - a.before
        out.at = a.at
        out.born = row.first_seen
        out.sums = a.own
        return True

    def collect(self, int most=256):
        """The contributions of up to `most` partners whose row changed since it was last handed out, an array of
        CONTRIBUTION, and whether the table's end was reached; the next call goes on from there."""
        cdef const Table *t = &self.engine.table
        cdef uint64_t i = self.at, end = t.header.rows, stop = i + LOOKED_AT, version
        cdef Row row
        cdef int n = 0
        found = np.zeros(most, CONTRIBUTION)
        cdef unsigned char[::1] raw = found.view(np.uint8)
        stop = stop if stop < end else end
        with nogil:
            while i < stop and n < most:
                if word_peek(&t.keys[i]):
                    version = row_version(t.rows + i)
                    if version != self.marks[i] and row_copy(t.rows + i, &row):
                        self.marks[i] = version
                        if row.reference and self.write(&row, <Contribution *>&raw[n * sizeof(Contribution)]):
                            n += 1
                i += 1
        self.at = 0 if i == end else i
        return found[:n], i == end

    def current(self, keys):
        """The contributions of these partners, changed or not; without those who are not in the table."""
        cdef const Table *t = &self.engine.table
        cdef uint64_t[::1] wanted = np.ascontiguousarray(keys, np.uint64)
        cdef Row row
        cdef Row *at
        cdef Py_ssize_t i
        cdef int n = 0
        found = np.zeros(max(1, len(wanted)), CONTRIBUTION)
        cdef unsigned char[::1] raw = found.view(np.uint8)
        with nogil:
            for i in range(wanted.shape[0]):
                at = table_find(t, wanted[i])
                if at != NULL and row_copy(at, &row) and row.key == wanted[i] and row.reference:
                    if self.write(&row, <Contribution *>&raw[n * sizeof(Contribution)]):
                        n += 1
        return found[:n]

    def take_in(self, others, int64_t now):
        """Let the rows include what the other hosts counted: an array of OTHERS. now: ns, of this host's clock.
        Returns the keys of those at whose row somebody was at work; the next time will do."""
        cdef unsigned char[::1] raw = np.ascontiguousarray(others, OTHERS).view(np.uint8)
        cdef const Table *t = &self.engine.table
        cdef Others *one
        cdef Row *row
        cdef Account *a
        cdef uint64_t before
        cdef Py_ssize_t i, n = len(others)
        cdef uint8_t[::1] missed
        cdef int64_t latest = now + AHEAD_S * SECOND_NS
        left = np.zeros(n, np.uint8)
        missed = left
        with nogil:
            for i in range(n):
                one = <Others *>&raw[i * sizeof(Others)]
                row = table_find(t, one.key)
                if row == NULL:
                    continue
                if not row_try(t, row):
                    missed[i] = 1
                    continue
                if row.key == one.key and row.reference:
                    before = row_version(row)
                    a = self.open(row)
                    if a != NULL:
                        a.elsewhere = one.events
                        account_fold(t, row, a, &one.sums, one.at if one.at < latest else latest, True)
                    if self.marks[row_index(t, row)] == before:     # nothing of one's own came: no news for the others
                        self.marks[row_index(t, row)] = before + 1
                row_leave(t, row)
        return np.ascontiguousarray(others)["key"][left.astype(bool)]

    def suppose(self, int64_t now):
        """Nothing is heard of the others: let them go on as usual in all rows, up to now (ns)."""
        cdef const Table *t = &self.engine.table
        cdef Row *row
        cdef int64_t i
        with nogil:
            for i in range(self.n):
                row = table_find(t, self.accounts[i].key)
                if row == NULL or not row_try(t, row):
                    continue
                if row.key == self.accounts[i].key:
                    account_suppose(t, row, self.accounts + i, now)
                row_leave(t, row)

    def resume(self, uint64_t key, others):
        """The row had the others' part in it already, one record of OTHERS: nothing of it is new. For the first
        look after a restart."""
        cdef unsigned char[::1] raw = np.ascontiguousarray(others, OTHERS).reshape(1).view(np.uint8)
        cdef Others *one = <Others *>&raw[0]
        cdef Account *a = self.find(key)
        if a == NULL:
            return
        a.others = one.sums
        a.elsewhere = one.events
        a.met = True

    def met(self, uint64_t key):
        """Whether what is usual here includes the others' part; None for a partner without an account."""
        cdef Account *a = self.find(key)
        return None if a == NULL else bool(a.met)

    def meet(self, uint64_t key):
        """What is usual was taken over from the fleet: it includes the others' part."""
        cdef Account *a = self.find(key)
        if a != NULL:
            a.met = True

    def elsewhere(self, uint64_t key):
        """How many calls of a partner beside those of its row the others counted, as far as is known here."""
        cdef Account *a = self.find(key)
        return 0 if a == NULL or a.elsewhere < a.before else a.elsewhere - a.before

    def forget(self, uint64_t key):
        """Close a partner's account."""
        cdef Account *a = self.find(key)
        if a != NULL:
            memset(&a.own, 0, sizeof(Sums))
            memset(&a.others, 0, sizeof(Sums))
            memset(&a.view, 0, sizeof(Sums))
            a.elsewhere = a.before = 0
            a.born = 0

    def __len__(self):
        return self.n
