# How baselines move: by elapsed time and only while the partner is quiet, never by event.
#
# The rate's part runs when a minute has passed, the shares' part when 64 events or ten minutes
# have; both before the event that brought the time is taken in.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from ztcore.action cimport FALL_POINTS
from ztcore.atomic cimport apart, zt_likely, zt_unlikely
from ztcore.evidence cimport LN2, RATE_MARGIN
from ztcore.feedback cimport expected_lift, expected_put
from ztcore.fleet cimport Fleet, fleet_fade, fleet_spread
from ztcore.hours cimport hours_learn_span, hours_many, hours_rate, hours_weekday
from ztcore.lanes cimport (f4, f4_add, f4_all, f4_div, f4_exp2, f4_load, f4_log2, f4_max, f4_min, f4_mul,
                           f4_sqrt, f4_store, f4_sub)
from ztcore.mix cimport mix_fade
from ztcore.past cimport past_settle, past_unbound
from ztcore.policy cimport Policy
from ztcore.row cimport ROW_GROWN, ROW_LOUD, ROW_RATED, ROW_SETTLED, Row
from ztcore.shares cimport (SHARE_DISCOVERY, SHARE_LEAST, SHARE_MEMORY, SHARE_MOST, SHARE_PRIOR, Shares,
                            share_fold, share_spread_learn, share_trials, share_variance)
from ztcore.table cimport Header
from ztcore.tails cimport TAIL_UNIT, tail_temper
from ztcore.verdict cimport DESTRUCTIVE_METHOD, HITS, NEW_ENDPOINTS
from ztcore.times cimport DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, seconds_of

cdef enum:
    TICK_S = 60
    FOLD_EVENTS = 64
    FOLD_S = 600
    SPREAD_S = 600
    SPREAD_LONG_S = 5400
    SPREAD_TRIALS = 30          # in a window that teaches the spread
    RATED_EVENTS = 30           # before a rate is called usual
    RATED_S = 600
    PACE_PRIOR = 5              # calls like those expected
    ACCEPT_S = 4 * 3600         # of evidence, or of a level no higher than throttle: from then on it is what the partner does

cdef extern from *:
    """
    #define SPREAD_MOST 9.0f            /* times the variance known */
    #define DOUBTED 4.0f                /* nats */
    """
    const float SPREAD_MOST
    const float DOUBTED

cdef inline void learn_priors(Fleet *f) noexcept nogil:
    """The shares usual in the fleet, once for many partners."""
    cdef double all = 1.0 / (f.quiet + 1000.0), discovered = 1.0 / (f.discovery + 1000.0)
    cdef int i
    for i in range(HITS):
        f.prior[i] = <float>((f.hits[i] + 0.2) * (discovered if (SHARE_DISCOVERY >> i) & 1 else all))

cdef inline void learn_usual(const Fleet *fleet, Row *row) noexcept nogil:
    """Write the shares p0 in force into the fourth lanes."""
    cdef Shares *s = &row.shares
    cdef float one = 1.0, least = 0.05, prior = SHARE_PRIOR, p, most
    cdef float all = one / (s.trials + prior), discovered = one / (s.discovery + prior)
    cdef int i
    for i in range(HITS):
        p = (s.hits[i] + prior * fleet.prior[i] + least) * (discovered if (SHARE_DISCOVERY >> i) & 1 else all)
        row.counts[i][3] = SHARE_LEAST if p < SHARE_LEAST else SHARE_MOST if p > SHARE_MOST else p
    # Good and Turing: what is new follows from what was seen once
    p = row.counts[NEW_ENDPOINTS][3]
    most = 3.0 * (row.singles + 0.5) * discovered
    row.counts[NEW_ENDPOINTS][3] = p if p < most else most if most > SHARE_LEAST else SHARE_LEAST
    if row.counts[DESTRUCTIVE_METHOD][3] < 2e-4:
        row.counts[DESTRUCTIVE_METHOD][3] = 2e-4

cdef inline void learn_spreads(Fleet *fleet, Row *row, uint32_t seconds, bint free) noexcept nogil:
    """How far the shares of the last ten minutes lie from the usual, beyond chance. Unless free to teach what it likes,
    a window counts for at most three standard deviations of those before."""
    cdef int i, lane = 1
    cdef float n = row.trials[1] / row.weight[1], p, d, excess, most
    cdef Shares *s = &row.shares
    if n < SPREAD_TRIALS:       # too few to say anything of their share: hits come in clumps
        lane = 2
        n = row.trials[2] / row.weight[2]
        if n < SPREAD_TRIALS or seconds - s.spread_at < SPREAD_LONG_S:
            return
    s.spread_at = seconds
    if s.windows < 1000:
        s.windows += 1
    for i in range(HITS):
        p = s.hits[i] / (share_trials(s, i) if share_trials(s, i) > 1.0 else 1.0)
        p = SHARE_LEAST if p < SHARE_LEAST else SHARE_MOST if p > SHARE_MOST else p
        d = row.counts[i][lane] / row.trials[lane] - p
        excess = d * d - 0.6 * p * (1.0 - p) / n
        if excess < 0.0:
            excess = 0.0
        most = SPREAD_MOST * (share_variance(s, i, fleet_spread(fleet, i)) + <float>0.03 * p * p)
        if not past_unbound(i, free) and excess > most:
            excess = most
        share_spread_learn(s, i, excess)
        fleet.spread[i] += (excess - fleet.spread[i]) * 0.001

cdef inline bint learn_doubted(const Row *row, int signal, uint32_t seconds) noexcept nogil:
    """Whether what a signal shows is evidence over the last hours that its past does not explain: then it teaches at most
    twice the usual, until it has been there for so long that it is what the partner does."""
    cdef float peak = row.tails.peak[signal][1] * <float>(1.0 / TAIL_UNIT)
    return (row.hot >> signal) & 1 and tail_temper(&row.tails, signal, 1, peak) > DOUBTED and seconds - row.evident < ACCEPT_S

cdef inline apart learn_shares(Header *header, Row *row, int64_t now, bint quiet) noexcept nogil:
    cdef Shares *s = &row.shares
    cdef Fleet *fleet = &header.fleet
    cdef uint32_t seconds = seconds_of(now)
    cdef float n = row.pending_trials, fade
    cdef bint discovering = not row.flags & ROW_SETTLED, free = not row.flags & ROW_GROWN
    cdef int i
    s.folded_at = seconds
    for i in range(HITS):
        fleet.hits[i] = fleet.hits[i] * (1.0 - 1e-6 * n) + s.pending[i]
    fade = 1.0 - (n if n < 2000.0 else 2000.0) / SHARE_MEMORY
    for i in range(HITS):
        share_fold(s, i, fade, <float>65535.0 if past_unbound(i, free) or not learn_doubted(row, i, seconds) else 2.0 * n * row.counts[i][3] + <float>0.5)
    s.trials = s.trials * fade + n
    fleet.quiet = fleet.quiet * (1.0 - 1e-6 * n) + n
    if not discovering:
        s.discovery = s.discovery * fade + n
        fleet.discovery = fleet.discovery * (1.0 - 1e-6 * n) + n
    row.singles *= fade
    fleet_fade(fleet, now)
    fleet.trials += n
    row.pending_trials = 0
    if fleet.quiet >= fleet.refresh:
        learn_priors(fleet)
        fleet.refresh = fleet.quiet * 1.01 + 100.0
    if quiet and not discovering and seconds - s.spread_at > SPREAD_S:
        learn_spreads(fleet, row, seconds, free)
    past_settle(&header.policy, row, now, False)
    learn_usual(fleet, row)

cdef inline f4 clip(f4 x, f4 most) noexcept nogil:
    return f4_max(f4_min(x, most), f4_sub(f4_all(0.0), most))

cdef inline void learn_drift(Row *row, float elapsed, bint young) noexcept nogil:
    """Let mu (at most 0.15 an hour while learning, then 0.05, within -0.3..1.2) and phi (0.03..0.5) follow what was seen up
    to the last event."""
    cdef f4 w = f4_load(row.weight), one = f4_all(1.0), mu, phi, inverse, x, r
    cdef float step = elapsed / 14400.0, most = elapsed if elapsed < 600.0 else 600.0
    most *= 0.15 / 3600.0 if young else 0.05 / 3600.0
    if step > 0.05:
        step = 0.05
    w = f4_div(one, w)
    inverse = f4_div(one, f4_add(f4_max(f4_mul(f4_load(row.expected), w), f4_all(0.5)), one))
    phi = f4_load(row.phi)
    mu = f4_sub(f4_mul(f4_all(LN2), f4_log2(f4_load(row.gate))), f4_all(RATE_MARGIN))
    r = f4_mul(f4_all(LN2), f4_log2(f4_mul(f4_add(f4_mul(f4_load(row.seen), w), one), inverse)))
    x = clip(f4_sub(r, mu), f4_mul(f4_all(2.0), f4_sqrt(f4_add(phi, inverse))))
    mu = f4_add(mu, clip(f4_mul(f4_all(step), x), f4_all(most)))
    mu = f4_max(f4_min(mu, f4_all(1.2)), f4_all(-0.3))
    x = f4_max(f4_sub(f4_mul(f4_all(1.1), f4_mul(x, x)), inverse), f4_all(0.0))
    x = f4_sub(x, phi)          # what widens the usual does so slowly once it is known
    phi = f4_add(phi, f4_mul(f4_all(<float>0.3 * step), x if young else f4_min(x, f4_mul(f4_all(0.3), x))))
    f4_store(row.phi, f4_max(f4_min(phi, f4_all(0.5)), f4_all(0.03)))
    f4_store(row.gate, f4_exp2(f4_mul(f4_add(mu, f4_all(RATE_MARGIN)), f4_all(1.442695))))

cdef inline float learn_pace(const Row *row, float elapsed) noexcept nogil:
    """How the last hours went beside what was expected of them: a weekday, a holiday, a slow afternoon. It moves
    by at most half an hour, so that a burst, which is held against it, is over before it has."""
    cdef float few = PACE_PRIOR * row.weight[2], before = row.paced / row.rate if row.rate > 0.0 else <float>1.0
    cdef float pace = (row.seen[2] + few) / (row.expected[2] + few)
    cdef float most = before * (<float>1.0 + elapsed * <float>(0.5 / 3600.0))
    if before > 0.0:
        pace = most if pace > most else before * before / most if pace < before * before / most else pace
    return <float>0.5 if pace < <float>0.5 else <float>4.0 if pace > <float>4.0 else pace

cdef inline bint learn_away(const Row *row, int64_t now) noexcept nogil:
    """Whether it called around the clock, then not at all for more than a day: of when it is there that says nothing."""
    return now - row.last_seen > DAY_NS and row.last_seen - row.first_seen > DAY_NS // 2 and hours_many(&row.hours)

cdef inline bint learn_new_day(const Row *row, int64_t before, int64_t now) noexcept nogil:
    """Whether a day of the week begins of which nothing is known: it need not be as slow as the one before."""
    return before // DAY_NS != now // DAY_NS and row.hours.week[hours_weekday(now // HOUR_NS)] == 0

cdef inline void learn_calm(const Policy *policy, Row *row, int64_t before, int64_t now) noexcept nogil:
    """An episode is over once a new ten minutes begin with a low score: from call to call scores jump."""
    if row.episode and row.score < policy.threshold[1] - FALL_POINTS and now // (10 * MINUTE_NS) != before // (10 * MINUTE_NS):
        row.episode = 0

cdef inline apart learn_rate(const Policy *policy, Row *row, int64_t now, bint quiet, bint young) noexcept nogil:
    """Fold the events since the last tick into the rate by hour of the day. At most twice the
    expected rate gets in, so that a burst cannot teach its own normal."""
    cdef int64_t began = row.next_tick - TICK_S * SECOND_NS
    cdef bint announced = row.expected_rate > 0.0
    cdef float elapsed = <float>((now - began) * 1e-9), accepted = row.unlearned, age = <float>((now - row.first_seen) * 1e-9), mean, pace
    cdef bint away = learn_away(row, now), anew = away or learn_new_day(row, began, now)
    if elapsed < 0.0:
        elapsed = 0.0
    learn_calm(policy, row, began, now)
    row.unlearned = 0.0
    mix_fade(&row.mix, elapsed, <uint64_t>now)
    row.tokens += 2.0 * row.rate * elapsed
    if row.tokens > 3600.0 * row.rate + 10.0:
        row.tokens = 3600.0 * row.rate + 10.0
    if not young and row.flags & ROW_RATED:
        if accepted > row.tokens:
            accepted = row.tokens
        row.tokens -= accepted
    if announced and accepted > row.rate * elapsed:     # it is to be no habit
        accepted = row.rate * elapsed
    row.learned += accepted
    if zt_unlikely(away):       # as if it had gone on as before
        row.learned *= age * <float>1e9 / <float>(row.last_seen - row.first_seen)
    mean = row.learned / (age if age > 600.0 else 600.0)
    hours_learn_span(&row.hours, began, accepted, row.last_seen if away else now, mean)
    expected_lift(row, began)
    if row.nats < 14.0 and (quiet or young) and not announced:
        learn_drift(row, elapsed, young)
    expected_put(row, now)
    if row.learned >= RATED_EVENTS and age >= RATED_S:
        row.flags |= ROW_RATED
    pace = row.paced / row.rate if announced and row.rate > 0.0 else learn_pace(row, elapsed)
    if zt_unlikely(anew and pace < <float>1.0):
        pace = 1.0
    row.rate = hours_rate(&row.hours, now // HOUR_NS, mean)
    row.paced = row.rate * pace
    row.next_tick = now + TICK_S * SECOND_NS

cdef inline void learn_due(Header *header, Row *row, int64_t now, bint young) noexcept nogil:
    """What is due at this time, before what brought the time is taken in."""
    cdef bint quiet = not row.flags & ROW_LOUD
    if zt_likely(now < row.next_tick):
        return
    learn_rate(&header.policy, row, now, quiet, young)
    if row.pending_trials >= FOLD_EVENTS or seconds_of(now) - row.shares.folded_at >= FOLD_S:
        learn_shares(header, row, now, quiet)
