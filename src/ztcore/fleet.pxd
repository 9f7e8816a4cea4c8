# What all partners have in common: the prior of the young, and the present share of server errors
# and slow answers, so that a bad backend is nobody's fault.
#
# Written when a partner's learning tick comes and when such an answer does, under a word that is
# tried and never waited for: a missed write only delays what the next one brings.

from libc.math cimport exp2
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    FLEET_COUNTERS = 16

cdef struct Fleet:
    uint64_t word               # 1: being written
    int64_t last                # ns
    double trials               # events, fading with a half-life of a minute like the fast lane
    double errors
    double slow
    double hits[FLEET_COUNTERS] # quiet partners' hits, for priors
    double quiet                # and trials
    double discovery            # trials after each partner's burn-in
    double refresh              # quiet trials at which the priors are computed anew
    float prior[FLEET_COUNTERS]
    double spread[FLEET_COUNTERS]   # mean variance of window shares beyond the binomial

cdef inline void fleet_fade(Fleet *f, int64_t now) noexcept nogil:
    cdef double factor
    if now > f.last:
        factor = exp2(-(now - f.last) / 60e9) if f.last else 0.0
        f.trials *= factor
        f.errors *= factor
        f.slow *= factor
        f.last = now

cdef inline float fleet_share(double hits, double trials, double own_hits, double own_trials) noexcept nogil:
    """1.5 times the share among the others: what the backend's state explains."""
    cdef double others = trials - own_trials, hit = hits - own_hits
    if hit < 0.0:
        hit = 0.0
    hit = 1.5 * hit / (others if others > 20.0 else 20.0)
    return <float>(hit if hit < 0.95 else 0.95)
