# From counts to a verdict: evidence of each signal that was hit or had some, at all half-lives.

from libc.math cimport exp2f
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from ztcore.atomic cimport apart, zt_ctz, zt_unlikely
from ztcore.endpoints cimport calls_gone, endpoint_hours
from ztcore.evidence cimport (EVIDENCE_LEAST, LN2, RATE_MARGIN, bytes_evidence, ramp_evidence,
                              rate_evidence, saturate, share_evidence, share_excess)
from ztcore.familiar cimport FAMILIAR_HOURS
from ztcore.feedback cimport excuse_tail, excused, expected_factor
from ztcore.fleet cimport fleet_fade, fleet_share, fleet_spread
from ztcore.jobs cimport JOB_BYTES, JOB_CALLS, jobs_phi, jobs_see, jobs_temper, jobs_usual
from ztcore.lanes cimport (f1_max3, f4, f4_above, f4_add, f4_all, f4_any_above, f4_div, f4_lane, f4_load, f4_log2, f4_max,
                           f4_min, f4_mul, f4_set, f4_sub)
from ztcore.minutes cimport minutes_errors, minutes_latency, minutes_requests
from ztcore.mix cimport mix_stands_out, mix_usual
from ztcore.policy cimport Policy
from ztcore.row cimport ROW_GROWN, ROW_RATED, Row
from ztcore.score cimport LOG_TRIED, combine, level_of, score_of
from ztcore.shares cimport share_worth, share_worth_long
from ztcore.table cimport Header
from ztcore.tails cimport tail_most, tail_rises, tail_see, tail_temper
from ztcore.verdict cimport (AUTH_FAILURES, BACKENDS, BYTES_OUT, CEILING_ERROR_RATE, CEILING_REQUEST_RATE, CEILING_RESPONSE_TIME,
                             CLIENT_ERRORS, COMMON_MODE, ENDPOINT_FOCUS, ERRORS_ON_NEW_ENDPOINTS, HITS, NEEDS_CORROBORATION, NEW_SOURCE_AND_ENDPOINT,
                             NEW_SOURCES, RATE_RAMP, REQUEST_RATE, SERVER_ERRORS, SIZES, SLOW_RESPONSES, STALE, SUSPICIOUS_PATTERNS, UNFAMILIAR,
                             Verdict, verdict_why, zt_group)
from ztcore.welford cimport welford_variance
from ztcore.times cimport seconds_of

cdef enum:
    CEILING_EVENTS = 20         # within the minute, before a ceiling counts

cdef extern from *:
    """
    #define YOUNG_PHI 0.06f
    #define RAMP_ROOM 1.5f              /* times the slow reference that no ramp is seen in */
    #define REFUSALS 2.0f               /* of a token that has expired: no evidence */
    #define FOCUS_WORTH 100.0f          /* calls that the usual mix is worth */
    #define LENDS 3.0f                  /* nats more that a rate beyond its past corroborates others with */
    #define RATE_MOST 120.0f            /* nats beyond which the counts of rates are shrunk */
    #define DOUBT 8.0f                  /* nats that a level takes more as learning ends; after as long again half of it, then none */
    """
    const float DOUBT
    const float YOUNG_PHI
    const float RAMP_ROOM
    const float RATE_MOST
    const float REFUSALS
    const float FOCUS_WORTH
    const float LENDS

cdef inline void judge_sum(Verdict *v, int kind, float excess) noexcept nogil:
    cdef int group = zt_group[kind]
    if group < 0:
        v.sum += excess
    elif excess > v.group[group]:
        v.sum += excess - v.group[group]
        v.group[group] = excess

cdef inline float judge_faded(const Row *row, int64_t now) noexcept nogil:
    """What is left of evidence that nothing fresh was added to: half of it every ten minutes since what last
    prolonged the level."""
    cdef int64_t since = now - row.fresh_at
    return exp2f(<float>since * <float>(-1.0 / 600e9)) if since > 0 else <float>1.0

cdef inline float f1_min(float a, float b) noexcept nogil:
    return a if a < b else b

cdef inline f4 judge_tempered(const Row *row, int kind, f4 raw, float most) noexcept nogil:
    """Evidence in units of this signal's own past."""
    return f4_set(tail_temper(&row.tails, kind, 0, f1_min(f4_lane(raw, 0), most)),
                  tail_temper(&row.tails, kind, 0, f1_min(f4_lane(raw, 1), most)),
                  tail_temper(&row.tails, kind, 1, f1_min(f4_lane(raw, 2), most)), 0.0)

cdef inline void judge_take(Verdict *v, Row *row, int kind, f4 raw, f4 tempered, f4 seen, f4 usual, float p, bint hit,
                            float lends, uint32_t seconds) noexcept nogil:
    """Put one signal's evidence, the largest over half-lives, into the verdict. tempered: in units of its past; lends:
    what it corroborates others with, if that is more."""
    cdef int lane = 1 if f4_lane(raw, 1) > f4_lane(raw, 0) else 0
    cdef float best = f4_lane(tempered, lane), long_ = f4_lane(tempered, 2)
    cdef bint fresh, rises
    if not (f4_lane(raw, lane) > EVIDENCE_LEAST or f4_lane(raw, 2) > EVIDENCE_LEAST):
        return
    fresh = f4_lane(tempered, 0) > 3.0
    rises = long_ > 3.0 and tail_rises(&row.tails, kind, f4_lane(raw, 2))
    if not (hit and fresh):
        best *= v.faded
    if not (hit and rises):
        long_ *= v.faded
    tail_see(&row.tails, kind, 0, f4_lane(raw, lane), seconds)
    tail_see(&row.tails, kind, 1, f4_lane(raw, 2), seconds)
    if long_ > best:
        best = long_
        lane = 2
    if (BACKENDS >> kind) & 1 and best > 6.0:
        best = 6.0
    v.hot |= <uint32_t>1 << kind
    if zt_unlikely(row.excused != 0) and excused(row, kind, seconds):
        excuse_tail(row, kind, False)
        return
    judge_sum(v, kind, best - EVIDENCE_LEAST)
    if best > v.best:
        v.best = best
    if kind == SUSPICIOUS_PATTERNS:
        v.absolute = best
    if best > v.other and zt_group[kind] != 0:
        v.other = best
    if not (NEEDS_CORROBORATION >> kind) & 1:
        lends = best if best > lends else lends
        if lends > v.corroborating:
            v.corroborating = lends
        if best > v.solid and not (SIZES >> kind) & 1:
            v.solid = best
    if hit and (fresh or rises):
        v.fresh = True
        v.firm = v.firm or not (STALE >> kind) & 1
    verdict_why(v, kind, lane, best, f4_lane(seen, lane), f4_lane(usual, lane), p)

cdef inline float judge_common(Header *header, const Row *row, int kind, f4 w, int64_t now) noexcept nogil:
    """What the other partners see of a signal in COMMON_MODE, see fleet_share()."""
    cdef double hits
    fleet_fade(&header.fleet, now)
    hits = header.fleet.errors if kind == SERVER_ERRORS else header.fleet.slow if kind == SLOW_RESPONSES else header.fleet.novel
    return fleet_share(&header.fleet, hits, row.counts[kind][0] / f4_lane(w, 0), row.trials[0] / f4_lane(w, 0))

cdef inline float judge_usual(Header *header, const Row *row, int kind, f4 w, int64_t now) noexcept nogil:
    """The share p0 in force; for what the backend or a deployment may cause at least what
    the other partners see."""
    cdef float p = row.counts[kind][3], common
    if (COMMON_MODE >> kind) & 1:
        common = judge_common(header, row, kind, w, now)
        if common > p:
            return common
    return p

cdef inline apart judge_share(Verdict *v, Header *header, Row *row, int s, bint hit, f4 w, int64_t now) noexcept nogil:
    """One signal that is a share."""
    cdef f4 k = f4_load(row.counts[s]), trials = f4_load(row.trials), raw
    cdef float p = row.counts[s][3], m = 0.0, most
    if s == AUTH_FAILURES:      # a token expires, and some calls are on their way
        k = f4_max(f4_sub(k, f4_mul(w, f4_all(REFUSALS))), f4_all(0.0))
    if s == ERRORS_ON_NEW_ENDPOINTS:
        trials = f4_max(f4_load(row.counts[UNFAMILIAR]), k)
        p = 2.0 * row.counts[CLIENT_ERRORS][3] + 0.06
        p = p if p < 0.5 else 0.5
        m = 50.0
    elif s == NEW_SOURCE_AND_ENDPOINT:      # of whose addresses are always new, a new endpoint brings nothing else
        trials = f4_max(f4_load(row.counts[UNFAMILIAR]), k)
        p = 3.0 * row.counts[NEW_SOURCES][3] + 0.02
        p = p if p < 0.9 else 0.9
        m = 20.0
    if share_excess(k, trials, w, p) == 0:
        return
    if m == 0.0:
        p = judge_usual(header, row, s, w, now)
        m = share_worth(&row.shares, s, p, fleet_spread(&header.fleet, s))
        if share_excess(k, trials, w, p) == 0:
            return
    raw = share_evidence(k, trials, w, p, m, share_worth_long(s, m))
    most = tail_most(&row.tails, s)
    if f1_max3(raw) > most and not (BACKENDS >> s) & 1:     # these are subtracted from the fleet's to know the others'
        m = row.counts[s][3]
        saturate(row.counts[s], raw, most)
        row.counts[s][3] = m
    judge_take(v, row, s, raw, judge_tempered(row, s, raw, most), f4_div(f4_load(row.counts[s]), w), f4_div(trials, w), p, hit, 0.0, seconds_of(now))

cdef inline void judge_shares(Verdict *v, Header *header, Row *row, uint32_t hits, f4 w, int64_t now) noexcept nogil:
    cdef uint32_t left = (hits | row.hot) & ((1 << HITS) - 1)
    while zt_unlikely(left != 0):
        judge_share(v, header, row, zt_ctz(left), (hits >> zt_ctz(left)) & 1, w, now)
        left &= left - 1

cdef inline void judge_focus(Verdict *v, Row *row, int slot, bint released, int64_t now) noexcept nogil:
    """Whether one endpoint has far more of the latest calls than of all: this call's (unless a deployment brought it), or
    the one that stood out last."""
    cdef uint64_t calls = row.events + row.borrowed
    if zt_unlikely(slot >= 0 and not released and mix_stands_out(&row.mix, row.endpoints, slot, calls)):
        row.focus = <uint8_t>slot
        judge_mix(v, row, True, now)
    elif zt_unlikely((row.hot >> ENDPOINT_FOCUS) & 1 and mix_stands_out(&row.mix, row.endpoints, row.focus, calls)):
        judge_mix(v, row, False, now)

cdef inline apart judge_mix(Verdict *v, Row *row, bint hit, int64_t now) noexcept nogil:
    """How far the endpoint in row.focus stands out. hit: by this call."""
    cdef int slot = row.focus
    cdef uint32_t gone = calls_gone(row.gone, row.rest)
    cdef float p = mix_usual(row.endpoints, row.rest - gone, gone, slot, <float>((now - row.first_seen + 1) * (1.0 / 3600e9)),
                             row.last_hour)
    cdef f4 raw, tempered, k = f4_all(row.mix.recent[slot]), n = f4_all(row.mix.total)
    raw = f4_mul(share_evidence(k, n, f4_all(1.0), p, FOCUS_WORTH, FOCUS_WORTH), f4_set(1.0, 0.0, 0.0, 0.0))
    tempered = f4_min(raw, f4_all(60.0))        # of an endpoint that is new to it, past jobs say nothing
    if endpoint_hours(&row.endpoints[slot]) >= FAMILIAR_HOURS:
        tempered = judge_tempered(row, ENDPOINT_FOCUS, raw, tail_most(&row.tails, ENDPOINT_FOCUS))
    judge_take(v, row, ENDPOINT_FOCUS, raw, tempered, k, n, p, hit, 0.0, seconds_of(now))

cdef inline f4 rate_mu(const Row *row) noexcept nogil:
    """The learned log of seen over expected, from the gate that is kept."""
    return f4_sub(f4_mul(f4_all(LN2), f4_log2(f4_load(row.gate))), f4_all(RATE_MARGIN))

cdef inline void judge_rates(Verdict *v, Row *row, float response, f4 w, int64_t now) noexcept nogil:
    """Request rate, bytes out, ramp: first a bound without a division, then the evidence."""
    cdef f4 seen = f4_load(row.seen), expected = f4_load(row.expected), gate = f4_load(row.gate)
    if zt_unlikely(not row.flags & ROW_RATED):
        return
    expected = f4_max(expected, f4_mul(w, f4_all(0.5)))
    if zt_unlikely(f4_any_above(f4_add(seen, w), f4_mul(gate, f4_add(expected, w)))):
        judge_calls(v, row, f4_div(seen, w), f4_div(expected, w), now)
    expected = f4_mul(expected, f4_max(gate, f4_all(1.2214028)))
    if zt_unlikely(f4_above(f4_load(row.bytes_out), f4_mul(f4_all(row.response_mean), f4_add(expected, f4_mul(w, f4_all(0.49)))))):
        if response > row.response_mean or (row.hot >> BYTES_OUT) & 1:
            judge_bytes(v, row, response, w, now)

cdef inline f4 judge_phi(const Row *row) noexcept nogil:
    """The learned variance of the rate; of the young at most what it will be once it is known, so that their jobs
    leave a record as it will be seen then."""
    cdef f4 phi = f4_load(row.phi)
    return phi if row.flags & ROW_GROWN else f4_min(phi, f4_all(YOUNG_PHI))

cdef inline apart judge_calls(Verdict *v, Row *row, f4 seen, f4 expected, int64_t now) noexcept nogil:
    """Request rate and ramp, counts as of now."""
    cdef f4 mu = rate_mu(row), phi = judge_phi(row), past = jobs_usual(&row.jobs, JOB_CALLS), raw, beyond, usual, ramp
    cdef uint32_t seconds = seconds_of(now)
    raw = rate_evidence(seen, expected, mu, phi)
    if f1_max3(raw) > EVIDENCE_LEAST:
        jobs_see(&row.jobs, JOB_CALLS, f4_sub(seen, expected))
        if f1_max3(raw) > RATE_MOST:
            saturate(row.seen, raw, RATE_MOST)
        usual = f4_mul(expected, f4_mul(f4_load(row.gate), f4_all(0.8187308)))      # what mu says of the expected
        beyond = rate_evidence(seen, f4_add(usual, past), f4_all(0.0), jobs_phi(usual, past, phi))
        judge_take(v, row, REQUEST_RATE, raw, jobs_temper(raw, beyond), seen, expected, 0.0, True, f1_max3(beyond) + LENDS,
                   seconds)
    usual = f4_mul(f4_mul(expected, f4_all(RAMP_ROOM)), expected_factor(row, now))
    past = f4_mul(past, f4_set(0.0, 0.0, 0.67, 0.67))
    ramp = f4_add(usual, past)
    if f4_any_above(f4_mul(seen, f4_set(0.0, 0.0, 1.0, 1.0)), f4_add(ramp, f4_all(1.0))):
        raw = ramp_evidence(seen, ramp, jobs_phi(usual, past, phi))
        if f4_lane(raw, 3) > f4_lane(raw, 2):   # the half hour stands in for the longest
            raw = f4_set(0.0, 0.0, f4_lane(raw, 3), 0.0)
            seen = f4_all(f4_lane(seen, 3))
            expected = f4_all(f4_lane(expected, 3))
        judge_take(v, row, RATE_RAMP, raw, judge_tempered(row, RATE_RAMP, raw, RATE_MOST), seen, expected, 0.0, True, 0.0, seconds)

cdef inline apart judge_bytes(Verdict *v, Row *row, float response, f4 w, int64_t now) noexcept nogil:
    cdef float mean = row.response.mean, kappa
    cdef f4 growth, seen, e, past, raw, phi = f4_load(row.phi), unit
    if not mean > 0.0 or row.response.n < 100.0:
        return
    kappa = 1.0 + welford_variance(&row.response) / (mean * mean)
    growth = f4_max(f4_mul(f4_load(row.gate), f4_all(0.8187308)), f4_all(1.0))
    unit = f4_all(mean)
    seen = f4_div(f4_load(row.bytes_out), w)
    e = f4_div(f4_max(f4_load(row.expected), f4_mul(w, f4_all(0.5))), w)
    raw = bytes_evidence(f4_div(seen, unit), e, growth, kappa, phi)
    if not f1_max3(raw) > EVIDENCE_LEAST:
        return
    past = f4_div(jobs_usual(&row.jobs, JOB_BYTES), unit)
    jobs_see(&row.jobs, JOB_BYTES, f4_sub(seen, f4_mul(unit, f4_mul(e, growth))))
    if f1_max3(raw) > RATE_MOST:
        saturate(row.bytes_out, raw, RATE_MOST)
    judge_take(v, row, BYTES_OUT, raw, jobs_temper(raw, bytes_evidence(f4_div(seen, unit), f4_add(f4_mul(e, growth), past), f4_all(1.0), kappa,
                                                                                jobs_phi(f4_mul(e, growth), past, phi))),
               seen, f4_mul(f4_mul(e, growth), unit), 0.0, response > mean, 0.0, seconds_of(now))

cdef inline apart judge_ceilings(Verdict *v, const Policy *policy, const Row *row, int64_t now) noexcept nogil:
    """Absolute ceilings over the sliding minute; they need no learning."""
    cdef float n = minutes_requests(&row.minutes, now), x
    if n < CEILING_EVENTS:
        return
    if policy.ceiling_requests > 0.0 and n > policy.ceiling_requests:
        v.ceiling = 2
        verdict_why(v, CEILING_REQUEST_RATE, 0, 1000.0, n, policy.ceiling_requests, 0.0)
    x = minutes_errors(&row.minutes, now)
    if policy.ceiling_errors > 0.0 and x > policy.ceiling_errors * n:
        v.ceiling = v.ceiling if v.ceiling > 1 else 1
        verdict_why(v, CEILING_ERROR_RATE, 0, 999.0, x, n, policy.ceiling_errors)
    x = minutes_latency(&row.minutes, now)
    if policy.ceiling_latency > 0.0 and x > policy.ceiling_latency * n:
        v.ceiling = v.ceiling if v.ceiling > 1 else 1
        verdict_why(v, CEILING_RESPONSE_TIME, 0, 999.0, x / n, n, policy.ceiling_latency)

cdef inline apart judge_score(Verdict *v, const Policy *policy, const Row *row, int64_t now, bint learning) noexcept nogil:
    """Score and the level it asks for. While learning only absolute evidence asks for a level."""
    cdef float counted
    cdef int64_t age = now - row.first_seen
    if age < 2 * policy.learning:       # nothing that needs corroboration acts by itself yet
        v.group[0] = 0.0
    if v.best > 0.0:
        v.nats = combine(v)
        v.score = score_of(v.nats)
    counted = v.score
    if age < 2 * policy.learning:
        counted = score_of(v.nats - DOUBT * (<float>1.5 - <float>0.5 * <float>age / <float>policy.learning))
    if learning:
        counted = score_of(v.absolute - LOG_TRIED) if policy.patterns else 0.0
    v.level = level_of(counted, policy.threshold)
    if v.level > v.most and not learning:
        v.level = v.most
    if v.ceiling > v.level:
        v.level = v.ceiling
        v.fresh = v.firm = True
        if v.score < policy.threshold[v.ceiling]:
            v.score = policy.threshold[v.ceiling]
