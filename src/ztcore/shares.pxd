# The usual share p0 of every kind of hit, and how much shares of windows vary beyond chance.

from libc.math cimport sqrtf
from libc.stdint cimport uint16_t, uint32_t

from ztcore.verdict cimport LARGE_REQUESTS, LARGE_RESPONSES

cdef enum:
    SHARE_COUNTERS = 17
    SHARE_MEMORY = 20000        # trials after which old ones have faded to 1/e
    SHARE_PRIOR = 50            # trials that the fleet's share is worth
    # novelty is learned only after the burn-in: in the beginning everything is new
    SHARE_DISCOVERY = (1 << 3) | (1 << 7) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14)

cdef extern from *:
    """
    #define SHARE_LEAST 1e-4f
    #define SHARE_MOST 0.97f
    #define REQUESTS_WORTH 600.0f       /* trials that the usual share of large requests is worth at most */
    #define RESPONSES_WORTH 300.0f      /* and that of large responses, which exports bring about as well */
    #define LONG_WORTH 1000.0f
    """
    const float SHARE_LEAST
    const float SHARE_MOST
    const float REQUESTS_WORTH
    const float RESPONSES_WORTH
    const float LONG_WORTH

cdef struct Shares:
    float hits[SHARE_COUNTERS]
    float trials
    float discovery             # trials since the burn-in
    uint16_t pending[SHARE_COUNTERS]    # hits since the last tick
    uint16_t spread[SHARE_COUNTERS]     # standard deviation beyond the binomial, 0..1 in 1/65535
    uint16_t windows            # that taught the spread, saturating at 1000
    uint32_t spread_at          # s, of the last one
    uint32_t folded_at          # s, when pending hits were last folded in

cdef inline float share_trials(const Shares *s, int signal) noexcept nogil:
    return s.discovery if (SHARE_DISCOVERY >> signal) & 1 else s.trials

cdef inline void share_fold(Shares *s, int signal, float fade, float most) noexcept nogil:
    """Take in the hits laid aside, at most so many."""
    cdef float pending = s.pending[signal]
    s.hits[signal] = s.hits[signal] * fade + (pending if pending < most else most)
    s.pending[signal] = 0

cdef inline float share_spread(const Shares *s, int signal) noexcept nogil:
    cdef float sd = s.spread[signal] * <float>(1.0 / 65535.0)
    return sd * sd

cdef inline void share_spread_learn(Shares *s, int signal, float excess) noexcept nogil:
    """`excess`: variance of one window's share beyond the binomial, at least 0."""
    cdef float v = share_spread(s, signal)
    v += (excess - v) / (s.windows if s.windows > 0 else 1)
    s.spread[signal] = <uint16_t>(sqrtf(v if v < 1.0 else 1.0) * 65535.0 + 0.5)

cdef inline float share_variance(const Shares *s, int signal, float fleet_spread) noexcept nogil:
    """Of the shares of windows beyond the binomial; that of the fleet is worth 20 windows."""
    cdef float w = s.windows
    return (w * share_spread(s, signal) + <float>20.0 * fleet_spread) / (w + <float>20.0)

cdef inline float share_worth_most(int signal, float otherwise) noexcept nogil:
    """Trials that a baseline is worth at most. A release moves sizes a little, and many calls prove it: no reason to act."""
    return REQUESTS_WORTH if signal == LARGE_REQUESTS else RESPONSES_WORTH if signal == LARGE_RESPONSES else otherwise

cdef inline float share_worth(const Shares *s, int signal, float p, float fleet_spread) noexcept nogil:
    """Trials M that the baseline is worth (design: two samples, not one), 2..3000."""
    cdef float v = share_variance(s, signal, fleet_spread)
    cdef float least = 0.03 * p * p
    cdef float m = p * (1.0 - p) / (v if v > least else least) - 1.0
    cdef float low = 100.0 if signal == 10 or signal == 11 else 2.0
    cdef float high = share_worth_most(signal, 3000.0)
    return low if m < low else high if m > high else m

cdef inline float share_worth_long(int signal, float m) noexcept nogil:
    """At the longest half-life, where clumps of hits even out."""
    cdef float most = share_worth_most(signal, LONG_WORTH)
    return 3.0 * m if 3.0 * m < most else m if m > most else most

cdef inline void shares_merge(Shares *into, const Shares *other) noexcept nogil:
    """Hits and trials add; spreads meet weighted by their windows."""
    cdef float a = into.windows, b = other.windows, v
    cdef int i
    for i in range(SHARE_COUNTERS):
        into.hits[i] += other.hits[i]
        into.pending[i] = <uint16_t>(into.pending[i] + other.pending[i] if into.pending[i] + other.pending[i] < 65535 else 65535)
        if a + b > 0.0:
            v = (share_spread(into, i) * a + share_spread(other, i) * b) / (a + b)
            into.spread[i] = <uint16_t>(sqrtf(v) * 65535.0 + 0.5)
    into.trials += other.trials
    into.discovery += other.discovery
    into.windows = <uint16_t>(a + b if a + b < 1000.0 else 1000.0)
    if other.folded_at > into.folded_at:
        into.folded_at = other.folded_at
    if other.spread_at > into.spread_at:
        into.spread_at = other.spread_at
