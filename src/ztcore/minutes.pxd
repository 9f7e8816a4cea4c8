# This minute and the last, for ceilings and for the learned busy rate. The window of one minute
# slides by taking the share of the last minute that still overlaps it.

from libc.stdint cimport int64_t, uint32_t

from ztcore.atomic cimport zt_unlikely
from ztcore.quantile cimport quantile_add, quantile_merge
from ztcore.times cimport MINUTE_NS

cdef struct Minutes:
    uint32_t minute             # since the epoch
    uint32_t requests[2]        # this minute, the last
    uint32_t errors[2]          # status 500 and above
    float latency[2]            # sum, ms
    float busy                  # learned 95th percentile of requests in a minute

cdef inline void minutes_turn(Minutes *m, uint32_t minute, bint learn) noexcept nogil:
    """Close the current minute. Only minutes in which something came teach the percentile."""
    if learn and m.requests[0] > 0:
        m.busy = quantile_add(m.busy, <float>m.requests[0], 0.95, 0.2)
    if minute == m.minute + 1:
        m.requests[1] = m.requests[0]
        m.errors[1] = m.errors[0]
        m.latency[1] = m.latency[0]
    else:
        m.requests[1] = m.errors[1] = 0
        m.latency[1] = 0.0
    m.requests[0] = m.errors[0] = 0
    m.latency[0] = 0.0
    m.minute = minute

cdef inline void minutes_add(Minutes *m, int64_t now, uint32_t count, bint error, float latency_ms,
                             bint learn) noexcept nogil:
    if zt_unlikely(now >= (<int64_t>m.minute + 1) * MINUTE_NS):
        minutes_turn(m, <uint32_t>(now // MINUTE_NS), learn)
    m.requests[0] += count
    if zt_unlikely(error):
        m.errors[0] += count
    m.latency[0] += latency_ms * count

cdef inline float minutes_share(const Minutes *m, int64_t now) noexcept nogil:
    """How much of the last minute lies within the 60 s before now, 0..1."""
    return 1.0 - <float>(now % MINUTE_NS) / <float>MINUTE_NS

cdef inline float minutes_requests(const Minutes *m, int64_t now) noexcept nogil:
    return m.requests[0] + m.requests[1] * minutes_share(m, now)

cdef inline float minutes_errors(const Minutes *m, int64_t now) noexcept nogil:
    return m.errors[0] + m.errors[1] * minutes_share(m, now)

cdef inline float minutes_latency(const Minutes *m, int64_t now) noexcept nogil:
    return m.latency[0] + m.latency[1] * minutes_share(m, now)

cdef inline void minutes_merge(Minutes *into, const Minutes *other, float n, float m) noexcept nogil:
    """Add what falls into the same two minutes; the later minute is the current one. The busy rates
    of n and m events meet in between."""
    cdef float busy = quantile_merge(into.busy, n, other.busy, m)
    cdef Minutes early = into[0] if into.minute < other.minute else other[0]
    cdef uint32_t shift
    cdef int i
    if into.minute < other.minute:
        into[0] = other[0]
    shift = into.minute - early.minute
    for i in range(2):
        if i + shift < 2:
            into.requests[i + shift] += early.requests[i]
            into.errors[i + shift] += early.errors[i]
            into.latency[i + shift] += early.latency[i]
    into.busy = busy
