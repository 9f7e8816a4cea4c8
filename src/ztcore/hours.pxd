# The usual rate by hour of the day (UTC), and on how many days the partner called in that hour.
#
# Rates move by elapsed time: an hour's rate is its accepted events over its observed seconds, and
# past two weeks of observation old days fade.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from ztcore.times cimport DAY_NS, HOUR_NS

cdef enum:
    HOUR_MOST = 50400           # s: two weeks of one hour a day
    HOUR_PRIOR = 7200           # s that the partner's overall mean is worth

cdef struct Hours:
    float rate[24]              # events a second
    uint16_t seconds[24]        # observed
    uint8_t days[24]            # on which something came in this hour, saturating

cdef inline void hours_learn(Hours *h, int hour, float accepted, float seconds) noexcept nogil:
    """`accepted` events came in `seconds` (at most an hour) of this hour of the day."""
    cdef float known = h.seconds[hour]
    if seconds > 3600.0:
        seconds = 3600.0
    if seconds <= 0.0:
        return
    h.rate[hour] = (h.rate[hour] * known + accepted) / (known + seconds)
    known += seconds + <float>0.5
    h.seconds[hour] = <uint16_t>known if known < HOUR_MOST else HOUR_MOST

cdef inline void hours_learn_span(Hours *h, int64_t began, float accepted, int64_t now) noexcept nogil:
    """`accepted` events came soon after `began`, then nothing until now (ns): each hour in between
    was silent for as long as it was observed. Of a long silence the first day counts."""
    cdef int64_t at = began - began % HOUR_NS + HOUR_NS
    cdef int hour = <int>(began // HOUR_NS % 24), i
    hours_learn(h, hour, accepted, <float>(((at if at < now else now) - began) * 1e-9))
    for i in range(24):
        if at >= now:
            return
        hours_learn(h, (hour + 1 + i) % 24, 0.0, <float>((now - at if now - at < HOUR_NS else HOUR_NS) * 1e-9))
        at += HOUR_NS

cdef inline float hours_rate(const Hours *h, int hour, float mean) noexcept nogil:
    """The rate expected at this hour; `mean` is the partner's overall rate."""
    cdef float known = h.seconds[hour]
    return (h.rate[hour] * known + mean * HOUR_PRIOR) / (known + HOUR_PRIOR)

cdef inline void hours_see(Hours *h, uint32_t clock_hour) noexcept nogil:
    """Count a day for this hour of the day; the caller does so once a clock hour."""
    cdef int hour = clock_hour % 24
    if h.days[hour] < 255:
        h.days[hour] += 1

cdef inline bint hours_unusual(const Hours *h, uint32_t clock_hour, int64_t age) noexcept nogil:
    """True where in at least three known days (`age`, ns) nothing came in this hour of the day, nor
    in those beside it."""
    cdef int hour = clock_hour % 24
    if age < 3 * DAY_NS:
        return False
    return h.days[hour] + h.days[(hour + 23) % 24] + h.days[(hour + 1) % 24] == 0

cdef inline void hours_merge(Hours *into, const Hours *other) noexcept nogil:
    """Two hosts see parts of one partner at the same time: rates add, seconds and days are those of
    whoever observed longer."""
    cdef int i
    for i in range(24):
        into.rate[i] += other.rate[i]
        if other.seconds[i] > into.seconds[i]:
            into.seconds[i] = other.seconds[i]
        if other.days[i] > into.days[i]:
            into.days[i] = other.days[i]
