# What all partners have in common: the prior of the young, and the present share of server errors
# and slow answers, so that a bad backend is nobody's fault.
#
# Written when a partner's learning tick comes and when such an answer does, by whoever it is: of two
# at the same instant one's share is lost, which delays what the next one brings.

from libc.math cimport exp2
from libc.stdint cimport int64_t

from ztcore.releases cimport Releases

cdef enum:
    FLEET_COUNTERS = 17

cdef extern from *:
    """
    #define OUTAGE 0.15f                /* fleet_share() of server errors: a tenth of the others' calls fail */
    #define RETRIED (1.0f / 3.0f)       /* of a call, that one that failed then counts for: it comes again, and once more */
    """
    const float OUTAGE
    const float RETRIED

cdef struct Fleet:
    int64_t last                # ns
    double trials               # events, fading with a half-life of a minute like the fast lane
    double errors
    double slow
    double novel                # calls to endpoints new to their partner
    double hits[FLEET_COUNTERS] # quiet partners' hits, for priors
    double quiet                # and trials
    double discovery            # trials after each partner's burn-in
    double refresh              # quiet trials at which the priors are computed anew
    float prior[FLEET_COUNTERS]
    double spread[FLEET_COUNTERS]   # mean variance of window shares beyond the binomial
    Releases releases

cdef inline void fleet_fade(Fleet *f, int64_t now) noexcept nogil:
    cdef double factor
    if now > f.last:
        factor = exp2(-(now - f.last) / 60e9) if f.last else 0.0
        f.trials *= factor
        f.errors *= factor
        f.slow *= factor
        f.novel *= factor
        f.last = now

cdef inline void fleet_count(Fleet *f, double errors, double slow, double novel, int64_t now) noexcept nogil:
    """Take in server errors, slow answers, calls to new endpoints."""
    fleet_fade(f, now)
    f.errors += errors
    f.slow += slow
    f.novel += novel

cdef inline float fleet_spread(const Fleet *f, int signal) noexcept nogil:
    return <float>f.spread[signal]

cdef inline float fleet_share(const Fleet *f, double hits, double own_hits, double own_trials) noexcept nogil:
    """1.5 times the share among the others: what the backend's state, or a deployment, explains."""
    cdef double others = f.trials - own_trials, hit = hits - own_hits
    if hit < 0.0:
        hit = 0.0
    hit = 1.5 * hit / (others if others > 20.0 else 20.0)
    return <float>(hit if hit < 0.95 else 0.95)
