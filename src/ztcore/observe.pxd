# One event's way through a row that the caller owns: time, learning, sight, counts, verdict,
# action, familiarity.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from ztcore.action cimport DECISION_MACHINE, action_journal, action_observe, action_settle, effective
from ztcore.atomic cimport apart, barrier, word_add, zt_ctz, zt_likely, zt_unlikely
from ztcore.custom cimport custom_hits
from ztcore.counts cimport REBASE_S, counts_add, counts_scale, decay_mean_life, decay_weight, hits_add, hits_scale
from ztcore.endpoints cimport Endpoint, endpoint_count, endpoint_see, endpoints_count, endpoints_take
from ztcore.event cimport Event
from ztcore.ewma cimport ewma_add
from ztcore.familiar cimport familiar_see
from ztcore.feedback cimport expected_lift, expected_put
from ztcore.fixed cimport random_mix
from ztcore.fleet cimport OUTAGE, RETRIED, fleet_count
from ztcore.histogram cimport histogram_add
from ztcore.hours cimport hours_see
from ztcore.judge cimport judge_ceilings, judge_common, judge_faded, judge_focus, judge_rates, judge_score, judge_shares
from ztcore.lanes cimport f4, f4_add, f4_all, f4_lane, f4_load, f4_mul, f4_set, f4_store, f4_sub
from ztcore.learn cimport ACCEPT_S, TICK_S, learn_due, learn_usual
from ztcore.methods cimport methods_see
from ztcore.minutes cimport minutes_add
from ztcore.mix cimport mix_add, mix_forget, mix_other
from ztcore.moments cimport moments_init, moments_learn, slot_start
from ztcore.policy cimport Policy
from ztcore.releases cimport release_since
from ztcore.row cimport COUNTERS, NO_PIN, ROW_GROWN, ROW_LOUD, ROW_SETTLED, Row
from ztcore.score cimport level_of
from ztcore.signals cimport Sight, sight, signals_hit
from ztcore.sources cimport sources_take
from ztcore.table cimport COUNT_LATE, COUNT_REWOUND, Header, Table
from ztcore.verdict cimport COMMON_MODE, HARMFUL, HITS, LARGE_REQUESTS, NEW_ENDPOINTS, SERVER_ERRORS, SLOW_RESPONSES, Verdict
from ztcore.welford cimport welford_add
from ztcore.times cimport SECOND_NS, MINUTE_NS, seconds_of

cdef enum:
    LATE_STREAK = 32            # late events in a row that say the partner's clock was set back
    WELL_KNOWN = 64             # values of a partner, and of its endpoint
    LOUD_THINNING = 64          # while not quiet, one event in so many still teaches

cdef inline apart row_start(const Header *header, Row *row, int64_t now) noexcept nogil:
    """A partner's first event is about to come: priors, and the time from which decay counts."""
    row.first_seen = row.last_seen = row.reference = now
    row.next_tick = now + TICK_S * SECOND_NS
    row.shares.folded_at = seconds_of(now)
    row.minutes.minute = <uint32_t>(now // MINUTE_NS)
    f4_store(row.weight, f4_all(1.0))
    f4_store(row.phi, f4_all(0.2))
    f4_store(row.gate, f4_all(1.2214028))
    expected_put(row, now)
    moments_init(&row.moments, row.within)
    learn_usual(&header.fleet, row)

cdef inline bint observe_young(const Policy *policy, Row *row, int64_t now) noexcept nogil:
    """Whether the partner is still learning; burn-in and learning end once and for all."""
    cdef int64_t age = now - row.first_seen
    if age >= policy.burn_in:
        row.flags |= ROW_SETTLED
    if age >= policy.learning and row.events >= policy.learning_events:
        row.flags |= ROW_GROWN
    return not row.flags & ROW_GROWN

cdef inline apart row_rebase(Row *row, int64_t now) noexcept nogil:
    """Move the reference of forward decay to now."""
    cdef f4 factor = decay_weight(row.reference - now)
    cdef int i
    counts_scale(row.trials, factor)
    counts_scale(row.seen, factor)
    counts_scale(row.expected, factor)
    counts_scale(row.weight, factor)
    counts_scale(row.bytes_out, factor)
    for i in range(COUNTERS):
        hits_scale(row.counts[i], factor)
    row.reference = now

cdef inline apart row_rewind(Row *row, int64_t now, const Policy *policy) noexcept nogil:
    """The partner's clock was ahead and has been set back: recent counts mean nothing, what was
    learned stays, a level lasts no longer than it would from now."""
    cdef f4 zero = f4_all(0.0)
    cdef float p
    cdef int i
    f4_store(row.trials, zero)
    f4_store(row.seen, zero)
    f4_store(row.expected, zero)
    f4_store(row.bytes_out, zero)
    f4_store(row.weight, f4_all(1.0))
    for i in range(COUNTERS):
        p = row.counts[i][3]
        f4_store(row.counts[i], zero)
        row.counts[i][3] = p
    memset(&row.minutes.requests, 0, sizeof(row.minutes.requests))
    memset(&row.minutes.errors, 0, sizeof(row.minutes.errors))
    memset(&row.minutes.latency, 0, sizeof(row.minutes.latency))
    row.minutes.minute = <uint32_t>(now // MINUTE_NS)
    row.reference = row.last_seen = now
    expected_lift(row, row.next_tick - TICK_S * SECOND_NS)
    expected_put(row, now)
    row.next_tick = now + TICK_S * SECOND_NS
    row.shares.folded_at = row.shares.spread_at = seconds_of(now)
    if row.first_seen > now:
        row.first_seen = now
    if row.fresh_at > now:
        row.fresh_at = now
    if row.below > now:
        row.below = now
    row.late_streak = 0

cdef inline bint observe_late(const Table *t, Row *row, const Event *e) noexcept nogil:
    """Count an event that came too late to be taken in. True where it showed the partner's clock
    to have been set back, so that it is taken in after all."""
    row.late_streak += 1
    if row.late_streak >= LATE_STREAK:
        row_rewind(row, e.timestamp, &t.header.policy)
        word_add(&t.header.counter[COUNT_REWOUND], 1)
        return True
    row.events += e.count
    word_add(&t.header.counter[COUNT_LATE], e.count)
    return False

cdef inline void observe_counts(Header *header, Row *row, const Event *e, uint32_t hits, f4 weight, float call, int64_t now) noexcept nogil:
    """call: what the call counts for in the rate."""
    cdef f4 added = f4_mul(weight, f4_all(<float>e.count))
    cdef uint32_t left = hits
    counts_add(row.trials, added)
    counts_add(row.seen, f4_mul(added, f4_all(call)))
    counts_add(row.bytes_out, f4_mul(added, f4_all(e.response_bytes)))
    while left:
        hits_add(row.counts[zt_ctz(left)], added)
        left &= left - 1
    if hits & COMMON_MODE:
        fleet_count(&header.fleet, e.count if hits & (1 << SERVER_ERRORS) else 0,
                    e.count if hits & (1 << SLOW_RESPONSES) else 0, e.count if hits & (1 << NEW_ENDPOINTS) else 0, now)

cdef inline void observe_shares(Row *row, const Event *e, uint32_t hits) noexcept nogil:
    """Lay the hits aside for the next fold."""
    cdef uint32_t left = hits & ((1 << HITS) - 1)
    cdef int signal
    while left:
        signal = zt_ctz(left)
        left &= left - 1
        if row.shares.pending[signal] < 65535:
            row.shares.pending[signal] += 1
    row.pending_trials += 1
    row.unlearned += e.count

cdef inline apart observe_new(const Header *header, Row *row, const Event *e, Sight *s) noexcept nogil:
    """The endpoint gets a slot."""
    s.endpoint = endpoints_take(row.endpoints, &row.rest, &row.gone, e.endpoint, s.hour,
                                release_since(&header.fleet.releases, s.hour) if s.released else 0)
    mix_forget(&row.mix, s.endpoint)
    slot_start(&row.endpoints[s.endpoint].moments, row.within, s.values)

cdef inline void observe_familiar(const Header *header, Row *row, const Event *e, Sight *s) noexcept nogil:
    """A quiet event makes its endpoint, source, method and hour more familiar."""
    cdef Endpoint *slot
    if zt_unlikely(s.endpoint < 0):
        observe_new(header, row, e, s)
    slot = &row.endpoints[s.endpoint]
    if zt_unlikely(endpoint_count(slot) < 2):
        row.singles += 1.0 if endpoint_count(slot) == 0 else -1.0 if row.singles >= 1.0 else 0.0
    endpoint_see(slot, s.hour)
    if e.source:
        if zt_unlikely(s.source < 0):
            s.source = sources_take(&row.sources, e.source, s.hour)
        familiar_see(&row.sources.source[s.source].familiar, s.hour)
    if zt_unlikely(row.last_hour != <uint16_t>s.hour):
        row.last_hour = <uint16_t>s.hour
        row.hour_methods = 0
        hours_see(&row.hours, s.hour)
    if zt_unlikely(not (row.hour_methods >> e.method) & 1):
        if methods_see(&row.methods, e.method, s.hour):
            row.hour_methods |= <uint8_t>(1 << e.method)

cdef inline void observe_sizes(Row *row, const Event *e, const Sight *s) noexcept nogil:
    """A quiet event teaches the usual sizes and latencies; where they are well known one in four
    does, and counts for four."""
    cdef uint64_t random = random_mix(row.events + <uint64_t>e.timestamp)
    cdef float response = e.response_bytes, weight = 1.0
    if row.moments.mean[3] >= WELL_KNOWN and s.endpoint_count >= WELL_KNOWN:
        if random & 3:
            return
        weight = 4.0
    histogram_add(&row.latency, f4_lane(s.values, 3), <uint32_t>weight * e.count)
    if e.status >= 400:         # what a failed call took and brought says nothing of the usual
        return
    moments_learn(&row.moments, row.within, &row.endpoints[s.endpoint].moments, s.endpoint_count, s.values, weight, random)
    if row.response.n >= 100.0 and response > <float>30.0 * row.response.mean:
        response = <float>30.0 * row.response.mean
    welford_add(&row.response, response, weight, 5000.0)
    row.response_mean = row.response.mean
    row.request_mean = ewma_add(row.request_mean, e.request_bytes, row.moments.mean[3] / weight, 5000.0)

cdef inline apart observe_anomaly(const Table *t, Row *row, const Verdict *v, int64_t now) noexcept nogil:
    """Write down once that an episode started, and each higher threshold it crosses."""
    cdef int crossed = level_of(v.score, t.header.policy.threshold)
    cdef int level = effective(row)
    if crossed > row.episode:
        row.episode = <uint8_t>crossed
        action_journal(t, row, level, level, v.why[0].signal if v.n else 0, now, v)

cdef inline apart observe_weight(Row *row, int64_t timestamp, f4 *weight) noexcept nogil:
    """Of an event that comes late."""
    weight[0] = decay_weight(timestamp - row.reference)

cdef inline bint observe_accepted(const Row *row, const Verdict *v) noexcept nogil:
    """Whether what a partner has been at a level for so long for is what it does: anything up to throttle, above it what
    a move to other functions or addresses causes as well."""
    return row.level <= 2 or v.hot & HARMFUL == 0

cdef inline void observe(const Table *t, Row *row, const Event *e, Verdict *v) noexcept nogil:
    """Take in one event. The caller owns the row; e.timestamp is usable."""
    cdef Header *header = t.header
    cdef Policy *policy = &header.policy
    cdef int64_t now = e.timestamp
    cdef f4 weight, at
    cdef Sight s
    cdef uint32_t hits
    cdef bint young, quiet, outage
    v.n = 0
    v.best = v.sum = v.absolute = v.corroborating = v.solid = v.other = v.nats = v.score = 0.0
    v.group[0] = v.group[1] = v.group[2] = 0.0
    v.hot = 0
    v.fresh = v.firm = v.new_endpoint = False
    v.level = v.most = v.ceiling = 0
    if zt_unlikely(row.reference == 0):
        row_start(header, row, now)
    if zt_unlikely(now < row.last_seen):
        if now < row.last_seen - policy.lateness and not observe_late(t, row, e):
            return
        now = row.last_seen if row.last_seen > now else now
    row.late_streak = 0
    if zt_unlikely(row.level or row.pin_level != NO_PIN):
        action_settle(t, row, now)
    young = not row.flags & ROW_GROWN
    if zt_unlikely(row.flags & (ROW_GROWN | ROW_SETTLED) != ROW_GROWN | ROW_SETTLED):
        young = observe_young(policy, row, now)
    if zt_unlikely(now - row.reference > REBASE_S * SECOND_NS):
        row_rebase(row, now)
    learn_due(header, row, now, young)
    row.last_seen = now

    at = decay_weight(now - row.reference)
    weight = at
    if zt_unlikely(e.timestamp != now):
        observe_weight(row, e.timestamp, &weight)
    f4_store(row.expected, f4_add(f4_load(row.expected), f4_mul(f4_mul(f4_set(row.paced, row.paced, row.rate, row.rate), decay_mean_life()),
                                                                f4_sub(at, f4_load(row.weight)))))
    f4_store(row.weight, at)

    sight(&s, &header.fleet, row, e, now)
    hits = signals_hit(row, e, &s)
    if zt_unlikely(t.custom.n != 0):
        hits |= custom_hits(&t.custom, row.user, e)
    outage = zt_unlikely(e.status >= 500) and judge_common(header, row, SERVER_ERRORS, at, now) > OUTAGE    # calls of others fail too
    if zt_unlikely(outage):     # it is sent again through no doing of its partner's
        hits &= ~(<uint32_t>1 << LARGE_REQUESTS)
    observe_counts(header, row, e, hits, weight, RETRIED if zt_unlikely(outage) else <float>1.0, now)
    minutes_add(&row.minutes, now, e.count, e.status >= 500, e.latency_ms, not row.flags & ROW_LOUD)

    v.faded = judge_faded(row, now) if zt_unlikely(row.level > 0) else <float>1.0
    judge_shares(v, header, row, hits, at, now)
    if zt_likely(row.flags & ROW_SETTLED):  # how its calls are spread is for the burn-in to learn
        judge_focus(v, row, s.endpoint, s.released, now)
    judge_rates(v, row, e.response_bytes, at, now)
    if zt_unlikely(policy.ceilings):
        judge_ceilings(v, policy, row, now)
    row.hot = v.hot
    if v.hot or v.ceiling:
        judge_score(v, policy, row, now, young)
    if zt_unlikely(v.score > 0.0 or row.decision & DECISION_MACHINE):
        if row.score == 0.0 and row.level == 0:
            row.evident = seconds_of(now)
        row.score = v.score
        row.nats = v.nats
        action_observe(t, row, v, now)
        if v.score >= policy.threshold[1]:
            observe_anomaly(t, row, v, now)
    quiet = young or v.score < policy.threshold[1] or (row.level and now - row.since > ACCEPT_S * SECOND_NS and observe_accepted(row, v))
    row.flags = <uint8_t>(row.flags & ~ROW_LOUD) if quiet else <uint8_t>(row.flags | ROW_LOUD)
    if quiet:
        v.new_endpoint = s.endpoint < 0
        observe_familiar(header, row, e, &s)
        observe_sizes(row, e, &s)
    if s.endpoint >= 0:
        endpoints_count(row.endpoints, &row.rest, s.endpoint, e.count)
    if zt_likely(not outage):
        if s.endpoint >= 0:
            mix_add(&row.mix, s.endpoint, e.count)
        else:
            mix_other(&row.mix, e.count)
    if quiet or row.events % LOUD_THINNING == 0:
        observe_shares(row, e, hits)
    barrier()
    row.events += e.count       # the last store: what tells, after a kill, that the event was applied
