# The five levels: up at once, down by time. What a cause does to a level is the table in
# action.h; when it does is here. Every change goes into the journal with the time it fell due.

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ztcore.atomic cimport apart, word_store
from ztcore.journal cimport Transition, journal_write
from ztcore.lanes cimport f4, f4_all, f4_load, f4_min, f4_mul, f4_store
from ztcore.past cimport past_settle
from ztcore.policy cimport Policy
from ztcore.row cimport NO_PIN, ROW_ABSOLUTE, ROW_ALLOWED, Row, WHYS
from ztcore.score cimport level_of
from ztcore.table cimport Table, active_set, row_index
from ztcore.tails cimport TAIL_KINDS
from ztcore.throttle cimport throttle_interval
from ztcore.verdict cimport HITS, Verdict, Why
from ztcore.times cimport SECOND_NS

cdef extern from "action.h" nogil:
    enum: LEVELS
    enum: CAUSES
    enum:
        CAUSE_PIN, CAUSE_RESTORE, CAUSE_FALL, CAUSE_EXPIRY, CAUSE_REAUTHENTICATED, CAUSE_SETTING
    int action_next(int cause, int level) noexcept

cdef enum:
    DECISION_PINNED = 1 << 3
    DECISION_ABSOLUTE = 1 << 4
    DECISION_ALLOWED = 1 << 5
    DECISION_MACHINE = 8 << 3   # anything at all is in force: level, pin or score
    DECISION_HELD = 1 << 7      # rose to throttle while newcomers were held

cdef enum:
    FALL_POINTS = 5             # below the threshold before a level can fall

# The decision word: level 0..2 | pinned | absolute | allowed | any | held | score x 256 in 16
# bits from bit 8 | the second at which something falls due, from bit 24 (0: nothing does).

cdef inline int decision_level(uint64_t decision) noexcept nogil:
    return <int>(decision & 7)

cdef inline float decision_score(uint64_t decision) noexcept nogil:
    return <float>((decision >> 8) & 0xffff) * <float>(1.0 / 256.0)

cdef inline uint64_t decision_due(uint64_t decision) noexcept nogil:
    return decision >> 24

cdef inline int effective(const Row *row) noexcept nogil:
    """The level that counts: a pin beats the score, a cap bounds it."""
    if row.pin_level != NO_PIN:
        return row.pin_level
    return row.level if row.level < row.max_action else row.max_action

cdef inline bint enforced(const Policy *policy, uint64_t decision) noexcept nogil:
    """Whether to act on a partner with this decision, tokens aside."""
    if decision_level(decision) < 2 or policy.shadow or policy.kill_switch or decision & DECISION_ALLOWED:
        return False
    if policy.newcomers_held and decision & DECISION_HELD and not decision & DECISION_PINNED:
        return False
    return policy.auto_throttle or (decision & (DECISION_PINNED | DECISION_ABSOLUTE)) != 0

cdef inline uint64_t decision_on_route(const Policy *policy, uint64_t word, int cap, float sensitivity, int most) noexcept nogil:
    """The decision word with the level that it has on a route. cap: of the partner."""
    cdef int before = decision_level(word), level = before
    if before > 0 and sensitivity != 1.0 and not word & DECISION_PINNED:
        level = level_of(decision_score(word) * sensitivity, policy.threshold)
        if (level < before) == (sensitivity > 1.0):     # what is held longer than its score lasts is held here too
            level = before
        level = level if level < cap else cap
    if level > most:
        level = most
    if before < 2 <= level and policy.newcomers_held:
        word |= DECISION_HELD
    return (word & ~<uint64_t>7) | <uint64_t>level

cdef inline int64_t expires(const Policy *policy, const Row *row) noexcept nogil:
    """When the level ends for want of fresh evidence."""
    return row.fresh_at + policy.hold[row.level]

cdef inline int64_t fall_due(const Policy *policy, const Row *row) noexcept nogil:
    return row.below + policy.fall if row.level > 0 and row.below else INT64_MAX

cdef inline int64_t next_due(const Policy *policy, const Row *row) noexcept nogil:
    """When the level or the pin changes by time alone, INT64_MAX: never."""
    cdef int64_t due = fall_due(policy, row)
    if row.level > 0 and expires(policy, row) < due:
        due = expires(policy, row)
    if row.pin_level != NO_PIN and row.pin_until < due:
        due = row.pin_until
    return due

cdef inline void action_publish(const Table *t, Row *row) noexcept nogil:
    """Write the decision word from the row's plain fields; check() reads nothing else."""
    cdef int level = effective(row)
    cdef uint64_t word = <uint64_t>level
    cdef int64_t due = next_due(&t.header.policy, row)
    if row.pin_level != NO_PIN:
        word |= DECISION_PINNED
    if row.flags & ROW_ABSOLUTE:
        word |= DECISION_ABSOLUTE
    if row.flags & ROW_ALLOWED:
        word |= DECISION_ALLOWED
    if level >= 2:
        if decision_level(row.decision) >= 2:
            word |= row.decision & DECISION_HELD
        elif t.header.policy.newcomers_held:
            word |= DECISION_HELD
    word |= <uint64_t>(row.score * 256.0) << 8
    if due != INT64_MAX:
        word |= <uint64_t>(due // SECOND_NS + 1) << 24
    if word & ~<uint64_t>DECISION_ALLOWED:
        word |= DECISION_MACHINE
    word_store(&row.decision, word)

cdef inline void action_journal(const Table *t, const Row *row, int before, int after, int cause,
                                int64_t when, const Verdict *anomaly) noexcept nogil:
    """`anomaly`: not a change of level but the score crossing a threshold, with its reasons."""
    cdef Transition entry
    memset(&entry, 0, sizeof(entry))
    entry.timestamp = when
    entry.partner = row.key
    entry.row = <uint32_t>row_index(t, row)
    entry.from_level = <uint8_t>before
    entry.to_level = <uint8_t>after
    entry.cause = <uint8_t>cause
    entry.score = row.score
    entry.interval = <float>(throttle_interval(row) * 1e-9)
    entry.anomaly = anomaly != NULL
    entry.evident = row.evident
    entry.enforced = enforced(&t.header.policy, row.decision)
    if anomaly != NULL:
        entry.whys = <uint8_t>anomaly.n
        memcpy(entry.why, anomaly.why, <size_t>anomaly.n * sizeof(Why))     # the others hold whatever the stack did
    else:
        entry.whys = row.whys
        memcpy(entry.why, row.why, sizeof(row.why))
    entry.name_length = row.name_length
    memcpy(entry.name, row.name, sizeof(row.name))
    entry.app_length = t.header.app[row.app].length
    memcpy(entry.app, t.header.app[row.app].name, sizeof(t.header.app[row.app].name))
    journal_write(t.journal, t.me, &entry)

cdef inline void action_changed(const Table *t, Row *row, int before, int cause, int64_t when) noexcept nogil:
    """After any change of level, pin, cap or score: publish, and write down a change of level."""
    cdef int after = effective(row)
    action_publish(t, row)
    active_set(t, row, row.level > 0 or row.pin_level != NO_PIN)
    if before != after:
        row.cause = <uint8_t>cause
        action_journal(t, row, before, after, cause, when, NULL)

cdef inline void forgive(Row *row) noexcept nogil:
    """Counts fall back to what was expected, so that the rest of an attack raises nobody again."""
    cdef f4 n = f4_load(row.trials)
    cdef float p
    cdef int s
    for s in range(HITS):
        p = row.counts[s][3]
        f4_store(row.counts[s], f4_min(f4_load(row.counts[s]), f4_mul(n, f4_all(p))))
        row.counts[s][3] = p
    f4_store(row.seen, f4_min(f4_load(row.seen), f4_load(row.expected)))
    f4_store(row.bytes_out, f4_min(f4_load(row.bytes_out), f4_mul(f4_load(row.expected), f4_all(row.response.mean))))
    for s in range(TAIL_KINDS):
        row.tails.peak[s][0] = row.tails.peak[s][1] = 0
    memset(row.jobs.peak, 0, sizeof(row.jobs.peak))
    row.hot = 0
    row.nats = 0.0
    row.score = 0.0

cdef inline void action_to(const Policy *policy, Row *row, int level, int64_t when) noexcept nogil:
    """Set the level; the caller publishes."""
    row.level = <uint8_t>level
    row.highest = <uint8_t>(level if level > row.highest else row.highest)
    row.since = when
    row.below = 0
    if level == 0:
        row.flags &= <uint8_t>(0xff ^ ROW_ABSOLUTE)
        past_settle(policy, row, when, True)
        forgive(row)
        row.highest = 0

cdef inline apart action_settle(const Table *t, Row *row, int64_t now) noexcept nogil:
    """Let everything happen that fell due by time until now, in its order."""
    cdef const Policy *policy = &t.header.policy
    cdef int64_t due
    cdef int before, cause
    while True:
        due = next_due(policy, row)
        if due > now:
            return
        before = effective(row)
        if row.pin_level != NO_PIN and row.pin_until == due:
            row.pin_level = NO_PIN
            cause = CAUSE_EXPIRY
        else:
            cause = CAUSE_EXPIRY if expires(policy, row) <= due else CAUSE_FALL
            action_to(policy, row, action_next(cause, row.level), due)
            if row.level > 0 and row.score < policy.threshold[row.level] - FALL_POINTS:
                row.below = due
        action_changed(t, row, before, cause, due)

cdef inline apart action_observe(const Table *t, Row *row, const Verdict *v, int64_t now) noexcept nogil:
    """Rise at once on fresh evidence, prolong on it, start or stop the fall. `row.score` is new."""
    cdef const Policy *policy = &t.header.policy
    cdef int before = effective(row), level = row.level, asked = v.level if v.firm or v.level < 1 else 1, i
    if v.fresh and asked > level:
        row.whys = <uint8_t>(v.n if v.n < WHYS else WHYS)
        for i in range(row.whys):
            row.why[i] = v.why[i]
        action_to(policy, row, asked, now)
        row.fresh_at = now
        if v.ceiling == asked:
            row.flags |= ROW_ABSOLUTE
        action_changed(t, row, before, v.why[0].signal if v.n else 0, now)
        return
    if level > 0:
        if (v.firm or (v.fresh and level == 1)) and v.level > 0 and v.level >= level - 1 and now > row.fresh_at:
            row.fresh_at = now
        if row.score >= policy.threshold[level] - FALL_POINTS:
            row.below = 0
        elif row.below == 0:
            row.below = now
    action_publish(t, row)
