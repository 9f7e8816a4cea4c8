# Sizes and latencies as log2(1 + x): mean and variance of a partner, of each of its endpoints,
# and within endpoints. Values beyond three standard deviations count as three (Huber 1964), so
# that a few absurd ones move nothing.
#
# Lanes of a partner: 0 latency, 1 request bytes, 2 response bytes. Requests are judged by the
# partner alone. An endpoint keeps four 16-bit numbers, moved in steps far below their resolution
# and rounded stochastically.

from libc.stdint cimport uint16_t, uint64_t

from ztcore.lanes cimport (f4, f4_above, f4_add, f4_all, f4_from_u16, f4_lane, f4_load, f4_log2, f4_max, f4_min, f4_mul,
                           f4_random, f4_set, f4_sqrt, f4_store, f4_sub, f4_swap, f4_to_u16, f4_weave)

cdef extern from *:
    """
    #define MOMENT_FLOOR 0.0208137f     /* smallest variance of a log2: (0.1 / ln 2)^2 */
    #define MOMENT_MEAN 1600.0f         /* units of the 16-bit numbers: means to 40, variances to 16 */
    #define MOMENT_VAR 4095.0f
    #define SIZE_UNIT 0.015625f
    #define BODY_VAR 1.0f               /* of the first request with a body */
    #define BODY_MEAN 3.2f              /* of a partner that has never sent one: half a kilobyte, */
    #define BODY_MEAN_VAR 4.0f          /* anything from nothing to 25 kB */
    #define MOMENT_BEYOND 7.84f         /* 2.8 standard deviations, squared */
    #define LARGER_REQUEST 4.0f         /* and at least so far, as a log2: sixteen times, */
    #define LARGER_RESPONSE 1.5f        /* three times the usual */
    """
    const float MOMENT_FLOOR
    const float MOMENT_MEAN
    const float MOMENT_VAR
    const float MOMENT_BEYOND
    const float SIZE_UNIT
    const float BODY_VAR
    const float BODY_MEAN
    const float BODY_MEAN_VAR
    const float LARGER_REQUEST
    const float LARGER_RESPONSE

cdef enum:
    MOMENTS_KNOWN = 30          # values before anything is beyond the usual
    SLOT_KNOWN = 500            # values after which an endpoint stands for itself
    BODY_LATE = 300             # values after which the first body says nothing of what is usual

cdef struct Moments:            # of one partner
    float mean[4]               # the last lane counts values
    float var[4]

cdef struct SlotMoments:        # of one endpoint
    uint16_t latency_mean
    uint16_t latency_var
    uint16_t size_mean
    uint16_t size_var

cdef inline f4 slot_load(const SlotMoments *s) noexcept nogil:
    """Means in lanes 0 and 2, variances in lanes 1 and 3."""
    return f4_mul(f4_from_u16(&s.latency_mean), f4_set(1.0 / MOMENT_MEAN, 1.0 / MOMENT_VAR,
                                                       1.0 / MOMENT_MEAN, 1.0 / MOMENT_VAR))

cdef inline void slot_store(SlotMoments *s, f4 mean, f4 var, uint64_t random) noexcept nogil:
    cdef f4 both = f4_weave(mean, f4_swap(var))
    cdef f4 units = f4_set(MOMENT_MEAN, MOMENT_VAR, MOMENT_MEAN, MOMENT_VAR)
    f4_to_u16(&s.latency_mean, f4_add(f4_mul(both, units), f4_random(random)))

cdef inline f4 within_load(const float *within) noexcept nogil:
    """In the lanes of a slot's variances."""
    return f4_set(within[0], 0.0, within[1], 0.0)

cdef inline void moments_init(Moments *m, float *within) noexcept nogil:
    f4_store(m.var, f4_all(2.0))
    within[0] = within[1] = 0.5

cdef inline f4 moments_values(float latency_ms, float request, float response) noexcept nogil:
    """log2(1 + x) of the three, sizes in units of 64 bytes, for a few bytes more are no larger answer; the last lane is
    log2 of the latency itself, for its histogram."""
    return f4_log2(f4_set(latency_ms + 1.0, request * SIZE_UNIT + 1.0, response * SIZE_UNIT + 1.0,
                          latency_ms if latency_ms > 0.001 else 0.001))

cdef inline int moments_beyond(const Moments *m, const float *within, const SlotMoments *slot, float known, f4 v) noexcept nogil:
    """Bits 0..2: latency, request, response lie 2.8 standard deviations above the usual of the
    endpoint, which is shrunk to the partner's while few values (`known`) are known of it."""
    cdef f4 mean = f4_load(m.mean), var = f4_load(m.var), stored, both, d
    cdef float g, inverse
    if m.mean[3] < MOMENTS_KNOWN:
        return 0
    if known >= <float>1.0:
        stored = slot_load(slot)
        both = f4_swap(stored)
        if known < SLOT_KNOWN:
            inverse = <float>1.0 / (known + <float>8.0)
            g = known / (known + <float>4.0)
            both = f4_mul(f4_all(inverse), f4_add(f4_mul(f4_all(known), both), f4_mul(f4_all(8.0), within_load(within))))
            both = f4_add(both, f4_mul(var, f4_all(g - g * g)))
            stored = f4_add(mean, f4_mul(f4_all(g), f4_sub(stored, mean)))
        mean = f4_weave(stored, mean)
        var = f4_weave(both, var)
    if m.mean[1] == 0.0:
        mean = f4_add(mean, f4_set(0.0, BODY_MEAN, 0.0, 0.0))
        var = f4_max(var, f4_set(0.0, BODY_MEAN_VAR, 0.0, 0.0))
    d = f4_sub(v, mean)
    return f4_above(d, f4_all(0.0)) & f4_above(f4_mul(d, d), f4_max(
        f4_mul(f4_all(MOMENT_BEYOND), f4_add(var, f4_all(MOMENT_FLOOR))),
        f4_set(0.0, LARGER_REQUEST * LARGER_REQUEST, LARGER_RESPONSE * LARGER_RESPONSE, 0.0)))

cdef inline f4 moments_huber(f4 d, f4 var) noexcept nogil:
    cdef f4 most = f4_mul(f4_all(3.0), f4_sqrt(f4_add(var, f4_all(MOMENT_FLOOR))))
    return f4_max(f4_min(d, most), f4_sub(f4_all(0.0), most))

cdef inline void slot_start(SlotMoments *slot, const float *within, f4 v) noexcept nogil:
    """A new endpoint starts at its first value with the spread usual within endpoints."""
    slot_store(slot, v, within_load(within), 0)

cdef inline float moment_step(float n, float weight) noexcept nogil:
    """The share of a value of that weight after n before it, at least 1/500 of the weight."""
    return weight / (n + weight) if n < 499.0 else weight * <float>(1.0 / 500.0)

cdef inline void moments_learn(Moments *m, float *within, SlotMoments *slot, float known, f4 v, float weight,
                               uint64_t random) noexcept nogil:
    """Take in values that stand for `weight` like them."""
    cdef float count = m.mean[3]
    cdef f4 stored = slot_load(slot), step, mean, var, d, dd
    if m.mean[1] == 0.0 and f4_lane(v, 1) > 0.0:
        m.mean[1] = f4_lane(v, 1) if count < BODY_LATE else BODY_MEAN
        m.var[1] = BODY_VAR if count < BODY_LATE else BODY_MEAN_VAR
    # the value a slot started with must not replace the spread it started with
    step = f4_all(moment_step(known, weight) if known >= <float>1.0 else <float>0.0)
    var = f4_swap(stored)
    d = moments_huber(f4_sub(v, stored), var)
    dd = f4_mul(d, d)
    slot_store(slot, f4_add(stored, f4_mul(step, d)), f4_add(var, f4_mul(step, f4_sub(dd, var))), random)
    if known > 10.0:
        within[0] += <float>0.005 * (f4_lane(dd, 0) - within[0])
        within[1] += <float>0.005 * (f4_lane(dd, 2) - within[1])
    step = f4_all(moment_step(count, weight))
    mean = f4_load(m.mean)
    var = f4_load(m.var)
    d = f4_sub(v, mean)
    if count > 20.0:
        d = moments_huber(d, var)
    if f4_lane(v, 1) == 0.0:            # requests without a body say nothing of those with one
        step = f4_mul(step, f4_set(1.0, 0.0, 1.0, 1.0))
    f4_store(m.mean, f4_add(mean, f4_mul(step, d)))
    # the distance to the new mean times that to the old one: the first value has no spread
    f4_store(m.var, f4_mul(f4_sub(f4_all(1.0), step), f4_add(var, f4_mul(step, f4_mul(d, d)))))
    m.mean[3] = count + weight if count < <float>1e6 else count

cdef inline f4 variance_merge(f4 var, f4 other, f4 apart, float n, float m) noexcept nogil:
    """Chan's formula for variances: the distance of the means counts too."""
    cdef float a = n / (n + m), b = m / (n + m)
    return f4_add(f4_add(f4_mul(f4_all(a), var), f4_mul(f4_all(b), other)), f4_mul(f4_all(a * b), f4_mul(apart, apart)))

cdef inline void moments_merge(Moments *into, const Moments *other) noexcept nogil:
    """As if all values had come to one; exact but for fading and clipping."""
    cdef float n = into.mean[3], m = other.mean[3]
    cdef f4 apart = f4_sub(f4_load(other.mean), f4_load(into.mean))
    if not m > 0.0:
        return
    f4_store(into.var, variance_merge(f4_load(into.var), f4_load(other.var), apart, n, m))
    f4_store(into.mean, f4_add(f4_load(into.mean), f4_mul(f4_all(m / (n + m)), apart)))
    into.mean[3] = n + m if n + m < <float>1e6 else <float>1e6

cdef inline void slot_merge(SlotMoments *into, float n, const SlotMoments *other, float m) noexcept nogil:
    """The same for an endpoint, rounded to its 16 bits."""
    cdef f4 a = slot_load(into), b = slot_load(other), apart = f4_sub(b, a)
    if not m > 0.0:
        return
    slot_store(into, f4_add(a, f4_mul(f4_all(m / (n + m)), apart)),
               variance_merge(f4_swap(a), f4_swap(b), apart, n, m), <uint64_t>0x8000800080008000)
