# What one host adds to a partner, and how what the others added is taken in.
#
# A contribution is the recent calls of a partner at one host: how many and how many bytes, decayed with the four
# half-lives to a time; how many hits of each signal, with the first three. Such sums add over hosts. The row holds the view of all
# hosts together, so that an event is judged by the whole; what is this host's own is what came in between two
# looks at it. Of the others only their sum is kept, as it was when it was last taken in: what is new is the
# difference. The same sum taken in twice, or one that was lost, changes nothing but the time; and as such sums
# never fall but by decay, one that has is an older one, of which nothing is new.
#
# Calls elsewhere teach what is usual exactly as those here do, so that every host learns from the whole stream.

from libc.math cimport exp2
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from ztcore.counts cimport REBASE_S, counts_add, decay_mean_life, decay_weight, hits_add
from ztcore.fleet cimport fleet_count
from ztcore.hours cimport hours_get, hours_put
from ztcore.jobs cimport jobs_widen
from ztcore.lanes cimport f4, f4_add, f4_all, f4_lane, f4_load, f4_mul, f4_set, f4_store, f4_sub
from ztcore.learn cimport learn_due
from ztcore.minutes cimport minutes_add
from ztcore.observe cimport observe_young, row_rebase
from ztcore.row cimport COUNTERS, ROW_GROWN, ROW_LOUD, ROW_RATED, ROW_SETTLED, Row
from ztcore.shares cimport Shares
from ztcore.table cimport Table
from ztcore.times cimport SECOND_NS
from ztcore.verdict cimport HITS, NEW_ENDPOINTS, SERVER_ERRORS, SLOW_RESPONSES

cdef enum:
    PART_TRIALS = 0
    PART_BYTES = 1
    PART_HITS = 2               # from here on a counter each
    PARTS = 2 + COUNTERS
    LANES = 4                   # of calls and bytes
    HIT_LANES = 3               # of a counter: its fourth lane in the row is its usual share
    SUMS = 2 * LANES + COUNTERS * HIT_LANES

cdef extern from *:
    """
    #define PART_NOISE 4e-6f            /* of a sum: below it is rounding */
    """
    const float PART_NOISE

cdef struct Sums:               # calls, bytes, then hits by counter, a number each half-life
    float of[SUMS]

cdef struct Account:            # of one partner, at one host
    uint64_t key
    uint64_t elsewhere          # calls the others counted, ever
    uint64_t before             # of the row's, those that another host counts
    int64_t at                  # ns to which the three below are decayed
    int64_t born                # row.first_seen: another one is another row
    uint8_t met                 # what is usual here includes the others' part
    Sums own                    # this host's contribution
    Sums others                 # the sum of the others' that the row includes
    Sums view                   # the row as of the last look

cdef inline int part_lanes(int part) noexcept nogil:
    return LANES if part < PART_HITS else HIT_LANES

cdef inline void part_decays(int64_t since, float *out) noexcept nogil:
    """What is left after so many ns, a factor each half-life; 1 where time went back."""
    cdef double s = since * 1e-9 if since > 0 else 0.0
    out[0] = <float>exp2(-s / 60.0)
    out[1] = <float>exp2(-s / 600.0)
    out[2] = <float>exp2(-s / 5400.0)
    out[3] = <float>exp2(-s / 1800.0)

cdef inline const float *row_part(const Row *row, int part) noexcept nogil:
    if part == PART_TRIALS:
        return <const float *>row.trials
    return <const float *>row.bytes_out if part == PART_BYTES else <const float *>row.counts[part - PART_HITS]

cdef inline void account_view(Account *a, const Row *row, const float *weight) noexcept nogil:
    """The row as it is now, weight being that of its decay."""
    cdef int part, lane, i = 0
    for part in range(PARTS):
        for lane in range(part_lanes(part)):
            a.view.of[i] = row_part(row, part)[lane] / weight[lane]
            i += 1

cdef inline void account_look(Account *a, const Row *row) noexcept nogil:
    """Put what came since the last look into the own contribution; all is then as of the row's last event."""
    cdef int64_t at = row.last_seen if row.last_seen > a.at else a.at
    cdef float decay[LANES]
    cdef float weight[LANES]
    cdef Sums before
    cdef float came
    cdef int part, lane, i = 0
    f4_store(weight, decay_weight(at - row.reference))
    part_decays(at - a.at, decay)
    for part in range(PARTS):
        for lane in range(part_lanes(part)):
            a.own.of[i] *= decay[lane]
            a.others.of[i] *= decay[lane]
            a.view.of[i] *= decay[lane]
            i += 1
    before = a.view
    account_view(a, row, weight)
    for i in range(SUMS):
        came = a.view.of[i] - before.of[i]
        if came > PART_NOISE * a.view.of[i]:    # less than nothing: the row was forgiven, or saturated
            a.own.of[i] += came
    a.at = at

cdef inline void account_open(Account *a, const Row *row, bint contained) noexcept nogil:
    """A partner's first look. contained: the row has the others' part in it, so nothing of it is one's own yet."""
    a.key = row.key
    a.born = row.first_seen
    a.at = row.last_seen
    a.met = contained
    account_look(a, row)
    if contained:
        memset(&a.own, 0, sizeof(Sums))

cdef inline void account_reopen(Account *a, const Row *row) noexcept nogil:
    """The partner left the table and came back: its new row has nothing of before in it, the contribution has."""
    memset(&a.others, 0, sizeof(Sums))
    memset(&a.view, 0, sizeof(Sums))
    a.before = 0
    a.met = True
    account_look(a, row)

cdef inline void row_widen(Row *row, float factor) noexcept nogil:
    """The usual rate, and what jobs add to it, was that of this host alone: with the others' part it is so many times that."""
    cdef float room = 1000.0
    cdef int hour
    factor = factor if factor < room else room
    for hour in range(24):
        if row.hours.rate[hour]:
            hours_put(&row.hours, hour, hours_get(&row.hours, hour) * factor, <uint64_t>row.hours.rate[hour] + hour)
    f4_store(row.expected, f4_mul(f4_load(row.expected), f4_all(factor)))
    row.rate *= factor
    row.paced *= factor
    row.learned *= factor
    row.minutes.busy *= factor
    jobs_widen(&row.jobs, factor)

cdef inline void row_advance(const Table *t, Row *row, int64_t now, bint young) noexcept nogil:
    """Time goes on in a row as at an event: learning that is due, decay, expectation."""
    cdef f4 at
    if now - row.reference > REBASE_S * SECOND_NS:
        row_rebase(row, now)
    learn_due(t.header, row, now, young)
    at = decay_weight(now - row.reference)
    if f4_lane(at, 0) > row.weight[0]:
        f4_store(row.expected, f4_add(f4_load(row.expected), f4_mul(
            f4_mul(f4_set(row.paced, row.paced, row.rate, row.rate), decay_mean_life()), f4_sub(at, f4_load(row.weight)))))
        f4_store(row.weight, at)

cdef inline void row_teach(Row *row, const float *came, int64_t now) noexcept nogil:
    """Calls elsewhere are calls: they count for ceilings, and teach where the partner is quiet. came: a number each part."""
    cdef Shares *s = &row.shares
    cdef uint32_t n = <uint32_t>(came[PART_TRIALS] + <float>0.5), errors = <uint32_t>(came[PART_HITS + SERVER_ERRORS] + <float>0.5)
    cdef float mean = row.minutes.latency[0] / row.minutes.requests[0] if row.minutes.requests[0] else <float>0.0
    cdef uint32_t sum
    cdef int i
    if n == 0:
        return
    errors = errors if errors < n else n
    if n > errors:
        minutes_add(&row.minutes, now, n - errors, False, mean, False)
    if errors:
        minutes_add(&row.minutes, now, errors, True, mean, False)
    if row.flags & ROW_LOUD or row.level > 0:
        return
    row.unlearned += came[PART_TRIALS]
    sum = row.pending_trials + n
    row.pending_trials = <uint16_t>(sum if sum < 65535 else 65535)
    for i in range(HITS):
        sum = s.pending[i] + <uint32_t>(came[PART_HITS + i] + <float>0.5)
        s.pending[i] = <uint16_t>(sum if sum < 65535 else 65535)

cdef inline void row_add(Row *row, int part, f4 came) noexcept nogil:
    if part == PART_TRIALS:
        counts_add(row.trials, came)
        counts_add(row.seen, came)
    elif part == PART_BYTES:
        counts_add(row.bytes_out, came)
    else:
        hits_add(row.counts[part - PART_HITS], came)

cdef inline void account_meet(Account *a, Row *row, float fresh) noexcept nogil:
    """The first word of the others, who had `fresh` calls at the longest half-life."""
    cdef float usual = row.expected[2] / row.weight[2], seen = a.view.of[2]
    usual = usual if usual > seen else seen
    if row.flags & ROW_RATED and fresh > 0.0:
        row_widen(row, <float>1.0 + fresh / (usual if usual > 1.0 else <float>1.0))
    a.met = True

cdef inline void account_fold(const Table *t, Row *row, Account *a, const Sums *others, int64_t others_at, bint seen) noexcept nogil:
    """Take in the others' sum as of `others_at`. The caller owns the row. seen: they are calls that were made, not
    calls that are supposed while nothing is heard."""
    cdef int64_t now
    cdef float decay[LANES]
    cdef float since[LANES]
    cdef float weight[LANES]
    cdef float came[PARTS]
    cdef float just[PARTS]
    cdef float fresh[LANES]
    cdef float usual
    cdef bint young = not row.flags & ROW_GROWN
    cdef f4 at
    cdef int part, lane, i = 0
    account_look(a, row)
    now = others_at if others_at > row.last_seen else row.last_seen
    if row.flags & (ROW_GROWN | ROW_SETTLED) != ROW_GROWN | ROW_SETTLED:
        young = observe_young(&t.header.policy, row, now)
    part_decays(now - others_at, decay)
    if not a.met:
        account_meet(a, row, others.of[2] * decay[2])
    row_advance(t, row, now, young)
    at = decay_weight(now - row.reference)
    f4_store(weight, at)
    part_decays(now - a.at, since)
    for part in range(PARTS):
        fresh[3] = 0.0
        for lane in range(part_lanes(part)):
            fresh[lane] = others.of[i] * decay[lane]
            usual = a.others.of[i] * since[lane]
            a.own.of[i] *= since[lane]
            a.others.of[i] = usual              # less than that is what Redis lost, or was supposed and not made
            if fresh[lane] > usual:
                a.others.of[i] = fresh[lane]
            fresh[lane] -= usual
            if fresh[lane] <= PART_NOISE * usual:
                fresh[lane] = 0.0
            i += 1
        just[part] = fresh[0]
        came[part] = fresh[2]
        row_add(row, part, f4_mul(f4_load(fresh), at))
    a.at = now
    if seen and now > row.last_seen:
        row.last_seen = now
    row_teach(row, came, now)
    fleet_count(&t.header.fleet, just[PART_HITS + SERVER_ERRORS], just[PART_HITS + SLOW_RESPONSES], just[PART_HITS + NEW_ENDPOINTS], now)
    account_view(a, row, weight)

cdef inline void account_suppose(const Table *t, Row *row, Account *a, int64_t now) noexcept nogil:
    """Nothing is heard of the others: they are taken to go on as usual, so that neither their silence nor their
    return looks like a change. The share of calls that is theirs stays what it was."""
    cdef Sums supposed
    cdef float decay[LANES]
    cdef float life[LANES]
    cdef float own = a.own.of[2], theirs = a.others.of[2], rate, share
    cdef int part, lane, i = 0
    if theirs < <float>1.0 or now <= a.at or not row.flags & ROW_RATED:
        return
    f4_store(life, decay_mean_life())
    part_decays(now - a.at, decay)
    for part in range(PARTS):
        rate = row.paced * theirs / (own + theirs)
        if part == PART_BYTES:
            rate *= row.response_mean
        elif part >= PART_HITS:
            rate *= row.counts[part - PART_HITS][3] if part - PART_HITS < HITS else <float>0.0
        for lane in range(part_lanes(part)):
            supposed.of[i] = rate * life[lane] * (<float>1.0 - decay[lane]) + a.others.of[i] * decay[lane]
            i += 1
    account_fold(t, row, a, &supposed, now, False)
