# The token bucket of a throttled partner: GCRA (ITU-T I.371) in one word, moved by
# compare-and-swap. Its rate is the partner's own busy rate.

from libc.stdint cimport int64_t, uint64_t

from ztcore.atomic cimport word_peek, word_swap
from ztcore.row cimport Row
from ztcore.times cimport MINUTE_NS

cdef enum:
    BURST_DIVISOR = 10          # six seconds' worth of calls may come at once

cdef inline int64_t throttle_interval(const Row *row) noexcept nogil:
    """ns between calls at the learned 95th percentile of calls a minute, at least one a minute."""
    cdef float busy = row.minutes.busy if row.minutes.busy > row.rate * 60.0 else row.rate * 60.0
    return <int64_t>(<double>MINUTE_NS / (busy if busy > 1.0 else 1.0))

cdef inline int64_t throttle_burst(int64_t interval) noexcept nogil:
    cdef int64_t burst = MINUTE_NS // BURST_DIVISOR
    return burst if burst > interval else interval

cdef inline int64_t throttle_arrival(uint64_t bucket, int64_t now, int64_t interval, int64_t burst) noexcept nogil:
    """When the bucket is full again, not before now."""
    cdef int64_t arrival = <int64_t>bucket
    if arrival < now or arrival > now + 2 * burst + interval:       # idle, or a clock set back
        return now
    return arrival

cdef inline int throttle_left(const Row *row, int64_t now) noexcept nogil:
    """How many calls may pass now, one behind the other."""
    cdef int64_t interval = throttle_interval(row), burst = throttle_burst(interval)
    cdef int64_t room = burst - (throttle_arrival(word_peek(&row.bucket), now, interval, burst) - now)
    return <int>(room // interval) if room > 0 else 0

cdef inline int64_t throttle_wait(Row *row, int64_t now, bint take) noexcept nogil:
    """0 where a call may pass now (and takes its token), else ns until one may."""
    cdef int64_t interval = throttle_interval(row), burst = throttle_burst(interval)
    cdef uint64_t seen = word_peek(&row.bucket)
    cdef int64_t arrival
    while True:
        arrival = throttle_arrival(seen, now, interval, burst)
        if arrival + interval - now > burst:
            return arrival + interval - now - burst
        if not take or word_swap(&row.bucket, &seen, <uint64_t>(arrival + interval)):
            return 0
