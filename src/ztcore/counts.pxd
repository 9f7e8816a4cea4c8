# Forward decay (Cormode et al. 2009): an event at time t weighs 2^((t - reference) / half-life), a
# count at time T is the sum of weights over the weight of T. Adding never touches what is there;
# a late event finds its right weight by itself. Three half-lives in three lanes; the fourth is a half-life of half an
# hour for what is counted whole (trials, calls, bytes), and of hits the place of their usual share.

from libc.stdint cimport int64_t

from ztcore.lanes cimport f4, f4_add, f4_all, f4_exp2, f4_load, f4_mul, f4_set, f4_store

cdef enum:
    REBASE_S = 2400             # 40 of the shortest half-lives: far below what a float holds

cdef inline f4 decay_weight(int64_t since_reference) noexcept nogil:
    """2^(dt / 1 min, 10 min, 90 min, 30 min), dt in ns."""
    cdef float s = <float>since_reference * <float>1e-9
    return f4_exp2(f4_mul(f4_all(s), f4_set(1.0 / 60.0, 1.0 / 600.0, 1.0 / 5400.0, 1.0 / 1800.0)))

cdef inline f4 decay_mean_life() noexcept nogil:
    """Seconds that a steady rate of 1/s counts to, per lane: half-life / ln 2."""
    return f4_set(86.561702, 865.61702, 7790.5532, 2596.8511)

cdef inline void counts_add(float *lanes, f4 weight) noexcept nogil:
    f4_store(lanes, f4_add(f4_load(lanes), weight))

cdef inline void counts_scale(float *lanes, f4 factor) noexcept nogil:
    f4_store(lanes, f4_mul(f4_load(lanes), factor))

cdef inline void hits_add(float *lanes, f4 weight) noexcept nogil:
    """Add to the three counts; the usual share in the fourth lane stays."""
    cdef float p = lanes[3]
    f4_store(lanes, f4_add(f4_load(lanes), weight))
    lanes[3] = p

cdef inline void hits_scale(float *lanes, f4 factor) noexcept nogil:
    cdef float p = lanes[3]
    f4_store(lanes, f4_mul(f4_load(lanes), factor))
    lanes[3] = p
