# What one event showed: evidence of every signal, put together. Lives on the stack of observe().

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:                      # signals
    AUTH_FAILURES = 0
    CLIENT_ERRORS = 1
    SERVER_ERRORS = 2
    NEW_ENDPOINTS = 3
    LARGE_REQUESTS = 4
    LARGE_RESPONSES = 5
    SLOW_RESPONSES = 6
    NEW_SOURCES = 7
    SEQUENTIAL_IDS = 8
    SUSPICIOUS_PATTERNS = 9
    NEW_SOURCE_AND_ENDPOINT = 10
    DESTRUCTIVE_METHOD = 11
    ERRORS_ON_NEW_ENDPOINTS = 12
    NEW_IDS = 13
    UNUSUAL_HOUR = 14
    CUSTOM = 15                 # the user's own
    UNFAMILIAR = 17             # no signal: the trials of ERRORS_ON_NEW_ENDPOINTS
    ENDPOINT_FOCUS = 17         # a share of its own kind: see mix.pxd
    RATE_RAMP = 18              # from here on: rates
    REQUEST_RATE = 19
    BYTES_OUT = 20
    CEILING_REQUEST_RATE = 21   # absolute ceilings
    CEILING_ERROR_RATE = 22
    CEILING_RESPONSE_TIME = 23

cdef enum:
    CUSTOMS = 2                 # how many of the user's own there may be
    HITS = 17                   # signals that are shares: hits among trials
    KINDS = 21                  # those, the focus and the three rates
    REASONS = 3
    # of an innocent change they go on, for what is loud teaches nothing: they alone lead to an alert and hold none above it
    STALE = ((1 << CLIENT_ERRORS) | (1 << SERVER_ERRORS) | (1 << NEW_ENDPOINTS) | (1 << SLOW_RESPONSES) | (1 << NEW_SOURCES) |
             (1 << UNUSUAL_HOUR))
    # innocent changes cause these too: without one of the others they reach at most alert
    NEEDS_CORROBORATION = STALE | (1 << SEQUENTIAL_IDS) | (1 << NEW_IDS) | (1 << ENDPOINT_FOCUS)

    SIZES = (1 << LARGE_REQUESTS) | (1 << LARGE_RESPONSES)     # a release moves them
    # no move of the partner's own, to other functions or addresses, causes these
    HARMFUL = ((1 << AUTH_FAILURES) | (1 << SUSPICIOUS_PATTERNS) | (1 << ERRORS_ON_NEW_ENDPOINTS) |
               (1 << CUSTOM) | (1 << CUSTOM + 1) | (1 << RATE_RAMP) | (1 << REQUEST_RATE) | (1 << BYTES_OUT))
    # the backend may be what causes them: they are worth little
    BACKENDS = (1 << SERVER_ERRORS) | (1 << SLOW_RESPONSES)
    COMMON_MODE = BACKENDS | (1 << NEW_ENDPOINTS)               # or a deployment
    # they show the same thing twice: of each pair only the stronger counts in a sum
    GROUPS = 3

cdef extern from *:
    """
    static const signed char zt_group[21] = {-1, -1, -1, 2, -1, 1, -1, -1, 0, -1, -1, 2, -1, 0, -1, -1, -1, 0, 1, 1, 1};
    """
    const signed char zt_group[21]

cdef struct Why:                # one reason, as it was when it counted
    uint8_t signal
    uint8_t lane                # which half-life
    uint16_t nats               # evidence in 1/64 nat
    float k                     # hits, or what was seen
    float n                     # trials, or what was expected
    float p                     # usual share

cdef struct Verdict:
    float best                  # largest evidence of one signal, nats
    float sum                   # of what each has above 2 nats
    float group[GROUPS]         # what each group put into it
    float absolute              # evidence that counts even while learning
    float other                 # of one that is not about the ids and endpoints of calls like its own
    float solid                 # of one that no release or job causes
    float corroborating         # the largest of one that needs no corroboration
    float nats                  # combined
    float faded                 # what is left of evidence that this event adds nothing to
    float score
    uint32_t hot                # signals above 2 nats
    bint fresh                  # this very event hits a signal with more than 3 nats
    bint firm                   # and one that may lead to more than an alert
    bint new_endpoint           # the partner met an endpoint it had no slot for
    int most                    # level that evidence of these kinds leads to at most
    int level
    int ceiling                 # level an absolute ceiling asks for
    int n
    Why why[REASONS]            # in the order of why_rank()

cdef inline uint16_t why_nats(float nats) noexcept nogil:
    return <uint16_t>(nats * 64.0) if nats < 1000.0 else 64000

cdef inline uint32_t why_rank(int signal, uint16_t nats) noexcept nogil:
    """What acts by itself comes first: it is why a level was reached, however loud what it brought along."""
    return nats | (0 if nats < <uint16_t>(5.0 * 64.0) or (NEEDS_CORROBORATION >> signal) & 1 else <uint32_t>1 << 16)

cdef inline void verdict_why(Verdict *v, int signal, int lane, float nats, float k, float n, float p) noexcept nogil:
    """Keep a reason if it is among the first three."""
    cdef uint16_t size = why_nats(nats)
    cdef uint32_t rank = why_rank(signal, size)
    cdef int i = v.n
    if i == REASONS:
        if why_rank(v.why[i - 1].signal, v.why[i - 1].nats) >= rank:
            return
        i -= 1
    else:
        v.n += 1
    while i > 0 and why_rank(v.why[i - 1].signal, v.why[i - 1].nats) < rank:
        v.why[i] = v.why[i - 1]
        i -= 1
    v.why[i].signal = <uint8_t>signal
    v.why[i].lane = <uint8_t>lane
    v.why[i].nats = size
    v.why[i].k = k
    v.why[i].n = n
    v.why[i].p = p
