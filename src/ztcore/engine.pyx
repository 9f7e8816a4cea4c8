"""What people do to partners, and how they read them: pins, lists, restore, forget, rows, stats."""

cimport cython
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

from ztcore.inspect import COUNTERS

from ztcore.layout import ROW, TRANSITION

from ztcore.action cimport (CAUSE_PIN, CAUSE_REAUTHENTICATED, CAUSE_RESTORE, CAUSE_SETTING, DECISION_HELD,
                            action_changed, action_next, action_settle, action_to, decision_level, decision_on_route, effective)
from ztcore.admit cimport table_own
from ztcore.arguments cimport Text, text_of, timestamp_of
from ztcore.atomic cimport time_peek, word_peek, word_store
from ztcore.core cimport Core, decide
from ztcore.decision cimport CALM, reasons_of
from ztcore.feedback cimport excuse, expected_lift, expected_put
from ztcore.identity cimport identity_forget_partners, identity_in
from ztcore.journal cimport JOURNAL_SIZE, Journal, Transition, journal_free, journal_own
from ztcore.own cimport row_leave, row_try, row_wait
from ztcore.place cimport row_clear
from ztcore.learn cimport TICK_S
from ztcore.names cimport names_know, names_text
from ztcore.policy cimport Policy
from ztcore.row cimport NO_PIN, ROW_ALLOWED, ROW_KEEP, Row
from ztcore.verdict cimport Why
from ztcore.table cimport COUNTERS_ALL, Table, table_occupied
from ztcore.times cimport SECOND_NS

_POLICY = {
    "shadow": True, "auto_throttle": True, "kill_switch": False,
    "learning_hours": 24.0, "learning_events": 300,
    "threshold_alert": 31.0, "threshold_throttle": 61.0, "threshold_quarantine": 81.0, "threshold_block": 96.0,
    "max_requests_per_minute": None, "max_error_rate": None, "max_response_time_ms": None,
    "suspicious_patterns": True, "hold_minutes": 15.0, "hold_strong_minutes": 60.0, "fall_minutes": 5.0,
    "lateness_seconds": 120.0,
}


cdef int64_t _ns(double seconds) noexcept:
    return <int64_t>(seconds * 1e9) if seconds < 9e9 else INT64_MAX


@cython.no_gc_clear         # as Memory
cdef class Engine(Core):
    """Core, with everything but the hot path. Settings as in configure()."""

    cdef dict _settings

    def __init__(self, capacity=65536, hash_key=None, huge_pages=False, state=None, signals=(), **settings):
        self._settings = dict(_POLICY)
        self.configure(**settings)

    # -- policy ----------------------------------------------------------------------------

    def configure(self, **settings):
        """Change any of: shadow, auto_throttle, kill_switch, learning_hours, learning_events,
        threshold_alert, threshold_throttle, threshold_quarantine, threshold_block (score),
        max_requests_per_minute, max_error_rate (0..1), max_response_time_ms (None: unset),
        suspicious_patterns, hold_minutes, hold_strong_minutes, fall_minutes, lateness_seconds.
        Takes effect with the next event. Raises TypeError for other names."""
        cdef Policy *p = &self.table.header.policy
        cdef int i
        for name in settings:
            if name not in _POLICY:
                raise TypeError(f"configure() has no setting {name!r}; it has {', '.join(_POLICY)}")
        s = self._settings = {**self._settings, **settings}
        p.shadow = bool(s["shadow"])
        p.auto_throttle = bool(s["auto_throttle"])
        p.kill_switch = bool(s["kill_switch"])
        p.patterns = bool(s["suspicious_patterns"])
        p.learning = _ns(s["learning_hours"] * 3600.0)
        p.burn_in = _ns(min(24.0, max(1.0, s["learning_hours"] / 2)) * 3600.0)
        p.learning_events = s["learning_events"]
        p.threshold[0] = 0.0
        for i, name in enumerate(("alert", "throttle", "quarantine", "block")):
            p.threshold[i + 1] = s["threshold_" + name]
        p.ceiling_requests = s["max_requests_per_minute"] or 0.0
        p.ceiling_errors = s["max_error_rate"] or 0.0
        p.ceiling_latency = s["max_response_time_ms"] or 0.0
        p.ceilings = p.ceiling_requests + p.ceiling_errors + p.ceiling_latency > 0.0
        p.hold[0] = 0
        for i in range(1, 5):
            p.hold[i] = _ns((s["hold_minutes"] if i < 3 else s["hold_strong_minutes"]) * 60.0)
        p.fall = _ns(s["fall_minutes"] * 60.0)
        p.lateness = _ns(s["lateness_seconds"])

    @property
    def settings(self):
        """The settings in force, as configure() takes them."""
        return dict(self._settings)

    @property
    def holds(self):
        """How long each level lasts without fresh evidence, ns."""
        return tuple(self.table.header.policy.hold)

    def hold_newcomers(self, bint on):
        """Whether who reaches throttle or above from below is not acted on, pins aside; who is acted on already stays so."""
        self.table.header.policy.newcomers_held = on

    def hold(self, uint64_t key):
        """Count a partner at throttle or above, by its key, among the newcomers: while they are held it is not acted on. False where
        it is not there. Raises TimeoutError."""
        cdef bint busy, there
        cdef Row *row = table_own(&self.table, key, 0, NULL, &busy) if key else NULL
        if row == NULL:
            if key and busy:
                raise TimeoutError("the partner is being worked on by a process that does not go on")
            return False
        there = decision_level(row.decision) >= 2
        if there:
            word_store(&row.decision, row.decision | DECISION_HELD)
        row_leave(&self.table, row)
        return there

    @property
    def newcomers_held(self):
        """Whether they are."""
        return bool(self.table.header.policy.newcomers_held)

    # -- what people do --------------------------------------------------------------------

    def pin(self, partner, int level, double until, app="default", timestamp=None):
        """Hold a partner at a level (0..4) until a time in seconds (inf: until unpinned)."""
        cdef int64_t now = self.moment(timestamp)
        if not 0 <= level <= 4:
            raise ValueError(f"level is {level}; allowed are 0 (monitor) to 4 (block)")
        cdef Row *row = self.own(partner, app, now, True)
        if row == NULL:
            raise ValueError("partner is empty; allowed is any other name")
        cdef int before = effective(row)
        row.pin_level = <uint8_t>level
        row.pin_until = _ns(until)
        row.flags |= ROW_KEEP
        action_changed(&self.table, row, before, CAUSE_PIN, now)
        row_leave(&self.table, row)

    def unpin(self, partner, app="default", timestamp=None):
        """Lift a pin; the score decides again. False where there was none."""
        cdef int64_t now = self.moment(timestamp)
        cdef Row *row = self.own(partner, app, now, False)
        cdef bint pinned = row != NULL and row.pin_level != NO_PIN
        cdef int before
        if row != NULL:
            before = effective(row)
            row.pin_level = NO_PIN
            if pinned:
                action_changed(&self.table, row, before, CAUSE_PIN, now)
            self.keep(row)
            row_leave(&self.table, row)
        return pinned

    def allow(self, partner, bint on=True, app="default", timestamp=None):
        """Put a partner on the allow list or take it off: scored, never acted on."""
        cdef int64_t now = self.moment(timestamp)
        cdef Row *row = self.own(partner, app, now, True)
        if row == NULL:
            raise ValueError("partner is empty; allowed is any other name")
        cdef int before = effective(row)
        row.flags = row.flags | ROW_ALLOWED if on else row.flags & ~ROW_ALLOWED
        self.keep(row)
        action_changed(&self.table, row, before, CAUSE_SETTING, now)
        row_leave(&self.table, row)

    def cap(self, partner, int level, app="default", timestamp=None):
        """Bound the level a partner's score can reach (4: no bound)."""
        cdef int64_t now = self.moment(timestamp)
        if not 0 <= level <= 4:
            raise ValueError(f"level is {level}; allowed are 0 (monitor) to 4 (block)")
        cdef Row *row = self.own(partner, app, now, True)
        if row == NULL:
            raise ValueError("partner is empty; allowed is any other name")
        cdef int before = effective(row)
        row.max_action = <uint8_t>level
        self.keep(row)
        action_changed(&self.table, row, before, CAUSE_SETTING, now)
        row_leave(&self.table, row)

    def restore(self, partner, app="default", timestamp=None, bint false_positive=False):
        """End any action, pins too, and forgive the evidence. false_positive: what had evidence scores nothing
        for a day and is learned as usual. False for an unknown partner."""
        return self.lower(partner, app, timestamp, CAUSE_RESTORE, false_positive)

    def expect(self, partner, double until, double rate, app="default", timestamp=None):
        """Until a time in seconds, up to `rate` (1..1,000) times the usual calls are no evidence; 1 withdraws it."""
        cdef int64_t now = self.moment(timestamp), at
        if not 1.0 <= rate <= 1000.0:
            raise ValueError(f"rate is {rate!r}; allowed is a number from 1 to 1,000 (times the usual)")
        if not now * 1e-9 < until < 4e9:
            raise ValueError(f"until is {until!r}; allowed is a time in the future, in seconds since the epoch")
        cdef Row *row = self.own(partner, app, now, True)
        if row == NULL:
            raise ValueError("partner is empty; allowed is any other name")
        at = row.next_tick - TICK_S * SECOND_NS
        expected_lift(row, at)
        row.expected_until = <uint32_t>until
        row.expected_rate = rate if rate > 1.0 else 0.0
        expected_put(row, at)
        row_leave(&self.table, row)

    def reauthenticated(self, partner, app="default", timestamp=None):
        """The application authenticated the partner anew: ends a quarantine. False where there is none."""
        return self.lower(partner, app, timestamp, CAUSE_REAUTHENTICATED, False)

    cdef bint lower(self, object partner, object app, object timestamp, int cause, bint wrong) except -1:
        cdef int64_t now = self.moment(timestamp)
        cdef Row *row = self.own(partner, app, now, False)
        cdef int before, level
        cdef bint done
        if row == NULL:
            return False
        before = effective(row)
        action_settle(&self.table, row, now)
        done = cause == CAUSE_RESTORE
        if wrong:
            excuse(row, now)
        if done or row.pin_level == 3:
            done = True
            row.pin_level = NO_PIN
        level = action_next(cause, row.level)
        if level != row.level or cause == CAUSE_RESTORE:
            done = True
            row.whys = 0
            action_to(&self.table.header.policy, row, level, now)
        row.episode = 0
        self.keep(row)
        action_changed(&self.table, row, before, cause, now)
        row_leave(&self.table, row)
        return done

    def forget(self, partner, app="default"):
        """Erase all that is known of a partner. False where nothing was."""
        return self.forget_key(self.partner_key(partner, app))

    def forget_key(self, uint64_t key):
        """The same by the partner's key. Raises TimeoutError."""
        cdef bint busy
        cdef Row *row = table_own(&self.table, key, 0, NULL, &busy) if key else NULL
        cdef uint64_t i
        if row == NULL:
            if key and busy:
                raise TimeoutError("the partner is being worked on by a process that does not go on")
            return False
        identity_forget_partners(identity_in(&self.identity))
        row_clear(&self.table, row)
        row_leave(&self.table, row)
        self.own_journal()
        for i in range(JOURNAL_SIZE):
            if self.table.journal.entry[i].partner == key:
                memset(self.table.journal.entry[i].name, 0, 64)
                self.table.journal.entry[i].name_length = 0
                self.table.journal.entry[i].partner = 0
        journal_free(self.table.journal)
        return True

    cdef void keep(self, Row *row) noexcept:
        """A row with a person's setting is never evicted; one without may be again."""
        if row.pin_level != NO_PIN or row.max_action != 4 or row.flags & ROW_ALLOWED:
            row.flags |= ROW_KEEP
        else:
            row.flags &= <uint8_t>(0xff ^ ROW_KEEP)

    cdef int64_t moment(self, object timestamp) except? -1:
        if timestamp is None:
            import time
            return time.time_ns()
        return timestamp_of(timestamp, "timestamp")

    def advance(self, timestamp=None):
        """Let everything happen that fell due by time until then (seconds; None: now)."""
        cdef int64_t now = self.moment(timestamp)
        cdef const Table *t = &self.table
        cdef uint64_t i, bits, words = (t.header.rows + 63) // 64
        cdef Row *row
        cdef int bit
        with nogil:
            for i in range(words):
                bits = word_peek(&t.active[i])
                bit = 0
                while bits:
                    if bits & 1:
                        row = t.rows + i * 64 + bit
                        if row_try(t, row):
                            action_settle(t, row, now)
                            row_leave(t, row)
                    bits >>= 1
                    bit += 1

    # -- reading ---------------------------------------------------------------------------

    cdef int own_journal(self) except -1:
        if not journal_own(self.table.journal, self.table.me):
            raise TimeoutError("the journal of changes is held by a process that does not go on")
        return 0

    def transitions(self):
        """Take out all changes of level (and crossings of thresholds: `anomaly`) since the last
        call: a 1-d array of layout.TRANSITION in the order they were written."""
        cdef unsigned char[::1] raw
        cdef Journal *journal = self.table.journal
        cdef uint64_t n = word_peek(&journal.written) - word_peek(&journal.read), i
        cdef Transition *out
        found = np.zeros(min(n, <uint64_t>JOURNAL_SIZE), TRANSITION)    # before it is owned: others wait then
        if n == 0:
            return found
        raw = found.view(np.uint8)
        out = <Transition *>&raw[0]
        self.own_journal()
        n = min(<uint64_t>len(found), journal.written - journal.read)
        for i in range(n):
            out[i] = journal.entry[(journal.read + i) % JOURNAL_SIZE]
        word_store(&journal.read, journal.read + n)
        journal_free(journal)
        return found[:n]

    def peek(self, partner, app="default", timestamp=None, double sensitivity=1.0, int most=4):
        """check_route() that takes no token."""
        cdef Row *row = NULL
        cdef int64_t now = 0
        cdef uint64_t word = self.in_force(partner, app, timestamp, &row, &now)
        if word == 0:
            return CALM
        word = decision_on_route(&self.table.header.policy, word, row.max_action, <float>sensitivity, most)
        return decide(&self.table, row, word, NULL, now, False, self.own_signals)

    def row(self, partner, app="default"):
        """A copy of a partner's row as a numpy record of layout.ROW, None for an unknown one."""
        found = np.zeros(1, ROW)
        cdef unsigned char[::1] raw = found.view(np.uint8)
        cdef Row *row = self.own(partner, app, 0, False)
        if row == NULL:
            return None
        memcpy(&raw[0], row, sizeof(Row))
        row_leave(&self.table, row)
        return found[0]

    def rows(self):
        """Copies of all occupied rows, a 1-d array of layout.ROW."""
        cdef const Table *t = &self.table
        cdef unsigned char[::1] raw
        cdef uint64_t i, n = 0, size = table_occupied(t)
        cdef Row *row
        cdef bint mine, patient = True
        found = np.zeros(size, ROW)
        if size == 0:
            return found
        raw = found.view(np.uint8)
        with nogil:
            for i in range(t.header.rows):
                if word_peek(&t.keys[i]) == 0 or n == size:
                    continue
                row = t.rows + i
                mine = row_wait(t, row) if patient else row_try(t, row)
                patient = patient and mine      # of a stopped process at most one row is waited for
                if row.key:
                    memcpy(&raw[n * sizeof(Row)], row, sizeof(Row))
                    n += 1
                if mine:
                    row_leave(t, row)
        return found[:n]

    def reasons(self, record):
        """The reasons in a record of layout.ROW or layout.TRANSITION, in words, what acts by itself first, then the strongest."""
        whys = np.ascontiguousarray(record["why"])
        cdef const unsigned char[::1] raw = whys.view(np.uint8)
        cdef int n = min(int(record["whys"]), len(whys))
        return reasons_of(<const Why *>&raw[0], n, float(record["evident"]), self.own_signals)

    def app_name(self, int index):
        """The application's name by ROW["app"]; "?" where it is not kept as text."""
        cdef const Table *t = &self.table
        if not 0 < index < <int>t.header.apps:
            return "?"
        return t.header.app[index].name[:t.header.app[index].length].decode("utf-8", "replace")

    def endpoint_name(self, uint64_t key):
        """An endpoint as text; words that too few partners use stand as {*}."""
        cdef char out[512]
        cdef size_t n = names_text(self.table.names, key, out, sizeof(out))
        return out[:n].decode("utf-8", "replace")

    def know_segments(self, segments):
        """Path segments that may be shown from the first use."""
        cdef Text text
        for segment in segments:
            alive = text_of(segment, "segment", &text)
            names_know(self.table.names, self.table.me, &self.key, text.data, text.size)

    def stats(self):
        """Counts since the start, by name."""
        cdef const Table *t = &self.table
        cdef uint64_t i, events = word_peek(&t.header.counter[0])
        with nogil:
            for i in range(t.header.rows):
                if word_peek(&t.keys[i]):
                    events += word_peek(&t.rows[i].events)
        found = {"events": events, "partners": table_occupied(t), "capacity": self.capacity,
                 "memory_bytes": t.header.size, "transitions": word_peek(&t.journal.written),
                 "transitions_lost": word_peek(&t.journal.lost)}
        for i in range(1, COUNTERS_ALL):
            found[COUNTERS[i]] = word_peek(&t.header.counter[i])
        return found

    def levels(self):
        """How many partners are at each level, monitor first."""
        cdef const Table *t = &self.table
        cdef uint64_t i
        cdef uint64_t n[5]
        cdef int level
        memset(n, 0, sizeof(n))
        with nogil:
            for i in range(t.header.rows):
                if word_peek(&t.keys[i]):
                    level = decision_level(word_peek(&t.rows[i].decision))
                    n[level if level < 5 else 0] += 1
        return [n[i] for i in range(5)]

    def usual_rate(self):
        """Events a second expected of all partners together at this hour."""
        cdef const Table *t = &self.table
        cdef uint64_t i
        cdef double sum = 0.0
        with nogil:
            for i in range(t.header.rows):
                if word_peek(&t.keys[i]):
                    sum += t.rows[i].rate
        return sum

    @property
    def memory_bytes(self):
        """Bytes reserved at the start, for everything."""
        return self.table.header.size

    @property
    def clock(self):
        """The newest event time of any partner, seconds; 0.0 before the first."""
        return time_peek(&self.table.header.clock) * 1e-9

    @property
    def hash_key(self):
        """The 16 bytes that key every hash."""
        return bytes((<const unsigned char *>&self.key)[:16])
