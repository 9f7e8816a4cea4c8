# The usual rate by hour of the week (UTC), and the hours of the day in which the partner calls.
#
# An hour of the week is an hour of the day times a day of the week: 31 numbers instead of 168, learned in
# days instead of months. Rates move by elapsed time: an hour's rate is its accepted events over its
# observed seconds, and past two weeks of observation old days fade.

from libc.math cimport exp2f, log2f
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from ztcore.fixed cimport random_mix
from ztcore.times cimport DAY_NS, HOUR_NS

cdef enum:
    HOUR_MOST = 50400           # s: two weeks of one hour a day
    HOUR_PRIOR = 1200           # s that the partner's overall mean is worth at least
    HOUR_PRIOR_CALLS = 20       # or so many calls, if that is longer
    HOUR_PRIOR_MOST = 7200
    WEEK_FROM = 7000            # s of an hour that are known, before a day can differ in it
    WEEK_PRIOR = 30             # calls on a day like any other

cdef extern from *:
    """
    #define RATE_PER_OCTAVE 1536.0f     /* steps of a kept rate: 0.045 % */
    #define RATE_LOWEST (-24.0f)        /* log2 of calls a second */
    #define WEEK_UNIT 8192.0f
    #define WEEK_DAYS 1.5f              /* days of a kind that teach its factor */
    """
    const float RATE_PER_OCTAVE
    const float RATE_LOWEST
    const float WEEK_UNIT
    const float WEEK_DAYS

cdef struct Hours:
    uint16_t rate[24]           # events a second on a day like any other, see hours_put; 0: none
    uint16_t seconds[24]        # observed
    uint16_t week[7]            # what Monday .. Sunday are times that, in 1/8192; 0: unknown
    uint32_t called             # hours of the day in which it has called, a bit each

cdef inline float hours_get(const Hours *h, int hour) noexcept nogil:
    return exp2f((h.rate[hour] - 1) * (<float>1.0 / RATE_PER_OCTAVE) + RATE_LOWEST) if h.rate[hour] else <float>0.0

cdef inline void hours_put(Hours *h, int hour, float rate, uint64_t seed) noexcept nogil:
    """Logarithmic, rounded up or down by chance."""
    cdef float at = (log2f(rate) - RATE_LOWEST) * RATE_PER_OCTAVE if rate > <float>1e-7 else <float>-1.0
    at += <float>(random_mix(seed) & 0xffff) * <float>(1.0 / 65536.0)
    h.rate[hour] = <uint16_t>(0 if at < <float>0.0 else 65535 if at >= <float>65534.0 else <int>at + 1)

cdef inline int hours_weekday(int64_t clock_hour) noexcept nogil:
    """0: Monday. The epoch began on a Thursday."""
    return <int>((clock_hour // 24 + 3) % 7)

cdef inline float hours_week(const Hours *h, int day) noexcept nogil:
    return h.week[day] * (<float>1.0 / WEEK_UNIT) if h.week[day] else <float>1.0

cdef inline float hours_usual(const Hours *h, int hour, float mean) noexcept nogil:
    cdef float known = h.seconds[hour], prior = HOUR_PRIOR
    if mean * prior < HOUR_PRIOR_CALLS:
        prior = HOUR_PRIOR_CALLS / mean if mean * HOUR_PRIOR_MOST > HOUR_PRIOR_CALLS else HOUR_PRIOR_MOST
    return (hours_get(h, hour) * known + mean * prior) / (known + prior)

cdef inline void hours_learn_week(Hours *h, int day, float accepted, float usual, float mean, uint64_t seed) noexcept nogil:
    """`usual` events would have come on a day like any other; `mean`: events a second."""
    cdef float factor = hours_week(h, day)
    factor += (accepted - usual * factor) / (mean * <float>86400.0 * WEEK_DAYS + WEEK_PRIOR)
    factor = <float>0.1 if factor < <float>0.1 else <float>4.0 if factor > <float>4.0 else factor
    h.week[day] = <uint16_t>(factor * WEEK_UNIT + <float>(random_mix(seed) & 0xffff) * <float>(1.0 / 65536.0))

cdef inline void hours_learn(Hours *h, int64_t clock_hour, float accepted, float seconds, float mean) noexcept nogil:
    """`accepted` events came in `seconds` (at most an hour) of this hour."""
    cdef int hour = <int>(clock_hour % 24), day = hours_weekday(clock_hour)
    cdef float known = h.seconds[hour], factor = hours_week(h, day)
    cdef uint64_t seed = <uint64_t>clock_hour * 4096 + <uint64_t>seconds + <uint64_t>known
    if seconds > 3600.0:
        seconds = 3600.0
    if seconds <= 0.0:
        return
    if known >= WEEK_FROM:
        hours_learn_week(h, day, accepted, hours_get(h, hour) * seconds, mean, seed)
    hours_put(h, hour, (hours_get(h, hour) * known + accepted / factor) / (known + seconds), seed + 1)
    known += seconds + <float>0.5
    h.seconds[hour] = <uint16_t>known if known < HOUR_MOST else HOUR_MOST

cdef inline void hours_learn_span(Hours *h, int64_t began, float accepted, int64_t now, float mean) noexcept nogil:
    """`accepted` events came soon after `began`, then nothing until now (ns): each hour in between
    was silent for as long as it was observed. Of a long silence the first day counts."""
    cdef int64_t clock_hour = began // HOUR_NS, at = (clock_hour + 1) * HOUR_NS
    cdef int i
    hours_learn(h, clock_hour, accepted, <float>(((at if at < now else now) - began) * 1e-9), mean)
    for i in range(24):
        if at >= now:
            return
        clock_hour += 1
        hours_learn(h, clock_hour, 0.0, <float>((now - at if now - at < HOUR_NS else HOUR_NS) * 1e-9), mean)
        at += HOUR_NS

cdef inline float hours_rate(const Hours *h, int64_t clock_hour, float mean) noexcept nogil:
    """The rate expected in this hour; `mean` is the partner's overall rate."""
    return hours_usual(h, <int>(clock_hour % 24), mean) * hours_week(h, hours_weekday(clock_hour))

cdef inline void hours_see(Hours *h, uint32_t clock_hour) noexcept nogil:
    h.called |= <uint32_t>1 << (clock_hour % 24)

cdef inline bint hours_many(const Hours *h) noexcept nogil:
    """Whether it has called in at least half of the hours of the day."""
    cdef uint32_t left = h.called
    cdef int n = 0
    while left:
        left &= left - 1
        n += 1
    return n >= 12

cdef inline bint hours_unusual(const Hours *h, uint32_t clock_hour, int64_t age) noexcept nogil:
    """True where in at least three known days (`age`, ns) nothing came in this hour of the day, nor
    in those beside it."""
    cdef int hour = clock_hour % 24
    if age < 3 * DAY_NS:
        return False
    return h.called & ((<uint32_t>1 << hour) | (<uint32_t>1 << (hour + 23) % 24) | (<uint32_t>1 << (hour + 1) % 24)) == 0

cdef inline void hours_merge(Hours *into, const Hours *other) noexcept nogil:
    """Two hosts see parts of one partner at the same time: rates add, days of the week meet in between by
    what each adds, seconds are those of whoever observed longer, hours those of both."""
    cdef float mine = 0.0, theirs = 0.0, both
    cdef int i
    for i in range(24):
        mine += hours_get(into, i)
        theirs += hours_get(other, i)
        hours_put(into, i, hours_get(into, i) + hours_get(other, i), <uint64_t>into.rate[i] * 65536 + other.rate[i])
        if other.seconds[i] > into.seconds[i]:
            into.seconds[i] = other.seconds[i]
    both = mine + theirs
    for i in range(7):
        if into.week[i] and other.week[i] and both > 0.0:
            into.week[i] = <uint16_t>((into.week[i] * mine + other.week[i] * theirs) / both)
        elif other.week[i]:
            into.week[i] = other.week[i]
    into.called |= other.called
