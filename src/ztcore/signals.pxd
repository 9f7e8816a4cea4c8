# The signals that are shares: one function a signal says whether this event is a hit. The numbers
# are those of verdict.Signal.

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t

from ztcore.atomic cimport zt_likely, zt_unlikely
from ztcore.endpoints cimport endpoint_count, endpoint_hours, endpoints_find
from ztcore.event cimport EVENT_SUSPICIOUS, METHOD_POST, Event
from ztcore.familiar cimport FAMILIAR_HOURS
from ztcore.fleet cimport Fleet
from ztcore.hours cimport hours_unusual
from ztcore.lanes cimport f4
from ztcore.moments cimport SlotMoments, moments_beyond, moments_values
from ztcore.objects cimport object_follows, object_is_new
from ztcore.releases cimport release_see
from ztcore.row cimport ROW_SETTLED, Row
from ztcore.sources cimport sources_find
from ztcore.verdict cimport (AUTH_FAILURES, CLIENT_ERRORS, DESTRUCTIVE_METHOD, ERRORS_ON_NEW_ENDPOINTS,
                             LARGE_REQUESTS, LARGE_RESPONSES, NEW_ENDPOINTS, NEW_IDS,
                             NEW_SOURCE_AND_ENDPOINT, NEW_SOURCES, SEQUENTIAL_IDS, SERVER_ERRORS,
                             SLOW_RESPONSES, SUSPICIOUS_PATTERNS, UNFAMILIAR, UNUSUAL_HOUR)
from ztcore.times cimport HOUR_NS

cdef enum:
    CALLS_OF_NEW = 2            # of an endpoint, that a new address makes worth a look
    SIZED_CALLS = 8             # of an endpoint, before its answers can be large or slow

cdef struct Sight:              # an event held against what the row knows
    f4 values                   # log2 of latency and sizes
    int endpoint                # slot, -1: none
    int source
    uint32_t hour               # clock hour since the epoch
    float endpoint_count        # calls of this endpoint before
    int endpoint_hours          # in how many hours
    int source_hours
    bint released               # the endpoint is new to all partners: a deployment
    bint discovering            # burn-in: everything is new, novelty is no signal yet
    int64_t now

cdef inline uint32_t signal_auth_failure(const Event *e) noexcept nogil:
    return <uint32_t>(e.status == 401 or e.status == 403) << AUTH_FAILURES

cdef inline uint32_t signal_client_error(const Event *e, bint unfamiliar) noexcept nogil:
    """Client errors on unfamiliar calls are the business of errors_on_new_endpoints."""
    return <uint32_t>(400 <= e.status < 500 and e.status != 401 and e.status != 403 and not unfamiliar) << CLIENT_ERRORS

cdef inline uint32_t signal_server_error(const Event *e) noexcept nogil:
    return <uint32_t>(e.status >= 500) << SERVER_ERRORS

cdef inline uint32_t signal_new_endpoint(const Sight *s) noexcept nogil:
    return <uint32_t>(s.endpoint_count < 3.0 and not s.released) << NEW_ENDPOINTS

cdef inline uint32_t signal_beyond(const Row *row, const Event *e, const Sight *s) noexcept nogil:
    """Slow, large request, large response: 2.8 standard deviations above the usual. Of a failed call, and of
    an endpoint that is new to the partner, only the request counts."""
    cdef const SlotMoments *slot = &row.endpoints[s.endpoint if s.endpoint >= 0 else 0].moments
    cdef uint32_t bits = <uint32_t>moments_beyond(&row.moments, row.within, slot, s.endpoint_count, s.values)
    if zt_likely(bits == 0):
        return 0
    if e.status >= 400 or s.endpoint_count < SIZED_CALLS:
        bits &= 2
    return ((bits & 1) << SLOW_RESPONSES) | (((bits >> 1) & 1) << LARGE_REQUESTS) | (((bits >> 2) & 1) << LARGE_RESPONSES)

cdef inline uint32_t signal_new_source(const Sight *s) noexcept nogil:
    return <uint32_t>(s.source < 0) << NEW_SOURCES

cdef inline uint32_t signal_object_ids(Row *row, const Event *e) noexcept nogil:
    """In sequence, and new."""
    if zt_likely(e.object_id == 0):
        return 0
    return (<uint32_t>object_follows(&row.objects, e.object_id) << SEQUENTIAL_IDS) | (
        <uint32_t>object_is_new(&row.objects, e.object_id) << NEW_IDS)

cdef inline uint32_t signal_suspicious(const Event *e) noexcept nogil:
    return <uint32_t>((e.flags & EVENT_SUSPICIOUS) != 0) << SUSPICIOUS_PATTERNS

cdef inline uint32_t signal_new_source_and_endpoint(const Sight *s) noexcept nogil:
    """Both: the third call of an endpoint says no more than the first two, and a session repeats its calls."""
    return <uint32_t>(s.source_hours < FAMILIAR_HOURS and s.endpoint_hours < FAMILIAR_HOURS and s.endpoint_count < CALLS_OF_NEW and
                      not s.released) << NEW_SOURCE_AND_ENDPOINT

cdef inline uint32_t signal_destructive(const Row *row, const Event *e) noexcept nogil:
    """A method that changes something, used neither in three hours nor three times."""
    if zt_likely(e.method <= METHOD_POST or (row.hour_methods >> e.method) & 1):
        return 0
    return <uint32_t>(row.methods.familiar[e.method].hours < FAMILIAR_HOURS and row.methods.count[e.method] < 3) << DESTRUCTIVE_METHOD

cdef inline uint32_t signal_error_on_new(const Event *e) noexcept nogil:
    return <uint32_t>(400 <= e.status < 500) << ERRORS_ON_NEW_ENDPOINTS

cdef inline uint32_t signal_unusual_hour(const Row *row, const Sight *s) noexcept nogil:
    if zt_likely(row.last_hour == <uint16_t>s.hour):
        return 0
    return <uint32_t>hours_unusual(&row.hours, s.hour, s.now - row.first_seen) << UNUSUAL_HOUR

cdef inline void sight(Sight *s, Fleet *fleet, const Row *row, const Event *e, int64_t now) noexcept nogil:
    s.values = moments_values(e.latency_ms, e.request_bytes, e.response_bytes)
    s.hour = <uint32_t>(now // HOUR_NS)
    s.endpoint = endpoints_find(row.endpoints, e.endpoint)
    s.source = sources_find(&row.sources, e.source) if e.source else -1
    s.now = now
    s.discovering = not row.flags & ROW_SETTLED
    s.endpoint_count = 0.0
    s.endpoint_hours = s.source_hours = 0
    if zt_likely(s.endpoint >= 0):
        s.endpoint_count = <int32_t>endpoint_count(&row.endpoints[s.endpoint])
        s.endpoint_hours = endpoint_hours(&row.endpoints[s.endpoint])
    if s.source >= 0:
        s.source_hours = row.sources.source[s.source].familiar.hours
    s.released = zt_unlikely(s.endpoint_hours < FAMILIAR_HOURS) and release_see(
        &fleet.releases, e.endpoint, e.partner, s.hour, e.status < 400)

cdef inline uint32_t signals_hit(Row *row, const Event *e, const Sight *s) noexcept nogil:
    """One bit a signal that this event hits; bit UNFAMILIAR where the endpoint is unfamiliar."""
    cdef uint32_t hits = signal_beyond(row, e, s) | signal_object_ids(row, e) | signal_suspicious(e)
    cdef bint unfamiliar = not s.discovering and s.endpoint_hours < FAMILIAR_HOURS and not s.released
    if zt_unlikely(e.status >= 400):
        hits |= signal_auth_failure(e) | signal_server_error(e) | signal_client_error(e, unfamiliar)
    if zt_unlikely(s.discovering):
        return hits & ~(<uint32_t>1 << NEW_IDS)
    hits |= signal_new_endpoint(s) | signal_destructive(row, e) | signal_unusual_hour(row, s)
    if e.source:
        hits |= signal_new_source(s) | signal_new_source_and_endpoint(s)
    if zt_unlikely(unfamiliar):
        hits |= (<uint32_t>1 << UNFAMILIAR) | signal_error_on_new(e)
    return hits
