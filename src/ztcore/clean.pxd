# Values from outside that cannot be used: replaced by what says nothing, and counted by kind.

from libc.stdint cimport int64_t, uint32_t

from ztcore.atomic cimport time_peek, word_add, zt_unlikely
from ztcore.event cimport METHOD_OTHER, Event
from ztcore.lanes cimport f4_set, f4_within
from ztcore.table cimport (COUNT_BAD_COUNT, COUNT_BAD_LATENCY, COUNT_BAD_METHOD, COUNT_BAD_REQUEST_BYTES,
                           COUNT_BAD_RESPONSE_BYTES, COUNT_BAD_STATUS, COUNT_BAD_TIMESTAMP, Header)

cdef enum:
    COUNT_MOST = 1000000

cdef extern from *:
    """
    #define LAST_TIMESTAMP 4294967295000000000LL    /* seconds of 32 bits: until 2106 */
    #define LATENCY_MOST 1e9f                       /* ms: eleven days */
    #define BYTES_MOST 1e15f
    """
    const int64_t LAST_TIMESTAMP
    const float LATENCY_MOST
    const float BYTES_MOST

cdef inline float clean_number(Header *h, float x, float most, int counter) noexcept nogil:
    if 0.0 <= x <= most:        # false for nan
        return x
    word_add(&h.counter[counter], 1)
    return 0.0

cdef inline bint timestamp_usable(int64_t timestamp) noexcept nogil:
    return 0 < timestamp <= LAST_TIMESTAMP

cdef inline void event_clean(Header *h, Event *e) noexcept nogil:
    """Everything but the time stamp, which needs the row to be replaced."""
    if zt_unlikely(<uint32_t>(e.status - 100) >= 500):
        word_add(&h.counter[COUNT_BAD_STATUS], 1)
        e.status = 0
    if zt_unlikely(not f4_within(f4_set(e.latency_ms, e.request_bytes, e.response_bytes, 0.0),
                                 f4_set(LATENCY_MOST, BYTES_MOST, BYTES_MOST, 0.0))):
        e.latency_ms = clean_number(h, e.latency_ms, LATENCY_MOST, COUNT_BAD_LATENCY)
        e.request_bytes = clean_number(h, e.request_bytes, BYTES_MOST, COUNT_BAD_REQUEST_BYTES)
        e.response_bytes = clean_number(h, e.response_bytes, BYTES_MOST, COUNT_BAD_RESPONSE_BYTES)
    if zt_unlikely(e.method > METHOD_OTHER):
        word_add(&h.counter[COUNT_BAD_METHOD], 1)
        e.method = METHOD_OTHER
    if zt_unlikely(e.count - 1 >= COUNT_MOST):
        word_add(&h.counter[COUNT_BAD_COUNT], 1)
        e.count = COUNT_MOST if e.count else 1

cdef inline int64_t timestamp_clean(Header *h, int64_t timestamp, int64_t last_seen) noexcept nogil:
    """The time stamp, or where it is unusable the partner's last one, or the newest of all."""
    if timestamp_usable(timestamp):
        return timestamp
    word_add(&h.counter[COUNT_BAD_TIMESTAMP], 1)
    if last_seen > 0:
        return last_seen
    last_seen = time_peek(&h.clock)
    return last_seen if last_seen > 0 else 1
